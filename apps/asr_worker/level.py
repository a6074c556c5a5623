"""How loud sound is: for the meter, in decibels of full scale."""

from dataclasses import dataclass

import numpy as np

from apps.asr_worker.sound import Samples

SILENT_DB = -120.0  # digital silence, and anything quieter than any converter's noise
FULL_SCALE = 0.999  # from here on a sample was cut off: 16 bits end at 0.99997


@dataclass(frozen=True, slots=True)
class Loudness:
    """What the meter shows for a stretch of sound."""

    rms_db: float = SILENT_DB
    peak_db: float = SILENT_DB
    clipped: bool = False  # samples at full scale


class LevelMeter:
    """Measures from one reading to the next."""

    def __init__(self) -> None:
        self._power, self._count, self._peak = 0.0, 0, 0.0

    def add(self, samples: Samples) -> None:
        """Measure this too."""
        if len(samples):
            self._power += float(np.dot(samples, samples))
            self._count += len(samples)
            self._peak = max(self._peak, peak(samples))

    def read(self) -> Loudness:
        """Return how loud it was since the last reading."""
        power, count, highest = self._power, self._count, self._peak
        self._power, self._count, self._peak = 0.0, 0, 0.0
        if not count:
            return Loudness()
        return Loudness(decibels((power / count) ** 0.5), decibels(highest), highest >= FULL_SCALE)


def peak(samples: Samples) -> float:
    """Return the size of the greatest sample, 0..1."""
    return float(max(samples.max(), -samples.min(), 0.0)) if len(samples) else 0.0


def decibels(size: float) -> float:
    """Return a size (1: full scale) in decibels, SILENT_DB at the least."""
    return max(SILENT_DB, 20 * float(np.log10(size))) if size > 0 else SILENT_DB
