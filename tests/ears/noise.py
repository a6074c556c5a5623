"""What a streamer's microphone picks up besides the streamer: 16 kHz, mono, the same for the same seed."""

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

RATE_HZ = 16_000
LEVEL = 0.1  # RMS of what lasts, -20 dB of full scale; a key or a cough reaches 0.5


def white(duration_s: float, seed: int) -> Samples:
    """Return hiss."""
    return _levelled(np.random.default_rng(seed).standard_normal(_count(duration_s)))


def pink(duration_s: float, seed: int) -> Samples:
    """Return a rumble as of a fan: the same energy in every octave above 30 Hz."""
    count = _count(duration_s)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(count))
    hz = np.fft.rfftfreq(count, 1 / RATE_HZ)
    return _levelled(np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 30.0)), count))


def music(duration_s: float, seed: int) -> Samples:
    """Return chords, a bass and a drum, in a tempo and a key of the seed's."""
    chance = np.random.default_rng(seed)
    count = _count(duration_s)
    beat_s = 60 / chance.uniform(80, 150)
    root_hz = 110 * 2 ** (chance.integers(12) / 12)
    steps = chance.choice([0, 3, 5, 7, 8, 10], size=64)
    seconds = np.arange(count) / RATE_HZ
    in_beat_s = seconds % beat_s
    bar = (seconds // (4 * beat_s)).astype(int) % len(steps)
    chord_hz = root_hz * 2 ** (steps[bar] / 12)
    turns = 2 * np.pi * np.cumsum(chord_hz) / RATE_HZ
    third = 2 ** (chance.choice([3, 4]) / 12)
    tones = [(1, 1.0), (third * 2, 0.6), (3, 0.6), (4, 0.4), (third * 4, 0.3), (6, 0.2)]
    sound = sum(loud * np.sin(tone * turns) for tone, loud in tones) * np.exp(-in_beat_s / beat_s)
    drum = np.sin(2 * np.pi * 55 * in_beat_s) * np.exp(-in_beat_s / 0.06)
    snare = chance.standard_normal(count) * np.exp(-((in_beat_s + beat_s / 2) % beat_s) / 0.04)
    return _levelled(sound + 2.5 * drum + 0.7 * snare)


def keyboard(duration_s: float, seed: int) -> Samples:
    """Return keys being pressed, 4 to 9 of them a second, each with its press and its release."""
    chance = np.random.default_rng(seed)
    sound = np.zeros(_count(duration_s) + RATE_HZ)
    at_s = chance.uniform(0, 0.1)
    while at_s < duration_s:
        for offset_s, loud in ((0.0, chance.uniform(0.4, 1)), (chance.uniform(0.05, 0.1), 0.3)):
            length = round(chance.uniform(0.004, 0.015) * RATE_HZ)
            begin = round((at_s + offset_s) * RATE_HZ)
            ring = np.exp(-np.arange(4 * length) / length)
            note = np.sin(np.arange(4 * length) * 2 * np.pi * chance.uniform(900, 4000) / RATE_HZ)
            sound[begin : begin + 4 * length] += loud * ring * (chance.standard_normal(4 * length) + note)
        at_s += chance.uniform(1 / 9, 1 / 4)
    return _peaked(sound[: _count(duration_s)])


def cough(duration_s: float, seed: int) -> Samples:
    """Return one cough of 0.2 to 0.35 s, a fifth into the duration, and silence around it."""
    chance = np.random.default_rng(seed)
    count, length = _count(duration_s), _count(chance.uniform(0.2, 0.35))
    seconds = np.arange(length) / RATE_HZ
    spectrum = np.fft.rfft(chance.standard_normal(length))
    hz = np.fft.rfftfreq(length, 1 / RATE_HZ)
    middles_hz = chance.uniform([400, 1100, 2500], [700, 1800, 3500])
    throat = sum(np.exp(-(((hz - middle) / 300) ** 2)) for middle in middles_hz)
    burst = np.fft.irfft(spectrum * (throat + 0.1), length)
    burst *= np.minimum(1, seconds / 0.01) * np.exp(-seconds / 0.08)
    begin = count // 5
    sound = np.zeros(begin + length + count)
    sound[begin : begin + length] = burst
    return _peaked(sound[:count])


def _count(duration_s: float) -> int:
    return round(duration_s * RATE_HZ)


def _levelled(sound: npt.NDArray[np.float64]) -> Samples:
    quiet: Samples = (sound * (LEVEL / np.sqrt(np.mean(sound**2) + 1e-12))).astype(np.float32)
    return quiet


def _peaked(sound: npt.NDArray[np.float64]) -> Samples:
    quiet: Samples = (sound * (0.5 / (np.abs(sound).max(initial=0) + 1e-6))).astype(np.float32)
    return quiet
