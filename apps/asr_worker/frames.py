"""Sound cut into the frames that voice activity detection takes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ, Block, Samples

JITTER_S = 0.1  # how far the times of following blocks may be off before sound must be missing between them


@dataclass(frozen=True, slots=True)
class Frame:
    """FRAME_SAMPLES of sound."""

    samples: Samples
    at_s: float  # when its first sample was captured
    gap_s: float = 0.0  # how much is missing before it; negative: time has gone back

    @property
    def end_s(self) -> float:
        """When its last sample was captured."""
        return self.at_s + FRAME_S


class Frames:
    """Cuts blocks of any length; what does not fill a frame waits for the next block."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.float32)
        self._end_s: float | None = None  # of what came last

    def cut(self, block: Block) -> Iterator[Frame]:
        """Yield the frames that this block completes. The rest before a gap fills none, and is dropped."""
        gap_s = 0.0 if self._end_s is None else block.at_s - self._end_s
        if abs(gap_s) > JITTER_S:
            self._rest = self._rest[:0]
        else:
            gap_s = 0.0
        # By the block's own time, not by counting: over hours a sound card's clock runs away from ours.
        at_s = block.at_s - len(self._rest) / RATE_HZ
        samples = np.concatenate((self._rest, block.samples))
        self._end_s = block.at_s + len(block.samples) / RATE_HZ
        whole = len(samples) - len(samples) % FRAME_SAMPLES
        self._rest = samples[whole:]
        for start in range(0, whole, FRAME_SAMPLES):
            yield Frame(samples[start : start + FRAME_SAMPLES], at_s + start / RATE_HZ, gap_s)
            gap_s = 0.0
