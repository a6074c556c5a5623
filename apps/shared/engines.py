"""Engines by name or import string: `espeak`, or `my_package.voice:MyVoice`.

Nothing heavy is imported before an engine is chosen; what is missing then is an error that names its fix.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from apps.shared.errors import MissingError, SettingsError


def engine_class(setting: str, value: str, known: Mapping[str, str]) -> Any:
    """Return the class that `value` names: a key of `known`, or a `module:Class` of the user's own.

    setting: the setting's name, for the message. known: name -> import string.
    Raises SettingsError for an unknown name, MissingError for a module that cannot be imported.
    """
    target = known.get(value, value)
    module_name, _, class_name = target.partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), class_name)):
        names = ", ".join(["auto", *known])
        raise SettingsError(
            "unknown_engine",
            f"{setting}={value!r} is not an engine",
            fix=f"Set {setting} to one of {names}, or to module:Class.",
        )
    try:
        return getattr(import_module(module_name), class_name)
    except ImportError as error:
        raise MissingError(
            "engine_not_importable",
            f"{setting}={value!r} cannot be imported: {error}",
            fix=f"Install what it needs into .venv, or choose another {setting}.",
        ) from error
    except AttributeError as error:
        raise SettingsError(
            "unknown_engine",
            f"{setting}={value!r}: {module_name} has no {class_name}",
            fix=f"Correct {setting}.",
        ) from error
