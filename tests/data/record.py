"""Makes `three_sentences.wav` and its words: `python -m tests.data.record`, in a process of its own.

espeak-ng says a sentence a little differently each time: what is asked for word by word is recorded once.
"""

import json
import wave
from pathlib import Path

import numpy as np

from tests.ears.speech import say

RATE_HZ = 16_000
PAUSE_S = 1.3
LINES = (
    ("hello kitsu how are you today", "en-us+f3"),
    ("what do you think about the boss", "en-us+Michael"),
    ("please switch to the gaming scene", "en-us+m5"),
)
FOLDER = Path(__file__).parent


def main() -> None:
    """Record three voices that the test model never heard, with pauses between them."""
    parts, said, at_s = [np.zeros(RATE_HZ // 2, np.float32)], [], 0.5
    for text, voice in LINES:
        speech = say(text, voice)
        words = [
            [word.text, round(at_s + word.start_s, 3), round(at_s + word.end_s, 3)] for word in speech.words
        ]
        said.append({"text": text, "voice": voice, "words": words})
        parts += [speech.samples, np.zeros(round(PAUSE_S * RATE_HZ), np.float32)]
        at_s += len(speech.samples) / RATE_HZ + PAUSE_S
    samples = np.clip(np.concatenate(parts), -1, 1)
    with wave.open(str(FOLDER / "three_sentences.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    (FOLDER / "three_sentences.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
