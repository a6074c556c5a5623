"""A model's file, looked into before llama.cpp does: its own refusal names neither the fault nor the fix."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import LlamaFileType

from apps.policy.models import footprint, gguf_header
from apps.policy.models.gguf_header import Header
from apps.shared.errors import AivtError, EngineError, MissingError
from apps.shared.settings import PROJECT_DIR, Settings

ENDING = ".gguf"
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)

AGAIN_FIX = "Download it again."
OTHER_FIX = "Set POLICY_GGUF to another file: a chat or Instruct model in GGUF format."

# Files that belong to a model without being one, by `general.type`.
OTHER_TYPES = {
    "adapter": "an adapter (LoRA), which works only on top of a model",
    "mmproj": "the eyes of a model that sees pictures, not the model",
    "imatrix": "a by-product of making models smaller",
    "vocab": "a vocabulary without a model",
}


@dataclass(frozen=True, slots=True)
class GgufInfo:
    """What a model's file says about itself."""

    path: Path  # the first part, when there are several
    name: str
    architecture: str  # "llama"
    parameters: int
    size_label: str  # "8B", as its maker says; "" when they do not
    quantisation: str  # "Q4_K_M"
    licence: str  # "apache-2.0"; "" when the file has none
    context_tokens: int  # what it was made for; 0 when it does not say
    talks: bool  # it has a chat template: it was made for conversations
    size_bytes: int  # on disk, all parts together
    shape: footprint.Shape | None  # None when the file does not tell

    def memory_bytes(self, context_tokens: int) -> int:
        """Estimate the memory that it takes with so much context; rather too high than too low."""
        return footprint.vram_bytes(self.size_bytes, self.shape, context_tokens)


def path_of(settings: Settings) -> Path:
    """Return the file that POLICY_GGUF means: a path, or a name in the models folder, the ending optional.

    Raises MissingError "gguf_missing".
    """
    wanted, folder = settings.policy_gguf, settings.models_dir
    if not wanted:
        raise _missing("POLICY_GGUF is not set", f"Set it to a {ENDING} file, or to a name in {folder}.")
    given = PROJECT_DIR / Path(wanted).expanduser()
    for place in (folder / wanted, folder / f"{wanted}{ENDING}", given, given.with_name(given.name + ENDING)):
        if place.is_file():
            return place
    if given.is_dir():
        raise _missing(f"{wanted} is a folder", f"Set POLICY_GGUF to a {ENDING} file in it.")
    there = ", ".join(names(folder)) or "nothing"
    fix = f"Put the file into {folder}, or set POLICY_GGUF to where it is."
    raise _missing(f"there is no model {wanted} ({folder} has: {there})", fix)


def names(folder: Path) -> list[str]:
    """Return the models in a folder, without the ending; of one in parts, the first."""
    files = sorted(folder.glob("*")) if folder.is_dir() else []
    models = [file for file in files if file.suffix.lower() == ENDING and file.is_file()]
    return [file.stem for file in models if (part := PART.search(file.name)) is None or int(part[1]) == 1]


def inspect(path: Path) -> GgufInfo:
    """Look into a model's file, without its weights.

    Raises MissingError "gguf_missing"; EngineError "gguf_broken" (unreadable, cut off, no GGUF file) or
    "gguf_unsupported" (an adapter, for example). An architecture that llama.cpp does not know is not found
    out here: no list of them is as new as llama.cpp itself.
    """
    header = _header(path)
    _check_is_model(path, header)
    headers = [header, *(_header(part) for part in _other_parts(path, header))]
    _check_numbers(path, header, sum(len(each.tensors) for each in headers))
    values, architecture = header.values, _text(header, "general.architecture")
    return GgufInfo(
        path=path,
        name=_text(header, "general.name") or path.stem,
        architecture=architecture,
        parameters=sum(tensor.numbers for each in headers for tensor in each.tensors),
        size_label=_text(header, "general.size_label"),
        quantisation=_quantisation(headers),
        licence=_text(header, "general.license"),
        context_tokens=_whole(values.get(f"{architecture}.context_length")),
        talks=bool(_text(header, "tokenizer.chat_template")),
        size_bytes=sum(each.file_bytes for each in headers),
        shape=_shape(header, architecture),
    )


