"""Where a reply ends that only repeats itself."""

import itertools
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.policy.engines.scripted import LINES_DIR
from apps.policy.persona import FOLDER
from apps.policy.repetition import BLANK, CYCLE, SENTENCES, WORD, Repetition
from apps.policy.sentences import Cutter

ROOT = Path(__file__).parents[2]


def through(tokens: list[str]) -> tuple[str, bool]:
    """What is let through of a stream, and whether it was cut."""
    repetition = Repetition()
    said = ""
    for token in tokens:
        said += repetition.before(token)
        if repetition.reached:
            return said, True
    said += repetition.rest()
    return said, repetition.reached


def tokens_of(text: str) -> list[str]:
    """Cut like a tokeniser does: a space belongs to the word after it, longer words are in parts."""
    return re.findall(r"\s?[^\W\d_]{1,5}|\s|.", text)


LOOPS = {  # what repeats for ever -> how often it is said
    "emote": ("", "LUL ", 8),
    "long emote": ("", "KEKW ", 4),
    "word": ("I am very ", "happy ", 4),
    "syllable": ("", "ha ", 8),
    "word and commas": ("", "never, ", 4),
    "word and case": ("", "Snack snack SNACK snack! ", 1),
    "word on lines": ("", "snacks\n", 4),
    "number": ("", "1234 ", 4),
    "marks alone": ("", "! ", 8),
    "emoji in words": ("Nice ", "😂 ", 8),
    "two words": ("", "no you ", 3),
    "two words and marks": ("", "No, you! ", 3),
    "three words": ("Well. ", "so much fun ", 3),
    "four words": ("", "and I like foxes ", 3),
    "five words": ("", "and then I was like ", 3),
    "eight words": ("", "and then I said that I like foxes ", 3),
    "nine words": ("", "and then I said that I really like foxes ", 2),
    "forty words": ("", "".join(f"w{n} " for n in range(CYCLE)), 2),
    "short sentence": ("", "I like snacks. ", 3),
    "sentence": ("Hi! ", "I like all snacks. ", 1),
    "question": ("", "Do you like snacks? ", 1),
    "exclaimed": ("", "You are the best! ", 3),
    "long exclaimed": ("", "You are the best of all! ", 1),
    "lines": ("", "you are the best of all\n", 1),
    "quoted sentence": ("", '"I like all snacks." ', 1),
    "two sentences": ("", "I like all snacks. Do you like them too? ", 1),
    "short sentences": ("", "Yes. No. Maybe. ", 3),
    "list": ("", "- a fox\n", 3),
    "endless laughter": ("", "ha", 13),
    "endless laughter in any case": ("Ha", "hA", 12),
    "endless word": ("N", "o", 25),
    "endless marks": ("What", "!", 25),
    "endless emoji": ("Nice ", "😂", 25),
    "endless flags": ("Nice ", "🇩🇪", 13),
    "no spaces": ("", "LUL!", 7),
    "no spaces after full stops": ("I ", "like snacks.I ", 3),
    "hyphens": ("", "no-", 9),
    "blank lines": ("Hi.", "\n", BLANK),
}


@pytest.mark.parametrize(("before", "unit", "times"), LOOPS.values(), ids=LOOPS.keys())
def test_a_loop_ends(before: str, unit: str, times: int) -> None:
    """A natural number of rounds is said, and the model is stopped with the next."""
    text = before + unit * 200
    said, cut = through(tokens_of(text))
    assert cut
    assert said.split() == (before + unit * times).split()
    assert said.count("\n") <= BLANK
    assert through([text]) == (said, True)
    assert through(tokens_of(before + unit * (times + 1))) == (said, True)


