"""What stands beside a real show in a test: stand-in servers, and its HTTP surface without a terminal."""

import asyncio
import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

from tests.shows.real import AIVT, PROJECT, RealShow, real_show

LIMIT_S = 20.0
HOST = "apps.policy.llamacpp.host"  # the process that runs llama.cpp
QUIET = {"USE_STUB_TTS": "1", "TTS_OUTPUT": "discard", "POLICY_MODEL": "kitsu"}

Answer = dict[str, Any]


class Served(Protocol):
    """A stand-in server."""

    async def start(self) -> None:
        """Listen; after `stop` on the same port again."""

    async def stop(self) -> None:
        """Stop listening, break what is under way."""


class Servers:
    """A thread whose event loop runs stand-ins while the test waits for real processes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-ins")
        self._thread.start()

    @contextlib.contextmanager
    def running(self, *served: Served) -> Iterator[None]:
        """Have them listen; they may be stopped and started meanwhile."""
        with contextlib.ExitStack() as stack:
            for each in served:
                stack.callback(self.stop, each)
                self.start(each)
            yield

    def start(self, served: Served) -> None:
        self._do(served.start)

    def stop(self, served: Served) -> None:
        self._do(served.stop)

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        async def done() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(LIMIT_S)


class Show:
    """A real show that is ready, asked over HTTP: an interpreter for each question takes half a second."""

    def __init__(self, real: RealShow) -> None:
        self.real = real
        self._url = real.wait_ready().rstrip("/")
        self._token = (real.folder / "token").read_text("utf-8").strip()
        self._speaker = ThreadPoolExecutor(1, "viewer")

    def close(self) -> None:
        """Wait for the line that is still being answered."""
        self._speaker.shutdown()

    def ask(self, path: str, body: Answer | None = None) -> tuple[int, Answer]:
        """GET, or POST with a body; return the status and the answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self._url + path, data, headers), timeout=LIMIT_S) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as refused:
            with refused:
                return refused.code, json.loads(refused.read())

    def say(self, text: str = "hi Kitsu") -> Answer:
        """Put a line into the show and wait for its end."""
        status, result = self.ask("/control/say", {"text": text})
        assert status == 200, result
        return result

    def saying(self, text: str) -> "Future[Answer]":
        """Put a line into the show, and do not wait for its end."""
        return self._speaker.submit(self.say, text)

    def status(self) -> Answer:
        return self.ask("/status")[1]

    def turn_id(self) -> str | None:
        """Return the turn that is under way."""
        turn_id: str | None = self.status()["queue"]["turn_id"]
        return turn_id

    def light(self, module: str = "policy") -> Answer:
        """Return one light of the panel."""
        light: Answer = self.status()["modules"][module]
        return light

    def until(self, wanted: Callable[[Answer], object], module: str = "policy") -> Answer:
        """Wait until a light is as wanted; return it."""
        seen: Answer = {}

        def shown() -> object:
            seen.update(self.light(module))
            return wanted(seen)

        self.real.wait_for(shown, f"the light of {module} did not change")
        return seen

    def restarted(self, module: str, kill: psutil.Process) -> Answer:
        """Kill a worker; wait until the next one is there, and return its light."""
        kill.kill()
        there = {"ok", "degraded"}
        return self.until(
            lambda light: light["pid"] not in {None, kill.pid} and light["state"] in there, module
        )

    def process(self, module: str) -> psutil.Process:
        return psutil.Process(self.light(module)["pid"])

    def host(self) -> psutil.Process | None:
        """Return the process that runs llama.cpp."""
        return next((each for each in self.real.family() if HOST in _command(each)), None)


@contextlib.contextmanager
def quiet_show(folder: Path, **settings: str) -> Iterator[Show]:
    """A show whose sound nobody waits for; at its end Ctrl+C must leave nothing behind."""
    with real_show(folder, **{**QUIET, **settings}) as real, contextlib.closing(Show(real)) as show:
        yield show
        family = real.family()
        assert real.stop() == 0
        assert still_there(family) == []


@contextlib.contextmanager
def brainless_show(folder: Path, **settings: str) -> Iterator[RealShow]:
    """A quiet show without a policy process; it is ready as soon as there is one."""
    real = RealShow(folder, "--without", "policy", **{**QUIET, **settings})
    try:
        yield real
    finally:
        real.stop()


@contextlib.contextmanager
def another_policy(real: RealShow, **settings: str) -> Iterator[Show]:
    """`aivt run policy` for a brainless show, once it is there: a third of the time of a whole show."""
    said = real.folder / "policy.out"
    with said.open("wb") as out:
        process = subprocess.Popen(
            [*AIVT, "run", "policy"], cwd=PROJECT, env={**real.env, **settings}, stdout=out, stderr=out
        )
    try:
        with contextlib.closing(Show(real)) as show:
            show.until(lambda light: light["pid"] == process.pid and light["state"] in {"ok", "degraded"})
            yield show
    finally:
        process.kill()
        process.wait(LIMIT_S)


def still_there(family: Iterable[psutil.Process]) -> list[str]:
    """Return what goes on running of these processes."""
    alive = {process: " ".join(_command(process)[-2:]) for process in family}
    deadline = time.monotonic() + LIMIT_S
    while alive and time.monotonic() < deadline:
        alive = {process: name for process, name in alive.items() if not _is_over(process)}
        time.sleep(0.02)
    return [*alive.values()]


def _is_over(process: psutil.Process) -> bool:
    """A zombie has ended and let go of everything; when it is buried is for the system to say."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
