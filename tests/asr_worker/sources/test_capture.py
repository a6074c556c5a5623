from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.sources.capture import GAP_S, Capture, age_s

CALLBACK_S = 0.02


def tone(rate_hz: float, length_s: float, from_s: float = 0.0, hz: float = 440.0):
    place_s = from_s + np.arange(round(length_s * rate_hz)) / rate_hz
    return np.sin(2 * np.pi * hz * place_s).astype(np.float32)


def given(capture: Capture, sound, rate_hz: float, late_s=lambda number: 0.0):
    """What a device's callbacks become when the first sample is captured at 100 s."""
    size = round(rate_hz * CALLBACK_S)
    blocks = []
    for number, start in enumerate(range(0, len(sound), size)):
        at_s = 100 + start / rate_hz + late_s(number)
        if block := capture.block(sound[start : start + size, None], at_s):
            blocks.append(block)
    return blocks


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate(rate_hz):
    """It is the same sound at 16 kHz, without a gap, each block with its own time."""
    blocks = given(Capture(rate_hz), tone(rate_hz, 1), rate_hz)
    for one, following in pairwise(blocks):
        assert following.at_s == pytest.approx(one.at_s + len(one.samples) / RATE_HZ, abs=1e-6)
    assert blocks[0].at_s == pytest.approx(100, abs=1e-6)
    sound = np.concatenate([block.samples for block in blocks])
    assert sound.dtype == np.float32
    assert len(sound) > 0.85 * RATE_HZ
    assert np.abs(sound - tone(RATE_HZ, 1)[: len(sound)])[400:].max() < 0.01


@pytest.mark.parametrize("rate_hz", [44_100, 48_000, 96_000])
def test_how_late_it_comes(rate_hz):
    """Resampling holds no more than 50 ms of sound back."""
    capture, size = Capture(rate_hz), round(rate_hz * CALLBACK_S)
    until_s, late_s = 0.0, []
    for number in range(200):
        if block := capture.block(np.zeros((size, 1), np.float32), number * CALLBACK_S):
            until_s = block.at_s + len(block.samples) / RATE_HZ
        late_s.append((number + 1) * CALLBACK_S - until_s)
    assert 0 <= np.mean(late_s) <= max(late_s) < 0.05


def test_all_channels_count():
    """A microphone on one of two channels is heard, whichever it is."""
    for channel in (0, 1):
        sound = np.zeros((320, 2), np.float32)
        sound[:, channel] = 0.5
        block = Capture(RATE_HZ).block(sound, 0)
        assert block
        assert block.samples.tolist() == [0.25] * 320


def test_what_is_given_is_kept():
    """The device's buffer is used again, and the block is not changed by that."""
    buffer = np.full((320, 1), 0.5, np.float32)
    block = Capture(RATE_HZ).block(buffer, 0)
    buffer[:] = 7
    assert block
    assert set(block.samples.tolist()) == {0.5}


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
def test_a_sample_that_is_no_number(rate_hz):
    """It is silence, and everything after it is as it was."""
    sound = tone(rate_hz, 0.5)
    sound[100:103] = np.nan, np.inf, -np.inf
    found = np.concatenate([block.samples for block in given(Capture(rate_hz), sound, rate_hz)])
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 1
    assert np.abs(found[-1000:] - tone(RATE_HZ, 0.5)[len(found) - 1000 : len(found)]).max() < 0.01


# --- time ---


def test_callbacks_that_come_early_and_late():
    """Their blocks follow each other all the same, nowhere off by more than the worst callback."""
    jitter = np.random.default_rng(1).uniform(0, 0.03, 1000)
    blocks = given(Capture(RATE_HZ), np.zeros(1000 * 320, np.float32), RATE_HZ, lambda n: jitter[n])
    ends = [block.at_s + CALLBACK_S for block in blocks]
    assert max(abs(end_s - block.at_s) for end_s, block in zip(ends[:-1], blocks[1:], strict=True)) < 0.0003
    off = [block.at_s - 100 - number * CALLBACK_S for number, block in enumerate(blocks)]
    assert 0 <= min(off) <= max(off) <= 0.03


def test_a_crystal_that_runs_slow():
    """After ten minutes the times are still right."""
    count = round(600 / CALLBACK_S)
    blocks = given(
        Capture(RATE_HZ), np.zeros(count * 320, np.float32), RATE_HZ, lambda n: n * CALLBACK_S * 1e-4
    )
    assert blocks[-1].at_s == pytest.approx(100 + (count - 1) * CALLBACK_S * 1.0001, abs=0.001)


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 48_000])
@pytest.mark.parametrize(("hole_s", "told"), [(0.1, True), (2 * GAP_S, False)])
def test_missing_sound(rate_hz, hole_s, told):
    """A hole is told by the next block's time; it is a hole when the driver says so, or when it is long."""
    capture, size = Capture(rate_hz), round(rate_hz * CALLBACK_S)
    sound = np.zeros((size, 1), np.float32)
    for number in range(50):
        capture.block(sound, number * CALLBACK_S)
    blocks = [
        capture.block(sound, 1 + hole_s + number * CALLBACK_S, missing=told and number == 0)
        for number in range(10)
    ]
    first = next(block for block in blocks if block)
    assert first.at_s == pytest.approx(1 + hole_s, abs=1e-6)


def test_a_driver_that_says_so_without_reason():
    """Time never goes back."""
    capture, sound = Capture(RATE_HZ), np.zeros((320, 1), np.float32)
    capture.block(sound, 5.0)
    block = capture.block(sound, 4.9, missing=True)
    assert block
    assert block.at_s == pytest.approx(5.02, abs=0.0003)


@pytest.mark.parametrize(
    ("current_s", "captured_s", "age"),
    [
        (100.0, 99.95, 0.05),
        (100.0, 100.05, 0.05),  # WASAPI's wrong sign
        (0.0, 0.0, 0.08),  # MME, DirectSound: nothing is told
        (0.0, 99.0, 0.08),  # Core Audio, of old
        (100.0, 3.0, 0.08),  # two clocks
        (100.0, 100.0, 0.02),  # ALSA's null device
    ],
)
def test_how_old_a_callbacks_sound_is(current_s, captured_s, age):
    """As PortAudio tells where that can be true, else by the stream's latency."""
    time = SimpleNamespace(currentTime=current_s, inputBufferAdcTime=captured_s)
    assert age_s(time, length_s=0.02, latency_s=0.08) == pytest.approx(age)
