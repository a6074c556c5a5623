"""A note that a model is being loaded: found again, it says that the last load took everything down with it.

A graphics driver that crashes, a memory so full that nothing moves: who starts anew after that must not
run into it again.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import structlog

from apps.shared.errors import EngineError, MissingError

FIX = "Choose a smaller model or another quantisation, or delete {} to try this one again."

log = structlog.get_logger()


class Note(msgspec.Struct, frozen=True):
    """Which file; another one of the same name is another file."""

    path: str
    size_bytes: int
    modified_ns: int


def note(model: Path) -> Note:
    """Identify a file. Raises MissingError when it is gone."""
    try:
        stat = model.stat()
    except OSError as error:
        reason = f"{model} cannot be read: {error.strerror}"
        raise MissingError("gguf_missing", reason, fix="Put it back, or correct POLICY_GGUF.") from error
    return Note(str(model), stat.st_size, stat.st_mtime_ns)


@contextlib.contextmanager
def marked(mark: Path, now: Note) -> Iterator[None]:
    """Hold this while a model is being loaded; the mark goes however that ends, as long as we live.

    Raises EngineError "gguf_crashed" when the mark of an earlier load of this very file is still there.
    """
    if _read(mark) == now:
        reason = f"AIVT or the whole computer went down while {Path(now.path).name} was loaded"
        raise EngineError("gguf_crashed", reason, fix=FIX.format(mark))
    _write(mark, now)
    try:
        yield
    finally:
        _remove(mark)


def _read(mark: Path) -> Note | None:
    try:
        return msgspec.json.decode(mark.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None


def _write(mark: Path, now: Note) -> None:
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_bytes(msgspec.json.encode(now))
    except OSError as error:
        log.warning(
            "a crash while loading would not be noticed", reason=str(error), fix="Free some disk space."
        )


def _remove(mark: Path) -> None:
    try:
        mark.unlink(missing_ok=True)
    except OSError as error:
        log.warning("the next load will be refused", reason=str(error), fix=f"Delete {mark}.")
