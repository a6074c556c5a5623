import numpy as np
import pytest

from apps.tts_worker.loudness import KNEE, louder, pcm16


def pcm(*samples):
    return np.array(samples, "<i2").tobytes()


def samples(data):
    return np.frombuffer(data, "<i2").tolist()


def test_as_it_is():
    """At volume 1 not a bit changes, at full scale neither."""
    data = pcm(0, 1, -1, 32_767, -32_768)
    assert louder(data, 1) is data


@pytest.mark.parametrize("volume", [0, 0.25, 0.5, 1.5])
def test_what_has_room_is_scaled(volume):
    """Below the knee a sample is exactly as many times as large."""
    assert samples(louder(pcm(0, 1000, -8000, 16_000), volume)) == pytest.approx(
        [0, 1000 * volume, -8000 * volume, 16_000 * volume], abs=1
    )


def test_what_has_none_is_bent():
    """Beyond the knee larger stays larger, up to full scale and never past it, the same on both sides."""
    sizes = np.linspace(0, 4, 400, dtype=np.float32)
    up, down = np.frombuffer(pcm16(sizes), "<i2"), np.frombuffer(pcm16(-sizes), "<i2")
    assert (np.diff(up.astype(int)) > 0).all()
    assert (up == -down).all()
    assert 30_000 < up[200] < 32_767  # twice full scale
    steps = np.diff(np.frombuffer(pcm16(np.linspace(KNEE - 0.01, KNEE + 0.01, 21, dtype=np.float32)), "<i2"))
    assert steps.max() - steps.min() < 5  # no corner at the knee


def test_the_samples_given_are_left_alone():
    """A caller's array is not written to."""
    sound = np.array([0.5, 2.0], "<f4")
    pcm16(sound)
    assert sound.tolist() == [0.5, 2.0]
