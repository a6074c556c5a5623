"""Which voices there are, which one the settings want, and how one is loaded."""

from collections.abc import Callable

from apps.shared.engines import engine_class
from apps.shared.errors import EngineError, SettingsError
from apps.shared.settings import Settings
from apps.tts_worker.engines.piper import available, installed
from apps.tts_worker.voice import NAMED_LIMIT, Voice

KNOWN = {
    "piper": "apps.tts_worker.engines.piper:Piper",
    "espeak": "apps.tts_worker.engines.espeak:Espeak",
    "tone": "apps.tts_worker.engines.tone:Tone",
}
FALLBACK = "espeak"
STUB = "tone"


def wanted(settings: Settings) -> str:
    """Return the engine that the settings ask for; `auto` takes Piper when a voice for it is there."""
    if settings.use_stub_tts:
        return STUB
    if settings.tts_engine != "auto":
        return settings.tts_engine
    return "piper" if settings.piper_voice or available(settings) else FALLBACK


def names(settings: Settings) -> tuple[str, ...]:
    """Return what may be chosen by name. With the stub switched on that is the stub alone."""
    return (STUB,) if settings.use_stub_tts else (*installed(settings), FALLBACK)


def name_of(voice: Voice) -> str:
    """Return the name by which a voice is chosen."""
    return voice.voice if voice.engine == "piper" else voice.engine


def chosen(settings: Settings, name: str) -> Settings:
    """Return the settings that want the voice `name`; "" leaves the choice to the settings as they are.

    Raises SettingsError "unknown_name". A name is looked up, never joined to a folder: "../x" is unknown.
    """
    if not name:
        return settings
    known = names(settings)
    if name not in known:
        raise SettingsError("unknown_name", f"there is no voice {name!r} here", fix=_how_to_get(name, known))
    if name in KNOWN:
        return settings.model_copy(update={"tts_engine": name})
    return settings.model_copy(update={"tts_engine": "piper", "piper_voice": name})


def standing_in(settings: Settings) -> Settings:
    """Return the settings that want the voice that stands in for any other."""
    return settings.model_copy(update={"tts_engine": FALLBACK, "use_stub_tts": False})


def crashed(engine: str, error: Exception) -> EngineError:
    """Return what is said of a voice that raised something unforeseen."""
    if isinstance(error, MemoryError):
        reason, fix = (
            "there is not enough memory for",
            "Close what else uses the memory, or choose a smaller voice.",
        )
        return EngineError("out_of_memory", f"{reason} {engine}", fix=fix, retryable=True)
    return EngineError(
        "voice_crashed",
        f"{engine} failed: {type(error).__name__}: {error}",
        fix="Choose another TTS_ENGINE, and report this with the log of the voice.",
    )


def _how_to_get(name: str, known: tuple[str, ...]) -> str:
    if known == (STUB,):
        return "Set USE_STUB_TTS=false to have another voice than the stub."
    return f"Choose one of {', '.join(known[:NAMED_LIMIT])}, or get it: aivt voices --download {name}"


def load(settings: Settings) -> Voice:
    """Load the voice that the settings want. May take seconds.

    Raises SettingsError for an unknown engine or voice, MissingError or EngineError for one that fails.
    """
    make: Callable[[Settings], Voice] = engine_class("TTS_ENGINE", wanted(settings), KNOWN)
    return make(settings)
