"""What is asked over HTTP, and what the panel sees live."""

import asyncio
import json
import sqlite3
from contextlib import closing
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from apps.orchestrator import manner
from apps.orchestrator.inbox import Inbox
from apps.shared.messages import (
    MODULES,
    Ears,
    Error,
    Finish,
    Output,
    Persona,
    PiecePlayed,
    PieceStarted,
    PlayFile,
    SetDelivery,
    SetStyle,
    SetVoice,
    Speak,
    SpeechEnd,
    Think,
    Thought,
    TurnState,
    UtteranceStarted,
    Vocabulary,
    Voices,
)
from apps.shared.wire import Outbox
from tests.orchestrator.served import PERSONA, Peer, decided


@pytest.fixture
async def http(show):
    """A session with the token; paths are relative."""
    headers = {"Authorization": f"Bearer {show.token}"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{show.port}", headers=headers) as session:
        yield session


async def posted(http, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Post JSON, or raw text; return the status and the answer."""
    data = body if isinstance(body, str | bytes) else json.dumps(body)
    async with http.post(path, data=data) as response:
        return response.status, await response.json()


async def test_status_has_the_shape_that_others_rely_on(show, http):
    """As in INTERFACES.md: every module's light, who she is, and how the queue and the latency are."""
    async with show.worker("policy"), show.worker("tts"):
        await show.until(lambda: not show.conductor.lights.missing())
        async with http.get("/status") as response:
            status = await response.json()
    assert set(status) >= {"modules", "persona", "scene", "mood", "memory", "queue", "latency", "ears"}
    assert set(status["modules"]) == set(MODULES)
    for light in status["modules"].values():
        assert set(light) >= {"state", "engine", "reason", "fix", "age_s", "pid"}
        assert light["state"] in {"ok", "starting", "degraded", "down", "off"}
    assert status["modules"]["tts"]["state"] == "ok"
    assert isinstance(status["modules"]["tts"]["age_s"], float)
    assert isinstance(status["modules"]["tts"]["pid"], int)
    assert status["persona"] == {"id": "kitsu", "style": "kitsu"}
    none_yet = {"p50": None, "p95": None, "turns": 0}
    assert status["latency"] == {"first_audio_ms": none_yet, "microphone_first_audio_ms": none_yet}
    assert status["ears"] == {
        "mode": "open",
        "talking": False,
        "speaking": False,
        "transcripts": 0,
        "nothing": {},
        "lost_s": 0.0,
    }


@pytest.mark.parametrize(
    ("action", "key", "value"),
    [
        ("panic", "panicked", True),
        ("resume", "panicked", False),
        ("pause", "paused", True),
        ("mute", "muted", True),
        ("unmute", "muted", False),
        ("skip", "turn_id", None),
    ],
)
async def test_a_button_answers_with_the_state_that_follows(http, action, key, value):
    """It works with nobody there to hear it, twice as well as once, and needs no body."""
    for _ in range(2):
        status, state = await posted(http, f"/control/{action}")
        assert status == 200
        assert state["queue"][key] == value


async def test_the_voice_obeys_the_buttons(show, http):
    """Mute, pause and resume are with the voice at once, and a voice that comes later is told."""
    async with show.worker("tts") as voice:
        assert await voice.receive() == Output(muted=False, held=False)
        for action, output in {
            "mute": Output(muted=True, held=False),
            "pause": Output(muted=True, held=True),
            "resume": Output(muted=True, held=False),
        }.items():
            await posted(http, f"/control/{action}")
            assert await voice.receive() == output
    async with show.worker("tts") as later:
        assert await later.receive() == Output(muted=True, held=False)


async def test_an_unknown_button_lists_those_there_are(http):
    """404 with the names; other methods and paths have codes, too."""
    status, body = await posted(http, "/control/explode")
    assert (status, body["code"]) == (404, "unknown_action")
    assert set(body["names"]) == {
        *("panic", "resume", "pause", "skip", "mute", "unmute"),
        *("say", "style", "voice", "scene"),
        *("ears", "talk", "talk_end", "hear"),
    }
    assert (await posted(http, "/nowhere"))[1]["code"] == "not_found"
    async with http.get("/control/skip") as response:
        assert (response.status, (await response.json())["code"]) == (405, "method_not_allowed")


# --- say ---


async def test_a_line_is_answered_with_what_became_of_it(show, http):
    """The whole exchange, as `aivt say --json` prints it; and the journal has it."""
    async with show.worker("policy") as policy, show.worker("tts") as voice:
        await show.until(lambda: not show.conductor.lights.missing())
        assert [type(await voice.receive()) for _ in range(2)] == [Output, SetDelivery]
        body = {"text": " hi\nthere ", "user": "mika", "as": "mention"}
        asked = asyncio.create_task(posted(http, "/control/say", body))
        think = await policy.receive()
        assert think == Think(turn_id=think.turn_id, user="mika", text="hi there", lane="mention")
        turn_id = think.turn_id
        await policy.send(
            *decided(turn_id, "Hello mika."), Thought(turn_id=turn_id, pieces=1, outcome="whole", at_s=0.0)
        )
        assert isinstance(await voice.receive(), Speak)
        assert await voice.receive() == Finish(turn_id=turn_id)
        await voice.send(
            PieceStarted(turn_id=turn_id, index=0, at_s=0.0),
            PiecePlayed(turn_id=turn_id, index=0, at_s=0.0, audio_ms=800.0),
            SpeechEnd(turn_id=turn_id, at_s=0.0),
        )
        status, result = await asked
    assert status == 200
    assert set(result) == {"turn_id", "outcome", "reply", "reason", "timings_ms", "audio_ms"}
    assert (result["turn_id"], result["outcome"], result["reply"]) == (turn_id, "spoken", "Hello mika.")
    assert result["audio_ms"] == 800.0
    assert set(result["timings_ms"]) == {"first_sentence", "first_audio", "last_audio"}
    await show.stop()
    show.journal.close("")
    with closing(sqlite3.connect(show.settings.aivt_data_dir / "journal.db")) as db:
        rows = db.execute("SELECT lane, user, text, outcome, heard FROM turns").fetchall()
    assert rows == [("mention", "mika", "hi there", "spoken", "Hello mika.")]
    show.start()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("", "the body"),
        ("hello", "the body"),
        ("[]", "the body"),
        (b"\xff\xfe", "the body"),
        ("[" * 100_000, "the body"),
        ({}, "text"),
        ({"text": 5}, "text"),
        ('{"text": "\\ud83e"}', "the body"),
        ({"text": "hi", "as": "king"}, "as"),
        ({"text": "hi", "user": None}, "user"),
    ],
)
async def test_a_bad_body_is_refused_with_the_field(http, body, said):
    """400 with a code and what is wrong with which field."""
    status, answer = await posted(http, "/control/say", body)
    assert (status, answer["code"]) == (400, "bad_body")
    assert answer["reason"].startswith(said)


