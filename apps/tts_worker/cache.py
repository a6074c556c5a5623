"""Sentences already spoken, on disk: the greeting and the fillers come back without synthesis.

A file holds one clip: 16 bytes of BLAKE2b over the rest, a line of JSON (the phonemes), then the samples.
"""

import contextlib
import hashlib
import json
import os
import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from apps.shared.messages import Delivery
from apps.tts_worker.voice import Phoneme, Voice

FORMAT_VERSION = 2  # raise it when a file or the meaning of a key changes: older clips then age out
_DIGEST_BYTES = 16
_OURS = re.compile(r"[0-9a-f]{64}\.(clip|part)")  # anything else in the folder is somebody else's

_log = structlog.get_logger(__name__)
_phonemes = msgspec.json.Decoder(tuple[Phoneme, ...])


@dataclass(frozen=True, slots=True)
class Clip:
    """A spoken text."""

    pcm: bytes  # 16-bit little-endian mono samples
    phonemes: tuple[Phoneme, ...]  # times from the first sample


def key_of(voice: Voice, delivery: Delivery, text: str) -> str:
    """Return the name under which `voice` saying `text` like this is kept: 64 hexadecimal digits.

    Everything that changes the sound is in it, so a new rate or another voice never finds the old clips.
    """
    said_by = (voice.engine, voice.voice, voice.settings, voice.sample_rate_hz)
    parts = (FORMAT_VERSION, *said_by, msgspec.structs.astuple(delivery), text)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


class AudioCache:
    """Clips by key, the least recently used ones deleted to stay within `limit_bytes` (0: no cache at all).

    Never fails: what cannot be read is a miss, what cannot be written is not kept, and the first such
    trouble is logged. For one thread, and one process per folder.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # key -> bytes on disk, least recently used first
        self._total_bytes = 0
        self._warned = False
        if limit_bytes:
            with self._tolerant():
                self._scan()
                self._make_room(0)

    def get(self, key: str) -> Clip | None:
        """Return the clip, or None. 0.1 ms for 100 kB."""
        if key not in self._sizes:
            return None
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # deleted under us
            self._forget(key)
            return None
        except OSError:  # locked by a virus scanner, perhaps
            return None
        clip = _unpacked(data)
        with self._tolerant():
            if clip:
                self._sizes.move_to_end(key)
                os.utime(path)  # the order of use outlives the process
            else:
                _log.warning("damaged clip deleted", path=str(path))
                self._delete(key)
        return clip

    def put(self, key: str, clip: Clip) -> None:
        """Keep `clip`, unless it alone is over the limit."""
        if not self._limit_bytes:
            return
        data = _packed(clip)
        if len(data) > self._limit_bytes:
            return
        path = self._path(key)
        part = path.with_suffix(".part")
        with self._tolerant():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._delete(key)
            self._make_room(len(data))
            try:
                part.write_bytes(data)
                part.replace(path)
            except OSError:
                part.unlink(missing_ok=True)
                raise
            self._remember(key, len(data))

    def _scan(self) -> None:
        if not self._folder.is_dir():
            return
        found = []
        for path in self._folder.iterdir():
            if not _OURS.fullmatch(path.name):
                continue
            if path.suffix == ".part":  # a process died while writing it
                path.unlink(missing_ok=True)
            else:
                stat = path.stat()
                found.append((stat.st_mtime_ns, path.stem, stat.st_size))
        for _, key, size_bytes in sorted(found):
            self._remember(key, size_bytes)

    def _make_room(self, needed_bytes: int) -> None:
        while self._sizes and self._total_bytes + needed_bytes > self._limit_bytes:
            self._delete(next(iter(self._sizes)))

    def _delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)
        self._forget(key)

    def _remember(self, key: str, size_bytes: int) -> None:
        self._sizes[key] = size_bytes
        self._total_bytes += size_bytes

    def _forget(self, key: str) -> None:
        self._total_bytes -= self._sizes.pop(key, 0)

    def _path(self, key: str) -> Path:
        return self._folder / f"{key}.clip"

    @contextlib.contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Log trouble with the disk, once; the next call tries again."""
        try:
            yield
        except OSError as error:
            if not self._warned:
                _log.warning("audio cache unavailable", folder=str(self._folder), reason=str(error))
                self._warned = True


def _packed(clip: Clip) -> bytes:
    rest = msgspec.json.encode(clip.phonemes) + b"\n" + clip.pcm
    return _digest(rest) + rest


def _unpacked(data: bytes) -> Clip | None:
    """Return the clip in a file, None when a byte of it is not what was written."""
    digest, rest = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    if digest != _digest(rest):
        return None
    line, _, pcm = rest.partition(b"\n")
    return Clip(pcm, _phonemes.decode(line))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()
