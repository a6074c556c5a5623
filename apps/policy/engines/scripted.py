"""The brain that needs no model: the persona's own lines, chosen by what was said.

It is what a newcomer hears first. What a line is about is decided in small_talk.py; here it is answered:
never with the same words twice in a row, and the same in every process.
"""

import asyncio
import hashlib
import re
import string
import tomllib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from pathlib import Path

from apps.policy import persona
from apps.policy.engines import small_talk
from apps.policy.prompt import Prompt
from apps.shared.errors import EngineError
from apps.shared.settings import Settings

LINES_DIR = persona.FOLDER / "lines"
BASE = "kitsu"  # has lines of every kind; the others fall back to it
RESTED_REPLIES = 12  # a line said within so many replies would be noticed as a repetition

Book = Mapping[str, tuple[str, ...]]  # one lines file, flat: "openers.thanks" -> lines

_KEYS = frozenset(
    [f"lines.{kind}" for kind in small_talk.KINDS]
    + [f"openers.{kind}" for kind in small_talk.OPENERS]
    + [f"words.{kind}" for kind in small_talk.TOPICS]
)


class Scripted:
    """Brain without a model. Remembers when each line was last said and nothing else."""

    engine = "scripted"
    model = ""

    def __init__(self, _settings: Settings) -> None:
        self._books: Mapping[str, Book] = {}
        self._said: dict[str, int] = {}  # line -> number of the reply that it was last said in
        self._replies = 0

    async def start(self, prompt: Prompt) -> None:  # noqa: ARG002 - every persona's lines are read
        """Read and check all lines. Raises EngineError naming the file and the key that is wrong."""
        self._books = read_books()

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        """Stream one answer, word by word."""
        if not self._books:
            await self.start(prompt)
        for word in re.findall(r"\S+\s*", self._answer(prompt)):
            yield word
            await asyncio.sleep(0)  # a place to be cancelled at

    async def warm(self, prompt: Prompt) -> None:
        """Nothing gets cold."""

    async def close(self) -> None:
        """Nothing is held open."""

    def _answer(self, prompt: Prompt) -> str:
        line, base = prompt.line, self._books[BASE]
        own = self._books.get(prompt.persona.id, base)
        words = {kind: base[f"words.{kind}"] for kind in small_talk.TOPICS}
        topic_kind, topic = small_talk.topic(line.text, words) or ("", "")
        opener_kind, kind = small_talk.plan(small_talk.kinds(line.text), line.lane, topic_kind)

        self._replies += 1
        seed = "\0".join((prompt.persona.id, line.user, line.text, str(self._replies)))
        opener = self._choose(_both(own, base, f"openers.{opener_kind}"), seed) if opener_kind else ""
        body = self._choose(_both(own, base, f"lines.{kind}", nameless="{name}" in opener), seed)
        if self._is_fresh_in_mind(body):
            opener = self._choose(_both(own, base, "openers.again"), seed)
        self._said |= dict.fromkeys((opener, body), self._replies)
        return f"{opener} {body}".strip().format(name=small_talk.sayable(line.user), topic=topic)

    def _choose(self, sources: Iterable[Sequence[str]], seed: str) -> str:
        """Choose a rested line of the first source that has one, best a never-said one; else the oldest."""
        known: list[str] = []
        for lines in sources:
            rested = [line for line in lines if not self._is_fresh_in_mind(line)]
            pool = [line for line in rested if line not in self._said] or rested
            if pool:
                return pool[_number(seed) % len(pool)]
            known += lines
        return min(known, key=self._said.__getitem__)

    def _is_fresh_in_mind(self, line: str) -> bool:
        return line in self._said and self._replies - self._said[line] <= RESTED_REPLIES


def read_books(folder: Path | None = None) -> dict[str, Book]:
    """Read every lines file of `folder` (LINES_DIR), by persona id.

    Raises EngineError("broken_lines") naming the file and the key that is wrong.
    """
    books = {path.stem: _read(path) for path in sorted((folder or LINES_DIR).glob("*.toml"))}
    missing = sorted(_KEYS - books.get(BASE, {}).keys())
    if missing:
        raise _broken(Path(f"{BASE}.toml"), f"{missing[0]} is missing")
    return books


def _read(path: Path) -> Book:
    try:
        tables = tomllib.loads(path.read_text("utf-8-sig"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _broken(path, str(error)) from error
    book: dict[str, tuple[str, ...]] = {}
    for section, table in tables.items():
        if not isinstance(table, dict):
            raise _broken(path, f"{section} stands outside [openers], [lines] and [words]")
        for kind, lines in table.items():
            key = f"{section}.{kind}"
            if problem := _problem(key, lines):
                raise _broken(path, f"{key} {problem}")
            book[key] = tuple(lines)
    return book


def _problem(key: str, lines: object) -> str:
    """Say what is wrong with the lines under `key`, "" when nothing is."""
    if key not in _KEYS:
        return "is not a kind of line that is ever looked for"
    if not (isinstance(lines, list) and lines and all(isinstance(line, str) and line for line in lines)):
        return "is not a list of texts"
    allowed = {"name", "topic"} if key.endswith("_named") else {"name"}
    for line in lines:
        try:
            fields = {field for _, field, _, _ in string.Formatter().parse(line) if field is not None}
        except ValueError as error:
            return f"has a line with a stray brace ({error}): {line}"
        if fields - allowed:
            return f"has an unknown placeholder {{{min(fields - allowed)}}}: {line}"
    return ""


def _broken(path: Path, reason: str) -> EngineError:
    return EngineError("broken_lines", f"{path.name}: {reason}", fix=f"Correct {path.name} in {LINES_DIR}.")


def _both(own: Book, base: Book, key: str, *, nameless: bool = False) -> list[list[str]]:
    """Return the persona's lines, then those that it falls back to; `nameless` ones if there are any."""
    sources = [list(book[key]) for book in (own, base) if key in book]
    if not nameless:
        return sources
    without = [[line for line in lines if "{name}" not in line] for lines in sources]
    return [lines for lines in without if lines] or sources


def _number(seed: str) -> int:
    # Not hash(), which differs from process to process. A text off the network may hold lone surrogates.
    digest = hashlib.blake2b(seed.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")
