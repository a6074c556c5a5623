"""What may be done to the microphone's sound, without a delay: a noise gate, and automatic gain."""

import math

import numpy as np

from apps.asr_worker.level import SILENT_DB, decibels, peak
from apps.asr_worker.sound import FRAME_SAMPLES, RATE_HZ, Samples

# --- the gate ---
PIECE_SAMPLES = 128  # 8 ms: the loudest of them opens the gate
FADED = 0.06  # -24 dB: so much is left behind a closed gate. What begins too softly to open it is still there
HYSTERESIS_DB = 6.0  # an open gate stays open down to so much below its threshold
HOLD_S = 0.35  # and so long after that: over the pauses within words
RELEASE_S = 0.15  # then it closes, in this time
ATTACK_SAMPLES = 64  # it opens from the start of the frame in which a voice begins, in 4 ms: without a click

# --- automatic gain ---
TARGET_DB = -23.0  # of speech
LOWEST_DB, HIGHEST_DB = -12.0, 24.0  # gain
RISE_DB_S, FALL_DB_S = 4.0, 20.0
AVERAGE_S = 1.0  # of speech, over which its level is taken
NOISE_RISE_DB_S = 6.0  # how fast the idea of the noise follows when it gets louder; quieter: at once
OVER_NOISE_DB = 12.0  # what is so much louder than the noise is speech
QUIETEST_NOISE_DB = -70.0
CEILING = 0.97  # no sample gets louder than this by gain


class Conditioning:
    """Both, one after the other. Call it with the sound as it comes; it keeps its state in between.

    gate_db: below this level sound is noise; 0: no gate. auto_gain: bring speech to TARGET_DB, slowly.
    """

    def __init__(self, gate_db: float, auto_gain: bool) -> None:
        self._steps = ([_Gate(gate_db)] if gate_db < 0 else []) + ([_Gain()] if auto_gain else [])

    def __call__(self, samples: Samples) -> Samples:
        """Return the sound that takes the place of this; as many samples, between -1 and 1."""
        if not self._steps or not len(samples):
            return samples
        frames = np.split(samples, range(FRAME_SAMPLES, len(samples), FRAME_SAMPLES))
        for step in self._steps:
            frames = [step(frame) for frame in frames]
        return np.concatenate(frames)


class _Gate:
    def __init__(self, threshold_db: float) -> None:
        self._threshold_db = threshold_db
        self._hold_s = 0.0  # how long it stays open
        self._gain = FADED

    def __call__(self, frame: Samples) -> Samples:
        length_s = len(frame) / RATE_HZ
        open_from_db = self._threshold_db - (HYSTERESIS_DB if self._hold_s > 0 else 0)
        self._hold_s = HOLD_S if _loudest_db(frame) >= open_from_db else self._hold_s - length_s
        before = self._gain
        if self._hold_s > 0:
            self._gain = 1.0
            return _ramped(frame, before, 1.0, ATTACK_SAMPLES)
        self._gain = max(FADED, before * FADED ** (length_s / RELEASE_S))
        return _ramped(frame, before, self._gain, len(frame))


class _Gain:
    def __init__(self) -> None:
        self._gain_db = 0.0
        self._applied = 1.0
        self._speech_power: float | None = None
        self._noise_db: float | None = None

    def __call__(self, frame: Samples) -> Samples:
        length_s, level_db = len(frame) / RATE_HZ, _rms_db(frame)
        if self._is_speech(level_db, length_s):
            self._follow(level_db, length_s)
        before, wanted = self._applied, 10 ** (self._gain_db / 20)
        self._applied = min(wanted, CEILING / max(peak(frame), 1e-6)) if wanted > 1 else wanted
        # Down quickly, because of a peak, and up so that nobody hears it.
        over = ATTACK_SAMPLES if self._applied < before else len(frame)
        return np.clip(_ramped(frame, before, self._applied, over), -1, 1)

    def _is_speech(self, level_db: float, length_s: float) -> bool:
        """Louder than the noise by far. What comes first is taken for noise: it has dips if it is speech."""
        risen_db = math.inf if self._noise_db is None else self._noise_db + NOISE_RISE_DB_S * length_s
        self._noise_db = max(QUIETEST_NOISE_DB, min(level_db, risen_db))
        return level_db > self._noise_db + OVER_NOISE_DB

    def _follow(self, level_db: float, length_s: float) -> None:
        """Move the gain towards what this speech needs; in pauses it stays as it is."""
        power = 10 ** (level_db / 10)
        before = power if self._speech_power is None else self._speech_power
        self._speech_power = before + (power - before) * min(1.0, length_s / AVERAGE_S)
        speech_db = decibels(self._speech_power**0.5)
        wanted_db = min(HIGHEST_DB, max(LOWEST_DB, TARGET_DB - speech_db))
        off_db = wanted_db - self._gain_db
        self._gain_db += max(-FALL_DB_S * length_s, min(RISE_DB_S * length_s, off_db))


def _ramped(frame: Samples, start: float, end: float, over: int) -> Samples:
    """The frame, its gain moving from one value to the other within the first `over` samples."""
    if start == end == 1.0:
        return frame
    gain = np.full(len(frame), end, np.float32)
    over = min(over, len(frame))
    gain[:over] = np.linspace(start, end, over, dtype=np.float32)
    return frame * gain


def _loudest_db(frame: Samples) -> float:
    return max(map(_rms_db, np.split(frame, range(PIECE_SAMPLES, len(frame), PIECE_SAMPLES))))


def _rms_db(samples: Samples) -> float:
    return decibels(float(np.dot(samples, samples) / len(samples)) ** 0.5) if len(samples) else SILENT_DB
