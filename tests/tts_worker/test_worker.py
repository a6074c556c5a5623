import asyncio
import contextlib

import numpy as np
import pytest

from apps.shared.errors import SettingsError
from apps.shared.messages import (
    Approved,
    Cancel,
    Delivery,
    Finish,
    Health,
    Message,
    Output,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    SetDelivery,
    SetVoice,
    Speak,
    SpeechEnd,
    Stopped,
    Voices,
    fingerprint,
)
from apps.tts_worker.playout import FADE_S, FRAME_S
from apps.tts_worker.switch import PROBE_S
from apps.tts_worker.worker import Tts
from tests.fakes.executor import Inline

pytestmark = pytest.mark.looptime


def speak(text, turn_id="a", index=0):
    approved = Approved(
        text=text, spoken=text, decision_id=f"{turn_id}.{index}", sha256=fingerprint(text, text)
    )
    return Speak(turn_id=turn_id, index=index, approved=approved)


@pytest.fixture
async def start(make_settings):
    """Start voices, each with the list of what it sends; the arguments are settings."""
    async with contextlib.AsyncExitStack() as stack:

        def make(**values):
            sent: list[Message] = []
            settings = make_settings(**{"tts_engine": "tone", "tts_output": "none", **values})
            tts = Tts(settings, sent.append, asyncio.get_running_loop().time, Inline())
            task = asyncio.create_task(tts.run())
            stack.push_async_callback(asyncio.wait, {task})
            stack.callback(task.cancel)
            return tts, sent, task

        yield make


async def ready(tts):
    async with asyncio.timeout(5):
        while not tts.health().ready:
            await asyncio.sleep(0.001)


def of(sent, kind):
    return [message for message in sent if isinstance(message, kind)]


async def test_it_is_starting_until_the_voice_is_loaded(start):
    """Before that it takes no work; what it is asked to say is not kept for later."""
    tts, sent, _ = start()
    assert (tts.health().state, tts.health().ready) == ("starting", False)
    tts.receive(speak("too early"))
    await ready(tts)
    await asyncio.sleep(5)
    assert [(h.state, h.ready, h.engine, h.model, h.reason) for h in of(sent, Health)] == [
        ("ok", True, "tone", "tone", "")
    ]


async def test_a_turn(start):
    """What it is told to say is played in real time, and its end is told."""
    tts, sent, _ = start()
    await ready(tts)
    began_s = asyncio.get_running_loop().time()
    tts.receive(speak("hello"))
    tts.receive(speak("there", index=1))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(5)
    length_s = sum(played.audio_ms for played in of(sent, PiecePlayed)) / 1000
    assert length_s > 0.3
    assert [end.at_s for end in of(sent, SpeechEnd)] == pytest.approx([began_s + length_s], abs=0.001)


@pytest.mark.parametrize(
    "stop", [lambda tts: tts.receive(Cancel(turn_id="a")), Tts.lost], ids=["cancel", "lost"]
)
async def test_it_stops_in_mid_turn(start, stop):
    """A cancel, and losing the orchestrator, end the turn under way; the next one is spoken."""
    tts, sent, _ = start()
    await ready(tts)
    tts.receive(speak("a rather long sentence for a tone"))
    await asyncio.sleep(0.5)
    stop(tts)
    await asyncio.sleep(5)
    assert [stopped.index for stopped in of(sent, Stopped)] == [0]
    assert of(sent, PiecePlayed) == []
    tts.receive(speak("next", "b"))
    tts.receive(Finish(turn_id="b"))
    await asyncio.sleep(5)
    assert len(of(sent, SpeechEnd)) == 1


async def test_a_wish_outlives_the_loading(start):
    """To be held and muted may be wished for before there is a voice, and is obeyed from its first sample."""
    tts, sent, _ = start()
    tts.receive(Output(muted=True, held=True))
    await ready(tts)
    assert (tts._playout.gain, tts._playout.held) == (0.0, True)
    tts.receive(speak("hello"))
    await asyncio.sleep(60)
    assert of(sent, PieceStarted) == []
    tts.receive(Output(muted=False, held=False))
    await asyncio.sleep(1)
    assert len(of(sent, PieceStarted)) == 1


