"""A worker as an operating-system process: starts, joins the bus, stops when asked to."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable

import structlog

from apps.shared import logs
from apps.shared.client import Client, Worker
from apps.shared.settings import Settings, misspelled

STOP_LIMIT_S = 12.0  # the supervisor's own stop takes 9 s at the worst

log = structlog.get_logger()


async def until_stopped(work: Awaitable[None], *, supervised: bool) -> None:
    """Run `work` until it ends or the process is asked to stop; then cancel it and wait for its clean-up.

    Asked to stop means SIGINT, SIGTERM, SIGHUP, Ctrl+Break, and when supervised the end of standard input:
    the supervisor holds the other end of that pipe, so that no worker outlives it, however it dies. A
    process that does not end within STOP_LIMIT_S of that is ended hard.
    """
    gc.freeze()  # what the imports made stays: no collection has to look through it again
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    hard_end = threading.Timer(STOP_LIMIT_S, os._exit, (1,))
    hard_end.daemon = True

    def stop() -> None:
        task.cancel()
        if hard_end.ident is None:  # not begun yet
            hard_end.start()

    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK"):
        if number := getattr(signal, name, None):
            try:
                loop.add_signal_handler(number, stop)
            except NotImplementedError:  # Windows: its loop has no signal handlers
                signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop))
    if supervised:
        watcher = threading.Thread(target=_wait_for_end_of_input, args=(loop, stop), daemon=True)
        watcher.start()
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        hard_end.cancel()


def _wait_for_end_of_input(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 1024):
            pass
    with contextlib.suppress(RuntimeError):  # the loop has ended by itself
        loop.call_soon_threadsafe(stop)


async def run_worker(worker: Worker, client: Client, work: Awaitable[None]) -> None:
    """Run a worker's own work beside its connection, until one of them fails."""
    async with asyncio.TaskGroup() as group:
        group.create_task(client.run(worker))
        await work


def settings_and_logs(module: str) -> Settings:
    """Read the settings and set up logging: the first two things every process does."""
    settings = Settings.load()
    logs.set_up(module, settings)
    for wrong, right in misspelled().items():
        log.warning("unknown setting in .env", name=wrong, fix=f"Did you mean {right}?")
    return settings
