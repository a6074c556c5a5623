"""What every recogniser does, whatever its engine."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from apps.asr_worker.engines.scripted import Scripted
from apps.asr_worker.engines.whisper import Whisper
from apps.asr_worker.hallucinations import refused
from apps.asr_worker.sound import RATE_HZ
from apps.shared.settings import PROJECT_DIR, Settings
from tests.ears.speech import say

SENTENCE = "hey kitsu, what do you think about the new boss?"
WINDOW_S = 30
ODD_NAMES = (
    "",
    "  ",
    "Kitsu",
    "Kitsu",
    "<|startoftranscript|>",
    "<|nospeech|>",
    "Ж漢🦊",
    "x" * 5_000,
    *(f"name{number}" for number in range(500)),
)


@pytest.fixture(params=[Whisper, Scripted], ids=lambda make: make.__name__)
def recogniser(request, tmp_path):
    made = request.param(
        Settings(
            _env_file=None,
            aivt_data_dir=tmp_path,
            asr_device="cpu",
            asr_model=str(PROJECT_DIR / "tests" / "ears" / "tiny"),
        )
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def speech():
    return say(SENTENCE).padded(0.3, 0.2)


def seconds(duration_s: float):
    return np.zeros(round(duration_s * RATE_HZ), np.float32)


def test_says_what_it_is(recogniser):
    """The panel shows which engine and model hear, and that nothing is wrong."""
    assert recogniser.engine == type(recogniser).__name__.lower()
    assert recogniser.model
    assert recogniser.trouble is None


@pytest.mark.parametrize("decode", ["partial", "final"])
@pytest.mark.parametrize("duration_s", [0, 1 / RATE_HZ, 0.01, 0.1, 1, WINDOW_S])
def test_silence_has_no_words(recogniser, decode, duration_s):
    """In digital silence of any length, even none, nothing is heard that is believed."""
    found = getattr(recogniser, decode)(seconds(duration_s), ())
    assert not found.text or refused(found, duration_s, voiced_s=0)


def test_a_full_decode_has_words_with_times(recogniser, speech):
    """The words are those of the text, in order, within the sound, each with a probability."""
    found = recogniser.final(speech.samples, ())
    assert found.text == found.text.strip() != ""
    assert [word.text for word in found.words] == found.text.split()
    times = [(word.start_s, word.end_s) for word in found.words]
    assert all(0 <= start_s <= end_s <= speech.duration_s + 0.01 for start_s, end_s in times)
    assert all(before[1] <= after[0] + 0.001 for before, after in pairwise(times))
    assert all(0 <= word.probability <= 1 for word in found.words)


def test_partials_grow(recogniser, speech):
    """The longer the sound, the more words; the last one has nearly as many as the full decode."""
    counts = [
        len(recogniser.partial(speech.cut(speech.duration_s * share / 4).samples, ()).text.split())
        for share in range(1, 5)
    ]
    assert counts[0] < counts[-1]
    assert all(before <= after + 1 for before, after in pairwise(counts))
    assert abs(counts[-1] - len(recogniser.final(speech.samples, ()).words)) <= 3


def test_numbers_are_numbers(recogniser, speech):
    """The measures by which hallucinations are told are finite, whatever was heard."""
    for samples in (seconds(0), seconds(1), speech.samples):
        for found in (recogniser.partial(samples, ()), recogniser.final(samples, ())):
            assert -20 < found.avg_logprob <= 0
            assert 0 <= found.no_speech_prob <= 1
            assert 0 < found.compression_ratio < 20
            assert not math.isnan(found.avg_logprob)


def test_the_same_sound_is_the_same_partial(recogniser, speech):
    """Decoding leaves no trace in the recogniser, and none in the sound."""
    before = speech.samples.copy()
    first = recogniser.partial(speech.samples, ())
    recogniser.partial(seconds(2), ())
    assert recogniser.partial(speech.samples, ()) == first
    assert (speech.samples == before).all()


def test_any_vocabulary(recogniser, speech):
    """Names may be many, long, empty, or look like the model's own marks."""
    plain = recogniser.partial(speech.samples, ()).text
    assert recogniser.partial(speech.samples, ("", " ")).text == plain
    assert recogniser.partial(speech.samples, ODD_NAMES).text
    assert recogniser.final(speech.samples, ODD_NAMES).text


def test_a_window_as_long_as_there_is(recogniser, speech):
    """Thirty seconds full of speech are decoded to the end."""
    samples = np.resize(speech.samples, WINDOW_S * RATE_HZ)
    assert recogniser.partial(samples, ODD_NAMES).text
    found = recogniser.final(samples, ODD_NAMES)
    assert found.text
    assert all(word.end_s <= WINDOW_S for word in found.words)


def test_a_view_of_a_larger_buffer(recogniser, speech):
    """Sound need not lie in memory in one piece, and may be read-only."""
    view = np.repeat(speech.samples, 2)[::2]
    view.flags.writeable = False
    assert recogniser.partial(view, ()) == recogniser.partial(speech.samples, ())


def test_on_a_thread_of_its_own(recogniser, speech):
    """It is loaded on one thread and used on another."""
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(recogniser.final, speech.samples, ()).result(15).text
