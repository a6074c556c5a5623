"""Fetching a model through Ollama: how far it is, and what went wrong in words that help."""

import asyncio
import difflib
import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass

from apps.policy.models.ollama_server import AGAIN_FIX, SERVICE, PullLine
from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError

STALL_LIMIT_S = 120.0  # without a single new byte; Ollama itself tries a part again after 30 s
CHECK_LIMIT_S = 900.0  # reading 8 GB again from a slow disk, for their checksum, without a line meanwhile
CHECKING = ("verifying", "writing", "removing")  # how the states after the download begin

NAME_CHARS = 200
_WORD = r"[a-z0-9][\w.-]*"
_NAME = re.compile(rf"(?:{_WORD}(?::\d+)?/)?(?:{_WORD}/)*{_WORD}(?::[\w.-]+)?", re.ASCII | re.IGNORECASE)

# What stands in Ollama's words, and what it means. The first that fits counts.
_DISK_FULL = ("no space left", "not enough space", "disk quota", "disk full")
_UNKNOWN = ("file does not exist", "not found", "manifest: 404")
_TOO_OLD = ("requires a newer version", "manifest: 412")
_REFUSED = ("unauthorized", "access denied", "manifest: 401", "manifest: 403")
_BUSY = ("too many requests", "manifest: 429")
_OFFLINE = (
    "no such host", "dial tcp", "i/o timeout", "tls handshake", "connection refused", "connection reset",
    "network is unreachable", "no route to host", "server misbehaving", "deadline exceeded", "eof",
    "max retries exceeded", "manifest: 5",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is. The total grows while Ollama comes to know the layers of the model."""

    status: str  # in Ollama's words
    done_bytes: int = 0
    total_bytes: int = 0


class Layers:
    """Adds up the layers of a model, which come one after the other or mixed."""

    def __init__(self) -> None:
        self._layers: dict[str, tuple[int, int]] = {}  # digest -> done, total

    def take(self, line: PullLine) -> Progress:
        """Return the progress after a line."""
        if line.digest and line.total > 0:
            self._layers[line.digest] = (min(line.completed, line.total), line.total)
        return Progress(
            line.status,
            done_bytes=sum(done for done, _ in self._layers.values()),
            total_bytes=sum(total for _, total in self._layers.values()),
        )


def checked_name(name: str) -> str:
    """Return the name as Ollama takes it. Raises SettingsError "bad_name" or "cloud_model"."""
    name = name.strip()
    if len(name) > NAME_CHARS or not _NAME.fullmatch(name):
        fix = "Give a name as on https://ollama.com/library, for example: aivt model pull llama3.1:8b"
        raise SettingsError("bad_name", f"{name[:NAME_CHARS]!r} cannot be a model's name", fix=fix)
    if name.lower().endswith((":cloud", "-cloud")):
        reason = f"{name} runs in Ollama's cloud: what chat says would leave this computer"
        raise SettingsError("cloud_model", reason, fix="Pull one without -cloud in its name.")
    return name


async def pull(
    lines: AsyncGenerator[PullLine, None],
    name: str,
    *,
    known: Iterable[str] = (),
    free_bytes: int | None = None,
) -> AsyncGenerator[Progress, None]:
    """Tell the progress of a pull with every line, until it is complete.

    known: names that are meant when `name` is misspelled. free_bytes: what was free on the disk before.
    Raises SettingsError "unknown_model", MissingError ("disk_full", "ollama_too_old"), EngineError; closes
    `lines`, which stops the download; what has come stays with Ollama.
    """
    layers = Layers()
    furthest, states = -1, set[str]()
    try:
        async with asyncio.timeout(STALL_LIMIT_S) as deadline, aclosing(lines):
            async for line in lines:
                if line.error:
                    raise failure(line.error, name, known)
                now = layers.take(line)
                _check_space(name, now, free_bytes)
                if now.done_bytes > furthest or now.status not in states:
                    furthest = max(furthest, now.done_bytes)
                    states.add(now.status)
                    limit_s = CHECK_LIMIT_S if now.status.startswith(CHECKING) else STALL_LIMIT_S
                    ends_at_s = asyncio.get_running_loop().time() + limit_s
                    deadline.reschedule(ends_at_s)
                yield now
                if now.status == "success":
                    return
    except TimeoutError as error:
        raise EngineError("pull_stalled", "the download has come to a stop", fix=AGAIN_FIX) from error
    raise EngineError("pull_incomplete", "Ollama ended the download before it was complete", fix=AGAIN_FIX)


def failure(words: str, name: str, known: Iterable[str] = ()) -> AivtError:
    """Return the error that Ollama's words mean."""
    said = words.lower()

    def says(signs: tuple[str, ...]) -> bool:
        return any(sign in said for sign in signs)

    if says(_DISK_FULL):
        return disk_full("the disk of Ollama's models is full")
    if "digest mismatch" in said:
        fix = "Run the same command again: Ollama fetches that part anew."
        return EngineError("digest_mismatch", f"a part of {name} came damaged", fix=fix, retryable=True)
    if says(_TOO_OLD):
        reason = f"this Ollama is too old for {name}"
        return MissingError("ollama_too_old", reason, fix="Update Ollama, then run the same command again.")
    if says(_UNKNOWN):
        return _unknown(name, known)
    if "invalid model name" in said:
        return SettingsError("bad_name", f"Ollama takes {name!r} for no model's name", fix="Correct it.")
    if says(_REFUSED):
        fix = "Check the name; a private model needs: ollama signin"
        return EngineError("pull_refused", f"{name} may not be downloaded ({words})", fix=fix)
    if says(_BUSY):
        fix = f"Wait some minutes. {AGAIN_FIX}"
        return EngineError("too_many_requests", "the library asks to wait", fix=fix, retryable=True)
    if says(_OFFLINE):
        fix = f"Check the internet connection. {AGAIN_FIX}"
        reason = f"the library cannot be reached ({words.rpartition(': ')[2]})"
        return EngineError("no_network", reason, fix=fix, retryable=True)
    return EngineError("pull_failed", f"Ollama: {words}", fix=SERVICE.broken_fix)


def disk_full(reason: str) -> MissingError:
    """Say that there is no room for a model."""
    fix = "Free some space, or set OLLAMA_MODELS for Ollama to a folder on another disk; then run it again."
    return MissingError("disk_full", reason, fix=fix)


def _check_space(name: str, now: Progress, free_bytes: int | None) -> None:
    missing = now.total_bytes - now.done_bytes
    if free_bytes is not None and missing > free_bytes:
        raise disk_full(f"{name} needs {missing / 1e9:.1f} GB more, and {free_bytes / 1e9:.1f} GB are free")


def _unknown(name: str, known: Iterable[str]) -> SettingsError:
    meant = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    fix = (
        f"Did you mean: aivt model pull {meant[0]}"
        if meant
        else "Look for its name on https://ollama.com/library, or see: aivt model list"
    )
    return SettingsError("unknown_model", f"there is no model {name}", fix=fix)
