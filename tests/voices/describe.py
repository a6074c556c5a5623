"""What lies beside a voice's .onnx: its JSON and its model card, in the form of public voices."""

from typing import Any

from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from tests.voices.sizes import SYMBOLS, Size


def config(size: Size, length_scale: float = 1.0) -> dict[str, Any]:
    """Return what belongs into the voice's JSON, in the form of public voices."""
    return {
        "audio": {"sample_rate": size.sample_rate_hz, "quality": size.quality},
        "espeak": {"voice": "en-us"},
        "language": {
            "code": "en_US",
            "family": "en",
            "region": "US",
            "name_native": "English",
            "name_english": "English",
            "country_english": "United States",
        },
        "inference": {"noise_scale": 0.667, "length_scale": length_scale, "noise_w": 0.8},
        "phoneme_type": "espeak",
        "phoneme_map": {},
        "phoneme_id_map": DEFAULT_PHONEME_ID_MAP,
        "num_symbols": SYMBOLS,
        "num_speakers": max(1, len(size.speakers)),
        "speaker_id_map": {name: number for number, name in enumerate(size.speakers)},
        "hop_length": size.frame_samples,
        "piper_version": "1.8.0",
    }


def card(size: Size, steps: int) -> str:
    """Return the model card, in the form of public voices."""
    training = f"{steps} steps from nothing, by tests/voices/make.py." if steps else "None: random weights."
    return f"""# Model card for aivt ({size.quality})

* Language: en_US (English, United States)
* Speakers: {max(1, len(size.speakers))}
* Quality: {size.quality}
* Samplerate: {size.sample_rate_hz:,}Hz

## Dataset

* URL: https://github.com/espeak-ng/espeak-ng
* License: GPL-3.0-or-later

## Training

{training} A voice for tests: it is not meant to be understood.
"""
