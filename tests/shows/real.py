"""A real show for tests: `aivt up` with its real processes, on a port chosen by the system."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[2]
AIVT = [sys.executable, "-m", "apps.cli"]
PATIENCE_S = 20.0


class RealShow:
    """One `aivt up`, and what a person can do with it from other terminals."""

    def __init__(self, folder: Path, *options: str, **settings: str) -> None:
        self.folder = folder
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("AIVT_", "USE_STUB"))
            },
            "AIVT_PORT": "0",
            "AIVT_DATA_DIR": str(folder),
            "POLICY_ENGINE": "scripted",
            "TTS_OUTPUT": f"dir:{folder / 'heard'}",
            **settings,
        }
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*AIVT, "up", "--rehearsal", "--no-browser", *options],
            cwd=PROJECT,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def aivt(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another command against this show."""
        return subprocess.run(
            [*AIVT, *arguments],
            cwd=PROJECT,
            env=self.env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def say(self, text: str, *options: str) -> dict[str, Any]:
        """Put a line into the show and return what `aivt say --json` prints."""
        done = self.aivt("say", text, "--json", *options)
        assert done.stdout, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def saying(self, text: str) -> subprocess.Popen[str]:
        """Put a line into the show without waiting for its end."""
        command = [*AIVT, "say", text, "--json"]
        return subprocess.Popen(
            command, cwd=PROJECT, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def status(self) -> dict[str, Any]:
        """What `aivt status --json` prints; {} while the orchestrator is away."""
        done = self.aivt("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def pid(self, name: str) -> int:
        """The process whose command line ends with `run NAME`."""
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if child.cmdline()[-2:] == ["run", name]:
                    return child.pid
        raise AssertionError(f"{name} does not run")

    def wait_for(self, what: Callable[[], object], why: str) -> None:
        """Wait until something is true; fail with the show's output when it does not become so."""
        deadline = time.monotonic() + PATIENCE_S
        while not what():
            if time.monotonic() > deadline:
                raise AssertionError(f"{why}\n" + "\n".join(self.lines))
            time.sleep(0.02)

    def wait_ready(self) -> str:
        """Wait for READY; return the URL."""
        self.wait_for(lambda: any(line.startswith("READY ") for line in self.lines), "no READY")
        return next(line for line in self.lines if line.startswith("READY ")).split()[1]

    def stop(self) -> int:
        """Ctrl+C; returns the exit code. What does not end by itself is killed, and fails the test."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(10)
        finally:
            for process in self.family():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self.process.kill()
            self.process.wait(5)
            self._reader.join(5)
            assert self.process.stdout
            self.process.stdout.close()

    def family(self) -> list[psutil.Process]:
        """All processes of the show that run."""
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextlib.contextmanager
def real_show(folder: Path, *options: str, **settings: str) -> Iterator[RealShow]:
    """A show that is ready, and is stopped at the end."""
    show = RealShow(folder, *options, **settings)
    try:
        show.wait_ready()
        yield show
    finally:
        show.stop()
