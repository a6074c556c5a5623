import numpy as np
import pytest

from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.sources.quality import CLIPPED, NO_SIGNAL, NO_SIGNAL_LIMIT_S, NO_SIGNAL_S, Quality

BLOCK_S = 0.02


def heard(quality: Quality, size: float, length_s: float, at_once: bool = False):
    """Hear noise of a size; return what was wrong after each block."""
    sound = np.random.default_rng(1).uniform(-1, 1, round(length_s * RATE_HZ)).astype(np.float32)
    if size >= 1:
        sound[::100] = 1.0
    else:
        sound *= size
    found = []
    for block in [sound] if at_once else np.split(sound, range(320, len(sound), 320)):
        quality.add(block)
        found.append(quality.trouble)
    return found


@pytest.mark.parametrize("at_once", [False, True])
def test_no_signal(at_once):
    """Nothing but zeros for two seconds is no signal, in blocks of any length; not a moment sooner."""
    quality = Quality()
    assert set(heard(quality, 0, NO_SIGNAL_S, at_once)) == {None}
    assert heard(quality, 0, 0.2, at_once)[-1] is NO_SIGNAL


def test_a_converter_that_trembles():
    """A muted microphone may still give the last of 24 bits; a quiet room is louder than that."""
    assert heard(Quality(), 2**-23, 3)[-1] is NO_SIGNAL
    assert heard(Quality(), 1e-4, 3)[-1] is None


def test_signal_comes_back():
    """The first sound ends it."""
    quality = Quality()
    heard(quality, 0, 3)
    assert heard(quality, 0.01, BLOCK_S) == [None]


def test_a_filter_that_takes_the_noise_out():
    """It gives zeros between words: the pause that is told about gets longer each time, up to a minute."""
    quality, patience = Quality(), []
    for _ in range(8):
        silent = heard(quality, 0, NO_SIGNAL_LIMIT_S + 1)
        patience.append(round(silent.index(NO_SIGNAL) * BLOCK_S))
        assert heard(quality, 0.1, 1)[-1] is None
    assert patience == [2, 4, 8, 16, 32, 60, 60, 60]


def test_clipping_that_lasts():
    """It is told when it goes on, not for a single shout, and goes away some seconds later."""
    quality = Quality()
    assert set(heard(quality, 1, 1)) == {None}
    assert heard(quality, 0.3, 10)[-1] is None
    assert heard(quality, 1, 2)[-1] is CLIPPED
    assert heard(quality, 0.3, 3)[-1] is CLIPPED
    assert heard(quality, 0.3, 7)[-1] is None


def test_every_other_word_clipped():
    """Pauses between shouts do not make it good."""
    quality = Quality()
    found = [trouble for _ in range(10) for size in (1, 0.1) for trouble in heard(quality, size, 0.4)]
    assert found[-1] is CLIPPED


def test_muted_after_clipping():
    """No signal is told in its place, and then neither."""
    quality = Quality()
    heard(quality, 1, 2)
    assert heard(quality, 0, 3)[-1] is NO_SIGNAL
    assert heard(quality, 0.1, 1)[-1] is None
