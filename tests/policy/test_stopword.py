"""Where a reply ends although the model goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.policy.stopword import StopWord

WORD = "\nmika:"


def through(tokens: list[str]) -> tuple[str, bool]:
    """What is let through of a stream, and whether it was cut."""
    stop = StopWord(WORD)
    said = ""
    for token in tokens:
        said += stop.before(token)
        if stop.reached:
            return said, True
    return said + stop.rest(), False


@pytest.mark.parametrize(
    ("tokens", "said", "cut"),
    [
        (["Hello", " there."], "Hello there.", False),
        (["Hello.\nmika: and you?"], "Hello.", True),
        (["Hello.", "\n", "mi", "ka", ":", " and"], "Hello.", True),
        (["Hello.\n", "mike: who?"], "Hello.\nmike: who?", False),
        (["Hello.\n\n", "mika: again"], "Hello.\n", True),
        (["Hello.\nmi"], "Hello.\nmi", False),
        (["Thanks mika: you"], "Thanks mika: you", False),
    ],
)
def test_a_reply_ends_where_the_viewer_would_speak(tokens, said, cut):
    """The word is found however it is split; what only looks like its beginning is said."""
    assert through(tokens) == (said, cut)


@given(st.lists(st.text(alphabet="\nmika: x", max_size=8), max_size=12))
def test_nothing_else_is_lost(tokens):
    """Whatever the chunking, all before the word comes through, in order, and nothing of it after."""
    whole = "".join(tokens)
    assert through(tokens) == (whole.partition(WORD)[0], WORD in whole)
