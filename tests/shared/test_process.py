"""A worker as an operating-system process."""

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import pytest
import structlog

from apps.shared import logs, process
from apps.shared.client import Client, Worker
from apps.shared.errors import EngineError
from apps.shared.process import run_worker, settings_and_logs, until_stopped
from apps.shared.settings import PROJECT_DIR, Settings

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

WORKING = """
import asyncio, sys
from apps.shared.process import until_stopped

async def work():
    print("working", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)

asyncio.run(until_stopped(work(), supervised="supervised" in sys.argv))
"""


@contextlib.contextmanager
def working(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process in the middle of its work."""
    command = [sys.executable, "-c", WORKING, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=PROJECT_DIR, stdin=pipe, stdout=pipe, stderr=None, text=True
    ) as running:
        assert running.stdout
        assert running.stdout.readline() == "working\n"
        try:
            yield running
        finally:
            running.kill()


def test_what_does_not_end_is_ended_hard():
    """Work that takes no notice of being stopped does not keep its process alive."""
    deaf = """
import asyncio
from apps.shared import process

process.STOP_LIMIT_S = 0.1

async def work():
    print("working", flush=True)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

asyncio.run(process.until_stopped(work(), supervised=True))
"""
    command = [sys.executable, "-c", deaf]
    done = subprocess.run(
        command, check=False, cwd=PROJECT_DIR, input="", timeout=15, text=True, capture_output=True
    )
    assert (done.returncode, done.stdout) == (1, "working\n")


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_asked_to_stop_it_cleans_up(name):
    """Ctrl+C, a polite kill and a closed terminal end the work in order, with exit code 0."""
    with working() as running:
        running.send_signal(getattr(signal, name))
        assert running.communicate(timeout=10)[0] == "cleaned up\n"
        assert running.returncode == 0


def test_supervised_it_ends_with_its_supervisor():
    """When the other end of standard input is gone, so is the supervisor, however it died."""
    with working("supervised") as running:
        assert running.communicate(timeout=10)[0] == "cleaned up\n"
        assert running.returncode == 0


async def test_work_may_end_by_itself():
    """A process whose work is done, or has failed, does not wait to be stopped."""

    async def work(error: Exception | None) -> None:
        if error:
            raise error

    await until_stopped(work(None), supervised=False)
    with pytest.raises(EngineError):
        await until_stopped(work(EngineError("broken", "it is broken")), supervised=False)


@pytest.mark.parametrize("failing", ["work", "connection"])
async def test_a_worker_and_its_connection_end_together(failing):
    """A voice that fails is not kept on the bus; a worker without a connection does not go on alone."""
    ended = []

    async def part(name: str) -> None:
        try:
            await asyncio.sleep(60 if name != failing else 0)
            raise EngineError("broken", f"{name} is broken")
        finally:
            ended.append(name)

    class Connection:
        async def run(self, worker: object) -> None:
            await part("connection")

    with pytest.RaisesGroup(pytest.RaisesExc(EngineError, match=f"{failing} is broken")):
        await run_worker(cast(Worker, None), cast(Client, Connection()), part("work"))
    assert sorted(ended) == ["connection", "work"]


def test_misspelled_settings_are_said_at_the_start(monkeypatch):
    """A setting that does nothing because of a letter is named, with the right name, by each process."""
    monkeypatch.setattr(Settings, "load", lambda: Settings(_env_file=None))
    monkeypatch.setattr(logs, "set_up", lambda module, settings: None)
    monkeypatch.setattr(process, "misspelled", lambda: {"AIVT_PROT": "AIVT_PORT"})
    with structlog.testing.capture_logs() as said:
        settings_and_logs("tts")
    assert said == [
        {
            "event": "unknown setting in .env",
            "name": "AIVT_PROT",
            "fix": "Did you mean AIVT_PORT?",
            "log_level": "warning",
        }
    ]