@pytest.mark.parametrize("text", ["", " \n\t", "\x00\x07\x1b", "\u200b\u200d"])
async def test_a_text_in_which_nothing_can_be_seen_is_refused(http, text):
    """With the fix; nothing is queued."""
    status, answer = await posted(http, "/control/say", {"text": text})
    assert (status, answer["code"], answer["fix"]) == (400, "empty_text", "Give some words.")


async def test_a_body_of_more_than_the_limit_is_refused(show, http):
    """1 MB is the limit here, too; the show does not notice."""
    async with http.post("/control/say", json={"text": "a" * 1_000_000}) as response:
        assert response.status == 413
    async with http.get("/status") as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a" * 10_000, "a" * 1000),
        ("🦊🦊🦊", "🦊🦊🦊"),
        ("שלום לכולם", "שלום לכולם"),
        ("a\x00b\x1b[2J", "a b [2J"),
    ],
    ids=["10,000 characters", "emoji", "right to left", "controls"],
)
async def test_odd_texts_reach_her_as_one_clean_line(show, http, text, seen):
    """Whatever somebody types, policy gets a line that harms nothing."""
    async with show.worker("policy") as policy, show.worker("tts"):
        await show.until(lambda: not show.conductor.lights.missing())
        asked = asyncio.create_task(posted(http, "/control/say", {"text": text}))
        think = await policy.receive()
        assert think.text == seen
        await policy.send(Thought(turn_id=think.turn_id, pieces=0, outcome="failed", at_s=0.0, reason="x"))
        assert (await asked)[1]["outcome"] == "failed"


