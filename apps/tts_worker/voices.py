"""Which voice speaks: the wanted one, else espeak, whose light then says why."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from apps.shared.engines import engine_class
from apps.shared.errors import AivtError, SettingsError
from apps.shared.settings import Settings
from apps.tts_worker.engines.piper import available
from apps.tts_worker.voice import Voice

KNOWN = {
    "piper": "apps.tts_worker.engines.piper:Piper",
    "espeak": "apps.tts_worker.engines.espeak:Espeak",
    "tone": "apps.tts_worker.engines.tone:Tone",
}
FALLBACK = "espeak"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A voice that speaks, and why it is not the wanted one."""

    voice: Voice
    trouble: AivtError | None = None


def wanted(settings: Settings) -> str:
    """Return the engine that the settings ask for; `auto` takes Piper when a voice for it is there."""
    if settings.use_stub_tts:
        return "tone"
    if settings.tts_engine != "auto":
        return settings.tts_engine
    return "piper" if settings.piper_voice or available(settings) else FALLBACK


def load(settings: Settings, *, fall_back: bool) -> Loaded:
    """Load the wanted voice. May take seconds.

    fall_back: speak with espeak when the wanted voice cannot be loaded, rather than raise.
    Raises SettingsError for an unknown engine or voice, MissingError or EngineError for one that fails.
    """
    name = wanted(settings)
    try:
        return Loaded(_make(name, settings))
    except SettingsError:
        raise
    except AivtError as error:
        if not fall_back or name == FALLBACK:
            raise
        log.warning("espeak speaks instead", code=error.code, reason=str(error), fix=error.fix)
        return Loaded(_make(FALLBACK, settings), error)


def _make(name: str, settings: Settings) -> Voice:
    make: Callable[[Settings], Voice] = engine_class("TTS_ENGINE", name, KNOWN)
    return make(settings)
