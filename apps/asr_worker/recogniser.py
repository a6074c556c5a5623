"""Speech to text. One Protocol; every engine passes tests/asr_worker/test_recogniser_contract.py."""

from dataclasses import dataclass
from typing import Protocol

from apps.asr_worker.sound import Samples
from apps.shared.errors import AivtError


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word and where it lies, in seconds from the first sample that the recogniser was given."""

    text: str  # without the space before it
    start_s: float
    end_s: float
    probability: float  # 0..1


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What some sound seems to say. `text` has no spaces around it; "" when there are no words."""

    text: str
    words: tuple[HeardWord, ...] = ()  # only of a full decode
    avg_logprob: float = 0.0  # mean log probability of a token
    no_speech_prob: float = 0.0  # 0..1
    compression_ratio: float = 1.0  # of the text by zlib: loops have a high one


class Recogniser(Protocol):
    """Transcribes. Called on one thread, one call at a time; raises EngineError."""

    engine: str  # "whisper", "scripted"
    model: str  # for the streamer: "small.en, cuda float16"
    trouble: AivtError | None  # why it is not what was wanted: on the processor instead of the card

    def partial(self, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        """Decode what was said so far, quickly; called again and again on a growing window of <= 30 s."""

    def final(self, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        """Decode a whole utterance of <= 30 s as well as it can, with word times."""

    def close(self) -> None:
        """Free the model."""