async def test_a_line_may_be_put_without_waiting_for_its_end(show, http):
    """202 with its id, at once; what becomes of it is seen on the stream."""
    async with show.worker("policy") as policy, show.worker("tts"):
        await show.until(lambda: not show.conductor.lights.missing())
        status, answer = await posted(http, "/control/say", {"text": "hi", "wait": False})
        think = await policy.receive()
        assert (status, answer) == (202, {"turn_id": think.turn_id})
        status, answer = await posted(http, "/control/say", {"text": " ", "wait": False})
        assert (status, answer["code"]) == (400, "empty_text")


async def test_a_line_for_a_full_queue_is_refused(show, http):
    """Nobody waits for its end, so it has to be told at once that it has none."""
    for _ in range(Inbox.LIMIT):
        assert (await posted(http, "/control/say", {"text": "hi", "wait": False}))[0] == 202
    status, answer = await posted(http, "/control/say", {"text": "hi", "wait": False})
    assert (status, answer["code"]) == (503, "queue_full")
    assert answer["fix"]


# --- ears ---


async def test_her_ears_are_switched(show, http):
    """Off and on again as they were, open or with a key; the ears know it at once."""
    async with show.worker("asr") as ears:
        assert await ears.receive() == Ears(on=True)
        assert isinstance(await ears.receive(), Vocabulary)
        for name, mode, told in (
            ("push", "push", Ears(on=True, push_to_talk=True)),
            ("off", "off", Ears(on=False, push_to_talk=False)),
            ("on", "push", Ears(on=True, push_to_talk=True)),
            ("open", "open", Ears(on=True)),
        ):
            status, state = await posted(http, "/control/ears", {"name": name})
            assert (status, state["ears"]["mode"]) == (200, mode)
            assert await ears.receive() == told


@pytest.mark.parametrize("body", ["", {"name": "loud"}, {}, {"name": None}])
async def test_an_unknown_way_to_listen_is_refused(http, body):
    """400 with the field, and she listens as before."""
    status, answer = await posted(http, "/control/ears", body)
    assert (status, answer["code"]) == (400, "bad_body")
    async with http.get("/status") as response:
        assert (await response.json())["ears"]["mode"] == "open"


async def test_the_talk_key_over_http(show, http):
    """Press and release need no body; where she always listens the key is refused with what to do."""
    for action in ("talk", "talk_end"):
        status, answer = await posted(http, f"/control/{action}")
        assert (status, answer["code"]) == (400, "not_push_to_talk")
        assert "ASR_MODE=push" in answer["fix"]
    await posted(http, "/control/ears", {"name": "push"})
    async with show.worker("asr") as ears:
        await ears.receive()
        await ears.receive()
        for action, talking in (("talk", True), ("talk", True), ("talk_end", False), ("talk_end", False)):
            status, state = await posted(http, f"/control/{action}")
            assert (status, state["ears"]["talking"]) == (200, talking)
            assert await ears.receive() == Ears(on=True, push_to_talk=True, talking=talking)


