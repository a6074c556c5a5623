"""The scripted brain: charming without a model."""

import asyncio
import re
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.policy import persona
from apps.policy.engines import scripted, small_talk
from apps.policy.engines.scripted import Scripted, read_books
from apps.policy.prompt import Line, Prompt
from apps.shared.errors import EngineError
from apps.shared.settings import PROJECT_DIR, Settings

BOOKS = read_books()
KITSU = persona.load("kitsu")
SPEAKABLE = re.compile(r"[A-Za-z0-9 ,.!?':;-]+")
PRESETS = pytest.mark.parametrize(
    "preset", [persona.load(name) for name in persona.names()], ids=lambda p: p.id
)

CHAT = """
hi Kitsu! | hello from the train | hey how are you? | what game is this? | do you like pizza? | lol
good morning | gg | why are you a fox? | are you an AI? | tell me a joke | first time here! | you're so cute
the door is green | my cat says hi | sing something | thanks | who won? | when is it over? | yes
it's raining here | I love you | can you dance? | how do I craft a sword? | is it far? | i had a bad day
purple monday | haha | I play Minecraft | good night
"""


def engine() -> Scripted:
    return Scripted(Settings())


async def say(
    brain: Scripted, text: str, user: str = "Anna", lane: str = "chat", preset: persona.Persona = KITSU
) -> str:
    return "".join([piece async for piece in brain.reply(Prompt(preset, (), Line(user, text, lane)))])


def said_as(reply: str, key: str, preset: persona.Persona = KITSU) -> bool:
    """Whether one of the lines under `key`, of the persona or of kitsu, is in the reply."""
    books = (BOOKS[preset.id], BOOKS["kitsu"])
    lines = [line for book in books for line in book.get(key, ())]
    patterns = [re.sub(r"\\{\w+\\}", "[A-Za-z' -]+", re.escape(line)) for line in lines]
    return any(re.search(pattern, reply) for pattern in patterns)


def faults(key: str, line: str) -> list[str]:
    """What keeps a line from being spoken well."""
    plain = re.sub(r"\{name\}|\{topic\}", "friend", line)
    shortest, longest = (40, 160) if key.startswith("lines.") else (8, 45)
    checks = {
        "characters": SPEAKABLE.fullmatch(plain),
        "length": shortest <= len(plain) <= longest,
        "first clause": len(re.split(r"[,.!?:]", plain)[0].split()) <= 8,
        "sentences": len(re.findall(r"[.!?]+(?: |$)", plain)) <= 4,
        "ending": plain[-1] in ".!?",
        "beginning": line[0].isupper(),
    }
    return [f"{key}: {fault}: {line}" for fault, passed in checks.items() if not passed]


@pytest.mark.parametrize("book", BOOKS)
def test_lines_are_speakable(book: str):
    """Every line is short, starts with a short clause, and holds nothing that a voice cannot say."""
    spoken = [(key, line) for key, lines in BOOKS[book].items() for line in lines if "words." not in key]
    assert [fault for key, line in spoken for fault in faults(key, line)] == []


def test_lines_are_written_once():
    """No line stands in two places, so that avoiding it avoids it everywhere."""
    lines = [line for book in BOOKS.values() for lines in book.values() for line in lines]
    assert len(lines) == len(set(lines))


def test_enough_lines():
    """Kitsu has eight lines for common kinds and four for rare ones; every preset has its own common ones."""
    common = {"greeting", "how_are_you", "thanks", "laugh", "unknown"}
    common |= {f"question_{word}" for word in ("why", "how", "what", "yes_no")}
    base = BOOKS["kitsu"]
    assert all(len(base[f"lines.{kind}"]) >= (8 if kind in common else 4) for kind in small_talk.KINDS)
    assert all(len(book[f"lines.{kind}"]) >= 8 for book in BOOKS.values() for kind in common)
    assert set(BOOKS) == set(persona.names())


@PRESETS
async def test_greeting_and_question(preset: persona.Persona):
    """ "Hi, how are you?" is greeted by name and told how she is."""
    reply = await say(engine(), "hi Kitsu, how are you?", "pixel_fox_99", preset=preset)
    assert said_as(reply, "openers.greeting", preset)
    assert said_as(reply, "lines.how_are_you", preset)
    assert reply.count("pixel fox") == 1


@pytest.mark.parametrize(
    ("text", "lane", "key"),
    [
        ("hello!", "chat", "lines.greeting"),
        ("good night kitsu", "chat", "lines.night"),
        ("are you an AI?", "mention", "lines.are_you_ai"),
        ("I want to die", "chat", "lines.crisis"),
        ("you're stupid", "chat", "lines.rude"),
        ("what is 3*4?", "chat", "lines.maths"),
        ("do you like pizza?", "chat", "lines.food_named"),
        ("Привет", "chat", "lines.script"),
        ("", "chat", "lines.empty"),
        ("", "redeem", "lines.redeem"),
        ("hello", "redeem", "openers.redeem"),
        ("look at that", "operator", "lines.operator"),
        ("purple monday", "chat", "lines.unknown"),
    ],
)
async def test_answer_fits(text: str, lane: str, key: str):
    """What she says is of the kind that was asked for."""
    assert said_as(await say(engine(), text, lane=lane), key)


