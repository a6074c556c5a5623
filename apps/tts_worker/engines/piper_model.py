"""Loading a Piper voice: its two files, the session that runs it, and what is said when it does not.

Piper itself and onnxruntime are imported only when a voice is loaded: together they take a third of a second.
"""

import json
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

import structlog

from apps.shared.errors import AivtError, EngineError, MissingError

Device = Literal["cpu", "cuda"]

WARM_UP = "Hello there, how are you?"
RATES_HZ = range(8_000, 96_001)

_READABLE = frozenset({"espeak", "text"})  # what piper turns into symbols without further libraries
_NO_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "out of memory")
# What piper raises for a JSON that is no voice's, and onnxruntime for an input that the model has not.
_FOREIGN = (AttributeError, KeyError, TypeError, ValueError)
_IN_MEMORY = "Close what else uses the memory, or choose a smaller voice: one of quality low or x_low."
_ON_CARD = "Close what else uses the graphics card, or set TTS_DEVICE=cpu."
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"

log = structlog.get_logger()


class Libraries(NamedTuple):
    """What a voice runs on."""

    onnxruntime: Any
    piper: Any
    psutil: Any
    soxr: Any
    failures: tuple[type[Exception], ...]  # what a session raises
    no_cuda: MissingError | None  # why the graphics card cannot be used, where it is wanted


class Model(NamedTuple):
    """A voice that runs."""

    voice: Any  # piper.PiperVoice
    config: type[Any]  # piper.SynthesisConfig
    sample_rate_hz: int
    speakers: tuple[str, ...]  # see Voice
    slack: float  # see `_slack`
    resample: Callable[[Any, float, float], Any]  # (samples, from_hz, to_hz)
    failures: tuple[type[Exception], ...]  # what running it raises
    trouble: AivtError | None  # it runs, but not where it was wanted


def config_of(file: Path) -> Path:
    """Return the JSON file that belongs to an .onnx file."""
    return file.with_name(f"{file.name}.json")


def load(file: Path, device: Device) -> Model:
    """Load a voice and run it once.

    Raises MissingError for a library that is not there, EngineError for files that are no voice.
    """
    libraries = _libraries(device)
    failures: tuple[type[Exception], ...] = (*libraries.failures, *_FOREIGN, OSError)
    try:
        config = libraries.piper.PiperConfig.from_dict(json.loads(config_of(file).read_text("utf-8")))
        if config.phoneme_type.value not in _READABLE:
            raise _other_language(file, config.phoneme_type.value)
        rate_hz = int(config.sample_rate)
        if rate_hz not in RATES_HZ:
            raise ValueError(f"a sample rate of {rate_hz} Hz")
        speakers = _speakers(config)
        session, trouble = _session_on(device, file, libraries)
        voice = libraries.piper.PiperVoice(session=session, config=config)
        slack = _slack(voice, libraries.piper.SynthesisConfig)
    except failures as error:
        raise unusable(file, error) from error
    return Model(
        voice=voice,
        config=libraries.piper.SynthesisConfig,
        sample_rate_hz=rate_hz,
        speakers=speakers,
        slack=slack,
        resample=libraries.soxr.resample,
        failures=libraries.failures,
        trouble=trouble,
    )


def unusable(file: Path, error: Exception) -> EngineError:
    """Return what is said of a voice that raised `error`."""
    reason = " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or any(word in reason.lower() for word in _NO_MEMORY):
        return EngineError(
            "out_of_memory",
            f"there is not enough memory for the Piper voice {file.stem}",
            fix=_ON_CARD if "cuda" in reason.lower() else _IN_MEMORY,
            retryable=True,
        )
    return EngineError(
        "voice_broken",
        f"the Piper voice {file} cannot be used: {type(error).__name__}: {reason}",
        fix=f"Get {file.name} and {config_of(file).name} again, both of the same voice, into {file.parent}.",
    )


def _other_language(file: Path, symbols: str) -> EngineError:
    return EngineError(
        "voice_language",
        f"the Piper voice {file.stem} reads {symbols}, which takes libraries that are not part of AIVT",
        fix="Choose a voice of another language.",
    )


def _speakers(config: Any) -> tuple[str, ...]:
    if config.num_speakers <= 1:
        return ()
    names = {number: name for name, number in config.speaker_id_map.items()}
    return tuple(names.get(number, str(number)) for number in range(config.num_speakers))


