"""What a voice engine is: text in, 16-bit PCM and phonemes with times out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


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
    which loads the voice and may take long; it raises MissingError or EngineError with a fix.
    """

    engine: str  # the engine's name, as in TTS_ENGINE ("espeak")
    voice: str  # which of its voices ("en-us+f3")
    settings: str  # everything else that changes the sound, for the cache key ("rate=165 pitch=60")
    sample_rate_hz: int

    def synthesize(self, text: str, give: Callable[[Chunk], bool]) -> None:
        """Speak `text` (speakable already), handing over each chunk at once.

        `give` returns False when nobody wants the rest: stop then, without an error.
        Text without anything to say gives no chunk. Raises EngineError.
        """

    def close(self) -> None:
        """Free the voice."""
