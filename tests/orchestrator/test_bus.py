"""The workers' end: who joins, what each may send, and that nobody else notices what one does wrong."""

import asyncio
import contextlib
import json
import logging
from typing import cast

import pytest
from fastapi import WebSocket, WebSocketDisconnect
from msgspec.structs import replace
from websockets.exceptions import ConnectionClosed, InvalidStatus

from apps.orchestrator import bus
from apps.orchestrator.lines import Result
from apps.shared.messages import (
    PROTOCOL,
    Cancel,
    Finish,
    Hello,
    Message,
    Output,
    Process,
    Ready,
    SetDelivery,
    Speak,
    SpeechEnd,
    Think,
    Thought,
)
from apps.shared.wire import FRAME_LIMIT_BYTES, Outbox, encode
from tests.orchestrator.served import HEALTHY, Peer, Served, decided

HELLO = Hello(module="tts", protocol=PROTOCOL, pid=1)


@pytest.fixture(autouse=True)
def nothing_unforeseen(caplog):
    """Whatever a peer does, it is no fault of ours: uvicorn has no traceback to log."""
    yield
    records = [record for record in caplog.get_records("call") if record.levelno >= logging.ERROR]
    assert [line for record in records if "UTF-8" not in (line := record.getMessage())] == []


async def say(show: Served, text: str = "hi") -> "asyncio.Task[Result]":
    """Put a line into the show, and let it be taken up."""
    return asyncio.create_task(show.conductor.say(text, "mika", "chat"))


# --- joining ---


async def test_a_worker_joins_and_is_told_what_it_must_know(show):
    """Welcome comes first; then the voice learns at once how it is to come out."""
    async with show.worker("tts") as voice:
        await show.until(lambda: show.light("tts")["state"] == "ok")
        assert await voice.receive_json() == {
            "type": "output",
            "muted": False,
            "held": False,
            "hushed": False,
        }
        assert show.light("tts")["engine"] == "fake"
    await show.until(lambda: show.light("tts")["state"] == "down")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic dTpw"}])
async def test_without_the_token_nobody_is_let_in(show, headers):
    """The answer comes before the upgrade: 401, with what is missing."""
    with pytest.raises(InvalidStatus) as refused:
        await show.connect(headers=headers)
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["code"] == "unauthorized"


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (["hello"], "Hello has to come first"),
        ([b"\x00\x01"], "binary"),
        ([encode(HEALTHY)], "Health: not yours to send here"),
        ([encode(replace(HELLO, module="ear"))], "there is no worker 'ear'"),
        ([encode(replace(HELLO, module="orchestrator"))], "there is no worker"),
    ],
)
async def test_a_hello_comes_first(show, frames, reason):
    """Whoever begins with anything else is closed, and told why."""
    async with show.connect() as socket:
        for frame in frames:
            await socket.send(frame)
        code, said = await Peer(socket).closed()
        assert code == 1008
        assert reason in said


async def test_who_says_nothing_is_not_waited_for(show, monkeypatch):
    """A connection without a Hello ends after a while."""
    monkeypatch.setattr(bus, "HELLO_LIMIT_S", 0.01)
    async with show.connect() as socket:
        assert await Peer(socket).closed() == (
            1008,
            "a valid Hello has to come first (none came within 0 s)",
        )


async def test_who_leaves_without_a_word_is_no_trouble(show):
    """A port scanner, a crashed worker: the connection ends, and that is all."""
    async with show.connect():
        pass
    socket = await show.connect()
    socket.transport.abort()
    async with show.worker("tts"):
        await show.until(lambda: show.light("tts")["state"] == "ok")


async def test_who_leaves_before_it_is_welcomed_is_no_trouble(show):
    """The next one of its name joins as if nothing had been."""

    class Gone:
        async def accept(self) -> None:
            """It is still there."""

        async def receive(self) -> dict[str, str]:
            return {"type": "websocket.receive", "text": encode(HELLO)}

        async def send_text(self, text: str) -> None:
            raise WebSocketDisconnect(1006)

        async def close(self, code: int, reason: str) -> None:
            raise WebSocketDisconnect(1006)

    workers = bus.Bus(show.conductor)
    for _ in range(2):
        await workers.serve(cast(WebSocket, Gone()))
    assert show.light("tts")["state"] == "starting"


async def test_another_version_is_told_to_restart(show):
    """A worker that speaks an older protocol would misread us."""
    async with show.connect() as socket:
        await socket.send(encode(replace(HELLO, protocol=PROTOCOL - 1)))
        code, said = await Peer(socket).closed()
        assert code == 4400
        assert "restart all" in said


async def test_the_later_of_two_processes_stays(show):
    """A second process of the same name takes the first one's place; what the first says no longer counts."""
    async with show.worker("tts") as first, show.worker("tts") as second:
        assert (await first.closed())[0] == 4409
        await second.send(replace(HEALTHY, engine="second"))
        await show.until(lambda: show.light("tts")["engine"] == "second")


async def test_a_turn_does_not_wait_for_a_process_that_was_replaced(show):
    """What the first process was about to say, the second one knows nothing of: the turn fails at once."""
    async with show.worker("policy") as policy, show.worker("tts"):
        await show.until(lambda: not show.conductor.lights.missing())
        line = await say(show)
        assert isinstance(await policy.receive(), Think)
        async with show.worker("policy"):
            result = await line
            assert result.outcome == "failed"
            assert "policy_lost" in result.reason


