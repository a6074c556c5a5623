"""A recording as a source: played as a microphone would give it, or as fast as it is fetched."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from apps.asr_worker.sound import RATE_HZ, Block, Samples
from apps.asr_worker.sources.recording import pieces
from apps.shared.errors import AivtError

BLOCK_SAMPLES = 320  # 20 ms, as of a microphone


class WavSource:
    """A Source. Any file that `recording` reads.

    speed: 1 in real time, 2 twice as fast, `inf` as fast as it is fetched. A block's `at_s` is when the file
    began, by now_s, and the place in it; at speed 1 that is the time when it was "captured".
    """

    def __init__(self, path: str | Path, now_s: Callable[[], float], speed: float = 1.0) -> None:
        self.name = Path(path).name
        self.trouble: AivtError | None = None
        self.lost_s = 0.0  # a file waits for who is late
        self._path = Path(path)
        self._now_s = now_s
        self._speed = speed
        self._began, self._ended = asyncio.Event(), asyncio.Event()
        self._start_s = 0.0
        self._blocks: Iterator[Samples] = iter(())
        self._next: Samples | None = None  # what is not due yet
        self._place = 0  # how many samples were given

    async def run(self) -> None:
        """See Source."""
        found = pieces(self._path)
        try:
            self._blocks = _cut(found)
            self._next = next(self._blocks)
            self._start_s = self._now_s()
            self._began.set()
            await self._ended.wait()
        finally:
            self._next, self._blocks = None, iter(())
            found.close()
            self._began.set()

    async def read(self) -> Block | None:
        """See Source. For one reader."""
        await self._began.wait()
        if (samples := self._next) is None:
            return None
        end_s = (self._place + len(samples)) / RATE_HZ
        await asyncio.sleep(max(0.0, self._start_s + end_s / self._speed - self._now_s()))
        if self._next is None:  # stopped meanwhile
            return None
        block = Block(samples, self._start_s + self._place / RATE_HZ)
        self._place += len(samples)
        self._next = next(self._blocks, None)
        if self._next is None:
            self._ended.set()
        return block


def _cut(found: Iterable[Samples]) -> Iterator[Samples]:
    """The same in blocks of equal length, but for the last."""
    rest = np.zeros(0, np.float32)
    for piece in found:
        rest = np.concatenate((rest, piece))
        whole = len(rest) - len(rest) % BLOCK_SAMPLES
        yield from np.split(rest[:whole], whole // BLOCK_SAMPLES) if whole else ()
        rest = rest[whole:]
    if len(rest):
        yield rest
