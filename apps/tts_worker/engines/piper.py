"""Piper: neural voices that run on the processor, a sentence at a time.

A voice is two files, NAME.onnx and NAME.onnx.json. Piper itself and onnxruntime are imported only when a
voice is loaded: together they take a third of a second.
"""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import PROJECT_DIR, Settings
from apps.tts_worker.engines.espeak import plain
from apps.tts_worker.voice import Chunk, Phoneme

if TYPE_CHECKING:
    from piper import AudioChunk, PiperVoice

_BEGIN, _PAD, _END = "^_$"  # piper's own symbols around the IPA letters
_STRESS = frozenset("ˈˌ")
_LENGTH = "ː"


def available(settings: Settings) -> Path | None:
    """Return the .onnx file that `Piper(settings)` would load, None when a file of it is missing."""
    model = _wanted(settings)
    return model if model and model.is_file() and _config_of(model).is_file() else None


class Piper:
    """The voice PIPER_VOICE: a file, or a name in AIVT_DATA_DIR/voices; "" takes the first one there.

    Phoneme times come from the voice when its file has the alignment output (or `onnx` is installed, which
    adds it on loading); otherwise they are estimated, every sound lasting the same.
    Raises MissingError for a missing file, EngineError for two files that are broken or do not belong
    together; both name the files.
    """

    engine = "piper"

    def __init__(self, settings: Settings) -> None:
        model = _wanted(settings)
        if not model or not model.is_file() or not _config_of(model).is_file():
            place = str(model) if model else f"any *.onnx in {settings.aivt_data_dir / 'voices'}"
            raise MissingError(
                "voice_missing",
                f"no Piper voice: {place} or its .onnx.json is missing",
                fix="Put both files of a voice (NAME.onnx and NAME.onnx.json) there, or correct PIPER_VOICE.",
            )
        self._model = model
        self._voice = _load(model)
        self.voice = model.stem
        self.sample_rate_hz = int(self._voice.config.sample_rate)
        stat = model.stat()  # another file under the same name is another voice
        self.settings = f"bytes={stat.st_size} modified_ns={stat.st_mtime_ns}"
        self._warm_up()

    def synthesize(self, text: str, give: Callable[[Chunk], bool]) -> None:
        """See Voice. One chunk per sentence, so that is how soon it can stop."""
        spoken = plain(text).replace("[[", "[ [")  # double brackets would hold raw phonemes
        start = 0
        try:
            for sentence in self._voice.synthesize(spoken, include_alignments=True):
                phonemes = tuple(_phonemes(_timed(sentence), start, self.sample_rate_hz))
                if not any(phoneme.ipa for phoneme in phonemes):
                    continue
                start += len(sentence.audio_float_array)
                if not give(Chunk(sentence.audio_int16_bytes, phonemes)):
                    return
        except _run_errors() as error:
            raise _unusable(self._model, error) from error

    def close(self) -> None:
        """Let go of the model's memory."""
        del self._voice

    def _warm_up(self) -> None:
        """Run the model once, on the highest id of its JSON.

        That is what shows a JSON of another voice; and a session's first run takes longer than the rest.
        """
        ids = self._voice.config.phoneme_id_map
        try:
            highest = max(chain.from_iterable(ids.values()))
            self._voice.phoneme_ids_to_audio([*ids[_BEGIN], highest, *ids[_END]])
        except _load_errors() as error:
            raise _unusable(self._model, error) from error


def _wanted(settings: Settings) -> Path | None:
    folder = settings.aivt_data_dir / "voices"
    name = settings.piper_voice
    if not name:
        return next((model for model in sorted(folder.glob("*.onnx")) if _config_of(model).is_file()), None)
    if Path(name).name != name:
        return PROJECT_DIR / Path(name).expanduser()
    return folder / f"{name.removesuffix('.onnx')}.onnx"


def _config_of(model: Path) -> Path:
    return model.with_name(f"{model.name}.json")


def _load(model: Path) -> "PiperVoice":
    """Return the voice, on one core less than there are.

    PiperVoice.load would give the session every core, which with another busy process (a game) beside it
    is several times slower.
    """
    onnxruntime, piper, psutil = map(import_module, ("onnxruntime", "piper", "psutil"))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, (psutil.cpu_count(logical=False) or 1) - 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: exporters leave much that it warns of

    def session(source: str | bytes) -> Any:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    try:
        config = piper.PiperConfig.from_dict(json.loads(_config_of(model).read_text(encoding="utf-8")))
        loaded = session(str(model))
        if len(loaded.get_outputs()) == 1 and (patched := _with_alignment(model)):
            loaded = session(patched)
    except _load_errors() as error:
        raise _unusable(model, error) from error
    return cast("PiperVoice", piper.PiperVoice(session=loaded, config=config))


def _with_alignment(model: Path) -> bytes | None:
    """Return the model with its alignment output added, None without `onnx` or for a model that has none."""
    try:
        onnx, patch = import_module("onnx"), import_module("piper.patch_voice_with_alignment")
    except ImportError:
        return None
    graph = onnx.load(str(model))
    try:
        patch.add_alignment_output(graph)
    except ValueError:
        return None
    return bytes(graph.SerializeToString())


def _run_errors() -> tuple[type[Exception], ...]:
    """What onnxruntime raises: its exceptions have no common base but Exception."""
    raised = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(raised, name) for name in names)


def _load_errors() -> tuple[type[Exception], ...]:
    """Those, and what piper raises for a JSON that is no voice's, and onnxruntime for a missing input."""
    return (*_run_errors(), AttributeError, KeyError, TypeError, ValueError)


def _unusable(model: Path, error: Exception) -> EngineError:
    config = _config_of(model).name
    return EngineError(
        "voice_broken",
        f"the Piper voice {model} cannot be used: {type(error).__name__}: {error}",
        fix=f"Get {model.name} and {config} again, both of the same voice, into {model.parent}.",
    )


def _timed(sentence: "AudioChunk") -> list[tuple[str, float]]:
    """Each symbol of the sentence with its length in samples, told by the voice or estimated."""
    total = len(sentence.audio_float_array)
    told = [(part.phoneme, float(part.num_samples)) for part in sentence.phoneme_alignments or ()]
    if told and sum(samples for _, samples in told) == total:
        return told
    symbols = [_BEGIN, *sentence.phonemes, _END]
    weights = [_weight(symbol) for symbol in symbols]
    return [(symbol, total * weight / sum(weights)) for symbol, weight in zip(symbols, weights, strict=True)]


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
