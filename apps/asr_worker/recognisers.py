"""Which recogniser the settings want, and how it is loaded."""

from collections.abc import Callable

from apps.asr_worker.models import shelf
from apps.asr_worker.recogniser import Recogniser
from apps.shared.engines import engine_class
from apps.shared.settings import Settings

KNOWN = {
    "whisper": "apps.asr_worker.engines.whisper:Whisper",
    "scripted": "apps.asr_worker.engines.scripted:Scripted",
}
STUB = "scripted"


def wanted(settings: Settings) -> str:
    """Return the engine that the settings ask for; `auto` is Whisper, whether its model is there or not."""
    if settings.use_stub_asr:
        return STUB
    return "whisper" if settings.asr_engine == "auto" else settings.asr_engine


def load(settings: Settings) -> Recogniser:
    """Load the recogniser that the settings want. Blocks, with a big model for many seconds.

    Raises SettingsError for an unknown engine or language, MissingError where the model is not there, and
    EngineError for one that cannot be used.
    """
    name = wanted(settings)
    if name == "whisper":
        shelf.find(settings)  # a missing model is told before what runs it is imported, 60 MB
    make: Callable[[Settings], Recogniser] = engine_class("ASR_ENGINE", name, KNOWN)
    return make(settings)
