"""Work between turns: never in a turn's way."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator


class Idle:
    """Lets one job run at a time while no turn is under way; a turn that begins stops it at once.

    A model serves one request after the other: a summary, an embedding or a warm-up that still runs when
    somebody says something would be waited for.
    """

    def __init__(self) -> None:
        self._free = asyncio.Event()
        self._free.set()
        self._one_at_a_time = asyncio.Lock()
        self._turns = 0
        self._job: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Hold this while a turn is under way."""
        self._turns += 1
        self._free.clear()
        if self._job:
            self._job.cancel()
        try:
            yield
        finally:
            self._turns -= 1
            if not self._turns:
                self._free.set()

    async def wait(self) -> None:
        """Wait until no turn is under way."""
        while self._turns:  # another one may have begun before the event wakes who waits
            await self._free.wait()

    async def run(self, job: Callable[[], Coroutine[None, None, None]]) -> bool:
        """Do the job between turns. False: a turn has stopped it. Raises what the job raises."""
        async with self._one_at_a_time:
            await self.wait()
            self._job = asyncio.create_task(job())
            try:
                await self._job
            except asyncio.CancelledError:
                here = asyncio.current_task()
                if here is not None and here.cancelling():
                    raise
                return False
            finally:
                self._job = None
            return True
