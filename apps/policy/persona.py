"""Who she is: presets in readable files, one TOML file each in `personas/`."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import msgspec

from apps.shared.errors import SettingsError
from apps.shared.messages import Delivery

FOLDER = Path(__file__).parent / "personas"

_Text = Annotated[str, msgspec.Meta(min_length=1)]


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the model picks its words. The names are those of llama.cpp, Ollama and most servers."""

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.9  # higher: more surprising
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.95
    top_k: Annotated[int, msgspec.Meta(ge=0, le=200)] = 40
    min_p: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    repeat_penalty: Annotated[float, msgspec.Meta(ge=1, le=2)] = 1.05


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a reply may get. The system text asks for less; this is where it is ended."""

    sentences: Annotated[int, msgspec.Meta(ge=1, le=20)] = 6
    tokens: Annotated[int, msgspec.Meta(ge=16, le=300)] = 160  # about 40 s of speech


class Voice(Delivery, frozen=True, forbid_unknown_fields=True):
    """Which voice speaks, and how."""

    name: str = ""  # a Piper voice, or "espeak"; "": the one that the settings want


@dataclass(frozen=True, slots=True)
class Persona:
    """One preset. The annotations are what its file is checked against."""

    id: str  # the file's name without ending
    name: _Text  # what she is called
    style: _Text  # a few words, for the panel
    system: _Text  # the system text
    hiccups: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=5)]  # what she says when her model fails
    sampling: Sampling = field(default_factory=Sampling)
    reply: Reply = field(default_factory=Reply)
    voice: Voice = field(default_factory=Voice)


def names() -> list[str]:
    """Return the ids of all presets, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(persona_id: str) -> Persona:
    """Read the preset called `persona_id`, in any case.

    Raises SettingsError: "unknown_persona" when there is none of that name, "broken_persona" when its
    file cannot be used.
    """
    # Looked up in the list, never joined to the folder: "../x" is an unknown name and not a path.
    known = {name.casefold(): name for name in names()}
    name = known.get(persona_id.casefold())
    if name is None:
        raise SettingsError(
            "unknown_persona",
            f"AIVT_PERSONA={persona_id!r} is not a persona",
            fix=f"Set AIVT_PERSONA to one of {', '.join(known.values())}.",
        )
    return _read(FOLDER / f"{name}.toml")


def _read(path: Path) -> Persona:
    try:
        # utf-8-sig: Notepad may put a byte order mark first, which TOML forbids.
        table = tomllib.loads(path.read_text("utf-8-sig"))
        return msgspec.convert({**table, "id": path.stem}, Persona)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(
            "broken_persona", f"{path} cannot be used: {error}", fix=f"Correct personas/{path.name}."
        ) from error
