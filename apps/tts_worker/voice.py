"""What a voice engine is: text in, 16-bit PCM and phonemes with times out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace

from apps.shared.errors import AivtError, EngineError
from apps.shared.messages import Delivery

NAMED_LIMIT = 20  # how many names a message lists


@dataclass(frozen=True, slots=True)
class Phoneme:
    """One speech sound and when it begins."""

    ipa: str  # IPA letters without stress and length marks; "" is a pause or the end
    start_s: float  # seconds from the first sample of the piece


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of sound, as soon as it is there."""

    pcm: bytes  # 16-bit little-endian mono samples at the voice's rate
    phonemes: tuple[Phoneme, ...]  # newly known ones, in order; times count from the piece's start


class Voice(Protocol):
    """A voice, loaded and ready. Its methods are called on the worker's one synthesis thread.

    Engines are chosen by name or import string (apps.shared.engines) and built as `Engine(settings)`,
    which loads the voice and may take long, on a thread of its own while another voice speaks. It raises
    MissingError or EngineError with a fix; a retryable one is tried again without anything having changed.
    """

    engine: str  # the engine's name, as in TTS_ENGINE ("espeak")
    voice: str  # which of its voices ("en-us+f3")
    settings: str  # everything else that changes the sound, for the cache key ("bytes=63201294")
    sample_rate_hz: int
    speakers: tuple[str, ...]  # their names, each at its number; () for a voice of one person
    trouble: AivtError | None  # what is wrong although it speaks: the light tells

    def synthesize(self, text: str, delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        """Speak `text` (speakable already) in this manner, handing over each chunk at once.

        `give` returns False when nobody wants the rest: stop then, without an error.
        Text without anything to say gives no chunk. Raises EngineError ("unknown_speaker": speaker_number).
        """

    def close(self) -> None:
        """Free the voice."""


def suited(voice: Voice, delivery: Delivery) -> tuple[Delivery, EngineError | None]:
    """Return the delivery without a speaker that this voice does not have, and what is to be said of that."""
    try:
        speaker_number(voice.speakers, delivery.speaker)
    except EngineError as error:
        return replace(delivery, speaker=""), error
    return delivery, None


def speaker_number(speakers: tuple[str, ...], wanted: str) -> int | None:
    """Return which of the speakers is `wanted`, a name or a number; None leaves it to the voice.

    A voice of one person leaves the wish out. Raises EngineError "unknown_speaker".
    """
    if not wanted or not speakers:
        return None
    if wanted in speakers:
        return speakers.index(wanted)
    numbers = [str(number) for number in range(len(speakers))]
    if wanted in numbers:
        return numbers.index(wanted)
    some = ", ".join(speakers[:NAMED_LIMIT])
    more = f" and {len(speakers) - NAMED_LIMIT} more" if len(speakers) > NAMED_LIMIT else ""
    raise EngineError(
        "unknown_speaker",
        f"this voice has no speaker {wanted!r}",
        fix=f"Choose one of {some}{more}, or a number from 0 to {len(speakers) - 1}.",
    )
