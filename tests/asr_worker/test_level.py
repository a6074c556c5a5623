import numpy as np
import pytest

from apps.asr_worker.level import SILENT_DB, LevelMeter, Loudness, decibels, peak


def tone(size: float):
    return (size * np.sin(np.arange(1600) / 10)).astype(np.float32)


def test_a_tone():
    """A sine has its peak 3 dB above its level; the sound since the last reading counts as one."""
    meter = LevelMeter()
    for part in np.split(tone(0.1), 5):
        meter.add(part)
    loudness = meter.read()
    assert loudness.rms_db == pytest.approx(-23, abs=0.1)
    assert loudness.peak_db == pytest.approx(-20, abs=0.1)
    assert not loudness.clipped


def test_each_reading_begins_anew():
    """What was loud before is not in the next one; nothing at all is silence."""
    meter = LevelMeter()
    meter.add(tone(1.2))
    assert meter.read().clipped
    meter.add(tone(0.01))
    assert meter.read().peak_db == pytest.approx(-40, abs=0.1)
    meter.add(np.zeros(0, np.float32))
    assert meter.read() == Loudness(SILENT_DB, SILENT_DB, clipped=False)


@pytest.mark.parametrize("samples", [[-1.0, 0.2], [1.0, 0.0], [32767 / 32768]])
def test_full_scale_in_either_direction(samples):
    """One sample at the very end of the scale is clipped."""
    meter = LevelMeter()
    meter.add(np.array(samples, np.float32))
    assert meter.read().clipped


def test_decibels():
    """Silence has a number too."""
    assert [decibels(size) for size in (1, 0.1, 0, 1e-30)] == pytest.approx([0, -20, SILENT_DB, SILENT_DB])


def test_peak():
    """The greatest size, whatever its sign; of nothing it is 0."""
    assert peak(np.array([0.25, -0.5], np.float32)) == 0.5
    assert peak(np.zeros(0, np.float32)) == 0
