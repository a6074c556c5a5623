"""What she says for what is written."""

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.shared.speakable import letters, speakable

NUMBERS = {
    "thousands": ("1,234,567", "one million two hundred thirty-four thousand five hundred sixty-seven"),
    "decimal": ("pi is 3.14.", "pi is three point one four."),
    "negative": ("-5", "minus five"),
    "ordinals": ("the 1st and 22nd", "the first and twenty-second"),
    "year": ("in 1999", "in nineteen ninety-nine"),
    "year alone": ("2024 was fun", "twenty twenty-four was fun"),
    "year with an oh": ("1905", "nineteen oh five"),
    "year 2000s": ("2005", "two thousand five"),
    "old year after a cue": ("since 1776", "since seventeen seventy-six"),
    "four digits that are no year": ("1500 people", "one thousand five hundred people"),
    "decade": ("the 90s, the 1990s", "the nineties, the nineteen nineties"),
    "telephone": ("555-123-4567", "five five five, one two three, four five six seven"),
    "long number": ("12345678", "one two three four five six seven eight"),
    "leading zeros": ("007", "zero zero seven"),
    "thousand": ("10k viewers", "ten thousand viewers"),
    "million": ("1.5M", "one point five million"),
    "time": ("3:30 pm", "three thirty P-M"),
    "time of 24 hours": ("14:05", "fourteen oh five"),
    "full hour": ("3:00", "three o'clock"),
    "hour alone": ("9pm", "nine P-M"),
    "score": ("we won 3-0", "we won three to zero"),
    "range": ("3-5 days", "three to five days"),
    "range with a dash": ("3–5", "three to five"),
    "half": ("1/2", "one half"),
    "mixed fraction": ("1 1/2", "one and a half"),
    "typeset fraction": ("1½", "one and a half"),
    "out of": ("9/10", "nine out of ten"),
    "percent": ("50%", "fifty percent"),
    "version": ("v1.2.3", "version one point two point three"),
    "dollars": ("$5 or $1", "five dollars or one dollar"),
    "cents": ("$4.99", "four dollars and ninety-nine cents"),
    "only cents": ("$0.99", "ninety-nine cents"),
    "large money": ("$1.5M", "one point five million dollars"),
    "euros": ("€20 or 5€", "twenty euros or five euros"),
    "pounds": ("£3.50", "three pounds and fifty pence"),
    "yen": ("¥1000", "one thousand yen"),
    "ISO date": ("2024-05-01", "May first, twenty twenty-four"),
    "American date": ("05/01/2024", "May first, twenty twenty-four"),
    "month and day": ("May 1st", "May first"),
    "frame rate": ("60 FPS", "sixty frames per second"),
    "one unit": ("1 km", "one kilometre"),
    "units": ("5ms 16GB 100 km/h", "five milliseconds sixteen gigabytes one hundred kilometres per hour"),
    "temperature": ("20°C", "twenty degrees Celsius"),
    "resolution": ("1920x1080", "nineteen twenty by one thousand eighty"),
    "sum": ("2+2=4", "two plus two equals four"),
    "product": ("3×4", "three times four"),
    "comparison": ("3 < 5 & 6 > 2", "three is less than five and six is greater than two"),
    "digits of another script": ("٣", "three"),
    "square": ("10²", "ten squared"),
    "network generation": ("5G", "five G"),
    "impossible date": ("13/45/2024", "thirteen forty-five twenty twenty-four"),
}

MARKUP = {
    "bold": ("**really** good", "really good"),
    "heading": ("# Title", "Title"),
    "list": ("- milk\n- eggs", "milk. eggs"),
    "code span": ("use `speak` now", "use speak now"),
    "code block": ("See: ```py\nprint(1)\n``` done", "See: done"),
    "link": ("[my page](https://x.com/a?b=c)", "my page"),
    "action": ("Hi *giggles* you", "Hi you"),
    "stage tag": ("[happy] Hi [wink slowly]", "Hi"),
    "brackets around words": ("the [Big One]", "the Big One"),
    "parentheses": ("I won (finally) today", "I won, finally, today"),
    "thought": ("<think>hmm. 1</think>Hello", "Hello"),
    "open thought": ("Hello <think>what if", "Hello"),
    "other tags": ('<b class="x">bold</b><br/>', "bold"),
    "address": (
        "see https://www.example.com/a/b?token=1#x.",
        "see a link to example dot com.",
    ),
    "bare site": ("twitch.tv/someone", "twitch dot tv"),
    "file": ("main.py", "main dot py"),
    "e-mail": ("ask bob.b@example.com", "ask an email address"),
    "name": ("@Dark_Fox99 hi", "Dark Fox hi"),
    "topic": ("#GamerLife and #1", "Gamer Life and number one"),
}