def _libraries(device: Device) -> Libraries:
    no_cuda = _no_cuda() if device == "cuda" else None
    try:
        names = ("onnxruntime", "piper", "psutil", "soxr")
        onnxruntime, piper, psutil, soxr = map(import_module, names)
        _ = onnxruntime.InferenceSession, piper.PiperVoice, soxr.resample
        raised = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
    except (ImportError, OSError, AttributeError) as error:  # the last: a package of which half is there
        raise MissingError(
            "piper_missing",
            f"Piper cannot be loaded: {type(error).__name__}: {error}",
            fix="Run `python scripts/aivt.py up` again; Windows also needs Microsoft's Visual C++ runtime.",
        ) from error
    # onnxruntime's exceptions have no common base but Exception
    failures = (kind for kind in raised if isinstance(kind, type) and issubclass(kind, Exception))
    return Libraries(onnxruntime, piper, psutil, soxr, (*failures, RuntimeError, MemoryError), no_cuda)


def _no_cuda() -> MissingError | None:
    """Get CUDA ready, which has to come before onnxruntime is imported; return why that cannot be."""
    from apps.shared.cuda import require  # noqa: PLC0415 - few have it

    try:
        require("voices")
    except MissingError as error:
        return error
    return None


def _session_on(device: Device, file: Path, libraries: Libraries) -> tuple[Any, AivtError | None]:
    """Return the session, on the processor and with the reason where the graphics card does not do."""
    if device == "cpu":
        return _session(file, [_CPU], libraries), None
    try:
        return _session_on_card(file, libraries), None
    except AivtError as error:
        reason = f"the voice runs on the processor: {error}"
        trouble = MissingError(error.code, reason, fix=f"{error.fix.rstrip('.')}. Or set TTS_DEVICE=cpu.")
        log.warning("voice on the processor", code=error.code, reason=str(error), fix=trouble.fix)
    return _session(file, [_CPU], libraries), trouble


def _session_on_card(file: Path, libraries: Libraries) -> Any:
    if libraries.no_cuda:
        raise libraries.no_cuda
    # the default tries every algorithm anew for each length of sentence
    providers = [(_CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}), _CPU]
    if _CUDA in libraries.onnxruntime.get_available_providers():
        try:
            session = _session(file, providers, libraries)
        except libraries.failures as error:
            raise unusable(file, error) from error
        if _CUDA in session.get_providers():  # else it has fallen back, and only logged it
            return session
    raise MissingError("no_cuda", "onnxruntime cannot use the graphics card", fix="Run: aivt setup cuda.")


def _session(file: Path, providers: list[Any], libraries: Libraries) -> Any:
    """Return a session with the alignment output, on one core less than there are.

    PiperVoice.load would give it every core, which with another busy process (a game) beside it is several
    times slower.
    """
    options = libraries.onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, (libraries.psutil.cpu_count(logical=False) or 1) - 1)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: exporters leave much that it warns of
    session = libraries.onnxruntime.InferenceSession(str(file), options, providers=providers)
    if len(session.get_outputs()) > 1 or not (output := _alignment_output(file)):
        return session
    # By way of a file, for onnxruntime holds this process's sound up for 100 ms to read 60 MB of memory.
    with TemporaryDirectory(prefix="aivt-") as folder:
        copy = Path(folder) / file.name
        try:
            shutil.copyfile(file, copy)
            with copy.open("ab") as opened:
                opened.write(output)
        except OSError as error:
            log.warning("the mouth's times are estimated", reason=f"no room to add them: {error}")
            return session
        return libraries.onnxruntime.InferenceSession(str(copy), options, providers=providers)


def _alignment_output(file: Path) -> bytes | None:
    """Return what makes the alignment an output of the model when it is appended to its file.

    None without `onnx`, or for a model that has no alignment.
    """
    try:
        onnx, patch = import_module("onnx"), import_module("piper.patch_voice_with_alignment")
    except (ImportError, OSError) as error:
        log.warning("the mouth's times are estimated", reason=f"onnx cannot be loaded: {error}")
        return None
    try:
        name = patch.add_alignment_output(onnx.load(str(file)))
    except ValueError:
        return None
    more = onnx.ModelProto()  # protobuf merges messages that stand one behind the other
    more.graph.output.add().name = name
    return bytes(more.SerializeToString())


def _slack(voice: Any, config: type[Any]) -> float:
    """Run the voice on some text and on the highest id of its JSON; return how its lengths follow the scale.

    A voice rounds each sound's length up to whole frames, so half the length scale is more than half as
    long: each further length scale adds 1/slack of the length at the voice's own. 1 means no rounding.
    The highest id shows a JSON of another voice; and a session's first run takes longer than the rest.
    """
    ids = voice.config.phoneme_id_map
    highest = max(number for numbers in ids.values() for number in numbers)
    symbols = [symbol for sentence in voice.phonemize(WARM_UP) for symbol in sentence]
    text = [*voice.phonemes_to_ids(symbols)[:-1], highest, *ids["$"]]

    def length(times: float) -> int:
        steady = config(length_scale=times * voice.config.length_scale, noise_scale=0, noise_w_scale=0)
        return int(voice.phoneme_ids_to_audio(text, steady).size)

    once, twice = length(1), length(2)
    return once / (twice - once) if twice > once else 1.0
