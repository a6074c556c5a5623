"""A speech model's folder: which files belong into it, and whether it is what was downloaded.

Beside them lies aivt-model.json for a model that `aivt setup ears` got. A folder put there by hand has none.
"""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import msgspec

MODEL = "model.bin"
VOCABULARIES = ("vocabulary.json", "vocabulary.txt")  # one of them, by the age of the model
# Without tokenizer.json faster-whisper would ask the internet for one.
NEEDED = ("config.json", "tokenizer.json", MODEL)
OPTIONAL = "preprocessor_config.json"  # models with another number of mel bands than 80 have it
MARK = "aivt-model.json"


class FileMark(msgspec.Struct, frozen=True):
    """What a file should be."""

    size_bytes: int | None  # None: not told
    checksum: str  # "sha256:HEX", "git:HEX" as git names a file; "": not told


class Mark(msgspec.Struct, frozen=True):
    """aivt-model.json."""

    repository: str
    url: str  # where it came from
    files: dict[str, FileMark]
    finished: bool  # all of it is there, and it has been tried


class State(Enum):
    """How a model lies there."""

    ABSENT = auto()
    UNFINISHED = auto()  # its download was stopped, or it could not be loaded after it
    DAMAGED = auto()  # a file is missing or has another size than the one that came
    INCOMPLETE = auto()  # put there by hand, and files are missing
    INSTALLED = auto()


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a folder shows."""

    state: State
    wrong: tuple[str, ...] = ()  # files that are missing or damaged


def look(folder: Path) -> Look:
    """Look at a model's folder, at the sizes of its files."""
    mark = read_mark(folder)
    if mark is None:
        lacks = missing(folder)
        some = any((folder / file).is_file() for file in (*NEEDED, *VOCABULARIES))
        state = State.INCOMPLETE if some else State.ABSENT
        return Look(state, lacks) if lacks else Look(State.INSTALLED)
    if not mark.finished:
        return Look(State.UNFINISHED)
    faults = tuple(name for name, file in mark.files.items() if not _has_size(folder / name, file.size_bytes))
    return Look(State.DAMAGED if faults else State.INSTALLED, faults)


def missing(folder: Path) -> tuple[str, ...]:
    """Return the names of the files without which the model cannot be used."""
    lacks = [file for file in NEEDED if not (folder / file).is_file()]
    if not any((folder / file).is_file() for file in VOCABULARIES):
        lacks.append(" or ".join(VOCABULARIES))
    return tuple(lacks)


def read_mark(folder: Path) -> Mark | None:
    """Return what is known of a download; None where there was none."""
    try:
        content = (folder / MARK).read_bytes()
    except OSError:
        return None
    try:
        return msgspec.json.decode(content, type=Mark)
    except msgspec.DecodeError:  # the power failed while it was written
        return Mark("", "", {}, finished=False)


def _has_size(path: Path, size_bytes: int | None) -> bool:
    return path.is_file() and size_bytes in {None, path.stat().st_size}
