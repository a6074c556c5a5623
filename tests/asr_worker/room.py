"""What a microphone hears in a room with loudspeakers."""

import numpy as np

from apps.asr_worker.sound import FRAME_SAMPLES, RATE_HZ

ROOM_DB = -62.0


def gain(level_db):
    return 10 ** (level_db / 20)


def loud(samples, level_db):
    """The same at this level, by its loudest tenth of frames."""
    return samples * gain(level_db - np.percentile(levels_db(samples), 90))


def levels_db(samples):
    frames = samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    return 20 * np.log10(np.sqrt(np.mean(frames**2, axis=1)) + 1e-6)


def room(samples, delay_s):
    """What a microphone hears of it: later, and with a room's reverberation of 0.3 s."""
    random = np.random.default_rng(1)
    tail = np.arange(round(0.3 * RATE_HZ)) / RATE_HZ
    response = np.concatenate(
        (
            np.zeros(round(delay_s * RATE_HZ)),
            [1.0],
            0.03 * random.normal(size=len(tail)) * np.exp(-tail / 0.045),
        )
    )
    return np.convolve(samples, response)


def scene(length_s, *sounds):
    """Sounds, each (samples, when), in a room that is never quite silent."""
    scene = np.random.default_rng(2).normal(0, gain(ROOM_DB), round(length_s * RATE_HZ))
    for samples, at_s in sounds:
        start = round(at_s * RATE_HZ)
        end = min(len(scene), start + len(samples))
        scene[start:end] += samples[: end - start]
    return scene.astype(np.float32)
