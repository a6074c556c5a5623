"""A whole show in one process and in virtual time: the real conductor, policy and voice, no sockets.

Messages still pass through the wire's encoding, and each hop takes a turn of the event loop, so that the
order of things is that of the real processes.
"""

import asyncio
import contextlib
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

from apps.orchestrator.app import listening
from apps.orchestrator.conductor import Conductor
from apps.orchestrator.journal import Journal
from apps.orchestrator.lights import Lights
from apps.orchestrator.lines import Result
from apps.orchestrator.show import Limits
from apps.policy.prompt import Prompt
from apps.policy.worker import Policy
from apps.shared.client import HEARTBEAT_S
from apps.shared.errors import EngineError
from apps.shared.messages import Delivery, Message
from apps.shared.settings import Settings
from apps.shared.wire import decode, encode
from apps.tts_worker.engines.tone import Tone
from apps.tts_worker.voice import Chunk
from apps.tts_worker.worker import Tts
from tests.fakes.executor import Inline


class PacedBrain:
    """120 ms to the first token, then 60 words a second; `{text}` in the reply is the viewer's line."""

    engine, model = "paced", ""
    reply_text = "Oh hello there, you said {text}. That is a fine thing to say! I like it a lot."
    aborted = 0

    def __init__(self, settings: Settings) -> None:
        """Nothing to set."""

    async def start(self, prompt: Prompt) -> None:
        """Nothing to load."""

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        finished = False
        try:
            await asyncio.sleep(0.12)
            for word in self.reply_text.format(text=prompt.line.text).split(" "):
                yield word + " "
                await asyncio.sleep(1 / 60)
            finished = True
        finally:
            type(self).aborted += not finished

    async def warm(self, prompt: Prompt) -> None:
        """Nothing gets cold."""

    async def close(self) -> None:
        """Nothing to free."""


class FlakyVoice(Tone):
    """A voice that may be broken for a while."""

    engine = voice = "flaky"
    trouble_now: ClassVar[EngineError | None] = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._check()

    def synthesize(self, text: str, delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        self._check()
        super().synthesize(text, delivery, give)

    def _check(self) -> None:
        if self.trouble_now:
            raise self.trouble_now


class Stage:
    """The show under test."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        values: dict[str, Any] = {
            "aivt_data_dir": folder,
            "policy_engine": "tests.shows.stage:PacedBrain",
            "tts_engine": "tone",
            "tts_output": f"dir:{folder}/heard",
            **settings,
        }
        self.settings = Settings(_env_file=None, **values)
        self.loop = asyncio.get_running_loop()
        self.journal = Journal(folder / "journal.db", "show", "2026-01-01T00:00:00+00:00")
        self.conductor = Conductor(
            "show",
            self.journal,
            Limits(thinking_s=20),
            Lights(),
            self.loop.time,
            listening=listening(self.settings),
        )
        self.seen: list[Message] = []  # all that the workers were told and told, in order
        self._running: dict[str, tuple[Policy | Tts, asyncio.Task[None]]] = {}
        self._hung: set[str] = set()

    def start(self, module: str) -> None:
        """Start a worker and let it join."""

        def to_conductor(message: Message) -> None:
            if module in self._running and module not in self._hung:
                self.seen.append(message)
                (sent,) = decode(encode(message))
                self.loop.call_soon(self._received, module, worker, sent)

        worker: Policy | Tts
        if module == "policy":
            worker = Policy(self.settings, to_conductor, self.loop.time)
        else:
            worker = Tts(self.settings, to_conductor, self.loop.time, Inline())
        work = asyncio.create_task(self._work(module, worker, to_conductor))
        self._running[module] = (worker, work)

        def to_worker(message: Message) -> None:
            self.seen.append(message)
            if module not in self._hung:
                (sent,) = decode(encode(message))
                self.loop.call_soon(worker.receive, sent)

        self.conductor.joined(module, 1, to_worker)

    def _received(self, module: str, worker: Policy | Tts, message: Message) -> None:
        if module in self._running and self._running[module][0] is worker:
            self.conductor.receive(module, message)

    async def _work(self, module: str, worker: Policy | Tts, send: Callable[[Message], None]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            for message in worker.joined():
                send(message)
            while True:
                send(worker.health())
                await asyncio.sleep(HEARTBEAT_S / 10)

    async def kill(self, module: str) -> None:
        """End a worker as kill -9 does: no goodbye, the bus notices."""
        _worker, work = self._running.pop(module)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        self.conductor.left(module, "its connection has ended")

    def worker(self, module: str) -> Policy | Tts:
        """The worker itself, to look inside."""
        return self._running[module][0]

    def hang(self, module: str) -> None:
        """Make a worker deaf and dumb, as SIGSTOP does, without leaving the bus."""
        self._hung.add(module)

    def say(self, text: str, user: str = "mika") -> asyncio.Task[Result]:
        """Put a line into the show."""
        return asyncio.create_task(self.conductor.say(text, user, "chat"))

    def heard_s(self, turn_id: str) -> float:
        """How many seconds of sound a turn's WAV has."""
        with wave.open(str(self.settings.aivt_data_dir / "heard" / f"{turn_id}.wav")) as file:
            return float(file.getnframes() / file.getframerate())

    async def close(self) -> None:
        for module in list(self._running):
            await self.kill(module)
        self.journal.close("2026-01-01T04:00:00+00:00")


@contextlib.asynccontextmanager
async def stage(folder: Path, **settings: Any) -> AsyncIterator[Stage]:
    """A show with both workers joined and ready."""
    PacedBrain.aborted = 0
    FlakyVoice.trouble_now = None
    show = Stage(folder, **settings)
    watch = asyncio.create_task(show.conductor.watch(1))
    try:
        show.start("policy")
        show.start("tts")
        async with asyncio.timeout(5):
            while show.conductor.lights.missing():
                await asyncio.sleep(0.01)
        yield show
    finally:
        watch.cancel()
        await show.close()
