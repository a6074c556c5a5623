"""When each word that was said was seen, pure: any recogniser that shows a growing text is measured alike."""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rapidfuzz.distance import Levenshtein

from scripts.bench.asr_speech import Recording, Sentence
from tests.ears.speech import Word

EARLY_S = 0.2  # voice detection is sure of a voice so late; an utterance before this one ended earlier
BEFORE_S = 0.5  # an utterance that begins so shortly before a sentence's first word is of that sentence

_WORD = re.compile(r"\w+(?:['’]\w+)*")


@dataclass(frozen=True, slots=True)
class Shown:
    """A text that was shown. All times are places in the recording."""

    text: str
    stable: int  # so many characters of it are said to hardly change
    from_s: float  # what the text is about
    to_s: float
    at_s: float  # when it was shown
    utterance: str
    final: bool = False


@dataclass
class Seen:
    """What became of the words of a recording."""

    delay_s: list[float] = field(default_factory=list)  # from a word's end to the first text with it
    stable_s: list[float] = field(default_factory=list)  # to the first one in which it is stable
    by_partials: int = 0  # words that were shown before the final text
    stable_by_partials: int = 0
    stable: int = 0  # words that were called stable before the final text,
    taken_back: int = 0  # and then changed or vanished
    words: int = 0
    wrong: float = 0.0  # words that were changed, missed or added in the final texts

    @property
    def word_error_rate(self) -> float:
        return self.wrong / self.words if self.words else math.nan

    @property
    def taken_back_share(self) -> float:
        return self.taken_back / self.stable if self.stable else math.nan

    def add(self, other: "Seen") -> None:
        """Take another recording's words too."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def words_of(text: str) -> list[str]:
    """The words in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def same(one: Sequence[str], other: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield which words of two texts are the same, by the fewest changes from the one to the other."""
    for change in Levenshtein.opcodes(one, other):
        if change.tag == "equal":
            yield from zip(
                range(change.src_start, change.src_end),
                range(change.dest_start, change.dest_end),
                strict=True,
            )


def seen(recording: Recording, shown: Iterable[Shown]) -> Seen:
    """Follow every word. A word that is in no text has no time, and counts as wrong."""
    by_sentence: list[list[Shown]] = [[] for _ in recording.sentences]
    for one in shown:
        places = [
            place
            for place, sentence in enumerate(recording.sentences)
            if sentence.start_s - BEFORE_S <= one.from_s
        ]
        by_sentence[places[-1] if places else 0].append(one)
    found = Seen()
    for sentence, about in zip(recording.sentences, by_sentence, strict=True):
        _follow(sentence, about, found)
    return found


def _follow(sentence: Sentence, shown: Sequence[Shown], found: Seen) -> None:
    first: dict[int, Shown] = {}
    stable: dict[int, Shown] = {}
    for one in shown:
        for place in _shown_places(sentence, one, one.text):
            first.setdefault(place, one)
        for place in _shown_places(sentence, one, one.text if one.final else one.text[: one.stable]):
            stable.setdefault(place, one)
    words = sentence.words
    found.delay_s += [one.at_s - words[place].end_s for place, one in first.items()]
    found.stable_s += [one.at_s - words[place].end_s for place, one in stable.items()]
    found.by_partials += sum(not one.final for one in first.values())
    found.stable_by_partials += sum(not one.final for one in stable.values())
    for utterance in dict.fromkeys(one.utterance for one in shown):
        _take_back([one for one in shown if one.utterance == utterance], found)
    told = [word.text for word in words]
    heard = [word for one in shown if one.final for word in words_of(one.text)]
    found.words += len(told)
    found.wrong += Levenshtein.distance(told, heard)


def _shown_places(sentence: Sentence, one: Shown, text: str) -> Iterator[int]:
    """The places in the sentence of the words that this text has right, of those that it is about."""
    about = [
        (place, word.text) for place, word in enumerate(sentence.words) if _within(word, one.from_s, one.to_s)
    ]
    for place, _ in same([text for _, text in about], words_of(text)):
        yield about[place][0]


def _within(word: Word, from_s: float, to_s: float) -> bool:
    return word.end_s > from_s - EARLY_S and word.start_s < to_s


def _take_back(shown: Sequence[Shown], found: Seen) -> None:
    """Count the words of one utterance that were once stable, and those that did not stay."""
    kept: list[str] = []
    for one in shown:
        still = len(list(same(kept, words_of(one.text))))
        found.taken_back += len(kept) - still
        if one.final:
            return
        stable = words_of(one.text[: one.stable])
        found.stable += len(stable) - len(list(same(kept, stable)))
        kept = stable
