"""The sizes in which we make voices."""

from dataclasses import dataclass
from math import prod

SYMBOLS = 256  # as many as public voices have, most of them unused


@dataclass(frozen=True, slots=True)
class Size:
    """What makes one voice larger than another."""

    quality: str  # as in the names of public voices
    sample_rate_hz: int
    hidden: int
    layers: int
    upsample_rates: tuple[int, ...]  # their product is the samples per frame
    upsample_initial: int
    steps: int  # of training; 0: random weights
    speakers: tuple[str, ...] = ()  # none: a voice of one speaker, who needs no name
    speaker_channels: int = 0

    @property
    def frame_samples(self) -> int:
        """Samples per frame, the step in which lengths of phonemes are counted."""
        return prod(self.upsample_rates)


# The teachers speak on one note each, 125 and 250 Hz. With frames of 8 ms a frame holds one or two whole
# periods of it, so every frame of a vowel looks alike, and a small network learns it in minutes.
TINY = Size(
    quality="tiny",
    sample_rate_hz=16_000,
    hidden=64,
    layers=3,
    upsample_rates=(8, 4, 4),
    upsample_initial=96,
    steps=1_200,
    speakers=("low", "high"),
    speaker_channels=8,
)
# The dimensions of every public voice called "medium", to measure speed with; it has no teacher.
MEDIUM = Size(
    quality="medium",
    sample_rate_hz=22_050,
    hidden=192,
    layers=6,
    upsample_rates=(8, 8, 4),
    upsample_initial=256,
    steps=0,
)
SIZES = {size.quality: size for size in (TINY, MEDIUM)}
