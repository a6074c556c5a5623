"""Which part of a growing transcript will hardly change, pure: what two hypotheses in a row agree on.

LocalAgreement-2. Whisper guesses the end of a cut-off sentence anew each time and leaves its beginning alone,
so words that come out the same twice have been said.
"""

import re
from dataclasses import dataclass

# Japanese and Chinese put no spaces between words: there each letter counts as one.
_LETTER = "[\u3040-\u30ff\u3400-\u9fff]"
_PIECE = re.compile(rf"{_LETTER}|(?:(?!{_LETTER})\S)+")
_MARKS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Shown:
    """What to show of an utterance that goes on."""

    text: str
    stable: int = 0  # so many characters of it, up to the end of a word, will hardly change


@dataclass(frozen=True, slots=True)
class _Word:
    key: str  # for comparing: no case, no punctuation
    end: int  # in the text, behind its punctuation


class Agreement:
    """Follows the hypotheses of one utterance."""

    def __init__(self) -> None:
        self._last: list[_Word] = []
        self._shown = Shown("")
        self._agreed: list[_Word] = []  # of what is shown

    def feed(self, text: str) -> Shown:
        """Take the newest hypothesis of the whole utterance; return what to show.

        It is shown as it is spelled, with one exception: if it only lacks words at the end that were stable,
        they stay until the next hypothesis lacks them too. A different word in their place takes them back.
        """
        words = _words(text)
        same = _common(words, self._agreed)
        lacks = same == len(words) < len(self._agreed)
        lacked = len(self._last) < len(self._agreed)
        if lacks and not lacked:
            self._last = words
            self._shown = Shown(self._shown.text[: self._shown.stable], self._shown.stable)
            return self._shown
        stable = max(same, _common(words, self._last))
        self._last, self._agreed = words, words[:stable]
        self._shown = Shown(text, words[stable - 1].end if stable else 0)
        return self._shown


def _words(text: str) -> list[_Word]:
    """The words with where they end; a mark that stands alone belongs to the word before it."""
    found: list[_Word] = []
    for piece in _PIECE.finditer(text):
        key = _MARKS.sub("", piece.group()).casefold()
        if key:
            found.append(_Word(key, piece.end()))
        elif found:
            found[-1] = _Word(found[-1].key, piece.end())
    return found


def _common(words: list[_Word], others: list[_Word]) -> int:
    """Return how many words are the same from the beginning on."""
    count = 0
    for word, other in zip(words, others, strict=False):
        if word.key != other.key:
            break
        count += 1
    return count
