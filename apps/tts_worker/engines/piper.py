"""Piper: neural voices, a sentence at a time.

A voice is two files, NAME.onnx and NAME.onnx.json.
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from apps.shared.errors import MissingError
from apps.shared.messages import Delivery
from apps.shared.settings import PROJECT_DIR, Settings
from apps.tts_worker.engines.espeak import plain
from apps.tts_worker.engines.piper_model import config_of, load, unusable
from apps.tts_worker.loudness import pcm16
from apps.tts_worker.voice import Chunk, Phoneme, speaker_number

if TYPE_CHECKING:
    from piper import AudioChunk

SHORTEST = 0.1  # of the voice's own length scale; its frames end what speed can do before that

_BEGIN, _PAD, _END = "^_$"  # piper's own symbols around the IPA letters
_STRESS = frozenset("ˈˌ")
_LENGTH = "ː"


def installed(settings: Settings) -> list[str]:
    """Return the names of the voices in AIVT_DATA_DIR/voices, in alphabetical order."""
    return sorted(file.stem for file in settings.voices_dir.glob("*.onnx") if config_of(file).is_file())


def available(settings: Settings) -> Path | None:
    """Return the .onnx file that `Piper(settings)` would load, None when a file of it is missing."""
    file = _wanted(settings)
    return file if file and file.is_file() and config_of(file).is_file() else None


def stamp(settings: Settings) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when the files that `Piper(settings)` would load do; () while one is missing."""
    file = available(settings)
    if file is None:
        return ()
    try:
        stats = [(str(path), path.stat()) for path in (file, config_of(file))]
    except FileNotFoundError:  # deleted just now
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


class Piper:
    """The voice PIPER_VOICE: a file, or a name in AIVT_DATA_DIR/voices; "" takes the first one there.

    Phoneme times come from the voice when its file has the alignment output (or `onnx` is installed, which
    adds it on loading); otherwise they are estimated, every sound lasting the same.
    Raises MissingError for a missing file, EngineError for two files that are broken or do not belong
    together; both name the files.
    """

    engine = "piper"

    def __init__(self, settings: Settings) -> None:
        file = _wanted(settings)
        if not file or not file.is_file() or not config_of(file).is_file():
            place = str(file) if file else f"any *.onnx in {settings.voices_dir}"
            raise MissingError(
                "voice_missing",
                f"no Piper voice: {place} or its .onnx.json is missing",
                fix="Get one: aivt voices --download NAME. Or put NAME.onnx and NAME.onnx.json there, "
                "or correct PIPER_VOICE.",
            )
        self._file = file
        self._model = load(file, settings.tts_device)
        self.voice = file.stem
        self.sample_rate_hz = self._model.sample_rate_hz
        self.speakers = self._model.speakers
        self.trouble = self._model.trouble
        stat = file.stat()  # another file under the same name is another voice
        self.settings = f"bytes={stat.st_size} modified_ns={stat.st_mtime_ns}"

    def synthesize(self, text: str, delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        """See Voice. One chunk per sentence, so that is how soon it can stop.

        Pitch is playing what was spoken slower faster, and so moves the formants with it.
        """
        config = self._config(delivery)
        spoken = plain(text).replace("[[", "[ [")  # double brackets would hold raw phonemes
        start = 0
        for sentence in self._sentences(spoken, config):
            pcm = self._sound(sentence, delivery)
            size = len(pcm) // 2
            phonemes = tuple(_phonemes(_timed(sentence, size), start, self.sample_rate_hz))
            if not any(phoneme.ipa for phoneme in phonemes):
                continue
            start += size
            if not give(Chunk(pcm, phonemes)):
                return

    def close(self) -> None:
        """Let go of the model's memory."""
        del self._model

    def _config(self, delivery: Delivery) -> Any:
        own = self._model.voice.config.length_scale
        longer = _factor(delivery) / delivery.speed
        return self._model.config(
            speaker_id=speaker_number(self.speakers, delivery.speaker),
            length_scale=own * max(SHORTEST, 1 + (longer - 1) * self._model.slack),
            noise_scale=delivery.noise,
            noise_w_scale=delivery.rhythm,
        )

    def _sentences(self, text: str, config: Any) -> Iterator["AudioChunk"]:
        try:
            yield from self._model.voice.synthesize(text, config, include_alignments=True)
        except self._model.failures as error:
            raise unusable(self._file, error) from error

    def _sound(self, sentence: "AudioChunk", delivery: Delivery) -> bytes:
        if delivery.pitch == 0 and delivery.volume == 1:
            return bytes(sentence.audio_int16_bytes)
        sound: npt.NDArray[np.float32] = sentence.audio_float_array
        if delivery.pitch != 0:
            sound = self._model.resample(sound, _factor(delivery) * self.sample_rate_hz, self.sample_rate_hz)
        return pcm16(sound * np.float32(delivery.volume))


def _factor(delivery: Delivery) -> float:
    """How many times as high."""
    return float(2 ** (delivery.pitch / 12))


def _wanted(settings: Settings) -> Path | None:
    name = settings.piper_voice
    if not name:
        names = installed(settings)
        return settings.voices_dir / f"{names[0]}.onnx" if names else None
    if Path(name).name != name:
        return PROJECT_DIR / Path(name).expanduser()
    return settings.voices_dir / f"{name.removesuffix('.onnx')}.onnx"


def _timed(sentence: "AudioChunk", size: int) -> list[tuple[str, float]]:
    """Each symbol with its length in samples, `size` together: told by the voice, or estimated."""
    told = [(part.phoneme, float(part.num_samples)) for part in sentence.phoneme_alignments or ()]
    if not told or sum(samples for _, samples in told) != len(sentence.audio_float_array):
        told = [(symbol, _weight(symbol)) for symbol in (_BEGIN, *sentence.phonemes, _END)]
    total = sum(length for _, length in told)
    return [(symbol, size * length / total) for symbol, length in told]


def _weight(symbol: str) -> float:
    if symbol == _LENGTH:
        return 0.5
    return 1.0 if _is_sound(symbol) or _is_pause(symbol) else 0.0


def _phonemes(timed: Iterable[tuple[str, float]], start: int, rate_hz: int) -> Iterator[Phoneme]:
    """The sounds and pauses among piper's symbols.

    A stress mark's time goes to the vowel after it, that of length marks and accents to the sound before
    them; a space between words is no pause. `start` is the sentence's first sample within the piece.
    """
    at = float(start)
    stressed_at: float | None = None
    silent = start == 0
    for symbol, samples in timed:
        if symbol in _STRESS:
            stressed_at = at
        elif _is_sound(symbol):
            yield Phoneme(symbol, (at if stressed_at is None else stressed_at) / rate_hz)
            stressed_at, silent = None, False
        elif _is_pause(symbol) and not silent:
            yield Phoneme("", at / rate_hz)
            silent = True
        at += samples


def _is_sound(symbol: str) -> bool:
    category = unicodedata.category(symbol[0])
    return category.startswith("L") and category != "Lm"


def _is_pause(symbol: str) -> bool:
    return symbol in {_BEGIN, _PAD, _END} or unicodedata.category(symbol[0]).startswith("P")