async def test_hushed_in_mid_sentence(start):
    """She stops within a frame, and what is left of the sentence is heard once she may go on."""
    tts, sent, _ = start()
    await ready(tts)
    loop = asyncio.get_running_loop()
    say_turn(tts, "a", "a rather long sentence for a tone")
    began_s = loop.time()
    await asyncio.sleep(0.5)
    tts.receive(Output(muted=False, held=False, hushed=True))
    await asyncio.sleep(3)
    (hushed,) = of(sent, PieceHushed)
    assert began_s + 0.5 <= hushed.at_s <= began_s + 0.5 + FRAME_S + FADE_S
    assert hushed.played_s == pytest.approx(hushed.at_s - began_s)
    tts.receive(Output(muted=False, held=False))
    await asyncio.sleep(5)
    (resumed,), (played,), (end,) = of(sent, PieceResumed), of(sent, PiecePlayed), of(sent, SpeechEnd)
    assert began_s + 3.5 <= resumed.at_s <= began_s + 3.5 + FRAME_S
    assert resumed.played_s == hushed.played_s
    stood_still_s = resumed.at_s - hushed.at_s
    assert end.at_s == pytest.approx(began_s + played.audio_ms / 1000 + stood_still_s, abs=0.001)


async def test_an_answer_is_ready_when_the_streamer_has_ended(start):
    """Hushed, it is synthesised but not begun; it sounds in the first frame in which it may."""
    tts, sent, _ = start()
    tts.receive(Output(muted=False, held=False, hushed=True))
    await ready(tts)
    say_turn(tts, "a", "hello")
    await asyncio.sleep(10)
    assert (len(of(sent, PieceReady)), of(sent, PieceStarted)) == (1, [])
    released_s = asyncio.get_running_loop().time()
    tts.receive(Output(muted=False, held=False))
    await asyncio.sleep(5)
    assert 0 <= of(sent, PieceStarted)[0].at_s - released_s <= FRAME_S
    assert (of(sent, PieceHushed), len(of(sent, SpeechEnd))) == ([], 1)


async def test_hushed_without_pacing(start):
    """With TTS_OUTPUT=discard she begins as soon as she may, too."""
    tts, sent, _ = start(tts_output="discard")
    await ready(tts)
    tts.receive(Output(muted=False, held=False, hushed=True))
    say_turn(tts, "a", "hello")
    await asyncio.sleep(1)
    assert of(sent, PieceStarted) == []
    tts.receive(Output(muted=False, held=False))
    await asyncio.sleep(0.01)
    assert len(of(sent, SpeechEnd)) == 1


async def test_hushed_on_a_sound_card(start, card):
    """The device plays on, with silence, and the other half of the sentence afterwards."""
    tts, sent, _ = start(tts_output="")
    await ready(tts)
    say_turn(tts, "a", "hello there")
    await asyncio.sleep(0.01)
    stream = card.streams[0]
    assert stream.play(5).any()
    tts.receive(Output(muted=False, held=False, hushed=True))
    assert stream.play(1).any()
    assert not stream.play(20).any()
    tts.receive(Output(muted=False, held=False))
    assert stream.play(1).any()
    await asyncio.sleep(0)
    assert [of(sent, kind)[0].index for kind in (PieceHushed, PieceResumed)] == [0, 0]


@pytest.mark.parametrize(("wish", "loudest"), [(True, 0), (False, 4000)])
async def test_how_loud(start, card, wish, loudest):
    """Her volume is a setting, and muted is silence whatever it says."""
    tts, _, _ = start(tts_output="", tts_volume=0.5)
    tts.receive(Output(muted=wish, held=False))
    await ready(tts)
    tts.receive(speak("hello"))
    await asyncio.sleep(0.01)
    assert np.abs(card.streams[0].play(20).astype(int)).max() == pytest.approx(loudest, rel=0.01)


async def test_without_a_sound_device_she_goes_on_silently(start, card):
    """The light is red with the fix, the show goes on in real time."""
    card.devices = ()
    tts, sent, _ = start(tts_output="")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("down", True, "tone")
    assert "default output" in health.reason
    assert "TTS_OUTPUT" in health.fix
    assert of(sent, Health) == [health]
    tts.receive(speak("hello"))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(5)
    assert len(of(sent, SpeechEnd)) == 1


