"""A conductor in virtual time, without sockets: its journal remembers, its workers are lists."""

import asyncio
import contextlib
from typing import Any, cast

from apps.orchestrator import show as s
from apps.orchestrator.conductor import Conductor
from apps.orchestrator.journal import Journal
from apps.orchestrator.lights import Lights
from apps.shared.messages import Health, Message
from tests.orchestrator.served import HEALTHY, PERSONA


class Rows:
    """A journal that only remembers."""

    def __init__(self) -> None:
        self.trouble = ""
        self.turns: dict[object, dict[str, object]] = {}
        self.decisions: list[dict[str, object]] = []
        self.incidents: list[tuple[object, object]] = []
        self.head_starts: list[dict[str, object]] = []

    def turn(self, row: dict[str, object]) -> None:
        self.turns.setdefault(row["id"], {}).update(row)

    def decision(self, row: dict[str, object]) -> None:
        self.decisions.append(row)

    def head_start(self, row: dict[str, object]) -> None:
        self.head_starts.append(row)

    def incident(self, row: dict[str, object]) -> None:
        self.incidents.append((row["module"], row["what"]))


class Led:
    """A conductor, its journal, what it sent to whom, and what the panel saw."""

    def __init__(self, *, rehearsal: bool = False, **listening: Any) -> None:
        self.rows = Rows()
        loop = asyncio.get_running_loop()
        self.conductor = Conductor(
            "show",
            cast(Journal, self.rows),
            s.Limits(thinking_s=20),
            Lights(),
            loop.time,
            listening=s.Listening(**{"streamer": "Robin", **listening}),
            url="http://here/",
            rehearsal=rehearsal,
        )
        self.sent: dict[str, list[Message]] = {}
        self.shown: list[Message] = []
        self.conductor.stream.send = self.shown.append  # type: ignore[method-assign,assignment]

    def join(self, module: str, health: Health = HEALTHY) -> None:
        self.sent[module] = []
        self.conductor.joined(module, 1, self.sent[module].append)
        if module != "supervisor":
            self.conductor.receive(module, health)
        if module == "policy":
            self.conductor.receive(module, PERSONA)

    def say(self, text: str = "hi", user: str = "mika") -> "asyncio.Task[Any]":
        return asyncio.create_task(self.conductor.say(text, user, "chat"))

    def outcomes(self) -> list[object]:
        return [row["outcome"] for row in self.rows.turns.values()]


# Not fixtures: those are set up outside virtual time.
@contextlib.asynccontextmanager
async def leading(**options):
    """A conductor on watch."""
    made = Led(**options)
    watch = asyncio.create_task(made.conductor.watch(1))
    try:
        yield made
    finally:
        watch.cancel()


@contextlib.asynccontextmanager
async def with_both(**options):
    """One that has both workers."""
    async with leading(**options) as led:
        led.join("policy")
        led.join("tts")
        yield led


async def beat(led, seconds: float, *modules: str) -> None:
    """Let time pass in which these workers show that they live."""
    for _ in range(round(seconds)):
        for module in modules:
            led.conductor.receive(module, HEALTHY)
        await asyncio.sleep(1)
