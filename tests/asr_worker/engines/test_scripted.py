import numpy as np
import pytest

from apps.asr_worker.engines.scripted import SCRIPT, Scripted
from apps.asr_worker.hallucinations import refused
from apps.asr_worker.sound import RATE_HZ
from apps.shared.settings import Settings


@pytest.fixture
def scripted():
    return Scripted(Settings(_env_file=None))


def hum(duration_s: float, level: float = 0.1):
    return (level * np.sin(np.arange(round(duration_s * RATE_HZ)) * 0.1)).astype(np.float32)


def test_each_utterance_has_the_next_line(scripted):
    """The script is said line by line, and then from its beginning."""
    found = [scripted.final(hum(2), ()).text for _ in range(len(SCRIPT) + 1)]
    assert found == [*SCRIPT, SCRIPT[0]]


def test_partials_show_as_much_as_fits_the_time(scripted):
    """Five words take two seconds, and the full decode has the whole line whatever the time."""
    found = [scripted.partial(hum(duration_s), ()).text for duration_s in (0.2, 1, 2, 9)]
    assert found == ["Hey", "Hey Kitsu,", "Hey Kitsu, how are you?", "Hey Kitsu, how are you?"]
    assert scripted.final(hum(0.2), ()).text == "Hey Kitsu, how are you?"


def test_words_are_spread_evenly(scripted):
    """Each of the five words has a fifth of the time."""
    words = scripted.final(hum(2), ()).words
    assert [(word.text, word.start_s) for word in words] == [
        ("Hey", pytest.approx(0)),
        ("Kitsu,", pytest.approx(0.4)),
        ("how", pytest.approx(0.8)),
        ("are", pytest.approx(1.2)),
        ("you?", pytest.approx(1.6)),
    ]
    assert words[-1].end_s == pytest.approx(2)


def test_what_is_too_quiet_is_no_utterance(scripted):
    """A hum at -60 dB uses up no line; one loud tenth of a second in a long silence does."""
    assert scripted.final(hum(2, level=0.001), ()).text == ""
    mostly_silent = np.concatenate(
        [np.zeros(RATE_HZ * 5, np.float32), hum(0.3), np.zeros(RATE_HZ * 5, np.float32)]
    )
    assert scripted.final(mostly_silent, ()).text == SCRIPT[0]
    assert scripted.final(hum(1), ()).text == SCRIPT[1]


def test_its_lines_are_believed(scripted):
    """No line is taken for a hallucination, even of somebody who speaks half a second."""
    for _ in SCRIPT:
        assert refused(scripted.final(hum(1.0), ()), duration_s=1.0, voiced_s=0.5) == ""


def test_it_says_that_it_is_a_stand_in(scripted):
    """Nobody takes its lines for what was said."""
    assert "stand-in" in scripted.model


def test_a_pause_in_an_utterance_costs_no_line(scripted):
    """A full decode in the hope that it was over, and the utterance went on: its line stays the same."""
    early, whole = scripted.final(hum(1), ()), scripted.final(hum(2.5), ())
    assert early.text == whole.text == SCRIPT[0]
    assert scripted.partial(hum(0.5), ()).text == SCRIPT[1].split()[0]
