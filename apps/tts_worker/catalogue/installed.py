"""Which voices lie in the voices folder, and whether they are still what was downloaded.

Beside NAME.onnx and NAME.onnx.json lies NAME.source.json for a voice that `aivt voices` got: where it came
from, and the checksums of the file as it came and as it lies there. Voices put there by hand have none.
"""

from enum import Enum, auto
from pathlib import Path

import msgspec

from apps.shared.download import is_whole
from apps.tts_worker.engines.piper_model import config_of


class Source(msgspec.Struct, frozen=True):
    """NAME.source.json."""

    url: str
    checksum: str  # "md5:...", of the model at `url`
    size_bytes: int  # likewise
    aligned: bool  # whether the voice tells how long its sounds are
    installed_checksum: str  # of NAME.onnx, which differs by the alignment
    installed_bytes: int


class State(Enum):
    """How a voice lies in the folder."""

    ABSENT = auto()
    INSTALLED = auto()
    DAMAGED = auto()  # it has another size than what was installed


def state(folder: Path, name: str) -> State:
    """Return how the voice lies there, by a look at the sizes."""
    model = folder / f"{name}.onnx"
    if not model.is_file() or not config_of(model).is_file():
        return State.ABSENT
    source = read_source(folder, name)
    if source and model.stat().st_size != source.installed_bytes:
        return State.DAMAGED
    return State.INSTALLED


def is_current(folder: Path, name: str, model_checksum: str, config_checksum: str) -> bool:
    """Whether both files are, byte for byte, what the download of these files installs. Reads all of them."""
    source = read_source(folder, name)
    model = folder / f"{name}.onnx"
    return (
        source is not None
        and source.checksum == model_checksum
        and is_whole(config_of(model), None, config_checksum)
        and is_whole(model, source.installed_bytes, source.installed_checksum)
    )


def source_file(folder: Path, name: str) -> Path:
    """Return where its origin is written down."""
    return folder / f"{name}.source.json"


def card_file(folder: Path, name: str) -> Path:
    """Return where its model card is kept."""
    return folder / f"{name}.MODEL_CARD"


def read_source(folder: Path, name: str) -> Source | None:
    """Return where the voice came from; None for one put there by hand."""
    try:
        return msgspec.json.decode(source_file(folder, name).read_bytes(), type=Source)
    except (OSError, msgspec.DecodeError):
        return None
