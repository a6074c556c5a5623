"""The orchestrator as it is served: the real application on a real socket, and peers that speak to it."""

import asyncio
import contextlib
import json
import os
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from apps.orchestrator.app import _listener, _serve, build
from apps.orchestrator.conductor import Conductor
from apps.orchestrator.journal import Journal
from apps.orchestrator.lights import Lights
from apps.orchestrator.show import Limits
from apps.shared.access import make_token, publish_port
from apps.shared.clock import now_s
from apps.shared.messages import (
    PROTOCOL,
    Approved,
    BusMessage,
    Decision,
    Health,
    Hello,
    Message,
    Persona,
    Piece,
    Welcome,
    fingerprint,
)
from apps.shared.settings import Settings
from apps.shared.wire import decode, encode

HEALTHY = Health(state="ok", ready=True, engine="fake")
PERSONA = Persona(id="kitsu", style="kitsu", styles=("cozy", "hype", "kitsu"))


class Served:
    """A running orchestrator."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(_env_file=None, aivt_data_dir=folder, aivt_port=0)
        self.token = make_token(self.settings)
        self.journal = Journal(folder / "journal.db", "show", "2026-01-01T00:00:00+00:00")
        self.conductor = Conductor("show", self.journal, Limits(thinking_s=20), Lights(), now_s)
        self.port = 0
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen; again on the same port after a stop."""
        listener = _listener(self.port)
        self.port = listener.getsockname()[1]
        publish_port(self.settings, self.port)
        self._serving = asyncio.create_task(
            _serve(build(self.conductor, self.token), listener, self.conductor.close)
        )

    async def stop(self) -> None:
        """End as on Ctrl+C."""
        assert self._serving
        self._serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._serving

    def connect(self, path: str = "/bus", **options: Any) -> connect:
        """Open a websocket, with the token unless other headers are given."""
        headers = options.pop("headers", {"Authorization": f"Bearer {self.token}"})
        url = f"ws://127.0.0.1:{self.port}{path}"
        return connect(url, additional_headers=headers, proxy=None, max_size=None, **options)

    @contextlib.asynccontextmanager
    async def worker(self, module: str) -> AsyncIterator["Peer"]:
        """A worker that has joined and is healthy; policy has a persona too."""
        async with self.connect() as socket:
            peer = Peer(socket)
            await peer.send(Hello(module=module, protocol=PROTOCOL, pid=os.getpid()))
            assert await peer.receive() == Welcome(show_id="show")
            if module != "supervisor":
                await peer.send(HEALTHY)
            if module == "policy":
                await peer.send(PERSONA)
            yield peer

    async def until(self, what: Any) -> None:
        """Wait until `what()` is true; the test's time limit is the deadline."""
        while not what():
            await asyncio.sleep(0.001)

    def light(self, module: str) -> dict[str, Any]:
        """One module's light, as GET /status shows it."""
        modules: Any = self.conductor.status()["modules"]
        light: dict[str, Any] = modules[module]
        return light


@contextlib.asynccontextmanager
async def serving(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    """The orchestrator on a free port, without workers."""
    # uvicorn looks twice, 0.1 s apart, whether it is to end: with a hundred tests that adds up.
    brisk = {**vars(asyncio), "sleep": lambda delay_s: asyncio.sleep(delay_s / 50)}
    monkeypatch.setattr("uvicorn.server.asyncio", SimpleNamespace(**brisk))
    show = Served(folder)
    show.start()
    try:
        yield show
    finally:
        await show.stop()
        show.journal.close("2026-01-01T04:00:00+00:00")


class Peer:
    """One end of a connection."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._read: deque[BusMessage] = deque()

    async def send(self, *messages: Message) -> None:
        for message in messages:
            await self.socket.send(encode(message))

    async def receive(self) -> BusMessage:
        """The next message: several may come in one frame."""
        if not self._read:
            self._read.extend(decode(await self.socket.recv()))
        return self._read.popleft()

    async def receive_json(self) -> Any:
        return json.loads(await self.socket.recv())

    async def closed(self) -> tuple[int | None, str]:
        """Read to the end; return the code and the reason of the close."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.socket.recv()
        return self.socket.close_code, self.socket.close_reason or ""


def decided(turn_id: str, text: str, action: Any = "allow") -> tuple[Decision, Piece]:
    """A piece as policy's gate makes it, with the decision on record."""
    approved = Approved(text, text, f"{turn_id}.0", fingerprint(text, text))
    decision = Decision(turn_id=turn_id, decision_id=f"{turn_id}.0", action=action, sha256=approved.sha256)
    return decision, Piece(turn_id=turn_id, index=0, approved=approved, at_s=now_s())
