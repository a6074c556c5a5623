"""The policy worker: decides what she says. Read this first."""

import argparse
import asyncio
import contextlib
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec
import structlog

from apps.policy import persona as personas
from apps.policy.answer import Answer
from apps.policy.brain import Brain
from apps.policy.brains import Brains
from apps.policy.idle import Idle
from apps.policy.prompt import Exchange, Line, Prompt, trimmed
from apps.shared import speakable
from apps.shared.client import Client
from apps.shared.clock import now_s as shared_clock
from apps.shared.errors import EngineError, SettingsError
from apps.shared.messages import (
    BusMessage,
    Cancel,
    Delivery,
    Health,
    Heard,
    Message,
    Persona,
    SetStyle,
    Stopped,
    Think,
    Thought,
)
from apps.shared.process import run_worker
from apps.shared.settings import Settings

SAMPLE_LINE = Line("streamer", "hi", "chat")  # the warm-up's; only what stands before it matters
SETTLE_S = 0.3  # while chat is busy the next turn follows at once, and warming up would only be in its way
WARM_LIMIT_S = 60.0
KEEP_WARM_S = 600.0  # a model that nobody asks for so long may be put out of memory

log = structlog.get_logger()


class Policy:
    """Answers one line at a time, remembers what was heard, changes manner."""

    module = "policy"

    def __init__(
        self, settings: Settings, send: Callable[[Message], None], now_s: Callable[[], float] = shared_clock
    ) -> None:
        self._settings = settings
        self._send = send
        self._now_s = now_s
        self._persona = personas.load(settings.aivt_persona)
        self._idle = Idle()
        self._brains = Brains(settings, lambda: send(self.health()), self._idle)
        self._cold = asyncio.Event()  # the next prompt begins as none before it
        self._history: tuple[Exchange, ...] = ()
        self._lines: dict[str, Line] = {}  # of turns whose end is not known yet
        self._turn: tuple[str, asyncio.Task[None]] | None = None
        self._hiccups = itertools.count()

    async def run(self) -> None:
        """Keep the brain up and own the turns, for ever."""
        async with asyncio.TaskGroup() as brains:
            brains.create_task(self._brains.run(self._next_prompt))
            # Within it: turns are over before the brains that they use are closed.
            async with asyncio.TaskGroup() as self._tasks:
                await self._warm_up()

    def _next_prompt(self) -> Prompt:
        """What the next prompt will be, but for its line."""
        return Prompt(self._persona, self._history, SAMPLE_LINE)

    async def _warm_up(self) -> None:
        """Import what numbers in words need, a second's work, once she can speak; then keep her warm."""
        await self._brains.ready.wait()
        await asyncio.to_thread(speakable.warm)
        while True:
            # Not wait_for: up to Python 3.11 it drops a cancellation that comes as the event is set.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_WARM_S):
                    await self._cold.wait()
            self._cold.clear()
            await self._idle.run(self._warm)

    async def _warm(self) -> None:
        """Have the model evaluate now what the next turn would wait for."""
        await asyncio.sleep(SETTLE_S)
        if (brain := self._brains.current) is None:
            return
        try:
            async with asyncio.timeout(WARM_LIMIT_S):
                await brain.warm(self._next_prompt())
        except EngineError as error:
            if brain is self._brains.current:  # else it was closed, as a better one has replaced it
                self._brains.failed(brain, error)  # better noticed now than by a viewer
        except TimeoutError:
            log.info("not warmed up in time", engine=brain.engine)

    def health(self) -> Health:
        """How the brain is."""
        return self._brains.health()

    def joined(self) -> Iterable[Message]:
        """Tell the orchestrator who she is."""
        yield self._who()

    def _who(self, error: SettingsError | None = None) -> Persona:
        """Who she is; `error`: why she is not who she should be now."""
        voice = self._persona.voice
        return Persona(
            id=self._settings.aivt_persona,
            style=self._persona.id,
            styles=tuple(personas.names()),
            name=self._persona.name,
            voice=voice.name,
            delivery=msgspec.convert(voice, Delivery, from_attributes=True),
            code=error.code if error else "",
            reason=str(error or ""),
            fix=error.fix if error else "",
        )

    def receive(self, message: BusMessage) -> None:
        """Take a message of the orchestrator."""
        match message:
            case Think():
                self._think(message)
            case Cancel(turn_id=turn_id) if self._turn and self._turn[0] == turn_id:
                self._turn[1].cancel()
            case Heard():
                self._remember(message)
            case SetStyle(name=name):
                self._change_manner(name)
            case _:
                pass

    def _change_manner(self, name: str) -> None:
        try:
            self._persona = personas.load(name)
        except SettingsError as error:  # its file was edited since the names were told: she stays as she is
            log.error("manner not changed", code=error.code, reason=str(error), fix=error.fix)
            self._send(self._who(error))
        else:
            self._cold.set()
            self._send(self._who())

    def lost(self) -> None:
        """The orchestrator is gone, and with it whoever waited for the reply."""
        if self._turn:
            self._turn[1].cancel()
        self._lines.clear()

    def _think(self, think: Think) -> None:
        if self._turn:  # the orchestrator has gone on without it
            self._turn[1].cancel()
        if (brain := self._brains.current) is None:
            reason = "not_ready: the brain is being loaded"
            at_s = self._now_s()
            self._send(Thought(turn_id=think.turn_id, pieces=0, outcome="failed", at_s=at_s, reason=reason))
            return
        line = self._lines[think.turn_id] = Line(think.user, think.text, think.lane)
        prompt = Prompt(self._persona, self._history, line)
        task = self._tasks.create_task(self._answer(think.turn_id, brain, prompt))
        task.add_done_callback(lambda done: self._done(think.turn_id, done))
        self._turn = (think.turn_id, task)

    async def _answer(self, turn_id: str, brain: Brain, prompt: Prompt) -> None:
        structlog.contextvars.bind_contextvars(turn_id=turn_id)
        answer = Answer(turn_id, self._settings, self._send, self._now_s)
        hiccups = self._persona.hiccups
        hiccup = hiccups[next(self._hiccups) % len(hiccups)]
        with self._idle.turn():
            await answer.give(self._brains, brain, prompt, hiccup)

    def _done(self, turn_id: str, task: asyncio.Task[None]) -> None:
        if self._turn and self._turn[0] == turn_id:
            self._turn = None
        if task.cancelled():
            self._send(Stopped(turn_id=turn_id, at_s=self._now_s()))

    def _remember(self, heard: Heard) -> None:
        line = self._lines.pop(heard.turn_id, None)
        if line is not None and heard.text:
            line = replace(line, text=heard.line or line.text)
            self._history = trimmed((*self._history, Exchange(line, heard.text)))
            self._cold.set()


async def run(settings: Settings, _options: argparse.Namespace) -> None:
    """Decide what she says until cancelled: `aivt run policy`."""
    client = Client(settings)
    worker = Policy(settings, client.send)
    await run_worker(worker, client, worker.run())