NATURAL = """
No no no no, that is not my tail.
No, no, no! Yes, yes, yes, yes, yes! Oh yes.
Bye bye! Bye bye, everyone. Bye bye bye.
This is very very very very good, and that is really, really, really good.
Ha ha ha ha, stop it. Hahahahaha! Hehehe. HAHAHAHAHAHAHAHA. Ha! Ha! Ha! Ha! Ha! Ha!
GG! GG GG GG, everyone. GG WP. LUL LUL LUL KEKW KEKW
Wow!!!!!!!! Really?????? Hmmmmmmmm... Noooooooooooooo! Whaaaaaaat?! Yaaaaaaay 😂😂😂😂😂😂 🦊🦊🦊 😂 😂 😂
One two three, one two three, one two three, jump! One, two, three, four, five, six, seven, eight, nine, ten!
Ten, nine, eight, seven, six, five, four, three, two, one, zero! 3... 2... 1... Go go go go go!
One sheep, two sheep, three sheep, four sheep, five sheep, six sheep, and I am asleep.
La la la la la la la la! Fa la la la la, la la la la. Na na na na, hey hey hey, goodbye.
Row, row, row your boat, gently down the stream. Merrily, merrily, merrily, merrily, life is but a dream.
Happy birthday to you! Happy birthday to you! Happy birthday, dear friend! Happy birthday to you!
Happy birthday to you, happy birthday to you, happy birthday, dear friend, happy birthday to you!
We wish you a merry Christmas, we wish you a merry Christmas, we wish you a merry Christmas, dear chat!
Jingle bells, jingle bells, jingle all the way! Oh what fun it is to ride, hey! Jingle bells, jingle bells!
Fox cub, doo doo doo doo doo doo, fox cub, doo doo doo doo doo doo, fox cub, doo doo doo doo doo doo, fox cub!
Round and round, round and round, round and round, all day long. Ring ding ding ding dingeringeding!
Old MacDonald had a farm, E I E I O, and on that farm he had a fox, E I E I O.
If you're happy and you know it clap your hands, if you're happy and you know it clap your hands. Clap clap!
Knock knock. Who's there? Boo. Boo who? Don't cry, it's only a joke. Knock knock! Who's there?
She sells sea shells by the sea shore. The shells she sells are sea shells, I'm sure.
How much wood would a woodchuck chuck, if a woodchuck could chuck wood?
Red lorry, yellow lorry, red lorry, yellow lorry.
Unique New York, unique New York, you know you need unique New York.
Peter Piper picked a peck of pickled peppers. A peck of pickled peppers Peter Piper picked.
I know that you know that I know that you know that I know. It is what it is, and that that is, is.
1. Milk. 2. Eggs. 3. Milk again. 4. More eggs. - one fox - two fox - red fox - blue fox
Tick tock, tick tock, tick tock. Beep beep! Choo choo! Nom nom nom nom nom. Boop. Boop. Boop!
I like snacks. I like snacks a lot. I like snacks more than you. I like you too. I really like you too.
You are cute. You are so cute. No, you are cute! No, you! No, you! You are so so cute.
Left, right, left, right, left, right, up, up, down, down, left, right, B, A, start.
It costs 1,000,000,000 coins, 3.3333333333 percent of 10000000000000. The year is 2222.
Is it a bird? Is it a plane? It is a fox! Is it cute? Yes it is. Is it mine? Yes it is.
Let's go! Let's go! Let's go, chat, let's go! Hype hype hype hype!
The the thing is, I I I stutter, wh-wh-wh-what do you mean, b-b-b-but why?
"""
REPLIES = [line for line in NATURAL.splitlines() if line]


def _strings(value: object) -> list[str]:
    match value:
        case str():
            return [value]
        case dict():
            return [text for inner in value.values() for text in _strings(inner)]
        case list():
            return [text for inner in value for text in _strings(inner)]
        case _:
            return []


def _persona_lines() -> list[str]:
    books = [tomllib.loads(path.read_text("utf-8-sig")) for path in sorted(LINES_DIR.glob("*.toml"))]
    personas = [tomllib.loads(path.read_text("utf-8-sig")) for path in sorted(FOLDER.glob("*.toml"))]
    return [text for table in (*books, *personas) for text in _strings(table)]


def _prose() -> list[str]:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "LICENSE"]
    paragraphs = [text for path in sorted(files) for text in path.read_text("utf-8").split("\n\n")]
    return [text for text in paragraphs if not re.search(r"```|^\s*\||https?:|<[a-z/]", text, re.MULTILINE)]


@pytest.mark.parametrize("text", REPLIES)
def test_natural_repetition_is_said(text: str) -> None:
    """Laughter, songs, counting, tongue twisters and lists come through whole."""
    assert through(tokens_of(text)) == (text, False)


def test_her_own_lines_are_said() -> None:
    """No line of any persona is cut, alone or after another."""
    lines = _persona_lines()
    assert len(lines) > 500
    for text in [*lines, *map(" ".join, itertools.pairwise(lines))]:
        assert through(tokens_of(text)) == (text, False)


def test_prose_is_said() -> None:
    """Nothing that was written by people for people in this repository is cut."""
    prose = _prose()
    assert len(prose) > 100
    for text in prose:
        assert through(tokens_of(text)) == (text, False)


def _pieces(text: str, repetition: Repetition | None) -> list[tuple[int, str]]:
    """The pieces that are spoken, each with the token that gave it."""
    cutter = Cutter()
    let_through = repetition.before if repetition else str
    return [
        (n, piece) for n, token in enumerate(tokens_of(text)) for piece in cutter.feed(let_through(token))
    ]


