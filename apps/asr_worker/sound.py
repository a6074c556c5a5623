"""Sound as everything behind the microphone takes it: 16 kHz, mono, float32 between -1 and 1."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RATE_HZ = 16_000
FRAME_SAMPLES = 512  # 32 ms: what Silero takes at a time
FRAME_S = FRAME_SAMPLES / RATE_HZ

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Block:
    """Some sound in one piece, of any length."""

    samples: Samples
    at_s: float  # when its first sample was captured, by the shared clock
