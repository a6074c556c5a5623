"""A worker's end of the bus: dials in, rejoins with back-off, keeps its model loaded meanwhile."""

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator, Iterable
from typing import Protocol

import structlog
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from apps.shared.access import read_port, read_token
from apps.shared.clock import now_s
from apps.shared.errors import AivtError, BadMessageError
from apps.shared.messages import PROTOCOL, BusMessage, Error, Health, Hello, Message, Welcome
from apps.shared.settings import Settings
from apps.shared.wire import FRAME_LIMIT_BYTES, FRAME_MESSAGES, REPLACED, Outbox, decode, encode

HEARTBEAT_S = 1.0
FIRST_RETRY_S = 0.05
LAST_RETRY_S = 0.25  # a try costs a fraction of a millisecond, and she is ready that much sooner
SAY_AFTER_S = 3.0  # a wait as long as any start takes is not worth a line

log = structlog.get_logger()


class Worker(Protocol):
    """What a process does with the bus; all methods return at once, the work goes on in tasks of its own."""

    module: str

    def health(self) -> Health | None:
        """Tell how it is; None for one that has no light."""

    def joined(self) -> Iterable[Message]:
        """Tell what the orchestrator has to know at each (re)joining, beside health."""

    def receive(self, message: BusMessage) -> None:
        """Take one message."""

    def lost(self) -> None:
        """Drop all turns under way: the orchestrator that wanted them is gone."""


class Client:
    """Keeps one worker joined to the orchestrator."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._outbox: Outbox | None = None
        self._spoke = False  # since the last heartbeat was due
        self._away_since_s: float | None = None
        self._refused = ""

    def send(self, message: Message) -> None:
        """Send a message. While the orchestrator is away it is dropped: whoever wanted it is gone."""
        if self._outbox is not None and not self._outbox.put(message):
            self._outbox.close()  # a gap would be worse than an end: both sides begin anew

    async def run(self, worker: Worker) -> None:
        """Stay joined, for ever. Raises AivtError when another process has joined under this name."""
        retry_s = FIRST_RETRY_S
        while True:
            try:
                async with self._joined(worker.module) as socket:
                    retry_s = FIRST_RETRY_S
                    await self._serve(socket, worker)
            except InvalidStatus as refusal:
                self._say_once(_not_ours(refusal.response.status_code))
            except (OSError, WebSocketException, AivtError, TimeoutError) as error:
                self._say_once(error)
            else:
                if socket.close_code == REPLACED:  # rejoining would throw the other one out, for ever in turn
                    raise _replaced(worker.module)
            _end_if_cancelled()
            await asyncio.sleep(retry_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, no secret
            retry_s = min(retry_s * 2, LAST_RETRY_S)

    def _say_once(self, error: Exception) -> None:
        """Log a wait that lasts once, not at each of its retries."""
        if self._away_since_s is None:
            self._away_since_s = now_s()
        if str(error) != self._refused and now_s() - self._away_since_s > SAY_AFTER_S:
            self._refused = str(error)
            log.info("waiting for the orchestrator", reason=str(error), fix=getattr(error, "fix", ""))

    @contextlib.asynccontextmanager
    async def _joined(self, module: str) -> AsyncIterator[ClientConnection]:
        url = f"ws://127.0.0.1:{read_port(self._settings)}/bus"
        token = read_token(self._settings)
        async with connect(
            url,
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,  # on loopback it only costs: 25-30 % of a round trip
            proxy=None,
            max_size=FRAME_LIMIT_BYTES,
            open_timeout=5,
            close_timeout=1,
            ping_interval=5,
            ping_timeout=10,
        ) as socket:
            await socket.send(encode(Hello(module=module, protocol=PROTOCOL, pid=os.getpid())))
            async with asyncio.timeout(5):
                answer, *rest = decode(await socket.recv())
            if rest or not isinstance(answer, Welcome):
                raise InvalidHandshake(f"refused: {answer}")
            self._away_since_s, self._refused = None, ""
            log.info("joined", show=answer.show_id)
            yield socket

    async def _serve(self, socket: ClientConnection, worker: Worker) -> None:
        self._outbox = Outbox()
        for message in filter(None, (worker.health(), *worker.joined())):
            self._outbox.put(message)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = (
                    group.create_task(self._write(socket, self._outbox)),
                    group.create_task(self._beat(worker, self._outbox)),
                )
                await _read(socket, worker)
                for task in tasks:
                    task.cancel()
        except* (OSError, WebSocketException) as lost:
            log.debug("connection broke", reason=str(lost.exceptions[0]))
        finally:
            self._outbox = None
            worker.lost()
            log.info("orchestrator lost; keeping engines loaded")

    async def _write(self, socket: ClientConnection, outbox: Outbox) -> None:
        while True:
            messages = await outbox.get(FRAME_MESSAGES)
            await socket.send(encode(*messages))
            self._spoke = self._spoke or any(not isinstance(message, Health) for message in messages)

    async def _beat(self, worker: Worker, outbox: Outbox) -> None:
        """Tell how the worker is, once a second; any other message is as good a sign of life."""
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            spoke, self._spoke = self._spoke, False
            if not spoke and (health := worker.health()):
                outbox.put(health)


def _end_if_cancelled() -> None:
    """Go on with a cancellation that got lost: up to Python 3.12 a TaskGroup drops the one that comes while a
    task of its own fails, as happens when this process and the orchestrator are stopped together.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _not_ours(status: int) -> AivtError:
    return AivtError(
        "not_ours",
        f"what listens on this port does not take this show's token (HTTP {status})",
        fix="Another show or program has the port: set AIVT_PORT, or AIVT_DATA_DIR.",
    )


def _replaced(module: str) -> AivtError:
    return AivtError(
        "replaced",
        f"another {module} process has joined in this one's place",
        fix="Run only one of them; aivt up starts its own.",
    )


async def _read(socket: ClientConnection, worker: Worker) -> None:
    async for frame in socket:
        try:
            messages = decode(frame)
        except BadMessageError as error:
            log.warning("bad frame from the orchestrator", code=error.code, reason=str(error))
            continue
        for message in messages:
            if isinstance(message, Error):
                log.warning("the orchestrator refused a frame", code=message.code, reason=message.reason)
            else:
                worker.receive(message)
