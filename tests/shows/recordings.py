"""WAV files: what the streamer says in a real show, and what was heard of her."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from tests.ears.speech import RATE_HZ, Samples, say

TINY = "tests/ears/tiny"  # the model that understands it
VOICE = "en-us+m5"  # one that the model never heard
QUESTION = "hello kitsu, how are you?"
LONG = "i think we should go to the next level, because my health is really low, and the boss is really big."
LEAD_S, TAIL_S = 0.3, 1.0


def spoken(path: Path, text: str, lead_s: float = LEAD_S) -> Path:
    """Write what the streamer says, with silence around it."""
    return write(path, say(text, VOICE).padded(lead_s, TAIL_S).samples)


def write(
    path: Path, samples: Samples, rate_hz: int = RATE_HZ, channels: int = 1, width_bytes: int = 2
) -> Path:
    """Write sound of 16 kHz at another rate, the same on every channel, 16 or 24 bits wide."""
    sound = np.clip(soxr.resample(samples, RATE_HZ, rate_hz) if rate_hz != RATE_HZ else samples, -1, 1)
    whole = np.repeat((sound.astype(np.float64) * 0x7FFFFFFF).astype("<i4"), channels)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width_bytes)
        file.setframerate(rate_hz)
        file.writeframes(whole.view(np.uint8).reshape(-1, 4)[:, 4 - width_bytes :].tobytes())
    return path


def heard(path: Path) -> tuple[npt.NDArray[np.int16], int]:
    """Return the samples of her WAV, and their rate."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()