CHAT = {
    "silent emotes": ("KEKW nice LUL", "nice"),
    "said emote": ("PogChamp FeelsBadMan", "Pog feels bad man"),
    "smileys": ("nice :) xD ;-( <3 ^_^ :3 :P", "nice"),
    "emoji": ("wow 😀👍🏽5️⃣ ok", "wow ok"),
    "shrug": ("¯\\_(ツ)_/¯ dunno", "dunno"),
    "stretched": ("sooooo goooood niceeee hmmmmm freeee", "so good nice hmm free"),
    "laugh": ("hahahahahahaha HEHEHEHEHE", "hahaha hehehe"),
    "stretched abbreviation": ("lmaooooo", "lmao"),
    "exclamation": ("wow!!!!!! what???? no?!?!", "wow! what? no?"),
    "shouting": ("THIS IS AMAZING", "this is amazing"),
    "spelled": ("my GPU and OBS at 5 AM", "my G-P-U and O-B-S at five A-M"),
    "no vowel": ("HTML BTS", "HTML BTS"),
    "numeral": ("part III", "part III"),
    "abbreviations": ("idk tbh, brb", "I don't know to be honest, be right back"),
    "latin": ("fruit, e.g. figs, i.e. those", "fruit, for example figs, that is those"),
    "initials": ("the U.S. team", "the U-S team"),
    "signs": ("R&B in C++ and C#", "R and B in C plus plus and C sharp"),
    "quotes": ("“Don’t” ‘go’", "Don't go"),
    "dashes": ("now — or never -- ok", "now, or never, ok"),
    "ellipsis": ("Hmm… let me see... Done...", "Hmm, let me see. Done."),
    "white space": ("  a \t b\r\n", "a b"),
    "missing space": ("end.Next", "end. Next"),
    "fancy letters": ("𝓗𝓮𝓵𝓵𝓸 ｗｏｒｌｄ", "Hello world"),
    "other scripts": ("你好！世界。 שלום नमस्ते", "你好! 世界. שלום नमस्ते"),
    "hidden direction marks": ("a\u202eb\u200bc", "abc"),
    "piled accents": ("Z" + "\u0301" * 50, "Ź\u0301\u0301"),
}

SILENT = {
    "nothing": "",
    "space": " \n\t ",
    "emoji": "😀 👩‍👩‍👧 🇩🇪",
    "punctuation": "?!... --- ,;: ()",
    "signs": "+ = & @ # %",
    "tags": "[happy] *waves* <br>",
    "emotes": "KEKW LUL",
    "thought": "<think>x",
    "surrogate": "\ud83d",
    "controls": "\x00\x1b\x7f",
    "accent": "\u0301",
}

FRAGMENTS = [
    *(written for table in (NUMBERS, MARKUP, CHAT) for written, _ in table.values()),
    *SILENT.values(),
    *"*_`[]()<>@#:;=-+.,!?'\"/\\&$%^~0123456789 \n",
    *["Kappaaaa", "LULLL", "gggg", "www.", "http://", "</think>", "am", "U", "é", "\u200d", "x", "D", "k"],
]


@pytest.mark.parametrize(
    ("written", "said"),
    [pytest.param(*row, id=name) for table in (NUMBERS, MARKUP, CHAT) for name, row in table.items()],
)
def test_is_said(written: str, said: str) -> None:
    """Each way of writing has its way of saying."""
    assert speakable(written) == said


@pytest.mark.parametrize("written", SILENT.values(), ids=SILENT.keys())
def test_is_silent(written: str) -> None:
    """What holds no word is not said at all, and counts no letters."""
    assert speakable(written) == ""
    assert letters(written) == 0


def test_letters_are_counted_without_what_is_silent() -> None:
    """A tag and an action add nothing to the letters of a line."""
    assert letters("[happy] Hi *waves*, you!") == letters("Hi, you!") == 5


ANYTHING = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map(" ".join),
)


@settings(max_examples=400, deadline=None)
@given(ANYTHING)
@example("e[x]\u0301")
@example("\ud83d\ude00")
@example("Kappaaaa")
@example("0PogChamp")
def test_any_text_gives_plain_words(written: str) -> None:
    """Any text becomes letters and a voice's punctuation, and saying that again changes nothing."""
    said = speakable(written)
    assert speakable(said) == said
    assert all(c in " .,!?;:'-" or unicodedata.category(c)[0] in "LM" for c in said)
    assert "  " not in said
    assert said == said.strip()
    assert bool(said) == bool(letters(written))


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "ha",
        "1",
        "1,111,",
        "1/",
        "1-",
        "*a ",
        "**",
        "[",
        "[a](",
        "(",
        "<",
        "<think>",
        "<a =",
        "`",
        "@a",
        "a@a.",
        "a.",
        "http://",
        "www.",
        "#",
        ":",
        "'",
        " ",
        "\n",
        "́",
        "\u200d",
        "😀",
        "ﷺ",
        "$1",
        "_a",
        "-",
        "&a ",
    ],
)
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    """Thirty thousand characters of one pattern, where a careless expression takes hours, are read."""
    said = speakable(unit * (30_000 // len(unit)))
    assert not any(map(str.isdecimal, said))


def test_inflect_is_imported_at_the_first_digit() -> None:
    """A line without digits does not pay for the slow import."""
    program = (
        "import sys; from apps.shared.speakable import speakable, letters;"
        "speakable('Hello, you!'); letters('I am 5'); assert 'inflect' not in sys.modules;"
        "speakable('5'); assert 'inflect' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