def test_nothing_is_spoken_later() -> None:
    """In replies made of her own lines, every piece leaves with the same token as without this stage."""
    lines = _persona_lines()
    for text in [*lines, *map(" ".join, zip(lines, lines[1:], lines[2:], strict=False))]:
        assert _pieces(text, Repetition()) == _pieces(text, None)


def test_the_first_sentence_is_never_delayed() -> None:
    """The first clause is spoken early, and nothing in it can repeat an earlier one."""
    repetition = Repetition()
    for token in tokens_of("Well, I was thinking about you, and about foxes, and about all of your hats."):
        assert repetition.before(token) == token


def test_only_a_round_too_many_is_held_back() -> None:
    """It is said once another word comes, all of it."""
    repetition = Repetition()
    assert repetition.before("no you no you no you ") == "no you no you no you "
    assert repetition.before("no ") == ""
    assert repetition.before("yo") == ""
    assert repetition.before("urs") == "no yours"


def test_a_sentence_may_begin_like_another() -> None:
    """It waits until it goes on in its own way."""
    repetition = Repetition()
    said = [repetition.before(t) for t in ["I like all snacks.", " I", " like", " all", " foxes", "."]]
    assert said == ["I like all snacks.", " ", "", "", "I like all foxes", "."]


def test_long_sentences_may_differ_at_their_end() -> None:
    """Beyond what is remembered of a sentence, another is not taken for it."""
    words = " ".join(f"w{n}" for n in range(CYCLE + 10))
    text = f"{words} one. {words} two. {words} three."
    assert through(tokens_of(text)) == (text, False)


def test_the_end_of_the_stream_ends_a_sentence() -> None:
    """A sentence said again without its full stop is not said; the beginning of one is."""
    assert through(["I like all snacks. I like all snacks"]) == ("I like all snacks. ", True)
    assert through(["I like all snacks. I like all"]) == ("I like all snacks. I like all", False)


PARTS = [*("LUL ", "no ", "you ", "No you! ", "I like all snacks. ", "I like all foxes! ", "ha", "hahaha ")]
PARTS += [
    *(
        ".",
        "!",
        "?",
        "\n",
        " ",
        " " * 20,
        "😂",
        "😂 ",
        "- ",
        "a",
        "a ",
        "the ",
        '"',
        "ß",
        "ﬁ",
        "Σς ",
        "x" * 40,
    )
]
TEXT = st.lists(st.tuples(st.sampled_from(PARTS), st.integers(1, 6)), max_size=12).map(
    lambda parts: "".join(part * times for part, times in parts)
)


@st.composite
def _split(draw: st.DrawFn) -> list[str]:
    text = draw(TEXT)
    places = sorted(draw(st.sets(st.integers(0, len(text)))))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@settings(max_examples=500, deadline=None)
@given(_split())
def test_the_tokens_make_no_difference(tokens: list[str]) -> None:
    """However a text is split, it is cut at the same place, and only its end is missing."""
    whole = "".join(tokens)
    said, cut = through(tokens)
    assert (said, cut) == through([whole])
    assert whole.startswith(said)
    assert cut or said == whole


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([f"w{n}" for n in range(60)]), unique=True))
def test_different_words_are_said(words: list[str]) -> None:
    """Where no word comes twice, nothing is held back."""
    repetition = Repetition()
    assert "".join(repetition.before(f"{word} ") for word in words) == "".join(f"{word} " for word in words)


MARKS = str.maketrans("0123456789", "+-=~#@$%&|")
FLOODS = {
    "words": lambda n: f"w{n}{'.' * (n % 7 == 0)} ",
    "one long word": lambda n: chr(0x4E00 + n),
    "sentences that begin alike": lambda n: f"{'I like all snacks ' * 2}w{n}. ",
    "a sentence that does not go on": lambda n: (
        f"{str(n).translate(MARKS)} " if n else "I like all snacks. I "
    ),
    "a round's word that does not end": lambda n: str(n).translate(MARKS) if n else "no you no you no you n",
    "a sentence without an end": lambda n: f"w{n}, ",
    "a round with much space": lambda n: f"no you no you no you no {' ' * 40}w{n} ",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS.keys())
def test_nothing_piles_up(flood: Callable[[int], str]) -> None:
    """However long a stream is, what is kept of it is bounded."""
    repetition = Repetition()
    sentences = repetition._sentences
    for n in range(3_000):
        repetition.before(flood(n))
        assert not repetition.reached
        assert max(len(repetition._word), len(repetition._tail)) <= WORD
        assert len(repetition._held) <= CYCLE * (WORD + BLANK)
        assert len(repetition._next) <= SENTENCES + CYCLE
        assert len(sentences._left) <= SENTENCES
        assert len(sentences._words) <= CYCLE + 1