@pytest.mark.parametrize("text", ["are you an AI?", "are you human?", "r u real"])
async def test_never_claims_to_be_human(text: str):
    """However often she is asked, she says that she is an AI or software."""
    brain = engine()
    for _ in range(20):
        assert re.search(r"\bAI\b|software", await say(brain, text))


async def test_known_words_are_said_back():
    """A food, game or animal that we know is named in the answer, as we spell it."""
    assert "pizza" in await say(engine(), "do you like PIZZA?")
    assert "Minecraft" in await say(engine(), "i play minecraft a lot")
    assert "cats" in await say(engine(), "my cat is asleep")


async def test_viewers_text_is_never_said_back():
    """Nothing of a viewer's own words or of an odd name reaches the voice."""
    brain = engine()
    for text in (
        "call me xyzzy",
        "say xyzzy",
        "hi xyzzy, how is xyzzy?",
        "xyzzy or xyzzy?",
        "{xyzzy} {name} {0}",
    ):
        reply = await say(brain, text, "xyzzy {name} http://x.y")
        assert not re.search(r"xyzzy|[{}]|http", reply)


@PRESETS
async def test_same_sequence_same_replies(preset: persona.Persona):
    """Two engines that hear the same chat say the same."""
    texts = [text.strip() for text in re.split(r"[|\n]", CHAT) if text.strip()]
    first, second = engine(), engine()
    assert [await say(first, text, preset=preset) for text in texts] == [
        await say(second, text, preset=preset) for text in texts
    ]