async def test_a_device_lost_in_mid_turn(start, card):
    """The turn goes on where it was, silently and in real time, to its end; the light turns red at once."""
    tts, sent, _ = start(tts_output="")
    await ready(tts)
    await asyncio.sleep(0)
    tts.receive(speak("hello there"))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(0.01)
    card.streams[0].play(5)
    card.streams[0].lose()
    lost_s = asyncio.get_running_loop().time()
    await asyncio.sleep(5)
    assert [health.state for health in of(sent, Health)] == ["ok", "down"]
    assert "stopped" in tts.health().reason
    (played,) = of(sent, PiecePlayed)
    assert of(sent, SpeechEnd)[0].at_s == pytest.approx(lost_s + played.audio_ms / 1000 - 0.1, abs=0.02)


async def test_without_the_second_device_she_is_heard(start, card):
    """The light is yellow with the fix, and the first device plays on."""
    tts, sent, _ = start(tts_output="speakers", tts_monitor="nowhere")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("degraded", True, "tone")
    assert "nowhere" in health.reason
    assert health.fix == "Set TTS_MONITOR to part of a device's name, or to none. Devices: Cable, Speakers."
    assert of(sent, Health) == [health]
    tts.receive(speak("hello"))
    await asyncio.sleep(0.01)
    assert card.streams[0].play(20).any()


async def test_a_missing_voice_is_replaced(start):
    """She speaks with espeak, under a yellow light that says why and what to do."""
    tts, sent, _ = start(tts_engine="piper", piper_voice="nowhere")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("degraded", True, "espeak")
    assert "nowhere" in health.reason
    assert "PIPER_VOICE" in health.fix
    tts.receive(speak("hello"))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(5)
    assert of(sent, PiecePlayed)[0].audio_ms > 200


async def test_an_unknown_engine(start):
    """A setting that cannot be used ends the process with its fix."""
    _, _, task = start(tts_engine="robot")
    with pytest.raises(SettingsError, match="TTS_ENGINE"):
        await task


async def test_it_leaves_nothing_behind(start, card):
    """Stopping it in mid-turn closes the sound device."""
    tts, sent, task = start(tts_output="")
    await ready(tts)
    await asyncio.sleep(0)
    tts.receive(speak("hello"))
    task.cancel()
    await asyncio.wait({task})
    assert card.streams[0].closed
    assert len(of(sent, Stopped)) == 1


# --- other voices, other manners ---------------------------------------------------------------------


def say_turn(tts, turn_id, *texts):
    """A whole turn."""
    for index, text in enumerate(texts):
        tts.receive(speak(text, turn_id, index))
    tts.receive(Finish(turn_id=turn_id))


def fail(*_):
    """What onnxruntime says when the memory runs out."""
    raise RuntimeError("std::bad_alloc")


async def test_it_tells_which_voices_there_are(start, piper_voice):
    """To whoever joins: which one speaks, and which may be chosen; at first none speaks yet."""
    piper_voice("amy")
    tts, sent, _ = start(tts_engine="espeak")
    assert list(tts.joined()) == [Voices(name="", names=("amy", "espeak"))]
    await ready(tts)
    assert list(tts.joined()) == of(sent, Voices) == [Voices(name="espeak", names=("amy", "espeak"))]


async def test_another_voice_in_mid_turn(start, piper_voice):
    """What is queued is said whole and once, by the old voice or the new one, which the light tells."""
    piper_voice("amy")
    tts, sent, _ = start(tts_engine="espeak")
    await ready(tts)
    tts.receive(speak("One."))
    tts.receive(speak("Two.", index=1))
    tts.receive(SetVoice(name="amy"))
    await asyncio.sleep(0.01)
    for index in (2, 3, 4):
        tts.receive(speak("And then?", index=index))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(60)
    assert [played.index for played in of(sent, PiecePlayed)] == [0, 1, 2, 3, 4]
    assert all(played.audio_ms > 300 for played in of(sent, PiecePlayed))
    assert [end.reason for end in of(sent, SpeechEnd)] == [""]
    assert [(told.name, told.code) for told in of(sent, Voices)] == [("espeak", ""), ("amy", "")]
    assert [(h.state, h.engine, h.model) for h in of(sent, Health)][-1] == ("ok", "piper", "amy")


async def test_a_wish_that_cannot_be_met(start):
    """The answer says why; the light stays green, for she speaks with the voice that she had."""
    tts, sent, _ = start()
    await ready(tts)
    tts.receive(SetVoice(name="nobody"))
    await asyncio.sleep(1)
    assert [told.code for told in of(sent, Voices)] == ["", "unknown_name"]
    assert tts.health().state == "ok"


