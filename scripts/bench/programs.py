"""A program under measurement: started, listened to, weighed, and ended by its process id."""

import contextlib
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Self

import psutil

from apps.shared.clock import now_s
from apps.shared.errors import AivtError
from apps.shared.settings import PROJECT_DIR

ENDING_LIMIT_S = 10.0
TAIL_LINES = 15


class Program:
    """A Python module that runs as a process, perhaps with children."""

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None) -> None:
        self.name = arguments[0]
        self.started_s = now_s()
        self._process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", *arguments],
            cwd=PROJECT_DIR,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=sys.platform != "win32",  # Ctrl+C is for the bench, which then ends it
        )
        self._lines: queue.Queue[tuple[float, str] | None] = queue.Queue()
        self._said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._lines.put((now_s(), line.rstrip()))
        self._lines.put(None)

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def wait_line(self, start: str, limit_s: float) -> tuple[float, str]:
        """Wait for a line that begins so; return when it came, and the line. Raises AivtError."""
        deadline_s = now_s() + limit_s
        with contextlib.suppress(queue.Empty):
            while came := self._lines.get(timeout=max(0.0, deadline_s - now_s())):
                self._said.append(came[1])
                if came[1].startswith(start):
                    return came
        tail = "\n".join(self._said[-TAIL_LINES:])
        reason = f"{self.name} ended, or was silent for {limit_s:g} s, before {start!r}:\n{tail}"
        raise AivtError("bench_failed", reason, fix="Run the bench again, or mend what is said above.")

    def family(self) -> list[psutil.Process]:
        """Return the process and all of its children, as far as they run."""
        try:
            top = psutil.Process(self._process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def cpu_s(self) -> float:
        """Processor time of the family so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.family())

    def stop(self) -> None:
        """Ask it to end; end whatever has not."""
        family = self.family()
        assert self._process.stdin and self._process.stdout  # noqa: PT018
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        if self._process.poll() is None:
            # A supervisor that is terminated leaves children whose standard input ends: they stop by that.
            ask = signal.SIGTERM if sys.platform == "win32" else signal.SIGINT
            self._process.send_signal(ask)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDING_LIMIT_S)
        _gone, alive = psutil.wait_procs(family, timeout=1)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(ENDING_LIMIT_S)
        self._reader.join(ENDING_LIMIT_S)
        self._process.stdout.close()
