"""The stub voice: a sine for every syllable, the same for the same text on every run."""

import re
from collections.abc import Callable

import numpy as np

from apps.shared.errors import AivtError
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker.loudness import louder
from apps.tts_worker.voice import Chunk, Phoneme

SYLLABLE_S = 0.12
GAP_S = 0.06  # after each word
AMPLITUDE = 8_000

_WORD = re.compile(r"[^\W_]+")
_LETTERS_PER_SYLLABLE = 3


class Tone:
    """Says every word as a run of tones. It cannot fail and needs no voice."""

    engine = "tone"
    voice = "tone"
    settings = f"syllable={SYLLABLE_S} gap={GAP_S}"
    sample_rate_hz = 22_050
    speakers: tuple[str, ...] = ()
    trouble: AivtError | None = None

    def __init__(self, settings: Settings) -> None:
        """Take the settings as every engine does; none of them changes a tone."""

    def synthesize(self, text: str, delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        """See Voice. One chunk per word; its letters are taken for sounds."""
        start_s = 0.0
        for word in _WORD.findall(text):
            chunk = self._word(word, start_s, delivery)
            start_s += len(chunk.pcm) / 2 / self.sample_rate_hz
            if not give(chunk):
                return

    def close(self) -> None:
        """Nothing to free."""

    def _word(self, word: str, start_s: float, delivery: Delivery) -> Chunk:
        syllable_s = SYLLABLE_S / delivery.speed
        parts = [word[i : i + _LETTERS_PER_SYLLABLE] for i in range(0, len(word), _LETTERS_PER_SYLLABLE)]
        gap = np.zeros(round(GAP_S / delivery.speed * self.sample_rate_hz), dtype="<i2")
        tones = [self._syllable(part, syllable_s, delivery.pitch) for part in parts]
        phonemes = [
            Phoneme(_ipa(letter), start_s + syllable_s * (part_index + letter_index / len(part)))
            for part_index, part in enumerate(parts)
            for letter_index, letter in enumerate(part)
        ]
        pcm = louder(np.concatenate([*tones, gap]).tobytes(), delivery.volume)
        return Chunk(pcm, (*phonemes, Phoneme("", start_s + syllable_s * len(parts))))

    def _syllable(self, letters: str, length_s: float, pitch: float) -> np.ndarray:
        times_s = np.arange(round(length_s * self.sample_rate_hz)) / self.sample_rate_hz
        frequency_hz = 220 * 2 ** ((sum(map(ord, letters)) % 12 + pitch) / 12)
        swell = np.sin(np.pi * times_s / length_s)
        return (AMPLITUDE * swell * np.sin(2 * np.pi * frequency_hz * times_s)).astype("<i2")


def _ipa(letter: str) -> str:
    """Every plain Latin small letter is a letter of the IPA as well; anything else hums."""
    small = letter.lower()
    return small if small.isascii() and small.isalpha() else "ə"