# --- what is sent ---


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "not_json"),
        ('{"type":"stopped","extra":' + "[" * 100_000, "not_json"),
        ('{"type":"format_disk"}', "unknown_type"),
        ('{"type":"speechend"}', "bad_fields"),
        (b"\x00\x01", "unexpected_binary"),
        (encode(Think(turn_id="t", user="u", text="x", lane="chat")), "unexpected_type"),
        (encode(decided("t", "Spoken without policy.")[1]), "unexpected_type"),
        (encode(HELLO), "unexpected_type"),
    ],
)
async def test_a_bad_frame_is_answered_and_the_connection_lives(show, frame, code):
    """The sender gets the code; its next frame counts, and the other workers do not notice."""
    async with show.worker("policy") as other, show.worker("tts") as voice:
        await voice.receive()
        await voice.socket.send(frame)
        refused = await voice.receive_json()
        assert (refused["type"], refused["code"]) == ("error", code)
        assert refused["reason"]
        await voice.send(replace(HEALTHY, engine="still here"))
        await show.until(lambda: show.light("tts")["engine"] == "still here")
        await other.send(replace(HEALTHY, engine="undisturbed"))
        await show.until(lambda: show.light("policy")["engine"] == "undisturbed")


@pytest.mark.parametrize(
    ("frame", "code"),
    [("x" * (FRAME_LIMIT_BYTES + 1), 1009), (b"\xff\xfe is no text", 1007)],
    ids=["too large", "not UTF-8"],
)
async def test_a_frame_that_cannot_be_a_message_ends_the_connection(show, frame, code):
    """Only of the worker that sent it; the others stay, and its light says what happened."""
    async with show.worker("policy"), show.worker("tts") as voice:
        with contextlib.suppress(ConnectionClosed):  # it may be refused before it is wholly sent
            await voice.socket.send(frame, text=True)
        assert (await voice.closed())[0] == code
        await show.until(lambda: show.light("tts")["state"] == "down")
        assert show.light("policy")["state"] == "ok"


async def test_a_frame_of_just_the_limit_is_read(show):
    """The limit is 1 MB, not a byte less."""
    async with show.worker("tts") as voice:
        await voice.receive()
        await voice.socket.send("x" * FRAME_LIMIT_BYTES)
        assert (await voice.receive_json())["code"] == "not_json"


async def test_news_of_any_process_come_from_the_supervisor(show):
    """It alone may say how a process is that is not on the bus."""
    async with show.worker("supervisor") as supervisor:
        await supervisor.send(
            Process(module="tts", state="down", reason="given up", fix="Look at its log."),
            Process(module="nonsense", state="down"),
        )
        await show.until(lambda: show.light("tts")["reason"] == "given up")
        async with show.worker("policy"), show.worker("tts"):
            assert await supervisor.receive() == Ready(url="")


# --- what is passed on ---


async def test_only_what_the_gate_let_through_is_spoken(show):
    """Text without its decision, text that was changed, text that was blocked: none reaches the voice."""
    async with show.worker("policy") as policy, show.worker("tts") as voice:
        await show.until(lambda: not show.conductor.lights.missing())
        assert [type(await voice.receive()) for _ in range(2)] == [Output, SetDelivery]
        line = await say(show)
        think = await policy.receive()
        turn_id = think.turn_id
        decision, piece = decided(turn_id, "Allowed.")
        blocked, blocked_piece = decided(turn_id, "Blocked.", "block")
        other, _ = decided("another-turn", "Allowed.")
        changed = replace(piece, approved=replace(piece.approved, spoken="Changed."))
        swapped = replace(decided(turn_id, "Swapped.")[1])
        await policy.send(piece, other, piece, blocked, blocked_piece, decision, changed, swapped, piece)
        await policy.send(Thought(turn_id=turn_id, pieces=1, outcome="whole", at_s=0.0))
        assert await voice.receive() == Speak(turn_id=turn_id, index=0, approved=piece.approved)
        assert await voice.receive() == Finish(turn_id=turn_id)
        await voice.send(SpeechEnd(turn_id=turn_id, at_s=0.0))
        assert (await line).outcome == "spoken"


@pytest.mark.parametrize("module", ["policy", "tts"])
async def test_a_worker_that_does_not_read_is_let_go(show, module):
    """It is closed when it is hopelessly behind, and may come back."""
    async with show.worker(module) as peer:
        await show.until(lambda: show.light(module)["state"] == "ok")
        flood: list[Message] = [Finish(turn_id=f"t{number}") for number in range(Outbox.LIMIT + 1)]
        for message in flood:
            show.conductor._send(module, message)
        assert await peer.closed() == (1013, "too far behind")
    await show.until(lambda: show.light(module)["state"] == "down")
    async with show.worker(module):
        await show.until(lambda: show.light(module)["state"] == "ok")


async def test_a_cancel_overtakes_what_waits(show):
    """What the worker has not been sent yet of a cancelled turn, it never gets."""
    async with show.worker("tts") as voice:
        await voice.receive()
        for message in (Finish(turn_id="old"), Finish(turn_id="new"), Cancel(turn_id="old")):
            show.conductor._send("tts", message)
        assert [await voice.receive(), await voice.receive()] == [
            Cancel(turn_id="old"),
            Finish(turn_id="new"),
        ]


async def test_the_end_of_the_show_ends_all_connections(show):
    """Workers are told that the service restarts, and lines under way that the show has ended."""
    async with show.worker("policy") as policy, show.worker("tts") as voice:
        await show.until(lambda: not show.conductor.lights.missing())
        line = await say(show)
        await policy.receive()
        await show.stop()
        assert (await line).reason.startswith("show_ended")
        assert (await voice.closed())[0] == 1012
        show.start()
