"""Where a reply ends although the model goes on: where it only repeats itself. Pure.

Small models fall into loops, and speech makes every round of one audible. But people repeat themselves too
("no no no", "la la la", a chorus), so a loop is what exceeds this, compared by letters and digits alone:

    a word                  4 times in a row; of up to 3 letters 8 times ("fa la la la la, la la la la")
    2 to 8 words            3 times in a row ("we wish you a merry Christmas")
    9 to 40 words           2 times in a row
    a sentence of 4 words   once in the reply; a short one that is exclaimed or a line of its own 3 times,
    or more                 as in "Happy birthday to you!"
    inside one word         25 characters of "hahahaha", "!!!!!!!!" or a row of emoji
    white space             48 characters

Ordinary text passes at once, letter by letter. Only a word that begins like what would be one round too many
is held back, and so is all that follows it until the round is complete (the reply ends before it) or another
word comes (all of it is said). So what is said ends with a whole round, except inside one word.
"""

import re
from collections import deque

WORD_TIMES = 4
SYLLABLE = 3  # letters of a word that may be sung
SYLLABLE_TIMES = 8
CHORUS = 8  # words of a cycle that may be one
CHORUS_TIMES = 3
CYCLE = 40  # words of the longest cycle, and of the longest sentence, that is remembered
CYCLE_TIMES = 2
SENTENCE = 4  # words of the shortest sentence that is remembered
CHANT = 5  # words of the longest that may be one
SENTENCES = 32  # are remembered
STRETCH = 24  # repeated characters inside one word, after the first time;
STRETCH_UNIT = 8  # so many at most are what repeats,
STRETCH_TIMES = 4  # so often at least
BLANK = 48
WORD = 64  # letters by which words are compared

_PART = re.compile(r"\s+|\S+")
_UNITS = range(1, STRETCH_UNIT + 1)
_STRETCHED = re.compile(
    "|".join(rf"(\S{{{n}}})\{n}{{{max(STRETCH // n, STRETCH_TIMES)}}}" for n in _UNITS), re.IGNORECASE
)
_TAIL = STRETCH_UNIT * (STRETCH_TIMES + 1)  # characters of the longest that this finds
_STOP = re.compile(r"""(?:([.?…。？])|[!！])["'”’»)\]}」』）*_~`]*\Z""")


class Repetition:
    """Lets a stream through up to where it begins to repeat itself, however it is split over tokens."""

    def __init__(self) -> None:
        self.reached = False
        self._held = ""  # is said only if the model gets out of its round
        self._word = ""  # the beginning of the word being written,
        self._tail = ""  # and its end
        self._blank = 0  # characters of white space since the last word
        self._cycles = _Cycles()
        self._sentences = _Sentences()
        self._next: list[str] = []  # words with which the round would begin or go on

    def before(self, text: str) -> str:
        """Return what may be said now that `text` has come."""
        said: list[str] = []
        for part in _PART.findall(text):
            if self.reached:
                break
            said.append(self._space(part) if part.isspace() else self._more(part))
        return "".join(said)

    def rest(self) -> str:
        """Return what was held back, at the end of the stream."""
        if self._word:
            self._complete()
        self._end_sentence(chant=True)
        return "" if self.reached else self._released()

    def _more(self, part: str) -> str:
        """Take a word or the next part of one."""
        self._blank = 0
        known = len(self._tail)
        self._tail += part
        if len(self._tail) > STRETCH and (stretched := _STRETCHED.search(self._tail)):
            part = part[: stretched.end() - known]
            self.reached = True
        self._tail = self._tail[-_TAIL:]
        self._word += part[: WORD - len(self._word)]
        self._held += part
        return "" if self._begins_round() else self._released()

    def _space(self, part: str) -> str:
        """Take white space, and with it the word that it ends."""
        part = part[: BLANK - self._blank]
        self._blank += len(part)
        if self._word:
            self._complete()
        if "\n" in part:
            self._end_sentence(chant=True)
        if self.reached:
            return ""
        self.reached = self._blank == BLANK
        said = "" if self._cycles.exceeding or self._sentences.again else self._released()
        if not self._held:
            return said + part
        self._held += part
        return ""

    def _complete(self) -> None:
        stop = _STOP.search(self._tail)
        letters = _letters(self._word)
        self._cycles.add(letters or self._word)
        if letters or not stop:  # "Why ?" is one word, "me - or you" are four
            self._sentences.add(letters or self._word)
        self._word = self._tail = ""
        self.reached |= self._cycles.complete
        if stop:
            self._end_sentence(chant=not stop[1])
        self._next = [*self._cycles.next_words(), *self._sentences.next_words()]

    def _end_sentence(self, *, chant: bool) -> None:
        self.reached |= self._sentences.end(chant=chant)
        self._next = [*self._cycles.next_words(), *self._sentences.next_words()]

    def _begins_round(self) -> bool:
        """Whether the word being written may still become one of a round too many."""
        if not self._next or len(self._word) == WORD:
            return False
        letters = _letters(self._word)
        return any(word.startswith(letters) for word in self._next)

    def _released(self) -> str:
        said, self._held = self._held, ""
        return said