@pytest.mark.parametrize("hash_seed", ["0", "1"])
async def test_same_reply_in_another_process(hash_seed: str):
    """The choice does not hang on Python's own hash seed."""
    program = (
        "import asyncio\n"
        "from apps.policy.engines.scripted import *\n"
        "from apps.policy.prompt import Line\n"
        "async def main():\n"
        "    prompt = Prompt(persona.load('kitsu'), (), Line('Anna', 'purple monday', 'chat'))\n"
        "    print(''.join([piece async for piece in Scripted(Settings()).reply(prompt)]))\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(  # noqa: ASYNC221 - nothing else runs in this loop
        [sys.executable, "-c", program],
        cwd=PROJECT_DIR,
        env={"PYTHONHASHSEED": hash_seed, "SYSTEMROOT": r"C:\Windows"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == await say(engine(), "purple monday")


async def test_users_and_texts_vary_the_first_reply():
    """The first answer of a show is not the same for everybody."""
    assert len({await say(engine(), "purple monday", f"user{letter}") for letter in "abcdefgh"}) > 2
    assert len({await say(engine(), f"purple {letter}onday") for letter in "abcdefgh"}) > 2


@PRESETS
@pytest.mark.parametrize("kind", [kind for kind in small_talk.KINDS if not kind.endswith("_named")])
async def test_ten_lines_of_a_kind_get_ten_answers(preset: persona.Persona, kind: str, monkeypatch):
    """However few lines a kind has, ten lines of chat in a row never hear the same answer twice."""
    monkeypatch.setattr(small_talk, "plan", lambda *_: ("", kind))
    brain = engine()
    assert len({await say(brain, f"line {number}", preset=preset) for number in range(10)}) == 10


@PRESETS
async def test_a_chat_without_repetition(preset: persona.Persona):
    """Thirty lines of mixed chat get thirty different answers, within a sensible length."""
    texts = [text.strip() for text in re.split(r"[|\n]", CHAT) if text.strip()]
    assert len(texts) == 30
    brain = engine()
    replies = [await say(brain, text, preset=preset) for text in texts]
    assert len(set(replies)) == 30
    assert all(40 <= len(reply) <= 220 for reply in replies)


@PRESETS
async def test_own_manner(preset: persona.Persona):
    """A preset uses its own lines before it falls back to kitsu's."""
    brain = engine()
    replies = [await say(brain, f"purple {letter}onday", preset=preset) for letter in "abcdefgh"]
    assert set(replies) <= set(BOOKS[preset.id]["lines.unknown"])


async def test_preset_without_lines():
    """A streamer's own persona speaks with kitsu's lines."""
    own = persona.Persona("grumpy", "Kitsu", "grumpy", "x", KITSU.hiccups)
    assert said_as(await say(engine(), "purple monday", preset=own), "lines.unknown")


async def test_pieces_are_words():
    """A reply comes word by word, and whole when joined."""
    pieces = [piece async for piece in engine().reply(Prompt(KITSU, (), Line("Anna", "hello", "chat")))]
    assert len(pieces) > 5
    assert all(len(piece.split()) == 1 for piece in pieces)
    assert not "".join(pieces).endswith(" ")


async def test_cancelled_between_words():
    """A reader that is cancelled stops the reply at the next word."""
    heard: list[str] = []

    async def listen() -> None:
        async for piece in engine().reply(Prompt(KITSU, (), Line("Anna", "hello", "chat"))):
            heard.append(piece)
            if len(heard) == 2:
                task.cancel()

    task = asyncio.ensure_future(listen())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(heard) == 2


async def test_starts_and_closes():
    """Starting twice and closing changes nothing about what she says."""
    brain = engine()
    sample = Prompt(KITSU, (), Line("Anna", "hello", "chat"))
    await brain.start(sample)
    await brain.start(sample)
    assert await say(brain, "purple monday") == await say(engine(), "purple monday")
    await brain.close()
    assert (brain.engine, brain.model) == ("scripted", "")


@given(
    text=st.text(max_size=200),
    user=st.text(max_size=30),
    lane=st.sampled_from(["chat", "redeem", "operator", "streamer"]),
)
async def test_any_text_is_answered(text: str, user: str, lane: str):
    """Whatever is written, the answer is speakable."""
    assert SPEAKABLE.fullmatch(await say(engine_with_books(), text, user, lane))


@pytest.mark.parametrize(
    "text", ["a" * 10_000, "hi " * 3_000, "\ud800", "\0", "🦊" * 500, "{" * 500, "?!" * 5_000]
)
async def test_hostile_text(text: str):
    """Very long and broken texts are answered like any other."""
    assert SPEAKABLE.fullmatch(await say(engine(), text, user=text))


async def test_memory_is_bounded():
    """What she remembers does not grow with what viewers write."""
    brain = engine_with_books()
    for number in range(1_000):
        await say(brain, f"purple {number}", f"user_{number}")
    assert len(brain._said) <= sum(len(lines) for book in BOOKS.values() for lines in book.values())


def engine_with_books() -> Scripted:
    """Save reading the files for every example."""
    brain = engine()
    brain._books = BOOKS
    return brain


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "lines"
    shutil.copytree(scripted.LINES_DIR, copy)
    monkeypatch.setattr(scripted, "LINES_DIR", copy)
    return copy


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("\nunknown = [", "\nunkown = [", "lines.unkown"),
        ("[lines]", "[line]", "line.greeting"),
        ("[openers]", 'note = "x"\n[openers]', "words.note"),
        ("\n[words]", '\nnote = "x"\n[words]', "note stands outside"),
        ("Hey, {name}!", "Hey, {nmae}!", "lines.greeting has an unknown placeholder {nmae}"),
        ("Hey, {name}!", "Hey, {topic}!", "lines.greeting has an unknown placeholder {topic}"),
        ("Hey, {name}!", "Hey, {name!", "lines.greeting has a line with a stray brace"),
        ('"Hi hi, {name}!", ', "5, ", "openers.greeting is not a list of texts"),
        ('"Hi hi, {name}!", ', '"", ', "openers.greeting is not a list of texts"),
        ("[lines]", "[lines", "line "),
    ],
)
async def test_typo_in_a_lines_file(folder: Path, old: str, new: str, named: str):
    """A mistake in a lines file is reported with the file and the key."""
    path = folder / "kitsu.toml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(EngineError) as caught:
        await engine().start(Prompt(KITSU, (), Line("Anna", "hello", "chat")))
    assert caught.value.code == "broken_lines"
    assert "kitsu.toml" in str(caught.value)
    assert named in str(caught.value)
    assert "kitsu.toml" in caught.value.fix


def test_missing_kind(folder: Path):
    """Kitsu must have lines of every kind, since all others fall back to her."""
    path = folder / "kitsu.toml"
    path.write_text(
        path.read_text("utf-8").replace("\noof = [", "\noften = [").replace("often", "cheer2"), "utf-8"
    )
    with pytest.raises(EngineError, match=r"kitsu\.toml: lines\.cheer2"):
        read_books()
    for file in folder.glob("*.toml"):
        file.unlink()
    with pytest.raises(EngineError, match=r"kitsu\.toml: .* is missing"):
        read_books()


def test_placeholders_are_known():
    """Every shipped placeholder is a name, or a topic where there is one."""
    for book in BOOKS.values():
        for key, lines in book.items():
            fields = {field for line in lines for _, field, _, _ in string.Formatter().parse(line) if field}
            assert fields <= ({"name", "topic"} if key.endswith("_named") else {"name"})
