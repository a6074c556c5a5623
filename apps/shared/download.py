"""Large files from the web: taken up again where they broke off, checked, and there only once they are whole.

The bytes go to PATH.part; PATH itself appears by one rename, when size and checksum are right. A later call
goes on with what lies in PATH.part, whatever ended the one before.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import aiohttp
from filelock import FileLock, Timeout

from apps.shared.errors import AivtError, MissingError
from apps.shared.web import (
    DEFAULT,
    Limits,
    TryAgainError,
    persist,
    place,
    refusal,
    told_network_errors,
    wrong_size,
)

DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}  # Windows knows no quota
STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]+"')  # a weak one (W/"...") does not promise the very same bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to get, and where it is to lie."""

    url: str
    path: Path
    size_bytes: int | None = None  # None: not known
    checksum: str = ""  # "md5:HEX", "sha256:HEX"; "": not known


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is."""

    done_bytes: int
    total_bytes: int | None
    trouble: str = ""  # why it waits before it tries again


async def download(
    session: aiohttp.ClientSession,
    wanted: Wanted,
    tell: Callable[[Progress], None] = lambda _: None,
    limits: Limits = DEFAULT,
) -> None:
    """Get the file, unless it is there already; `tell` hears of every piece and of every wait.

    Cancelling keeps what has arrived. Broken connections, stalls and passing errors of the server are
    tried again, a wrong checksum once from the first byte. Writing happens in the event loop, a network
    buffer at a time.
    Raises MissingError when the server cannot be reached or refuses ("download_failed", "not_found"), the
    disk is full ("disk_full", asked beforehand too) or cannot be written ("cannot_write"); AivtError when
    the server's file is not the announced one ("wrong_size", "wrong_checksum").
    """
    if await asyncio.to_thread(is_whole, wanted.path, wanted.size_bytes, wanted.checksum):
        done_bytes = wanted.path.stat().st_size
        tell(Progress(done_bytes, done_bytes))
        return
    with told_disk_errors(wanted.path):
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
    for last in (False, True):
        await _fill(session, wanted, tell, limits)
        if await asyncio.to_thread(_checked, wanted):
            break
        _discard(wanted)
        if last:
            raise AivtError(
                "wrong_checksum",
                f"{place(wanted.url)} arrived damaged twice: its checksum is not the announced one",
                fix="Try again later: the file at its source is broken, or is being replaced.",
            )
    with told_disk_errors(wanted.path):
        _part(wanted).replace(wanted.path)
        _tag(wanted).unlink(missing_ok=True)


def is_whole(path: Path, size_bytes: int | None, checksum: str) -> bool:
    """Whether a file is there with this size and checksum, as far as they are known. Reads all of it."""
    try:
        if not path.is_file() or size_bytes not in {None, path.stat().st_size}:
            return False
        return not checksum or checksum_of(path, checksum.partition(":")[0]) == checksum.lower()
    except OSError:
        return False  # what cannot be read is fetched anew


def checksum_of(path: Path, algorithm: str) -> str:
    """Return a file's checksum, as in `Wanted`. Reads all of it. Raises OSError."""
    with path.open("rb") as file:
        # No signature: it finds what broke on the way, and Piper's catalogue has nothing but MD5.
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise MissingError "disk_full" where `folder` (which exists) has less room than this."""
    with told_disk_errors(folder):
        free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise MissingError(
            "disk_full",
            f"{needed_bytes / 1e6:.1f} MB are needed in {folder}, {free_bytes / 1e6:.1f} MB are free",
            fix="Free some space, or set AIVT_DATA_DIR to a folder on another disk.",
        )


@contextlib.contextmanager
def told_disk_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors into a MissingError: "disk_full" or "cannot_write"."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise MissingError(
                "disk_full",
                f"the disk became full while writing {path}",
                fix="Free some space and run the command again: it goes on where it stopped.",
            ) from error
        raise MissingError(
            "cannot_write",
            f"cannot write {path}: {error.strerror or error}",
            fix="Close what uses this file, and check that you may write to its folder.",
        ) from error


async def _fill(
    session: aiohttp.ClientSession, wanted: Wanted, tell: Callable[[Progress], None], limits: Limits
) -> None:
    """Ask until all bytes are in the .part file."""

    def waits(reason: str) -> None:
        tell(Progress(_have(wanted), wanted.size_bytes, reason))

    async def attempt() -> None:
        have = _resumable(wanted)
        if have != wanted.size_bytes:
            with told_network_errors(limits):
                await _ask(session, wanted, have, tell, limits)

    await persist(attempt, wanted.url, limits, lambda: _have(wanted), waits)


async def _ask(
    session: aiohttp.ClientSession,
    wanted: Wanted,
    have: int,
    tell: Callable[[Progress], None],
    limits: Limits,
) -> None:
    """Make one request for what is missing after `have` bytes, and write what comes."""
    headers = {"Accept-Encoding": "identity"}  # offsets count bytes of the file itself
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag := _known_tag(wanted):
            headers["If-Range"] = tag
    async with session.get(wanted.url, headers=headers, timeout=limits.timeouts) as response:
        begin, total = _offered(response, wanted, have)
        if response.status == 416:  # it is all here: only the check was still to come
            return
        total = wanted.size_bytes or total
        require_space(wanted.path.parent, (total or 0) - begin)
        with _appending(wanted, begin, response.headers.get("ETag", "")) as file:
            await _write(response, wanted, file, Progress(begin, total), tell)
    if wanted.size_bytes is not None and (have := _have(wanted)) < wanted.size_bytes:
        raise TryAgainError(f"the server ended after {have} of {wanted.size_bytes} bytes")


async def _write(
    response: aiohttp.ClientResponse,
    wanted: Wanted,
    file: BinaryIO,
    so_far: Progress,
    tell: Callable[[Progress], None],
) -> None:
    """Append the body, but not beyond the size that the file should have."""
    tell(so_far)
    done_bytes = so_far.done_bytes
    async for piece in response.content.iter_any():
        done_bytes += len(piece)
        if wanted.size_bytes is not None and done_bytes > wanted.size_bytes:
            raise wrong_size(wanted.url, f"more than {wanted.size_bytes} bytes")
        with told_disk_errors(wanted.path):
            file.write(piece)
        tell(Progress(done_bytes, so_far.total_bytes))


def _offered(response: aiohttp.ClientResponse, wanted: Wanted, have: int) -> tuple[int, int | None]:
    """Return at which byte the body begins and how long the whole file is; None: not said."""
    if response.status == 200:
        total = response.content_length
        # Less may still become the whole file with the next request; more never will.
        if wanted.size_bytes is not None and total is not None and total > wanted.size_bytes:
            raise wrong_size(wanted.url, f"{total} bytes instead of {wanted.size_bytes}")
        return 0, total
    if response.status not in {206, 416} or not have:
        raise refusal(response, wanted.url)
    said = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", response.headers.get("Content-Range", ""))
    begin, of = said.groups() if said else (None, None)
    total = int(of) if of and of.isdecimal() else None
    if total is not None and wanted.size_bytes not in {None, total}:
        raise wrong_size(wanted.url, f"{total} bytes instead of {wanted.size_bytes}")
    if response.status == 416 and total == have:
        return have, total
    if response.status == 416 or begin != str(have):
        _discard(wanted)
        raise TryAgainError("the server has no part that fits, so it is fetched from the beginning", 0)
    return have, total


@contextlib.contextmanager
def _appending(wanted: Wanted, begin: int, tag: str) -> Iterator[BinaryIO]:
    """Open the .part file for what follows byte `begin`, and remember which version of the file it is of."""
    with told_disk_errors(wanted.path):
        if not begin:
            _discard(wanted)
            if STRONG_TAG.fullmatch(tag):
                _tag(wanted).write_text(tag, "utf-8")
        file = _part(wanted).open("ab")
    try:
        yield file
    finally:
        with told_disk_errors(wanted.path):
            file.close()


def _resumable(wanted: Wanted) -> int:
    """Return how many bytes of the .part file can be gone on with; throws away what cannot."""
    have = _have(wanted)
    known = bool(wanted.checksum) or bool(_known_tag(wanted))
    if not known or (wanted.size_bytes is not None and have > wanted.size_bytes):
        _discard(wanted)  # without either nobody would notice two versions spliced together
        return 0
    return have


def _checked(wanted: Wanted) -> bool:
    """Whether what has arrived is what was announced, read back from the disk."""
    with told_disk_errors(wanted.path), _part(wanted).open("rb+") as file:
        os.fsync(file.fileno())  # a power cut must not leave a renamed file without its bytes
    return is_whole(_part(wanted), wanted.size_bytes, wanted.checksum)


def _part(wanted: Wanted) -> Path:
    return wanted.path.with_name(f"{wanted.path.name}.part")


def _tag(wanted: Wanted) -> Path:
    return wanted.path.with_name(f"{wanted.path.name}.part.etag")


def _have(wanted: Wanted) -> int:
    part = _part(wanted)
    return part.stat().st_size if part.is_file() else 0


def _known_tag(wanted: Wanted) -> str:
    try:
        tag = _tag(wanted).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
    return tag if STRONG_TAG.fullmatch(tag) else ""


def _discard(wanted: Wanted) -> None:
    with told_disk_errors(wanted.path):
        _part(wanted).unlink(missing_ok=True)
        _tag(wanted).unlink(missing_ok=True)


@contextlib.contextmanager
def held(lock_file: Path, what: str) -> Iterator[None]:
    """Hold a folder of downloads by a file in it: two programs writing one .part file would spoil it.

    what: what is downloaded there ("voices"). Raises AivtError when another program does so now.
    """
    with told_disk_errors(lock_file.parent):
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file, timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise AivtError(
                "download_running",
                f"another download of {what} is under way",
                fix="Wait until it has ended, or stop it with Ctrl+C.",
            ) from error
    try:
        yield
    finally:
        lock.release()
