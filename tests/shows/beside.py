"""What stands beside a real show in a test: servers in a thread, and its HTTP surface without a terminal."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil

from tests.shows.real import RealShow, real_show

LIMIT_S = 30.0
HOST = "apps.policy.llamacpp.host"  # the process that runs llama.cpp


class Served(Protocol):
    """A stand-in server."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Servers:
    """An event loop in a thread of its own, where stand-ins run while the test waits for real processes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="stand-ins")
        self._thread.start()
        self._running: list[Served] = []

    def start(self, served: Served) -> None:
        """Listen; a stand-in that was stopped does so on the same port again."""
        self._do(served.start)
        self._running.append(served)

    def stop(self, served: Served) -> None:
        """Close it, as Ctrl+C in its terminal would."""
        self._running.remove(served)
        self._do(served.stop)

    def close(self) -> None:
        """Stop all, end the thread."""
        for served in [*self._running]:
            self.stop(served)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(LIMIT_S)
        self._loop.close()

    def _do(self, work: Callable[[], Awaitable[None]]) -> None:
        async def done() -> None:
            await work()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(LIMIT_S)


@contextlib.contextmanager
def quiet_show(folder, **settings: str) -> Iterator["Show"]:
    """A show whose sound is neither heard nor waited for; ended with Ctrl+C, after which nothing may run."""
    quiet = {"USE_STUB_TTS": "1", "TTS_OUTPUT": "discard", "POLICY_MODEL": "kitsu"}
    with real_show(folder, **{**quiet, **settings}) as real:
        show = Show(real)
        yield show
        family = real.family()
        assert real.stop() == 0
        assert show.left_of(family) == []


class Show:
    """A real show, asked over HTTP: an interpreter for each question would take most of a test's time."""

    def __init__(self, real: RealShow) -> None:
        self.real = real
        self._url = real.wait_ready().rstrip("/")
        self._token = (real.folder / "token").read_text("utf-8").strip()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """GET, or POST with a body; return the status and the answer."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self._url + path, data, headers), timeout=LIMIT_S) as answer:
                return answer.status, json.loads(answer.read())
        except HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def say(self, text: str = "hi Kitsu") -> dict[str, Any]:
        """Put a line into the show and wait for its end."""
        status, result = self.ask("/control/say", {"text": text})
        assert status == 200, result
        return result

    def light(self, module: str = "policy") -> dict[str, Any]:
        """Return one light of the panel."""
        light: dict[str, Any] = self.ask("/status")[1]["modules"][module]
        return light

    def until(self, module: str = "policy", **wanted: str) -> dict[str, Any]:
        """Wait until a light shows this; return it."""
        seen: dict[str, Any] = {}

        def shown() -> bool:
            seen.update(self.light(module))
            return wanted.items() <= seen.items()

        self.real.wait_for(shown, f"{module} never showed {wanted}: {seen}")
        return seen

    def host(self) -> psutil.Process | None:
        """Return the process that runs llama.cpp."""
        return next((each for each in self.real.family() if HOST in _command(each)), None)

    @staticmethod
    def left_of(family: list[psutil.Process]) -> list[str]:
        """Return what still runs of these processes, a little later."""
        names = {process.pid: " ".join(_command(process)[-2:]) for process in family}
        _gone, alive = psutil.wait_procs(family, timeout=10)
        return [names[process.pid] for process in alive]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
