"""Where a reply is cut while it streams in."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.policy.sentences import LONG, LONGEST, PACE, Cutter
from apps.shared.speakable import letters


def pieces(*tokens: str, cut: str = "sentence") -> list[str]:
    cutter = Cutter(cut="clause" if cut == "clause" else "sentence")
    return [piece for token in tokens for piece in cutter.feed(token)] + cutter.close()


SENTENCES = {
    "plain": ("The fox ran. It was fast! Why? Yes.", ["The fox ran.", "It was fast!", "Why?", "Yes."]),
    "run of marks": ("Really?! Wow!!! Ok.", ["Really?!", "Wow!!!", "Ok."]),
    "quotes stay": ('"Stop!" (He ran.) Ok.', ['"Stop!"', "(He ran.)", "Ok."]),
    "ellipsis inside": ("Hmm... let me see.", ["Hmm... let me see."]),
    "ellipsis at the end": ("Hmm… Let me see.", ["Hmm…", "Let me see."]),
    "title": ("Dr. Who met Mrs. Hudson. Ok.", ["Dr. Who met Mrs. Hudson.", "Ok."]),
    "latin": ("Fruit, e.g. Figs, i.e. those. Ok.", ["Fruit, e.g. Figs, i.e. those.", "Ok."]),
    "etc inside": ("Cats, dogs, etc. are pets.", ["Cats, dogs, etc. are pets."]),
    "etc at the end": ("Cats, dogs, etc. They sleep.", ["Cats, dogs, etc.", "They sleep."]),
    "afternoon inside": ("At 5 p.m. we start.", ["At 5 p.m. we start."]),
    "afternoon at the end": ("At 5 p.m. We start.", ["At 5 p.m.", "We start."]),
    "country": ("The U.S. Army came.", ["The U.S. Army came."]),
    "number sign": ("No. 5 is alive.", ["No. 5 is alive."]),
    "no": ("No. Never.", ["No.", "Never."]),
    "saint": ("We saw St. Paul there.", ["We saw St. Paul there."]),
    "initials": ("J. R. R. Tolkien wrote.", ["J. R. R. Tolkien wrote."]),
    "I is a word": ("It was I. You know.", ["It was I.", "You know."]),
    "decimal": ("It is 3.14 now. Ok.", ["It is 3.14 now.", "Ok."]),
    "number at the end": ("It was 2024. Then I left.", ["It was 2024.", "Then I left."]),
    "version": ("Use v1.2.3 now. Ok.", ["Use v1.2.3 now.", "Ok."]),
    "domain": ("Go to example.com. Ok.", ["Go to example.com.", "Ok."]),
    "address": ("See https://a.com/x?y=1.5 now. Ok.", ["See https://a.com/x?y=1.5 now.", "Ok."]),
    "file": ("Open main.py now. Ok.", ["Open main.py now.", "Ok."]),
    "command": ("Type !drop now. Ok.", ["Type !drop now.", "Ok."]),
    "list": ("1. Milk.\n2. Eggs.", ["1. Milk.", "2. Eggs."]),
    "lines": ("one\ntwo\r\n\r\nthree", ["one", "two", "three"]),
    "missing space": ("The end.Next one.", ["The end.", "Next one."]),
    "other scripts": ("你好。世界！Ok", ["你好。", "世界！", "Ok"]),
    "action": ("*waves. Hard.* Hi. Ok.", ["*waves. Hard.* Hi.", "Ok."]),
    "action after a sentence": ("Wow!*giggles* Hi.", ["Wow!", "*giggles* Hi."]),
    "aside": ("She left (why?) and came. Ok.", ["She left (why?) and came.", "Ok."]),
    "tag": ("[happy] Hi! [wink] Ok.", ["[happy] Hi!", "[wink] Ok."]),
    "only tags": ("[happy] *waves*", []),
    "only markup": ("---\n***\n# \n", []),
    "only marks": ("... !!! ?", []),
    "smiley": ("Oh no :( I lost. Ok.", ["Oh no :( I lost.", "Ok."]),
    "only an opening": ("a <thin", ["a <thin"]),
}


@pytest.mark.parametrize(("text", "expected"), SENTENCES.values(), ids=SENTENCES.keys())
def test_sentences(text: str, expected: list[str]) -> None:
    """A reply is cut at its sentence ends, whether it comes whole or word by word."""
    assert pieces(text) == expected
    assert pieces(*re.findall(r"\s*\S+", text), text[len(text.rstrip()) :]) == expected


AT_ONCE = {
    "full stop": ("The fox", " ran", "."),
    "exclamation mark": ("Wow", "!"),
    "question mark": ("Who am I", "?"),
    "quoted": ('"The fox', " ran", "."),
    "contraction": ("I don", "'t", "."),
    "bold word": ("That is **nice", "."),
    "other script": ("你好", "。"),
    "new line": ("hello", "\n"),
}


@pytest.mark.parametrize("tokens", AT_ONCE.values(), ids=AT_ONCE.keys())
def test_unambiguous_end_is_cut_at_once(tokens: tuple[str, ...]) -> None:
    """The token that ends a sentence gives it: nothing waits for the next one."""
    cutter = Cutter(cut="sentence")
    before = [cutter.feed(token) for token in tokens[:-1]]
    assert not any(before)
    assert cutter.feed(tokens[-1]) == ["".join(tokens).strip()]


LOOKS_AHEAD = {
    "digit": (("It is 3", ".", "14 now."), ["It is 3.14 now."]),
    "abbreviation": (("At 5 p.m", ".", " we start."), ["At 5 p.m. we start."]),
    "single letter": (("Figs, e", ".", "g", ".", " those."), ["Figs, e.g. those."]),
    "web address": (("www.fox", ".", "com is it."), ["www.fox.com is it."]),
    "well-known site": (("on twitch", ".", "tv now."), ["on twitch.tv now."]),
    "link": (("https://a.com/b", "?", "c=1 ok."), ["https://a.com/b?c=1 ok."]),
    "comma after a digit": (("It cost 1", ",", "000 coins."), ["It cost 1,000 coins."]),
}


@pytest.mark.parametrize(("tokens", "expected"), LOOKS_AHEAD.values(), ids=LOOKS_AHEAD.keys())
def test_ambiguous_mark_waits_for_the_next_token(tokens: tuple[str, ...], expected: list[str]) -> None:
    """After a digit, an abbreviation or part of an address, the next token decides."""
    assert pieces(*tokens) == expected
    assert pieces(*tokens, cut="clause") == expected


LATE = {
    "not late": (("**Wow.** Nice.",), ["**Wow.**", "Nice."]),
    "more marks": (("Wow!", "!!", "!", " Ok."), ["Wow!", "Ok."]),
    "quote": (('"Wow!', '"', " Ok."), ['"Wow!', "Ok."]),
    "bold closes": (("**Wow!", "**", " Ok."), ["**Wow!", "Ok."]),
    "action begins": (("Wow!", "*", "giggles* Ok."), ["Wow!", "*giggles* Ok."]),
    "many asterisks": (("Wow!", "*****", "hello."), ["Wow!", "*****hello."]),
    "at the end": (("Wow!", '!"', "**"), ["Wow!"]),
}


@pytest.mark.parametrize(("tokens", "expected"), LATE.values(), ids=LATE.keys())
def test_late_closing_marks_are_no_piece(tokens: tuple[str, ...], expected: list[str]) -> None:
    """Marks that arrive after their sentence was given are dropped."""
    assert pieces(*tokens) == expected


CLAUSES = {
    "first clause": (
        "I was thinking about you, and then it rained.",
        ["I was thinking about you,", "and then it rained."],
    ),
    "short opener": (
        "Well, I was thinking, and then it rained.",
        ["Well, I was thinking,", "and then it rained."],
    ),
    "one long word": ("Unbelievably, it rained again.", ["Unbelievably, it rained again."]),
    "dash": ("The best game ever—no doubt.", ["The best game ever—", "no doubt."]),
    "spaced dash": ("The best game ever - no doubt.", ["The best game ever -", "no doubt."]),
    "colon": ("Here is the thing: I won.", ["Here is the thing:", "I won."]),
    "no comma": (
        "I thought about you and then it rained.",
        ["I thought about you and then it rained."],
    ),
    "hyphen": ("A well-known and much-loved fox ran.", ["A well-known and much-loved fox ran."]),
    "time": ("We always start at 12:30 or so.", ["We always start at 12:30 or so."]),
    "later commas stay": (
        "I was thinking about you, and then, of course, it rained.",
        ["I was thinking about you,", "and then, of course, it rained."],
    ),
    "tag pays nothing": ("[very happy] Hi, you two, ok.", ["[very happy] Hi, you two, ok."]),
}


@pytest.mark.parametrize(("text", "expected"), CLAUSES.values(), ids=CLAUSES.keys())
def test_first_piece_may_be_a_clause(text: str, expected: list[str]) -> None:
    """She starts speaking at the first clause that sounds like one; what follows ends at sentence ends."""
    assert pieces(text, cut="clause") == expected
    assert pieces(*re.findall(r"\s*\S+", text), cut="clause") == expected


def test_clause_is_cut_at_the_comma_itself() -> None:
    """The first clause does not wait for the token after its comma."""
    cutter = Cutter()
    assert cutter.feed("I was thinking about you") == []
    assert cutter.feed(",") == ["I was thinking about you,"]


def test_second_piece_is_no_longer_than_what_the_first_pays_for() -> None:
    """After a short first piece a long sentence is cut at a clause, so that no silence follows."""
    first, second, third = pieces(
        "Oh hello there! I was just thinking of all your hats, my dear friend, and of all the days we spent "
        "at the sea with them, which were long, sunny and warm.",
        cut="clause",
    )
    assert first == "Oh hello there!"
    assert second == "I was just thinking of all your hats,"
    assert len(second) <= PACE * letters(first)
    assert third.endswith("sunny and warm.")


def test_long_text_is_cut_at_a_space() -> None:
    """Without punctuation a piece ends at the first space after LONG characters."""
    first, *_ = pieces("word " * 100)
    assert len(first) in range(LONG, LONG + 5)


@pytest.mark.parametrize("unit", ["a", "e\u0301", "👍🏽", "👩‍👧", "🇩🇪", "\ud83d\ude00"])
def test_text_without_spaces_is_cut_between_characters(unit: str) -> None:
    """The last resort is a cut after LONGEST, never inside what is seen as one character."""
    text = "ab" + unit * 400
    found = pieces(*text)
    assert all(len(piece) <= LONGEST for piece in found)
    assert all(piece.removeprefix("ab").replace(unit, "") == "" for piece in found)


WORDS = [
    "fox",
    "Hi",
    "I",
    "a",
    "Dr",
    "etc",
    "p.m",
    "U.S",
    "No",
    "3",
    "14",
    "example.com",
    "https://a.b/c",
    "é",
]
LONG_WORDS = ["word " * 50, "x" * 120]
MARKS = [
    ".",
    "!",
    "?",
    "...",
    "…",
    ",",
    ";",
    "—",
    "-",
    "。",
    "？",
    '"',
    "'",
    ")",
    " ",
    " ",
    " ",
    " ",
    "\n",
    "  ",
]
MARKUP = [":", "(", "[", "]", "*", "**", "_", "<think>", "</think>", "<", "<th", "😀", "\ud83d"]
PROSE = st.lists(st.sampled_from(WORDS + LONG_WORDS + MARKS), max_size=40).map("".join)
TEXT = st.lists(st.sampled_from(WORDS + LONG_WORDS + MARKS + MARKUP), max_size=40).map("".join)
CUT = st.sampled_from(["clause", "sentence"])


def _split(data: st.DataObject, text: str, seams: list[int] | None = None) -> list[str]:
    places = range(len(text) + 1) if seams is None else seams
    chosen = sorted(data.draw(st.sets(st.sampled_from(places)))) if places else []
    return [text[a:b] for a, b in zip([0, *chosen], [*chosen, len(text)], strict=True)]


@settings(max_examples=300, deadline=None)
@given(st.data(), TEXT, CUT)
def test_nothing_is_added_or_moved_and_no_piece_is_empty(data: st.DataObject, text: str, cut: str) -> None:
    """However the stream is split, each piece has something to say and stands in the reply, in order."""
    found = pieces(*_split(data, text), cut=cut)
    assert all(letters(piece) and len(piece) <= LONGEST + 20 for piece in found)
    rest = iter("".join(text.split()))
    assert all(character in rest for character in "".join("".join(found).split()))


@settings(max_examples=300, deadline=None)
@given(st.data(), PROSE, CUT)
def test_prose_is_given_whole(data: st.DataObject, text: str, cut: str) -> None:
    """Not a letter is lost or doubled."""
    found = "".join(pieces(*_split(data, text), cut=cut))
    assert re.findall(r"[^\W_]", found) == re.findall(r"[^\W_]", text)


@settings(max_examples=300, deadline=None)
@given(st.data(), TEXT.map(lambda text: text.replace("<", "")), CUT)
def test_pieces_do_not_depend_on_the_tokens(data: st.DataObject, text: str, cut: str) -> None:
    """Any split gives the same pieces, unless it parts a mark from what follows it without a space."""
    marks = set(""".!?…。！？,;:—–-"'”’»)]}」』）*_~`""")
    seams = [
        place
        for place in range(1, len(text))
        if text[place - 1] not in marks or (text[place].isspace() and text[place - 1] not in "*_~`")
    ]
    assert pieces(*_split(data, text, seams), cut=cut) == pieces(text, cut=cut)


def test_text_of_only_marks_is_read() -> None:
    """A flood of one pattern is cut in time with its length, whole or in single characters."""
    for unit in ("a. ", ". ", "* ", "[a ", "\n", "<", "a", "“", "- ", "。", "**"):
        flood = unit * (3000 // len(unit))
        assert len(pieces(flood)) == len(pieces(*flood)) or unit in {"**", "- "}


def test_a_sentence_that_nothing_pays_for_ends_before_and() -> None:
    """After a short piece a long sentence without a comma is given in two, so that she does not stall."""
    cutter = Cutter(cut="clause")
    text = "No way. You beat the water temple in under ten minutes and did not even save once?"
    pieces = [piece for word in text.split(" ") for piece in cutter.feed(f"{word} ")]
    assert [*pieces, *cutter.close()] == [
        "No way.",
        "You beat the water temple in under ten minutes",
        "and did not even save once?",
    ]