class _Cycles:
    """How often the last words were said in a row."""

    def __init__(self) -> None:
        self._words: deque[str] = deque(maxlen=CYCLE)  # the last first
        self._runs: dict[int, int] = {}  # for each n: how many words equal the one n words before
        self.exceeding = False
        self.complete = False

    def add(self, word: str) -> None:
        """Take the next word."""
        self._runs = {n: self._runs.get(n, 0) + 1 for n, old in enumerate(self._words, 1) if old == word}
        self._words.appendleft(word)
        self.exceeding = any(run > self._allowed(n) for n, run in self._own_runs())
        self.complete = any(run >= self._allowed(n) + n for n, run in self._own_runs())

    def next_words(self) -> list[str]:
        """Return each word with which a cycle would begin once too often, or go on to."""
        return [self._words[n - 1] for n, run in self._own_runs() if run >= self._allowed(n)]

    def _own_runs(self) -> list[tuple[int, int]]:
        """Leave out each n that only is a multiple: "la la la la" is no cycle of two words."""
        own: list[tuple[int, int]] = []
        for n, run in self._runs.items():  # in the order of n
            if all(run > shorter for _, shorter in own):
                own.append((n, run))
        return own

    def _allowed(self, n: int) -> int:
        """Return for how many words a cycle of n may repeat."""
        if n == 1:
            return (SYLLABLE_TIMES if len(self._words[0]) <= SYLLABLE else WORD_TIMES) - 1
        return n * ((CHORUS_TIMES if n <= CHORUS else CYCLE_TIMES) - 1)


class _Sentences:
    """Which sentences were said."""

    def __init__(self) -> None:
        self._words: list[str] = []  # of the sentence being written
        self._left: dict[tuple[str, ...], int] = {}  # how often each may be said again
        self._same: list[tuple[str, ...]] = []  # those that may not, and begin with these words
        self.again = False

    def add(self, word: str) -> None:
        """Take the next word of the sentence."""
        at = len(self._words)
        self._same = [words for words in self._same if at < len(words) and words[at] == word]
        self.again = bool(self._same)
        if at <= CYCLE:  # one word more than may be remembered
            self._words.append(word)

    def end(self, *, chant: bool) -> bool:
        """End the sentence; return whether it was said once too often."""
        words, self._words = tuple(self._words), []
        left = self._left.get(words, CHORUS_TIMES if chant and len(words) <= CHANT else 1)
        if SENTENCE <= len(words) <= CYCLE:
            self._left[words] = max(left - 1, 0)
            if len(self._left) > SENTENCES:
                del self._left[next(iter(self._left))]
        self._same = [words for words, left in self._left.items() if not left]
        self.again = False
        return not left

    def next_words(self) -> list[str]:
        """Return each word with which the sentence would begin like, or go on like, one that was said."""
        at = len(self._words)
        return [words[at] for words in self._same if at < len(words)]


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))
