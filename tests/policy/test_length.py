"""Where a reply ends that goes on and on."""

import pytest

from apps.policy.length import CHARACTERS, WORDS, Length
from apps.policy.sentences import Cutter


def said(text: str, sentences: int) -> list[str]:
    """The pieces of `text` up to the last that is to be said."""
    cutter = Cutter()
    length = Length(sentences)
    pieces = []
    for piece in [*cutter.feed(text), *cutter.close()]:
        pieces.append(piece)
        if length.ends(piece):
            break
    return pieces


REPLIES = {
    "shorter": ("Hi there. Ok!", 3, ["Hi there.", "Ok!"]),
    "as long": ("Hi there. Ok! Bye.", 3, ["Hi there.", "Ok!", "Bye."]),
    "longer": ("Hi there. Ok! Why? Bye.", 2, ["Hi there.", "Ok!"]),
    "one": ("Hi there. Ok!", 1, ["Hi there."]),
    "a clause is no sentence": (
        "I was thinking about you, and then it rained. Ok. No.",
        2,
        ["I was thinking about you,", "and then it rained.", "Ok."],
    ),
    "abbreviations and decimals": (
        "Dr. Who paid 3.14 coins. Ok. No.",
        2,
        ["Dr. Who paid 3.14 coins.", "Ok."],
    ),
    "quotes and markup": ('He said "Stop!" **Now!** And I ran.', 2, ['He said "Stop!"', "**Now!**"]),
    "other scripts": ("你好。世界！Ok", 2, ["你好。", "世界！"]),
    "ellipsis": ("Hmm... well. Yes. No.", 2, ["Hmm... well.", "Yes."]),
    "no mark at the end": ("Hi there. Ok", 2, ["Hi there.", "Ok"]),
}


@pytest.mark.parametrize(("text", "sentences", "expected"), REPLIES.values(), ids=REPLIES.keys())
def test_a_reply_ends_after_its_sentences(text: str, sentences: int, expected: list[str]) -> None:
    """Sentences count; clauses, abbreviations and decimals do not."""
    assert said(text, sentences) == expected


@pytest.mark.parametrize("text", ["and so on " * 200, "and so, on we go, " * 100, "one\ntwo\n" * 200])
def test_an_endless_sentence_ends_as_well(text: str) -> None:
    """Without a sentence end, it is words that count: the piece that reaches the limit is the last."""
    pieces = said(text, 2)
    assert len(" ".join(pieces[:-1]).split()) < 2 * WORDS <= len(" ".join(pieces).split())


def test_a_script_without_spaces_ends_as_well() -> None:
    """Where no spaces part the words, characters count."""
    pieces = said("狐" * 2000, 2)
    assert len("".join(pieces[:-1])) < 2 * WORDS * CHARACTERS <= len("".join(pieces))
