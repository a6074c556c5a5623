"""Who she is: presets in readable files, one TOML file each in `personas/`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from apps.shared.errors import SettingsError

FOLDER = Path(__file__).parent / "personas"

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Persona:
    """One preset. The annotations are what its file is checked against."""

    id: str  # the file's name without ending
    name: _Text  # what she is called
    style: _Text  # a few words, for the panel
    chaos: _Share  # 0..1: how far she strays from the expected
    energy: _Share  # 0..1: how lively she talks
    system: _Text  # the system text
    hiccups: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=5)]  # what she says when her model fails


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
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SettingsError(
            "broken_persona", f"{path} cannot be used: {error}", fix=f"Correct personas/{path.name}."
        ) from error
