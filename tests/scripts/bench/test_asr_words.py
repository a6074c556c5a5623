"""Following words through texts that grow: when each was seen, when it was stable, what was taken back."""

import numpy as np
import pytest

from scripts.bench.asr_speech import Recording, Sentence
from scripts.bench.asr_words import Seen, Shown, same, seen, words_of
from tests.ears.speech import Word


def sentence(text, start_s):
    """Half a second for each word."""
    words = (Word(word, start_s + 0.5 * at, start_s + 0.5 * at + 0.5) for at, word in enumerate(text.split()))
    return Sentence(tuple(words))


def of(*sentences):
    return Recording(np.zeros(16_000, np.float32), sentences)


def shown(text, at_s, stable="", *, final=False, utterance="u", from_s=0.0):
    return Shown(text, len(stable), from_s, at_s, at_s, utterance, final)


ONE = of(sentence("tell me a joke", 0.0))


def test_a_word_is_seen_with_the_first_text_that_has_it():
    """The delay counts from the word's own end; what only the final text has is seen with that."""
    found = seen(
        ONE,
        [
            shown("tell", 0.75),
            shown("tell me", 1.25, "tell"),
            shown("tell me a joke.", 2.5, final=True),
        ],
    )
    assert found.delay_s == pytest.approx([0.25, 0.25, 1.0, 0.5])
    assert sorted(found.stable_s) == pytest.approx([0.5, 0.75, 1.0, 1.5])
    assert (found.by_partials, found.stable_by_partials) == (2, 1)
    assert (found.words, found.wrong) == (4, 0)


def test_a_word_is_not_seen_before_it_is_said():
    """A guess at what comes next counts once there is sound of it."""
    found = seen(ONE, [shown("tell me a joke", 0.75), shown("tell me a joke", 2.25, final=True)])
    assert found.delay_s == pytest.approx([0.25, -0.25, 0.75, 0.25])


def test_a_word_that_was_never_right_has_no_time():
    """It is wrong, and that is all."""
    found = seen(ONE, [shown("tell me a book", 2.2, final=True)])
    assert len(found.delay_s) == 3
    assert found.word_error_rate == 0.25


@pytest.mark.parametrize(
    ("texts", "stable", "taken_back"),
    [
        ([("tell me", "tell"), ("tell me a", "tell me")], 2, 0),
        ([("tell we", "tell we"), ("tell me a", "tell")], 2, 1),
        ([("well", "well"), ("tell", "tell")], 2, 2),  # a stable word that the final text lacks, too
        ([("tell me a joke", "")], 0, 0),
    ],
)
def test_what_was_stable_and_did_not_stay(texts, stable, taken_back):
    """Each word that was called stable counts once, and once when it has changed or gone."""
    partials = [shown(text, 1.0 + at, part) for at, (text, part) in enumerate(texts)]
    final = shown("well well" if texts[0][0] == "well" else "tell me a joke", 9.0, final=True)
    found = seen(ONE, [*partials, final])
    assert (found.stable, found.taken_back) == (stable, taken_back)


def test_texts_go_to_the_sentence_that_they_are_about():
    """Also when a sentence was cut in two, and when another one has the same words."""
    both = of(sentence("tell me a joke", 0.0), sentence("tell me a joke", 10.0))
    found = seen(
        both,
        [
            shown("tell me", 1.2, final=True),
            shown("a joke", 2.5, final=True, utterance="v", from_s=1.0),
            shown("tell me a joke", 12.5, final=True, utterance="w", from_s=10.1),
        ],
    )
    assert (found.words, found.wrong) == (8, 0)
    assert found.delay_s == pytest.approx([0.7, 0.2, 1.0, 0.5, 2.0, 1.5, 1.0, 0.5])


def test_a_sentence_that_nobody_heard_is_wrong():
    """All of its words were missed."""
    assert seen(ONE, []).word_error_rate == 1


def test_several_recordings_make_one_figure():
    """Words and errors add up, and no words have no rate."""
    total = Seen()
    assert total.word_error_rate != total.word_error_rate
    for text in ("tell me a joke", "tell me a"):
        total.add(seen(ONE, [shown(text, 2.5, final=True)]))
    assert total.word_error_rate == 1 / 8
    assert len(total.delay_s) == 7


def test_words_are_compared_without_marks():
    """Case and punctuation are no mistakes; an apostrophe belongs to its word."""
    assert words_of("Hey, Kitsu: what's that?") == ["hey", "kitsu", "what's", "that"]
    assert list(same(["a", "b", "c"], ["a", "x", "c"])) == [(0, 0), (2, 2)]