async def test_recordings_are_for_rehearsals(show, http, monkeypatch):
    """400 in a live show, with the way to start a rehearsal; there 503 without ears."""
    status, answer = await posted(http, "/control/hear", {"path": "a.wav"})
    assert (status, answer["code"]) == (400, "not_a_rehearsal")
    assert "--rehearsal" in answer["fix"]
    monkeypatch.setattr(show.conductor, "_rehearsal", True)
    status, answer = await posted(http, "/control/hear", {"path": "a.wav"})
    assert (status, answer["code"]) == (503, "asr_down")
    async with show.worker("asr") as ears:
        await ears.receive()
        await ears.receive()
        assert (await posted(http, "/control/hear", {"path": "a.wav", "speed": 2}))[0] == 200
        assert await ears.receive() == PlayFile(path="a.wav", speed=2.0)


@pytest.mark.parametrize(
    "body",
    [{}, {"path": 5}, {"path": "a", "speed": 0}, {"path": "a", "speed": 11}, {"path": "a", "speed": "x"}],
)
async def test_a_recording_that_makes_no_sense_is_refused(http, body):
    """400 with the field."""
    status, answer = await posted(http, "/control/hear", body)
    assert (status, answer["code"]) == (400, "bad_body")


async def test_the_ears_may_send_what_they_hear_and_nothing_else(show, http):
    """An utterance goes to the panel and to the show; a piece of a reply from there is refused."""
    async with show.connect("/stream") as socket, show.worker("asr") as ears:
        viewer = Peer(socket)
        await ears.receive()
        await ears.receive()
        await ears.send(UtteranceStarted(utterance_id="u1", start_s=0.0, at_s=0.0))
        while (seen := await viewer.receive_json())["type"] != "hearing":
            assert seen["type"] == "snapshot"
        assert seen == {"type": "hearing", "utterance_id": "u1", "text": "", "state": "speaking"}
        async with http.get("/status") as response:
            assert (await response.json())["ears"]["speaking"] is True
        await ears.send(PieceStarted(turn_id="t", index=0, at_s=0.0))
        refusal = await ears.receive()
        assert isinstance(refusal, Error)
        assert refusal.code == "unexpected_type"


# --- style, voice and scene ---


async def test_a_style_is_chosen_by_name(show, http):
    """Without regard to case; the answer has the state that follows."""
    async with show.worker("policy") as policy:
        await show.until(lambda: show.conductor.status()["persona"])
        asked = asyncio.create_task(posted(http, "/control/style", {"name": " Cozy "}))
        assert await policy.receive() == SetStyle(name="cozy")
        await policy.socket.send('{"type":"persona","id":"kitsu","style":"cozy","styles":["cozy","kitsu"]}')
        status, state = await asked
        assert (status, state["persona"]) == (200, {"id": "kitsu", "style": "cozy"})


async def test_an_unknown_style_lists_those_there_are(show, http):
    """404 with at most twenty names; a path is a name like any other, and there is none like it."""
    async with show.worker("policy") as policy:
        await policy.send(Persona(id="k", style="s00", styles=tuple(f"s{n:02}" for n in range(30))))
        await show.until(lambda: show.conductor.status()["persona"] == {"id": "k", "style": "s00"})
        for name in ("pirate", "../../secrets", ""):
            status, answer = await posted(http, "/control/style", {"name": name})
            assert (status, answer["code"]) == (404, "unknown_name")
            assert answer["names"] == [f"s{n:02}" for n in range(20)]


async def test_a_style_needs_policy(show, http, monkeypatch):
    """503 when it is away, has gone, or does not answer, each with its code."""
    assert (await posted(http, "/control/style", {"name": "cozy"}))[0] == 503
    async with show.worker("policy"):
        await show.until(lambda: show.conductor.status()["persona"])
        monkeypatch.setattr(manner, "STYLE_LIMIT_S", 0.01)
        status, answer = await posted(http, "/control/style", {"name": "cozy"})
        assert (status, answer["code"]) == (503, "policy_slow")
    await show.until(lambda: show.light("policy")["state"] == "down")
    status, answer = await posted(http, "/control/style", {"name": "cozy"})
    assert (status, answer["code"]) == (503, "policy_down")
    assert answer["fix"]


AMBER = {"name": "amber", "names": ["amber"], "reason": "", "fix": ""}


