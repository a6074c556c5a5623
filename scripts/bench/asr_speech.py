"""What is said in `aivt bench asr`: sentences and voices that the test model never heard, each word timed.

It borrows the speaker of the tests (tests/ears), as the model that is measured by default lies there, too.
"""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.ears.measure import Take, takes
from tests.ears.speech import RATE_HZ, Samples, Speech, Word, held_out_sentences, mixed, pink

GAP_S = 1.5  # between sentences, beside 0.4 to 1.1 s of silence around each: no endpoint waits so long
SNR_DB = 30.0  # the fan of a computer
SEED = 21


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence within a recording; all times are places in the recording."""

    words: tuple[Word, ...]

    @property
    def start_s(self) -> float:
        return self.words[0].start_s

    @property
    def end_s(self) -> float:
        return self.words[-1].end_s


@dataclass(frozen=True, slots=True)
class Recording:
    """Sentences one after the other, in the noise of a quiet room."""

    samples: Samples
    sentences: tuple[Sentence, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ

    @property
    def speech_s(self) -> float:
        """How long somebody speaks, with the pauses within sentences."""
        return sum(sentence.end_s - sentence.start_s for sentence in self.sentences)

    def write(self, path: Path) -> Path:
        """Write it as a WAV file of 16 bits."""
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE_HZ)
            file.writeframes((np.clip(self.samples, -1, 1) * 32767).astype("<i2").tobytes())
        return path


def said(count: int, seed: int = SEED) -> list[Take]:
    """Return different sentences in the held-out voices in turn, at different speeds and pitches."""
    return takes(held_out_sentences(count, seed), seed)


def recording(spoken: list[Take], seed: int = SEED) -> Recording:
    """Put them one after the other."""
    parts: list[Samples] = []
    sentences: list[Sentence] = []
    at_s = 0.0
    for take in spoken:
        one = take.speech.padded(0.0, GAP_S)
        sentences.append(
            Sentence(tuple(Word(text, start + at_s, end + at_s) for text, start, end in one.words))
        )
        parts.append(one.samples)
        at_s += one.duration_s
    speech = Speech(np.concatenate(parts), [word for sentence in sentences for word in sentence.words])
    return Recording(mixed(speech, pink(speech.duration_s, seed), SNR_DB).samples, tuple(sentences))
