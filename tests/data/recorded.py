"""What was recorded once, for tests that ask for it word by word."""

import json
import wave
from pathlib import Path

import numpy as np

from tests.ears.speech import Speech, Word

RATE_HZ = 16_000
THREE = Path(__file__).parent / "three_sentences.wav"


def whole() -> np.ndarray:
    """The recording: 16 kHz, mono, float32."""
    with wave.open(str(THREE)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768


def words() -> list[list[Word]]:
    """The words of each sentence, with their times in the recording."""
    said = json.loads(THREE.with_suffix(".json").read_text(encoding="utf-8"))
    return [[Word(text, start_s, end_s) for text, start_s, end_s in line["words"]] for line in said]


def texts() -> list[str]:
    """The three sentences."""
    return [" ".join(word.text for word in line) for line in words()]


def sentence(number: int) -> Speech:
    """One of the sentences by itself."""
    line, samples = words()[number], whole()
    from_s, to_s = line[0].start_s, line[-1].end_s + 0.1
    moved = [Word(word.text, word.start_s - from_s, word.end_s - from_s) for word in line]
    return Speech(samples[round(from_s * RATE_HZ) : round(to_s * RATE_HZ)], moved)
