"""`aivt up`: starts the processes of a show, restarts what dies, stops them in order, leaves none behind."""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field

import structlog

from apps.orchestrator.folder import SHOW, SUPERVISOR, only_one
from apps.orchestrator.lights import NEEDED
from apps.shared.client import Client
from apps.shared.clock import now_s
from apps.shared.edge import ERROR, FIX
from apps.shared.errors import AivtError, MissingError, PortInUseError, SettingsError
from apps.shared.messages import BusMessage, Message, ModuleState, Process, Ready
from apps.shared.process import settings_and_logs, until_stopped
from apps.shared.settings import Settings

STARTED = ("orchestrator", "policy", "tts", "asr")
STOPPED = (
    ("asr", "policy"),
    ("tts",),
    ("orchestrator",),
)  # what hears and thinks, what sounds, what binds them
DELAYS_S = (0.0, 0.5, 1.0, 2.0, 4.0)  # before each restart; one more death within the window and it is over
WINDOW_S = 60.0
BY_HAND = {error.exit_code: error for error in (SettingsError, MissingError, PortInUseError)}
CLOSING_S, TERMINATING_S = 2.0, 1.0  # for each group in turn: 9 s at the worst
TAIL_LINES = 20
LINE_LIMIT_BYTES = 1_000_000
# Keep Ctrl+C in the terminal from the children: it is we who stop them, in order.
OWN_GROUP: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # Windows only

log = structlog.get_logger()


class Restarts:
    """Decides, pure, whether a process that died is started again, and after how long."""

    def __init__(self) -> None:
        self.count = 0
        self._deaths: deque[float] = deque()

    def after_death(self, at_s: float) -> float | None:
        """Return the delay before the next start; None to give up."""
        self._deaths.append(at_s)
        while at_s - self._deaths[0] > WINDOW_S:
            self._deaths.popleft()
        if len(self._deaths) > len(DELAYS_S):
            return None
        self.count += 1
        return DELAYS_S[len(self._deaths) - 1]


@dataclass
class Child:
    """One process of the show."""

    name: str
    process: asyncio.subprocess.Process | None = None
    restarts: Restarts = field(default_factory=Restarts)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    state: ModuleState = "starting"
    reason: str = ""
    fix: str = ""

    def report(self) -> Process:
        """What the orchestrator is to know about it."""
        return Process(
            module=self.name, state=self.state, reason=self.reason, fix=self.fix, restarts=self.restarts.count
        )

    def last_words(self) -> tuple[str, str]:
        """Return the error and the fix that it printed before it died, if it did."""
        said = dict.fromkeys((ERROR, FIX), "")
        for line in self.tail:
            for mark in said:
                if line.startswith(mark):
                    said[mark] = line.removeprefix(mark)
        return said[ERROR], said[FIX]