def _header(path: Path) -> Header:
    try:
        header = gguf_header.read(path)
    except FileNotFoundError as error:
        raise _missing(f"there is no file {path}", "Correct POLICY_GGUF.") from error
    except OSError as error:
        fix = "Make it a file that you may read."
        raise EngineError("gguf_broken", f"{path} cannot be read: {error.strerror}", fix=fix) from error
    except gguf_header.NoGgufError as error:
        raise _broken(path, "is not a GGUF file; it may be a web page instead of the model") from error
    except gguf_header.BrokenError as error:
        raise _broken(path, f"is damaged: {error}") from error
    except gguf_header.VersionError as error:
        raise _unsupported(path, f"is in a format that is not known here ({error})") from error
    if header.needed_bytes > header.file_bytes:
        there, needed = (f"{size:,}" for size in (header.file_bytes, header.needed_bytes))
        raise _broken(path, f"is cut off: {there} of {needed} bytes are there")
    return header


def _check_is_model(path: Path, header: Header) -> None:
    kind = _text(header, "general.type")
    architecture = _text(header, "general.architecture")
    if architecture == "clip":
        kind = "mmproj"
    if kind in OTHER_TYPES:
        raise _unsupported(path, f"is {OTHER_TYPES[kind]}")
    if not architecture or not header.tensors:
        raise _unsupported(path, "is a GGUF file without a model in it")


def _check_numbers(path: Path, header: Header, tensors: int) -> None:
    """Refuse numbers at which llama.cpp does not raise an error but ends its process."""
    architecture = _text(header, "general.architecture")
    for name in ("context_length", "embedding_length", "block_count"):
        value = header.values.get(f"{architecture}.{name}")
        if value is not None and not _whole(value):
            raise _broken(path, f"is damaged: its {name} is {value!r}")
    if (blocks := _whole(header.values.get(f"{architecture}.block_count"))) > tensors:
        raise _broken(path, f"is damaged: it says it has {blocks} layers, with {tensors} tensors")


def _other_parts(path: Path, header: Header) -> list[Path]:
    """Return where the second and further parts are. Raises AivtError when they are not there."""
    count = _whole(header.values.get("split.count"))
    if count < 2:
        return []
    part = PART.search(path.name)
    if part is None or int(part[2]) != count:
        raise _unsupported(
            path, f"is one of {count} parts, under another name", "Give the parts their own names back."
        )
    stem = path.name[: part.start()]
    places = [path.with_name(f"{stem}-{number:05}-of-{count:05}{ENDING}") for number in range(1, count + 1)]
    if int(part[1]) != 1:
        reason = f"is part {int(part[1])} of {count}"
        raise _unsupported(path, reason, f"Set POLICY_GGUF to the first, {places[0].name}.")
    for place in places:
        if not place.is_file():
            raise _missing(f"{path.name} has {count} parts, and {place.name} is not there", "Download it.")
    return places[1:]


def _quantisation(headers: Sequence[Header]) -> str:
    """Return how its weights are stored; when it does not say so, how most of them are."""
    number = headers[0].values.get("general.file_type")
    try:
        return LlamaFileType(number if isinstance(number, int) else -1).name.partition("_")[2]
    except ValueError:  # it does not say, or in a way that is newer than the gguf library
        kinds: Counter[str] = Counter()
        for tensor in (tensor for header in headers for tensor in header.tensors):
            kinds[tensor.kind] += tensor.numbers
        return kinds.most_common(1)[0][0]


def _shape(header: Header, architecture: str) -> footprint.Shape | None:
    """Read the shape. Where layers differ, the estimate takes each for the largest."""
    largest = {
        name: max(value, default=0) if isinstance(value, list) else value
        for name, value in header.values.items()
    }
    vocabulary = header.lengths.get("tokenizer.ggml.tokens")
    return footprint.shape({f"{architecture}.vocab_size": vocabulary, **largest})


def _text(header: Header, name: str) -> str:
    value = header.values.get(name)
    return value if isinstance(value, str) else ""


def _whole(value: object) -> int:
    """Return a number that counts something; 0 for what cannot."""
    return value if isinstance(value, int) and value > 0 else 0


def _missing(reason: str, fix: str) -> MissingError:
    return MissingError("gguf_missing", reason, fix=fix)


def _broken(path: Path, reason: str) -> AivtError:
    return EngineError("gguf_broken", f"{path.name} {reason}", fix=f"{AGAIN_FIX[:-1]}: {path}")


def _unsupported(path: Path, reason: str, fix: str = OTHER_FIX) -> AivtError:
    return EngineError("gguf_unsupported", f"{path.name} {reason}", fix=fix)