async def test_a_voice_is_chosen_by_name(show, http):
    """The voice process knows which there are; what it refuses is refused with the names, or with the fix."""
    assert (await posted(http, "/control/voice", {"name": "amber"}))[0] == 503
    async with show.worker("tts") as voice:
        await voice.receive()
        for told, status, key, value in (
            (Voices(name="amber", names=("amber",)), 200, "voice", AMBER),
            (Voices(name="amber", names=("amber",), code="unknown_name"), 404, "names", ["amber"]),
            (Voices(name="amber", names=(), code="voice_broken", fix="Get it."), 400, "fix", "Get it."),
        ):
            asked = asyncio.create_task(posted(http, "/control/voice", {"name": " amber "}))
            assert await voice.receive() == SetVoice(name="amber")
            await voice.send(told)
            answered, body = await asked
            assert (answered, body[key]) == (status, value)


async def test_a_worker_that_leaves_while_it_is_asked(show, http):
    """503 at once, and not when the time for an answer is over."""
    for module, path in (("policy", "style"), ("tts", "voice")):
        async with show.worker(module) as worker:
            if module == "policy":
                await show.until(lambda: show.conductor.status()["persona"])
            asked = asyncio.create_task(posted(http, f"/control/{path}", {"name": "cozy"}))
            while not isinstance(await worker.receive(), SetStyle | SetVoice):
                pass
        status, answer = await asked
        assert (status, answer["code"]) == (503, f"{module}_down")


async def test_a_style_that_is_broken(show, http):
    """400 with what is wrong with its file."""
    async with show.worker("policy") as policy:
        await show.until(lambda: show.conductor.status()["persona"])
        asked = asyncio.create_task(posted(http, "/control/style", {"name": "cozy"}))
        assert await policy.receive() == SetStyle(name="cozy")
        await policy.send(replace(PERSONA, code="broken_persona", reason="it is empty", fix="Correct it."))
        status, answer = await asked
        assert (status, answer) == (
            400,
            {"code": "broken_persona", "reason": "it is empty", "fix": "Correct it."},
        )


async def test_a_scene_needs_obs(http):
    """503 while OBS is away; a body without a name is refused first."""
    status, answer = await posted(http, "/control/scene", {"name": "Gaming"})
    assert (status, answer["code"]) == (503, "obs_away")
    assert (await posted(http, "/control/scene", {"scene": "Gaming"}))[0] == 400


# --- the live stream ---


async def test_the_stream_begins_with_the_whole_state_and_follows_it(show, http):
    """A panel that opens late misses nothing, and sees every change."""
    async with show.connect("/stream") as socket:
        viewer = Peer(socket)
        first = await viewer.receive_json()
        assert (first["type"], first["status"]["queue"]["muted"]) == ("snapshot", False)
        await posted(http, "/control/mute")
        assert (await viewer.receive_json())["status"]["queue"]["muted"] is True
    await show.until(lambda: not show.conductor.stream._outboxes)


async def test_the_stream_only_shows(show):
    """What a viewer sends is answered with a code and changes nothing."""
    async with show.connect("/stream") as socket:
        viewer = Peer(socket)
        await viewer.receive_json()
        for frame in ('{"type":"cancel","turn_id":"t"}', b"\x00"):
            await socket.send(frame)
            assert (await viewer.receive_json())["code"] == "read_only"


async def test_a_viewer_that_is_too_far_behind_is_let_go(show):
    """It is closed, so that it comes back to a fresh state; the others do not notice."""
    async with show.connect("/stream") as slow_socket:
        slow = Peer(slow_socket)
        await slow.receive_json()
        (outbox,) = show.conductor.stream._outboxes
        async with show.connect("/stream") as other_socket:
            other = Peer(other_socket)
            await other.receive_json()
            news = TurnState(turn_id="t", state="queued", lane="chat", user="mika")
            for _ in range(Outbox.LIMIT):
                outbox.put(news)
            show.conductor.stream.send(news)
            assert await slow.closed() == (1013, "too far behind")
            assert (await other.receive_json())["type"] == "turnstate"
