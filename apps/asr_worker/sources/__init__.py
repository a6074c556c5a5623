"""Which source ASR_INPUT names: part of a microphone's name, a recording, or "none"."""

from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from apps.asr_worker.sources.microphone import Microphone
from apps.asr_worker.sources.recording import SUFFIXES
from apps.asr_worker.sources.source import Source
from apps.asr_worker.sources.wav import WavSource
from apps.shared.settings import PROJECT_DIR, Settings


def open_source(
    settings: Settings,
    now_s: Callable[[], float],
    on_change: Callable[[], None],
    thread: Executor | None = None,
) -> Source | None:
    """Return what to hear, not running yet; None for ASR_INPUT=none.

    on_change: called on the event loop when its name or its trouble has changed. thread: see Microphone.
    """
    wanted = settings.asr_input
    if wanted == "none":
        return None
    if path := recording(wanted):
        return WavSource(path, now_s)
    return Microphone(wanted, now_s, on_change, thread)


def recording(wanted: str) -> Path | None:
    """Return the file that ASR_INPUT names, also one that is missing; None when it names a device.

    A folder counts only when it is written as a path: a device may be called as a folder is.
    """
    if not wanted:
        return None
    path = PROJECT_DIR / Path(wanted).expanduser()
    as_path = "/" in wanted or "\\" in wanted
    if path.is_file() or path.suffix.lower() in SUFFIXES or (as_path and path.is_dir()):
        return path
    return None
