"""`aivt devices`: which microphones and loudspeakers there are, and whether she can hear."""

import argparse
from dataclasses import dataclass
from typing import Any

import msgspec

from apps.asr_worker import sound_check
from apps.asr_worker.sources import recording
from apps.shared.settings import Settings
from apps.shared.sound_devices import Kind, SoundDevice, choose, listed, portaudio


@dataclass(frozen=True, slots=True)
class Row:
    """One device, as `--json` prints it."""

    name: str
    host_api: str
    channels: int
    rate_hz: int
    default: bool
    used_as: str  # the setting that chooses it, else ""


def devices(options: argparse.Namespace) -> int:
    """List sound devices (`options.json`), or try them (`options.test`); return the exit code."""
    settings = Settings.load()
    if options.test:
        return sound_check.check(settings, play_on=_wanted(settings)["output"].get("TTS_OUTPUT"))
    library = portaudio("ASR_INPUT=none and TTS_OUTPUT")
    found = {kind + "s": rows(library, kind, settings) for kind in ("input", "output")}
    if options.json:
        print(msgspec.json.encode(found).decode())
        return 0
    print(table("MICROPHONES (ASR_INPUT)", found["inputs"]))
    print()
    print(table("LOUDSPEAKERS (TTS_OUTPUT, TTS_MONITOR)", found["outputs"]))
    for note in _notes(library, settings):
        print(f"\n{note}")
    return 0


def rows(library: Any, kind: Kind, settings: Settings) -> list[Row]:
    """Return the devices of a kind, and which of them the settings choose."""
    used = {}
    for setting, name in _wanted(settings)[kind].items():
        if device := _chosen(library, kind, name):
            used[device.index] = setting
    return [
        Row(one.name, one.host_api, channels, one.rate_hz, kind in one.default_for, used.get(one.index, ""))
        for one in listed(library)
        if (channels := one.inputs if kind == "input" else one.outputs)
    ]


def table(title: str, found: list[Row]) -> str:
    """Return the list for the terminal."""
    if not found:
        return f"{title}\n  none"
    cells = [
        (
            "*" if row.used_as else "",
            row.name,
            row.host_api,
            f"{row.rate_hz} Hz",
            f"{row.channels} channel{'s' * (row.channels > 1)}",
            ", ".join(filter(None, (row.used_as, "the system's default" * row.default))),
        )
        for row in found
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
    return "\n".join((title, *lines))


def _wanted(settings: Settings) -> dict[Kind, dict[str, str]]:
    """Which settings choose a device, and how; they may do without one."""
    heard, played = settings.asr_input, settings.tts_output
    no_output_device = played in {"none", "discard"} or played.startswith("dir:")
    inputs = {} if heard == "none" or recording(heard) else {"ASR_INPUT": heard}
    outputs = {} if no_output_device else {"TTS_OUTPUT": played}
    if outputs and settings.tts_monitor not in {"", "none"}:
        outputs["TTS_MONITOR"] = settings.tts_monitor
    return {"input": inputs, "output": outputs}


def _chosen(library: Any, kind: Kind, name: str) -> SoundDevice | None:
    try:
        return choose(library, kind, name)
    except (library.PortAudioError, ValueError):
        return None


def _notes(library: Any, settings: Settings) -> list[str]:
    """What the list leaves open."""
    notes = ["* in use. To choose another one, set the name above to part of its name."]
    notes += [
        f"{setting}={name} names no device, or several."
        for kind, wanted in _wanted(settings).items()
        for setting, name in wanted.items()
        if name and _chosen(library, kind, name) is None
    ]
    return notes
