"""What a model thinks aloud is never said."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.policy.thinking import ATTRIBUTES, BLANK, NAMES, Thoughts

LONGEST = len("<  /  seed:think ") + ATTRIBUTES + len("/>")


def through(*tokens: str) -> str:
    thoughts = Thoughts()
    return "".join([*map(thoughts.outside, tokens), thoughts.rest()])


HARMONY = "<|channel|>{}<|message|>Hm. So.<|end|><|start|>assistant<|channel|>final<|message|>Hi.<|return|>"
THOUGHTS = {
    "no thought": ("Hi. Ok.", "Hi. Ok."),
    "white space stays": (" Hi.\n\nOk. \n", " Hi.\n\nOk. \n"),
    "think": ("<think>Hm. So.</think>Hi. Ok.", "Hi. Ok."),
    **{name: (f"<{name}>Hm. So.</{name}>Hi.", "Hi.") for name in NAMES},
    "another name closes": ("<think>Hm.</thinking>Hi.", "Hi."),
    "magistral": ("[THINK]Hm. So.[/THINK]Hi.", "Hi."),
    "kimi": ("◁think▷Hm. So.◁/think▷Hi.", "Hi."),
    "command": ("<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Hi.<|END_RESPONSE|>", "Hi."),
    "gemma": ("<|channel>thought\nHm. So.<channel|>Hi.", "Hi."),
    "gpt-oss": (HARMONY.format("analysis"), "Hi."),
    "gpt-oss calls a tool": (HARMONY.format("commentary to=functions.x <|constrain|>json"), "Hi."),
    "gpt-oss goes on as the viewer": (
        "<|channel|>final<|message|>Hi.<|end|><|start|>user<|message|>Yo.",
        "Hi.",
    ),
    "gpt-oss answers twice": (HARMONY.format("final").replace("Hm. So.", "Hm."), "Hm. Hi."),
    "gpt-oss without channels": ("<|start|>assistant<|message|>Hi.<|end|>", "Hi."),
    "gpt-oss without headers": ("<|channel|>analysis<|message|>Hm.<|end|>Hi.", "Hi."),
    "gpt-oss never answers": ("<|channel|>analysis<|message|>Hm. So.", ""),
    "gpt-oss stops in a header": ("<|channel|>analysis", ""),
    "capitals": ("<THINK>Hm.</Think>Hi.", "Hi."),
    "small letters": ("[think]Hm.[/think]Hi.", "Hi."),
    "attributes": ('<think budget="3" mode=x>Hm.</think>Hi.', "Hi."),
    "white space in a tag": ("< think\n>Hm.</ think >Hi.", "Hi."),
    "empty": ("<think>\n\n</think>\n\nHi.\n\nOk.", "Hi.\n\nOk."),
    "after blank lines": ("\n\n<think>Hm.</think>\n\nHi.", "Hi."),
    "one that is both": ("<think/>Hi.", "Hi."),
    "two": ("<think>a</think>\n<think>b</think>\nHi.", "Hi."),
    "nested": ("<think>a<think>b</think>c</think>Hi.", "Hi."),
    "nested and open": ("Hi.<think>a<think>b</think>c", "Hi."),
    "open": ("Hi. <think>Hm. So.", "Hi. "),
    "nothing else": ("<think>Hm.</think>", ""),
    "between words": ("Hi<think>Hm.</think>there.", "Hi there."),
    "between sentences": ("Hi.\n<think>Hm.</think>Ok.", "Hi.\nOk."),
    "before a line's end": ("Hi.<think>Hm.</think>\nOk.", "Hi.\nOk."),
    "only its end": ("\n</think>\n\nHi.</think>", "Hi."),
    "unfinished": ("Hi. <thin", "Hi. <thin"),
    "unfinished in a thought": ("Hi. <think>Hm. </thin", "Hi. "),
    "a heart": ("I <3 you", "I <3 you"),
    "less than": ("a < b, a <thin b", "a < b, a <thin b"),
    "a stage direction": ("[laughs] [thinks] [thinking] Hi.", "[laughs] [thinks] [thinking] Hi."),
    "a name that only looks alike": ("<reaſoning>Hi.", "<reaſoning>Hi."),
    "a longer name": ("<thinker>Hi.</thinker>", "<thinker>Hi.</thinker>"),
    "a bracket in a tag": ("<think a=[b]>Hi.", "<think a=[b]>Hi."),
    "a tag within a tag": ("<think <think>Hm.</think>Hi.", "<think Hi."),
}


@pytest.mark.parametrize(("text", "said"), THOUGHTS.values(), ids=THOUGHTS.keys())
def test_a_thought_is_dropped(text: str, said: str) -> None:
    """What stands outside of thoughts is said, whether it comes whole or letter by letter."""
    for tokens in ([text], [*text]):
        thoughts = Thoughts()
        assert "".join([*map(thoughts.outside, tokens), thoughts.rest()]) == said
        assert not thoughts.orphan


AT_ONCE = {
    "word": ["Hello", " there"],
    "heart": ["I ", "<3"],
    "less than": ["a ", "< b"],
    "stage direction": ["[l", "aughs]"],
    "other tag": ["<b", ">Hi"],
    "smiley": [">:[", " no"],
    "closing other tag": ["</b"],
    "longer name": ["<thinke"],
    "special token": ["<|im"],
}


@pytest.mark.parametrize("tokens", AT_ONCE.values(), ids=AT_ONCE.keys())
def test_what_cannot_be_a_tag_goes_through_at_once(tokens: list[str]) -> None:
    """As soon as no tag can come of it any more, everything is said, without waiting for the next token."""
    thoughts = Thoughts()
    assert "".join(map(thoughts.outside, tokens)) == "".join(tokens)


def test_only_an_unfinished_tag_waits() -> None:
    """What stands before it is said, and what it turns out to be decides on it."""
    thoughts = Thoughts()
    assert [thoughts.outside(token) for token in ["Hi <", "thi", "s> is"]] == ["Hi ", "", "<this> is"]


def test_one_knows_when_she_thinks() -> None:
    """A light can tell thinking from speaking, and how much was thought."""
    thoughts = Thoughts()
    seen = []
    for token in [
        "<think>",
        "Hm.",
        "</think>",
        "Hi.",
        "<|channel|>analysis",
        "<|message|>",
        "So.",
        "<|end|>",
    ]:
        thoughts.outside(token)
        seen.append((thoughts.inside, thoughts.dropped))
    assert seen == [
        (True, 7),
        (True, 10),
        (False, 18),
        (False, 18),
        (True, 37),
        (True, 48),
        (True, 51),
        (False, 58),
    ]
    assert not thoughts.orphan


ORPHANS = {
    "think": ("Hm. So.", "</think>", "\n\nHi."),
    "split": ("Hm. So.", "</thi", "nk>", "Hi."),
    "with the reply": ("Hm.", " So.</think>\n\nHi."),
    "all in one": ("Hm. So.</think>Hi.",),
    "magistral": ("Hm.", "[/THINK]Hi."),
    "after a thought": ("<think>a</think>Hm.", "</think>Hi."),
    "gpt-oss": ("Hm. So.<|end|><|start|>assistant", "<|channel|>", "final", "<|message|>", "Hi."),
}


@pytest.mark.parametrize("tokens", ORPHANS.values(), ids=ORPHANS.keys())
def test_a_thought_that_the_template_opened(tokens: tuple[str, ...]) -> None:
    """Where a thought ends that never began, the caller is told; only the reply is returned from there on."""
    for stream in (tokens, tuple("".join(tokens))):
        thoughts = Thoughts()
        told = ""
        for token in stream:
            said = thoughts.outside(token)
            told += said if thoughts.orphan else ""
        assert told + thoughts.rest() == "Hi."
        assert thoughts.orphan


def test_a_second_stray_tag_takes_nothing_back() -> None:
    """A template opens one thought; another closing tag is only not said."""
    thoughts = Thoughts()
    assert [thoughts.outside(t) for t in ["Hm.</think>", "Hi", "</think>there."]] == ["", "Hi", " there."]


def test_a_stray_tag_in_a_silent_channel_is_part_of_the_thought() -> None:
    """A thought about tags is a thought."""
    thoughts = Thoughts()
    assert thoughts.outside("<|channel|>analysis<|message|>I write </think> now<|end|>") == ""
    assert not thoughts.orphan


PARTS = [
    *(
        "<think>",
        "</think>",
        "<thinking mode=3>",
        "< / think >",
        "<think/>",
        "[THINK]",
        "[/THINK]",
        "◁think▷",
    ),
    *("<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|channel>", "<channel|>", "analysis", "final"),
    *("<", "[", "◁", "</", "<|", "<think ", ">", "|>", "K", "ſ", "fox", "Hi.", " ", "\n", "   ", " " * BLANK),
]
TEXT = st.lists(st.sampled_from(PARTS), max_size=20).map("".join)


@st.composite
def _split(draw: st.DrawFn, texts: st.SearchStrategy[str]) -> list[str]:
    text = draw(texts)
    places = sorted(draw(st.sets(st.integers(0, len(text)))))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@settings(max_examples=500, deadline=None)
@given(_split(TEXT))
def test_the_tokens_make_no_difference(tokens: list[str]) -> None:
    """However a text is split, the same is said and dropped; after an orphan, from there on."""

    def read(stream: list[str]) -> tuple[str, bool, bool, int]:
        thoughts = Thoughts()
        said = ""
        for token in stream:
            before = thoughts.orphan
            new = thoughts.outside(token)
            said = said + new if thoughts.orphan == before else new
            assert len(thoughts._held) < LONGEST
            assert len(thoughts._spoken._blank) <= BLANK
        return said + thoughts.rest(), thoughts.orphan, thoughts.inside, thoughts.dropped

    assert read(tokens) == read(["".join(tokens)])


@settings(max_examples=300, deadline=None)
@given(_split((st.text() | TEXT).map(lambda text: re.sub(r"[]>▷]", "", text))))
def test_text_without_tags_passes_unchanged(tokens: list[str]) -> None:
    """Not a character is lost, added or moved."""
    assert through(*tokens) == "".join(tokens)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_thought_is_ever_said(data: st.DataObject) -> None:
    """Whatever stands in a thought but its end, none of it comes through."""
    begin, end = data.draw(
        st.sampled_from(
            [
                ("<think>", "</think>"),
                ("[THINK]", "[/THINK]"),
                ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
            ]
        )
    )
    thought = data.draw(st.lists(st.sampled_from(["secret", "<", "[", "</", "<|", " ", "\n"])).map("".join))
    assert "secret" not in through(*data.draw(_split(st.just(f"Hi. {begin}{thought} {end}Ok."))))


@pytest.mark.parametrize(
    "unit", ["<", "<think", "<think ", "<think>", "[", "[THIN", "<|", " ", "a", "<|start|>"]
)
def test_nothing_piles_up(unit: str) -> None:
    """A flood of tags, or of what looks like their beginnings, leaves nothing behind."""
    for first in ("", "<think>", "<|start|>"):
        thoughts = Thoughts()
        thoughts.outside(first)
        for character in unit * (20_000 // len(unit)):
            thoughts.outside(character)
        kept = [
            value for value in (*vars(thoughts).values(), thoughts._spoken._blank) if isinstance(value, str)
        ]
        assert sum(map(len, kept)) <= LONGEST + BLANK
