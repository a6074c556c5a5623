"""`aivt speak`: the voice alone, from a text to a WAV file and its mouth shapes."""

import argparse
import wave
from pathlib import Path

import msgspec

from apps.shared.errors import MissingError, SettingsError
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.shared.speakable import speakable
from apps.tts_worker import voices
from apps.tts_worker.visemes import timeline
from apps.tts_worker.voice import Chunk, Phoneme


def speak(options: argparse.Namespace) -> None:
    """Write what the voice makes of the text, as live."""
    settings = Settings.load()
    spoken = speakable(options.text)
    if not spoken:
        raise SettingsError("nothing_to_say", "nothing in this text can be said", fix="Give some words.")
    voice = voices.load(settings)
    pcm = bytearray()
    phonemes: list[Phoneme] = []

    def keep(chunk: Chunk) -> bool:
        pcm.extend(chunk.pcm)
        phonemes.extend(chunk.phonemes)
        return True

    voice.synthesize(spoken, Delivery(), keep)
    voice.close()
    try:
        _write_wav(Path(options.output), bytes(pcm), voice.sample_rate_hz)
        if options.visemes:
            shapes = timeline(phonemes, len(pcm) / 2 / voice.sample_rate_hz)
            Path(options.visemes).write_bytes(msgspec.json.encode(shapes))
    except OSError as error:
        raise MissingError("cannot_write", f"cannot write: {error}", fix="Choose another file.") from error


def _write_wav(path: Path, pcm: bytes, sample_rate_hz: int) -> None:
    with path.open("wb") as opened, wave.open(opened, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate_hz)
        file.writeframes(pcm)
