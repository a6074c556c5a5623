"""`aivt setup ears`: which speech model suits this computer, and getting it; `--list` shows them all."""

import argparse
import difflib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec

from apps.asr_worker.models import computer, install, shelf
from apps.asr_worker.models.choice import Choice, decide
from apps.asr_worker.models.computer import Computer
from apps.asr_worker.models.folder import State, look, read_mark
from apps.asr_worker.models.mark import read_through
from apps.asr_worker.models.names import ALIASES, GB_BYTES, KNOWN, MB_BYTES, Known, graphics_mb, known
from apps.shared.errors import AivtError, SettingsError
from apps.shared.settings import Settings
from apps.shared.web import DEFAULT, Limits

_STATES = {
    State.ABSENT: "",
    State.UNFINISHED: "unfinished",
    State.DAMAGED: "damaged",
    State.INCOMPLETE: "incomplete",
    State.INSTALLED: "installed",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One model, as `--list --json` prints it."""

    name: str
    repository: str  # "": put there by hand
    languages: str
    size_mb: float
    processor_mb: int  # memory that it takes on the processor, about
    graphics_mb: int  # and on a graphics card
    licence: str
    recommended: bool
    state: str
    used: bool


def setup_ears(options: argparse.Namespace) -> int:
    """List the models (`options.list`, `.json`), or get `options.model`; None: the recommended one."""
    settings = Settings.load()
    if options.list:
        _list(settings, as_json=options.json)
    else:
        get(settings, options.model or "", sys.stdout)
    return 0


def get(settings: Settings, name: str, out: TextIO, limits: Limits = DEFAULT) -> None:
    """Get a model unless it is there; say why this one and what to do next. name: "" leaves it to us.

    Raises SettingsError for an unknown name, and what `install.get` raises.
    """
    machine = computer.look(settings)
    model, why = _wanted(settings, name, machine)
    chosen = decide(settings, machine, round(model.size_mb * MB_BYTES))
    for line in _intro(model, why, machine, chosen):
        print(line, file=out, flush=True)
    folder = settings.hearing_dir / model.name
    if read_through(folder).state is State.INSTALLED:
        whole = ", and whole" if read_mark(folder) else " (put there by hand)"
        print(f"{model.name} is installed already{whole}.", file=out)
    else:
        try:
            install.get(settings, model, _processor_type(machine), limits)
        except KeyboardInterrupt:
            print("Stopped. The same command goes on where it stopped.", file=out)
            raise
        print(f"{model.name} is installed.", file=out)
    print(_next_step(settings, model, folder), file=out)


def table(rows: Sequence[Row], why: str) -> str:
    """Write the list for the terminal."""
    lines = [("", "NAME", "LANGUAGES", "SIZE", "MEMORY", "ON A CARD", "LICENCE", "")]
    lines += [
        (
            (">" if row.used else "") + ("*" if row.recommended else ""),
            row.name,
            row.languages,
            f"{row.size_mb:g} MB",
            f"{row.processor_mb} MB",
            f"{row.graphics_mb} MB",
            row.licence,
            row.state,
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text += ["", *[f"* recommended for this computer: {why}"] * any(row.recommended for row in rows)]
    text += ["> is the one that she hears with"] * any(row.used for row in rows)
    text += ["MEMORY is about what it takes on the processor.", "", "Get one:  aivt setup ears --model NAME"]
    return "\n".join(text)


def _list(settings: Settings, *, as_json: bool) -> None:
    machine = computer.look(settings)
    advised, why = shelf.advised(settings, machine.usable_bytes)
    trouble, used = None, None
    try:
        used = shelf.find(settings)
    except AivtError as error:
        trouble = error
    rows = [_row(settings, model, advised, used) for model in KNOWN]
    rows += [_own_row(each, used) for each in shelf.installed(settings) if each.known is None]
    print(msgspec.json.encode(rows).decode() if as_json else table(rows, why))
    if trouble:
        print(f"{trouble}. {trouble.fix}", file=sys.stderr if as_json else sys.stdout)


def _row(settings: Settings, model: Known, advised: Known, used: Path | None) -> Row:
    folder = settings.hearing_dir / model.name
    return Row(
        model.name,
        model.repository,
        model.languages,
        model.size_mb,
        model.processor_mb,
        model.graphics_mb,
        model.licence,
        model is advised,
        _STATES[look(folder).state],
        folder == used,
    )


def _own_row(own: shelf.Installed, used: Path | None) -> Row:
    """A model that was put there by hand, of which only its size is known."""
    like = Known(own.name, "", round(own.size_bytes / MB_BYTES, 1), "many", "")
    memory = like.processor_mb, like.graphics_mb
    there = _STATES[State.INSTALLED]
    return Row(
        own.name, "", "", like.size_mb, *memory, "", recommended=False, state=there, used=own.folder == used
    )


def _wanted(settings: Settings, name: str, machine: Computer) -> tuple[Known, str]:
    """Return the model to get, and why. Raises SettingsError."""
    if name:
        if model := known(name):
            return model, "your choice"
        near = difflib.get_close_matches(name.lower(), [each.name for each in KNOWN] + [*ALIASES], n=3)
        raise SettingsError(
            "unknown_model",
            f"there is no speech model {name}",
            fix=f"Did you mean {', '.join(near)}?" if near else "Choose one: aivt setup ears --list",
        )
    if settings.asr_model and (model := known(settings.asr_model)):
        return model, "ASR_MODEL"
    return shelf.advised(settings, machine.usable_bytes)


def _intro(model: Known, why: str, machine: Computer, chosen: Choice) -> Iterator[str]:
    if machine.card:
        size = f" ({machine.card_bytes / GB_BYTES:.0f} GB)" if machine.card_bytes else ""
        yield f"Graphics card: {machine.card}{size}"
    languages = "English only" if model.languages == "English" else "many languages"
    yield f"Speech model: {model.name}: {why}"
    yield f"{languages}, {model.size_mb:g} MB to download, licence {model.licence}"
    if chosen.device == "cuda":
        memory = graphics_mb(model.size_mb, chosen.compute_type)
        yield f"It will run on the graphics card as {chosen.compute_type}, and take about {memory} MB of it."
    else:
        memory = model.processor_mb
        yield f"It will run on the processor as {chosen.compute_type}, and take about {memory} MB of memory."
        yield f"Not on a graphics card: {chosen.why}"
    if chosen.trouble:
        yield f"That would be quicker. fix: {chosen.trouble.fix}"


def _processor_type(machine: Computer) -> str:
    return "int8" if "int8" in machine.cpu_types else "float32"


def _next_step(settings: Settings, model: Known, folder: Path) -> str:
    try:
        used = shelf.find(settings)
    except AivtError:  # ASR_MODEL names one that is not there
        used = None
    if used == folder:
        return "She hears with it from the next start of the show on: aivt up"
    return f"To have her hear with it set ASR_MODEL={model.name} in .env."
