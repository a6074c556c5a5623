"""Whisper by faster-whisper: on the graphics card where that works, else on the processor."""

import time
from collections.abc import Callable
from pathlib import Path

import structlog

from apps.asr_worker.engines.whisper_model import Model
from apps.asr_worker.models import choice, shelf
from apps.asr_worker.models.choice import Choice
from apps.asr_worker.recogniser import Hypothesis
from apps.asr_worker.sound import Samples
from apps.shared.cuda import DRIVER_FIX, SETUP_FIX
from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError
from apps.shared.settings import Settings

FAILURES = (RuntimeError, ValueError, MemoryError)  # of CTranslate2 while it decodes
# On the card "CUDA failed with error out of memory" or "cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED"
NO_MEMORY = ("out of memory", "allocate memory", "bad_alloc", "bad allocation", "alloc_failed")

_MODEL_FIX = "Delete that folder and get the model again: aivt setup ears"
_CARD_FIX = "Close what else uses the graphics card, or choose a smaller ASR_MODEL."
_PROCESSOR_FIX = "Close what else uses the memory, or choose a smaller ASR_MODEL."
_LOG_FIX = "Choose another ASR_MODEL, and report this with the log."

log = structlog.get_logger()


class Whisper:
    """The model ASR_MODEL.

    What fails on the graphics card while it is loaded or tried runs on the processor, with `trouble`. When it
    fails later, that call raises a retryable EngineError, and the next one loads it on the processor.
    Loading blocks. It raises MissingError where the model is not there, SettingsError for a language or
    numbers that it does not have, EngineError for files that cannot be used.
    """

    engine = "whisper"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = shelf.find(settings)
        self._loaded: Model | None = None  # None: the graphics card has failed
        chosen = choice.choose(settings, self._folder)
        self.trouble: AivtError | None = chosen.trouble
        self.model = ""
        self._device = chosen.device
        try:
            self._load(chosen)
        except EngineError as error:
            if chosen.device != "cuda" or error.code == "asr_model_broken":
                raise
            self._leave_card(error)
            self._load_on_processor()

    def partial(self, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        """See Recogniser."""
        return self._decoded(lambda model: model.partial(samples, vocabulary))

    def final(self, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        """See Recogniser."""
        return self._decoded(lambda model: model.final(samples, vocabulary))

    def close(self) -> None:
        """Let go of the model's memory."""
        del self._loaded

    def _decoded(self, decode: Callable[[Model], Hypothesis]) -> Hypothesis:
        model = self._loaded or self._load_on_processor()
        try:
            return decode(model)
        except FAILURES as error:
            failure = _failed(self._device, error)
            if self._device == "cuda":
                self._loaded = None
                self._leave_card(failure)
            raise failure from error

    def _load_on_processor(self) -> Model:
        there = self._settings.model_copy(update={"asr_device": "cpu", "asr_compute_type": "auto"})
        return self._load(choice.choose(there, self._folder))

    def _load(self, chosen: Choice) -> Model:
        """Load the model and run every part of it once."""
        began_s = time.monotonic()
        try:
            model = Model(self._folder, chosen.device, chosen.compute_type, chosen.cpu_threads)
            self._set_language(model)
            model.warm_up()
        except AivtError:
            raise
        except Exception as error:  # for a broken tokenizer.json tokenizers raises Exception itself
            raise _unusable(self._folder, chosen.device, error) from error
        self._loaded, self._device = model, chosen.device
        self.model = f"{self._folder.name}, {chosen.device} {chosen.compute_type}"
        log.info("recogniser loaded", model=self.model, took_s=round(time.monotonic() - began_s, 2))
        return model

    def _set_language(self, model: Model) -> None:
        language = self._settings.asr_language.strip().lower()
        if language in shelf.ANY_LANGUAGE:
            return
        if language not in model.languages:
            alone = len(model.languages) == 1
            raise SettingsError(
                "bad_setting",
                f"the speech model {self._folder.name} does not know ASR_LANGUAGE={language}",
                fix=f"Set ASR_LANGUAGE={model.languages[0]}, or ASR_MODEL to one without .en in its name."
                if alone
                else f"Set ASR_LANGUAGE to one of: {', '.join(model.languages)}",
            )
        model.speak(language)

    def _leave_card(self, error: AivtError) -> None:
        reason = f"she hears on the processor, which is slower: {error}"
        fix = f"{error.fix} Or set ASR_DEVICE=cpu."
        self.trouble = MissingError(error.code, reason, fix=fix)
        log.warning("hearing on the processor", code=error.code, reason=str(error), fix=fix)


def _unusable(folder: Path, device: str, error: Exception) -> EngineError:
    """Return what is said of a model that does not load; on the card, what is wrong with that."""
    failure = _failed(device, error)
    if failure.code not in {"recogniser_failed", "cuda_fails"} or (device == "cuda" and _of_card(error)):
        return failure
    return EngineError(
        "asr_model_broken", f"the speech model in {folder} cannot be used: {_text(error)}", fix=_MODEL_FIX
    )


def _failed(device: str, error: Exception) -> EngineError:
    """Return what is said of a decode that failed; what failed on the card is worth another try."""
    text = _text(error)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in NO_MEMORY):
        where = "graphics" if device == "cuda" else "computer's"
        fix = _CARD_FIX if device == "cuda" else _PROCESSOR_FIX
        return EngineError(
            "out_of_memory", f"there is not enough {where} memory to hear", fix=fix, retryable=True
        )
    if device != "cuda":
        return EngineError("recogniser_failed", f"speech recognition failed: {text}", fix=_LOG_FIX)
    if "cannot be loaded" in text:  # "Library cublas64_12.dll is not found or cannot be loaded"
        return EngineError("cuda_incomplete", text, fix=f"{SETUP_FIX}.", retryable=True)
    if "compute type" in text:
        return EngineError("compute_type", text, fix="Set ASR_COMPUTE_TYPE=auto.", retryable=True)
    return EngineError("cuda_fails", f"the graphics card failed: {text}", fix=DRIVER_FIX, retryable=True)


def _of_card(error: Exception) -> bool:
    """Tell whether an error is of the card or its driver, and not of the files."""
    return any(name in _text(error).lower() for name in ("cuda", "cublas", "cudnn", "driver"))


def _text(error: Exception) -> str:
    """Return the first line, without the places in CTranslate2's source that may follow."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
