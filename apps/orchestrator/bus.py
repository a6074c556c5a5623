"""`WS /bus`: the workers' end. Each may send what its part of the show needs, and nothing else."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, TypeVar

import structlog
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from apps.orchestrator.conductor import Conductor
from apps.shared.errors import BadMessageError
from apps.shared.messages import (
    PROTOCOL,
    Decision,
    Error,
    FirstToken,
    Health,
    Hello,
    Level,
    Message,
    Mouth,
    NoWords,
    Partial,
    Persona,
    Piece,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    Process,
    SpeechEnd,
    Stopped,
    Thought,
    Transcript,
    UtteranceStarted,
    Voices,
    Welcome,
)
from apps.shared.wire import FRAME_MESSAGES, REPLACED, Outbox, decode, encode

HELLO_LIMIT_S = 5.0
POLICY_VIOLATION, TRY_LATER, OLD_PROTOCOL = 1008, 1013, 4400

MAY_SEND: dict[str, tuple[type[Message], ...]] = {
    "policy": (Health, Persona, FirstToken, Decision, Piece, Thought, Stopped),
    "asr": (Health, UtteranceStarted, Partial, Transcript, NoWords, Level),
    "tts": (
        Health,
        PieceReady,
        Mouth,
        PieceStarted,
        PieceHushed,
        PieceResumed,
        PiecePlayed,
        SpeechEnd,
        Stopped,
        Voices,
    ),
    "supervisor": (Process,),
}

AnyMessage = TypeVar("AnyMessage", bound=Message)
log = structlog.get_logger()


class Bus:
    """The workers that are connected, one connection each."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._sockets: dict[str, WebSocket] = {}
        self.routes = APIRouter()
        self.routes.add_api_websocket_route("/bus", self.serve)

    async def serve(self, socket: WebSocket) -> None:
        """One worker, from its Hello to its end."""
        await socket.accept()
        try:
            async with asyncio.timeout(HELLO_LIMIT_S):
                hello = await _hello(socket)
        except (TimeoutError, WebSocketDisconnect, BadMessageError) as error:
            what = str(error) or f"none came within {HELLO_LIMIT_S:.0f} s"
            await _close(socket, POLICY_VIOLATION, f"a valid Hello has to come first ({what})")
            return
        if hello.protocol != PROTOCOL:
            reason = f"protocol {hello.protocol}, this show speaks {PROTOCOL}: restart all"
            await _close(socket, OLD_PROTOCOL, reason)
            return
        older, self._sockets[hello.module] = self._sockets.get(hello.module), socket
        if older is not None:
            await _close(older, REPLACED, "another process has joined under this name")
        with contextlib.suppress(WebSocketDisconnect):  # it has gone before it was welcomed
            await self._work(socket, hello)

    async def _work(self, socket: WebSocket, hello: Hello) -> None:
        await socket.send_text(encode(Welcome(show_id=self._conductor.show_id)))
        outbox = Outbox()

        def send(message: Message) -> None:
            if not outbox.put(message):
                outbox.close()

        self._conductor.joined(hello.module, hello.pid, send)
        log.info("worker joined", of=hello.module, worker_pid=hello.pid)
        writer = asyncio.create_task(write_all(socket, outbox, FRAME_MESSAGES))
        try:
            await self._read(socket, hello.module, outbox)
        finally:
            writer.cancel()
            if self._sockets.get(hello.module) is socket:
                del self._sockets[hello.module]
                self._conductor.left(hello.module, "its connection has ended")

    async def _read(self, socket: WebSocket, module: str, outbox: Outbox) -> None:
        allowed = MAY_SEND[module]
        while (frame := await socket.receive())["type"] == "websocket.receive":
            try:
                messages = _expected(frame, *allowed)
            except BadMessageError as error:
                log.warning("bad frame", of=module, code=error.code, reason=str(error))
                outbox.put(Error(code=error.code, reason=str(error)))
                continue
            for message in messages:
                self._conductor.receive(module, message)


def _expected(frame: Mapping[str, Any], *types: type[AnyMessage]) -> list[AnyMessage]:
    """Decode a frame that has to hold such messages and no other."""
    text = frame.get("text")
    if text is None:
        raise BadMessageError("unexpected_binary", "binary frames carry audio, and none is expected here")
    messages = decode(text)
    expected: list[AnyMessage] = [message for message in messages if isinstance(message, types)]
    if len(expected) < len(messages):
        names = ", ".join(type(message).__name__ for message in messages)
        raise BadMessageError("unexpected_type", f"{names}: not yours to send here")
    return expected


async def _hello(socket: WebSocket) -> Hello:
    frame = await socket.receive()
    if frame["type"] != "websocket.receive":
        raise WebSocketDisconnect(frame.get("code", 1006))
    hello, *rest = _expected(frame, Hello)
    if rest or hello.module not in MAY_SEND:
        raise BadMessageError("unknown_module", f"there is no worker {hello.module!r}")
    return hello


async def write_all(socket: WebSocket, outbox: Outbox, frame_messages: int = 1) -> None:
    """Write until the connection ends, as many messages to a frame; a peer that does not read is closed."""
    try:
        while True:
            await socket.send_text(encode(*await outbox.get(frame_messages)))
    except ConnectionAbortedError:
        await _close(socket, TRY_LATER, "too far behind")
    except (WebSocketDisconnect, RuntimeError):
        pass  # the reader sees the same end and cleans up


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it has closed by itself meanwhile
        await socket.close(code, reason[:120])  # a close frame holds 123 bytes
