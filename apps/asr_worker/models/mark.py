"""aivt-model.json, written, and held against the files that it describes.

Apart from `folder`, which the worker uses: this needs the library for downloads.
"""

import hashlib
from pathlib import Path

import msgspec

from apps.asr_worker.models.folder import MARK, Look, Mark, State, look, read_mark
from apps.shared.download import is_whole, told_disk_errors


def read_through(folder: Path) -> Look:
    """Look at a model's folder as `look` does, and read all of its files. 3 GB take some seconds."""
    seen, mark = look(folder), read_mark(folder)
    if seen.state is not State.INSTALLED or mark is None:
        return seen
    faults = wrong(folder, mark)
    return Look(State.DAMAGED, faults) if faults else seen


def wrong(folder: Path, mark: Mark) -> tuple[str, ...]:
    """Return the files that are not as the mark describes them. Reads all of them."""
    files = mark.files.items()
    return tuple(name for name, file in files if not whole(folder / name, file.size_bytes, file.checksum))


def whole(path: Path, size_bytes: int | None, checksum: str) -> bool:
    """Whether a file is there with this size and checksum, as far as they are known. May read all of it."""
    if not checksum.startswith("git:"):
        return is_whole(path, size_bytes, checksum)
    return is_whole(path, size_bytes, "") and git_checksum(path) == checksum


def git_checksum(path: Path) -> str:
    """Return git's own name for a file's content. Raises OSError."""
    content = path.read_bytes()
    digest = hashlib.sha1(b"blob %d\0" % len(content), usedforsecurity=False)
    digest.update(content)
    return f"git:{digest.hexdigest()}"


def write_mark(folder: Path, mark: Mark) -> None:
    """Write aivt-model.json. Raises MissingError when the disk is full or not writable."""
    with told_disk_errors(folder / MARK):
        part = folder / f"{MARK}.part"
        part.write_bytes(msgspec.json.encode(mark))
        part.replace(folder / MARK)
