import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.asr_worker.stable import Agreement, Shown


def fed(*hypotheses: str) -> Shown:
    agreement = Agreement()
    shown = Shown("")
    for text in hypotheses:
        shown = agreement.feed(text)
    return shown


def stable(shown: Shown) -> str:
    return shown.text[: shown.stable]


@pytest.mark.parametrize(
    ("hypotheses", "text", "agreed"),
    [
        (("what do",), "what do", ""),
        (("what do", "what do you"), "what do you", "what do"),
        (("what do", "what are you"), "what are you", "what"),
        (("what to", "who do you"), "who do you", ""),
        # the second of three differs: words have to be the same twice in a row
        (("go left", "go right", "go left"), "go left", "go"),
        (("What do you", "what do, you think"), "what do, you think", "what do, you"),
        (("run", "Run!"), "Run!", "Run!"),
        (("don't stop", "don’t stop"), "don’t stop", "don’t stop"),
        (("wait - what", "wait — what now"), "wait — what now", "wait — what"),
        (("go to the sto", "go to the store"), "go to the store", "go to the"),
        (("", "hello"), "hello", ""),
        (("", ""), "", ""),
        (("... ?", "... ?"), "... ?", ""),
        (("今日は", "今日はい"), "今日はい", "今日は"),
    ],
)
def test_what_two_in_a_row_agree_on(hypotheses, text, agreed):
    """Words are compared without case and punctuation, and shown as the newest hypothesis spells them."""
    shown = fed(*hypotheses)
    assert shown.text == text
    assert stable(shown) == agreed


def test_stable_words_stay_while_what_follows_changes():
    """A guess at the end may change as often as it likes."""
    agreement = Agreement()
    found = [
        agreement.feed(text) for text in ("so i", "so i think", "so i thin", "so i see it", "so i saw it")
    ]
    assert [stable(shown) for shown in found] == ["", "so i", "so i", "so i", "so i"]


def test_a_different_word_takes_stable_ones_back():
    """Who is shown a word that the newest hypothesis denies is told at once."""
    shown = fed("we go left", "we go left", "we go right")
    assert (shown.text, stable(shown)) == ("we go right", "we go")


@pytest.mark.parametrize("short", ["", "we", "We go"])
def test_one_hypothesis_that_is_too_short_takes_nothing_back(short):
    """Words that are missing once are a hiccup of the recogniser, and missing twice were not said."""
    agreement = Agreement()
    for text in ("we go left", "we go left now"):
        agreement.feed(text)
    assert agreement.feed(short) == Shown("we go left", 10)
    again = agreement.feed(short)
    assert again == Shown(short, len(short))


def test_after_a_hiccup_it_goes_on():
    """What comes back after one short hypothesis was stable all the time."""
    assert stable(fed("we go left", "we go left", "we", "we go left now")) == "we go left"


words = st.lists(
    st.sampled_from(["go", "Go.", "left", "left,", "right", "-", "…", "now", "不", ""]), max_size=6
)


@given(st.lists(words.map(" ".join), max_size=12))
def test_whatever_comes(hypotheses):
    """What is stable ends with a word, and shrinks only if the newest hypothesis lacks or denies it."""
    agreement = Agreement()
    before = Shown("")
    for text in hypotheses:
        shown = agreement.feed(text)
        assert shown.text in (text, stable(before))
        assert 0 <= shown.stable <= len(shown.text)
        assert shown.stable in (0, len(shown.text)) or shown.text[shown.stable] in " 不"
        kept, was = (keys(stable(one)) for one in (shown, before))
        assert kept[: len(was)] == was or keys(text)[: len(was)] != was
        before = shown


def keys(text: str) -> list[str]:
    spaced = text.replace("不", " 不 ").lower()
    return [key for word in spaced.split() if (key := word.strip(".,-…"))]