class Supervisor:
    """Keeps the processes of a show running. On the bus it is a worker, so that its news reach the panel."""

    module = "supervisor"

    def __init__(self, settings: Settings, *, rehearsal: bool, without: frozenset[str]) -> None:
        self._client = Client(settings)
        self._rehearsal = rehearsal
        self._without = without
        self._children = {name: Child(name) for name in STARTED if name not in without}
        self._ready = False

    async def run(self) -> None:
        """Run the show until cancelled. Raises AivtError when the show cannot start or go on."""
        try:
            async with asyncio.TaskGroup() as group:
                for child in self._children.values():
                    group.create_task(self._keep(child))
                group.create_task(self._client.run(self))
        finally:
            await asyncio.shield(self._stop_all())

    # --- on the bus ---

    def health(self) -> None:
        """There is no light for the supervisor: without it there is nobody to look."""

    def joined(self) -> Iterable[Message]:
        """Tell a (re)started orchestrator how the others are."""
        return [child.report() for child in self._children.values()]

    def receive(self, message: BusMessage) -> None:
        """Wait for the word that she can speak."""
        if isinstance(message, Ready) and not self._ready:
            self._ready = True
            print(f"READY {message.url}", flush=True)
            print(
                'Try, in another terminal:  python scripts/aivt.py say "hi Kitsu, how are you?"', flush=True
            )

    def lost(self) -> None:
        """Nothing: the orchestrator is being restarted, by us."""

    # --- processes ---

    async def _keep(self, child: Child) -> None:
        """Run one process, again and again, until it is not worth it."""
        while True:
            await self._start(child)
            code = await self._follow(child)
            error, fix = child.last_words()
            reason = error or f"it ended with exit code {code}"
            if code in BY_HAND or (delay_s := child.restarts.after_death(now_s())) is None:
                self._give_up(child, code, reason, fix)
                return
            restart = f"{reason}; restart {child.restarts.count} in {delay_s:.1f} s"
            self._set(child, "starting", restart, fix)
            await asyncio.sleep(delay_s)

    def _give_up(self, child: Child, code: int, reason: str, fix: str) -> None:
        """Red light; and the end of the show when it cannot begin without this one, or lost its centre."""
        self._set(child, "down", f"given up: {reason}", fix or "Look at its log, then start the show again.")
        if child.name == "orchestrator" or (child.name in NEEDED and not self._ready):
            raise BY_HAND.get(code, AivtError)("process_failed", f"{child.name}: {reason}", fix=child.fix)

    def _set(self, child: Child, state: ModuleState, reason: str, fix: str) -> None:
        child.state, child.reason, child.fix = state, reason, fix
        log.warning("process", of=child.name, state=state, reason=reason, fix=fix)
        self._client.send(child.report())

    async def _start(self, child: Child) -> None:
        child.tail.clear()
        child.process = await asyncio.create_subprocess_exec(
            *self._command(child.name),
            stdin=subprocess.PIPE,  # held open by us: its end tells the process to stop, however we end
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
            limit=LINE_LIMIT_BYTES,
            creationflags=OWN_GROUP,
            start_new_session=sys.platform != "win32",
        )

    def _command(self, name: str) -> list[str]:
        command = [sys.executable, "-m", "apps.cli", "--supervised"]
        if name == "orchestrator":
            command += ["--rehearsal"] if self._rehearsal else []
            command += ["--without", ",".join(sorted(self._without))] if self._without else []
        return [*command, "run", name]

    async def _follow(self, child: Child) -> int:
        """Pass on what the process prints, until it ends; return its exit code."""
        process = child.process
        assert process is not None and process.stdout is not None  # noqa: PT018
        async for line in _lines(process.stdout):
            text = line.decode("utf-8", "replace").rstrip()
            child.tail.append(text)
            if not text.startswith((ERROR, FIX)):  # its last words: told by us, with what follows from them
                print(text, file=sys.stderr)
        return await process.wait()

    async def _stop_all(self) -> None:
        for names in STOPPED:
            children = [self._children[name] for name in names if name in self._children]
            running = [one.process for one in children if one.process and one.process.returncode is None]
            await asyncio.gather(*map(_stop, running))
        log.info("show ended")


async def _lines(output: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Read lines; of one that is longer than LINE_LIMIT_BYTES, what came first is dropped."""
    while True:
        try:
            line = await output.readline()
        except ValueError:
            continue
        if not line:
            return
        yield line


async def _stop(process: asyncio.subprocess.Process) -> None:
    """Ask, insist, then kill."""
    assert process.stdin is not None
    process.stdin.close()
    for limit_s, insist in ((CLOSING_S, process.terminate), (TERMINATING_S, process.kill)):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await process.wait()
            return
        with contextlib.suppress(ProcessLookupError):
            insist()
    await process.wait()


def up(options: argparse.Namespace) -> None:
    """Run a whole show in the foreground."""
    settings = settings_and_logs("supervisor")
    with only_one(settings, SUPERVISOR):
        with only_one(settings, SHOW):
            pass  # an orchestrator that was started by hand holds it
        supervisor = Supervisor(settings, rehearsal=options.rehearsal, without=options.without)
        asyncio.run(until_stopped(supervisor.run(), supervised=False))
