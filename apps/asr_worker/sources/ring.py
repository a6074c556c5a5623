"""Sound on its way from the device's thread to the event loop: bounded, the oldest goes first."""

import threading
from collections import deque

from apps.asr_worker.sound import RATE_HZ, Block


class Ring:
    """A queue of blocks, of at most `limit_s` seconds of sound; the newest block is always kept.

    What does not fit drops the oldest: of what the streamer said, the end is what an answer is wanted for.
    The lock is held for microseconds. Blocks are kept as they are; nothing is copied.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit = round(limit_s * RATE_HZ)  # samples
        self._lock = threading.Lock()
        self._blocks: deque[Block] = deque()
        self._held = self._lost = 0  # samples

    @property
    def lost_s(self) -> float:
        """Seconds of sound dropped since the start."""
        return self._lost / RATE_HZ

    def put(self, block: Block) -> None:
        """Append a block. Called on one thread."""
        with self._lock:
            self._blocks.append(block)
            self._held += len(block.samples)
            while self._held > self._limit and len(self._blocks) > 1:
                oldest = len(self._blocks.popleft().samples)
                self._held -= oldest
                self._lost += oldest

    def take(self) -> Block | None:
        """Remove the oldest block and return it; None when there is none. Called on another thread."""
        with self._lock:
            if not self._blocks:
                return None
            block = self._blocks.popleft()
            self._held -= len(block.samples)
            return block
