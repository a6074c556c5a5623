"""The names and jargon that Whisper is reminded of, pure.

They stand before the transcript as if they had been said earlier, which is what `hotwords` of faster-whisper
does. (Its `initial_prompt` becomes the same tokens, but what is too long loses its beginning there, and here
the first names are the most important.) The price: over noise Whisper is apt to repeat them.
"""

import re
from collections.abc import Callable, Iterable

from rapidfuzz import fuzz

ALIKE = 60  # of 100, by letters: "Kit soup cap up" against "Kitsu, Kappa" has 69, "thanks for watching" 33

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def prompt(vocabulary: Iterable[str], encode: Callable[[str], list[int]], most_tokens: int) -> list[int]:
    """Return the tokens of as many names as fit, the first ones first; [] without any.

    They end like a sentence, for Whisper goes on in the manner of what came before: without a full stop there
    is none in the transcript either.
    """
    kept: list[str] = []
    tokens: list[int] = []
    for name in dict.fromkeys(" ".join(name.split()) for name in vocabulary):
        longer = encode(f" {', '.join([*kept, name])}.") if name else []
        if name and len(longer) <= most_tokens:
            kept.append(name)
            tokens = longer
    return tokens


def echoes(text: str, vocabulary: Iterable[str]) -> bool:
    """Tell whether a text is nothing but two or more of the names: maybe said, maybe only repeated."""
    names = sorted({key for name in vocabulary if (key := _words(name))}, key=len, reverse=True)
    rest = _words(text)
    count = 0
    while rest:
        name = next((name for name in names if rest[: len(name)] == name), None)
        if name is None:
            return False
        rest = rest[len(name) :]
        count += 1
    return count >= 2


def sounds_alike(text: str, other: str) -> bool:
    """Tell whether two texts may be the same sound, written down with and without the names."""
    return fuzz.ratio(" ".join(_words(text)), " ".join(_words(other))) >= ALIKE


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))
