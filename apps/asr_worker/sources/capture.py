"""What a device gives, made into blocks: one channel, 16 kHz, each sample with its time."""

from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from apps.asr_worker.sound import RATE_HZ, Block, Samples

# Callbacks come some milliseconds early or late, and crystals run up to 0.01 % fast or slow. A block is put
# where the one before it ends, moved towards its own time by at most this share of its length.
NUDGE = 0.01
GAP_S = 0.25  # so much later than expected, and sound is missing: no driver's buffer holds that much

# Of soxr's qualities this one keeps speech up to 7.5 kHz and gives it 21 ms late on average (at 48 kHz);
# LQ ends at 6 kHz, and HQ is later at 96 kHz.
QUALITY = "MQ"


class Capture:
    """The way of a stream's sound. `rate_hz` is the stream's. Used on one thread, the device's own."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._resampler = (
            None if rate_hz == RATE_HZ else soxr.ResampleStream(rate_hz, RATE_HZ, 1, quality=QUALITY)
        )
        self._end_s: float | None = None  # where the sound so far ends, by the shared clock
        self._taken = self._given = 0  # samples since the last gap, at either rate

    def block(self, sound: npt.NDArray[np.float32], at_s: float, *, missing: bool = False) -> Block | None:
        """Return the sound of a callback, with what was still on its way; None while that is nothing.

        sound: (frames, channels), not kept. at_s: when its first sample was captured, as well as is known.
        missing: the driver says that it dropped sound before this.
        """
        begin_s = self._begin_s(at_s, len(sound) / self._rate_hz, missing=missing)
        self._end_s = begin_s + len(sound) / self._rate_hz
        mono = _mono(sound)
        self._taken += len(mono)
        pending_s = self._taken / self._rate_hz - self._given / RATE_HZ
        given = mono if self._resampler is None else np.clip(self._resampler.resample_chunk(mono), -1, 1)
        self._given += len(given)
        return Block(given, self._end_s - pending_s) if len(given) else None

    def _begin_s(self, at_s: float, length_s: float, *, missing: bool) -> float:
        if self._end_s is None:
            return at_s
        off_s = at_s - self._end_s
        if off_s > GAP_S or (missing and off_s > 0):
            self._taken = self._given = 0
            if self._resampler:
                self._resampler.clear()
            return at_s
        return self._end_s + max(-NUDGE * length_s, min(NUDGE * length_s, off_s))


def age_s(time: Any, length_s: float, latency_s: float) -> float:
    """Return how long ago the first sample of a callback was captured.

    time: PortAudio's times of the callback, by a clock of its own; MME, DirectSound and WDM-KS give none
    (PortAudio issues 135, 121, 531), and `latency_s`, the stream's, has to do. length_s: of the callback's
    sound, whose last sample cannot be from the future.
    """
    told = time.inputBufferAdcTime and time.currentTime
    # WASAPI gave the difference with the wrong sign for years (PortAudio pull request 850).
    since_s = abs(time.currentTime - time.inputBufferAdcTime) if told else latency_s
    return max(length_s, since_s if since_s < 1 else latency_s)


def _mono(sound: npt.NDArray[np.float32]) -> Samples:
    """The mean of all channels, in a new array: a microphone may be on either of two.

    One sample that is not a number would make the resampler give nothing else for a while.
    """
    mono = sound[:, 0] if sound.shape[1] == 1 else sound.mean(axis=1, dtype=np.float32)
    return np.clip(np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0), -1, 1)
