"""How loud: scaling samples so that what would go beyond full scale is bent, and not cut off."""

import numpy as np
import numpy.typing as npt

FULL_SCALE = 32767
KNEE = 0.75  # of full scale; up to here a sample keeps its size


def pcm16(sound: npt.NDArray[np.float32]) -> bytes:
    """Return samples between -1 and 1, or beyond, as 16-bit little-endian ones."""
    size = np.abs(sound)
    loud = size > KNEE
    if loud.any():
        # this curve leaves the knee with the slope 1, rises for ever and never reaches full scale
        room = 1 - KNEE
        over = (size[loud] - KNEE) / room
        sound = sound.copy()
        sound[loud] = np.copysign(KNEE + room * over / (1 + over), sound[loud])
    return (sound * FULL_SCALE).astype("<i2").tobytes()


def louder(pcm: bytes, volume: float) -> bytes:
    """Return 16-bit samples `volume` times as loud; 1 changes nothing."""
    if volume == 1:
        return pcm
    return pcm16(np.frombuffer(pcm, "<i2").astype(np.float32) * np.float32(volume / FULL_SCALE))
