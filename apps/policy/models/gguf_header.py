"""The header of a GGUF file: what it says about itself, and which tensors it holds.

gguf's own reader makes an object of every word of the vocabulary, which takes seconds for 150,000 of them;
this one steps over long lists, and never touches the weights.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from gguf.constants import (
    GGML_QUANT_SIZES,
    GGUF_DEFAULT_ALIGNMENT,
    GGUF_MAGIC,
    GGMLQuantizationType,
    GGUFValueType,
)

VERSIONS = (2, 3)  # 1 is of August 2023, with other lengths; nothing newer is known
KEPT_NUMBERS = 1024  # longer lists are of the vocabulary
DIMENSIONS_LIMIT = 4  # ggml's own

FORMATS = {
    GGUFValueType.UINT8: "<B",
    GGUFValueType.INT8: "<b",
    GGUFValueType.UINT16: "<H",
    GGUFValueType.INT16: "<h",
    GGUFValueType.UINT32: "<I",
    GGUFValueType.INT32: "<i",
    GGUFValueType.FLOAT32: "<f",
    GGUFValueType.BOOL: "<?",
    GGUFValueType.UINT64: "<Q",
    GGUFValueType.INT64: "<q",
    GGUFValueType.FLOAT64: "<d",
}

Value = str | int | float | bool | list[int | float | bool]


class NoGgufError(ValueError):
    """The file is something else."""


class VersionError(ValueError):
    """It is a GGUF file of a version that cannot be read here."""


class BrokenError(ValueError):
    """The header ends too early, or makes no sense."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor, as the header tells it."""

    name: str
    numbers: int
    kind: str  # "Q4_K"; "" for one that the gguf library does not know
    end_bytes: int  # where it ends in the file


@dataclass(frozen=True, slots=True)
class Header:
    """Metadata without long lists, of which only the lengths are there, and the tensors."""

    values: Mapping[str, Value]
    lengths: Mapping[str, int]  # of every list
    tensors: tuple[Tensor, ...]
    file_bytes: int

    @property
    def needed_bytes(self) -> int:
        """How long the file has to be for all of its tensors."""
        return max((tensor.end_bytes for tensor in self.tensors), default=0)


def read(path: Path) -> Header:
    """Read a file's header. Raises OSError, NoGgufError, VersionError, BrokenError."""
    size = path.stat().st_size
    if size < struct.calcsize("<IIQQ"):
        raise NoGgufError
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            return _Reader(data).header()
        except struct.error as error:
            raise BrokenError("its header is cut off") from error


class _Reader:
    """Walks through the header; `struct.error` is the end of the file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def header(self) -> Header:
        if self._number("<I") != GGUF_MAGIC:
            raise NoGgufError
        version = int(self._number("<I"))
        if version not in VERSIONS:
            raise VersionError(f"GGUF version {version}")
        tensor_count, value_count = int(self._number("<Q")), int(self._number("<Q"))
        values: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(value_count):
            self._read_value(values, lengths)
        infos = [self._tensor_info() for _ in range(tensor_count)]
        alignment = values.get("general.alignment", GGUF_DEFAULT_ALIGNMENT)
        if not isinstance(alignment, int) or alignment <= 0:
            raise BrokenError(f"its alignment is {alignment!r}")
        start = -(-self._at // alignment) * alignment
        tensors = tuple(_tensor(*info, start) for info in infos)
        return Header(values, lengths, tensors, len(self._data))

    def _number(self, form: str) -> int | float | bool:
        (value,) = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        number: int | float | bool = value
        return number

    def _text(self) -> str:
        length = int(self._number("<Q"))
        begin = self._at
        self._step(length)
        return self._data[begin : begin + length].decode(errors="replace")

    def _step(self, length: int) -> None:
        self._at += length
        if self._at > len(self._data):
            raise struct.error

    def _read_value(self, values: dict[str, Value], lengths: dict[str, int]) -> None:
        name = self._text()
        match self._type():
            case GGUFValueType.STRING:
                values[name] = self._text()
            case GGUFValueType.ARRAY:
                inner, length = self._type(), int(self._number("<Q"))
                lengths[name] = length
                if (numbers := self._list(inner, length)) is not None:
                    values[name] = numbers
            case kind:
                values[name] = self._number(FORMATS[kind])

    def _list(self, inner: GGUFValueType, length: int) -> list[int | float | bool] | None:
        """Read a short list of numbers; step over any other."""
        if inner is GGUFValueType.STRING:
            for _ in range(length):
                self._step(int(self._number("<Q")))
            return None
        if inner not in FORMATS:
            raise BrokenError("it has a list of lists")
        if length > KEPT_NUMBERS:
            self._step(length * struct.calcsize(FORMATS[inner]))
            return None
        return [self._number(FORMATS[inner]) for _ in range(length)]

    def _type(self) -> GGUFValueType:
        number = int(self._number("<I"))
        try:
            return GGUFValueType(number)
        except ValueError as error:
            raise BrokenError(f"it has a value of the unknown type {number}") from error

    def _tensor_info(self) -> tuple[str, int, int, int]:
        name = self._text()
        dimensions = int(self._number("<I"))
        if dimensions > DIMENSIONS_LIMIT:
            raise BrokenError(f"the tensor {name[:64]} has {dimensions} dimensions")
        numbers = prod(int(self._number("<Q")) for _ in range(dimensions))
        return name, numbers, int(self._number("<I")), int(self._number("<Q"))


def _tensor(name: str, numbers: int, kind: int, offset: int, start: int) -> Tensor:
    try:
        known = GGMLQuantizationType(kind)
    except ValueError:  # of a llama.cpp that is newer than the gguf library: at least it has to begin
        return Tensor(name, numbers, "", start + offset)
    block, block_bytes = GGML_QUANT_SIZES[known]
    return Tensor(name, numbers, known.name, start + offset + numbers * block_bytes // block)