async def test_the_manner_applies_from_the_next_piece_on(start):
    """What came before the wish is said as it was to be said; also a wish from before the voice was there."""
    tts, sent, _ = start()
    tts.receive(SetDelivery(delivery=Delivery(speed=0.5)))
    await ready(tts)
    tts.receive(speak("hello"))
    tts.receive(SetDelivery(delivery=Delivery(speed=2)))
    tts.receive(speak("hello", index=1))
    await asyncio.sleep(10)
    slow, quick = of(sent, PiecePlayed)
    assert slow.audio_ms == pytest.approx(4 * quick.audio_ms, rel=0.01)


async def test_a_voice_that_fails_in_mid_turn(start, piper_voice, monkeypatch):
    """That very piece and the next ones are said by espeak, the light says why; 10 s later all is well."""
    piper_voice("amy")
    tts, sent, _ = start(tts_engine="auto")
    await ready(tts)
    assert tts.health().engine == "piper"
    monkeypatch.setattr(tts._switch.voice._model.voice.session, "run", fail)
    say_turn(tts, "a", "This is one.", "This is two.")
    await asyncio.sleep(8)
    assert [played.audio_ms > 300 for played in of(sent, PiecePlayed)] == [True, True]
    assert [end.reason for end in of(sent, SpeechEnd)] == [""]
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("degraded", True, "espeak")
    assert health.reason == "espeak speaks instead: there is not enough memory for the Piper voice amy"
    assert "smaller voice" in health.fix
    await asyncio.sleep(PROBE_S)
    assert (tts.health().state, tts.health().model) == ("ok", "amy")
    say_turn(tts, "b", "This is three.")
    await asyncio.sleep(8)
    assert [h.state for h in of(sent, Health)] == ["ok", "degraded", "ok"]
    assert len(of(sent, SpeechEnd)) == 2


async def test_a_clip_is_of_the_voice_that_said_it(start, piper_voice, monkeypatch):
    """What espeak said in another's place is not taken for that voice's later."""
    piper_voice("amy")
    tts, sent, _ = start(tts_engine="auto")
    await ready(tts)
    monkeypatch.setattr(tts._switch.voice._model.voice.session, "run", fail)
    say_turn(tts, "a", "This is one.")
    for turn_id in ("b", "c"):
        await asyncio.sleep(PROBE_S)
        say_turn(tts, turn_id, "This is one.")
    await asyncio.sleep(5)
    assert [piece.cached for piece in of(sent, PieceReady)] == [False, False, True]


async def test_a_voice_that_appears(start, piper_voice):
    """With TTS_ENGINE=auto espeak is no trouble, and Piper speaks within 10 s of its voice being there."""
    tts, sent, _ = start(tts_engine="auto")
    await ready(tts)
    await asyncio.sleep(100)
    piper_voice("amy")
    await asyncio.sleep(PROBE_S)
    assert [(h.state, h.engine) for h in of(sent, Health)] == [("ok", "espeak"), ("ok", "piper")]
    assert of(sent, Voices)[-1] == Voices(name="amy", names=("amy", "espeak"))


async def test_a_speaker_that_the_voice_has_not(start, piper_voice):
    """She speaks as the voice's own speaker, under a yellow light that names those that there are."""
    piper_voice("duo", speakers=("ann", "bob"))
    tts, sent, _ = start(tts_engine="auto")
    await ready(tts)
    tts.receive(SetDelivery(delivery=Delivery(speaker="carl")))
    say_turn(tts, "a", "This is one.")
    await asyncio.sleep(5)
    assert [end.reason for end in of(sent, SpeechEnd)] == [""]
    assert of(sent, PiecePlayed)[0].audio_ms > 300
    health = tts.health()
    assert (health.state, health.engine) == ("degraded", "piper")
    assert "carl" in health.reason
    assert "ann, bob" in health.fix
    tts.receive(SetDelivery(delivery=Delivery(speaker="bob")))
    assert [h.state for h in of(sent, Health)] == ["ok", "degraded", "ok"]


async def test_trouble_of_a_voice_that_speaks(start, piper_voice):
    """A voice on the processor that was to run on the graphics card says so, with the fix."""
    piper_voice("amy")
    tts, _, _ = start(tts_engine="auto", tts_device="cuda")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.engine, health.model) == ("degraded", "piper", "amy")
    assert "processor" in health.reason
    assert "TTS_DEVICE=cpu" in health.fix
