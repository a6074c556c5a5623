"""`aivt bench voices`: how fast the installed Piper voices are, and what changing the voice costs a show."""

import argparse

import psutil

from apps.shared.errors import MissingError
from apps.shared.settings import Settings
from apps.tts_worker.engines import piper
from apps.tts_worker.measure import FAST_MS, PIECES, Speed, measure_all
from apps.tts_worker.voices import FALLBACK
from scripts.bench import switching
from scripts.bench.figures import Report

SWITCHES = 12
PIECES_A_TURN = 10  # with --turns N, so many pieces of each voice for each turn


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bars are reached. Raises MissingError without a voice."""
    settings = Settings.load().model_copy(update={"tts_device": "cpu"})
    names = piper.installed(settings)
    if not names:
        raise MissingError(
            "voice_missing",
            f"there is no Piper voice in {settings.voices_dir}",
            fix="Get one: aivt voices --download NAME",
        )
    report = Report("voices")
    pieces = min(PIECES, PIECES_A_TURN * options.turns) if options.turns else PIECES
    for speed in measure_all(settings, [*names, FALLBACK], pieces):
        _write(report, speed)
    switching.measure(settings, options.turns or SWITCHES, report)
    return report.show(as_json=options.json)


def _write(report: Report, speed: Speed) -> None:
    name = speed.name
    if speed.reason:
        report.notes[name] = f"{speed.reason} Fix: {speed.fix}"
        report.bar(f"{name}, 1-2 s of speech p95", None, FAST_MS, "ms")
        return
    report.figures |= {
        f"{name}_load_s": speed.load_s,
        f"{name}_first_sound_ms_p50": speed.first_sound_ms_p50,
        f"{name}_first_sound_ms_p95": speed.first_sound_ms_p95,
        f"{name}_piece_ms_p50": speed.piece_ms_p50,
        f"{name}_piece_ms_p95": speed.piece_ms_p95,
        f"{name}_piece_ms_count": speed.pieces,
        f"{name}_piece_audio_s": speed.piece_audio_s,
        f"{name}_real_time_factor": speed.real_time_factor,
        f"{name}_busy_cores": speed.busy_cores,
    }
    report.bar(f"{name}, 1-2 s of speech p95", speed.piece_ms_p95, FAST_MS, "ms")
    cores = max(1, (psutil.cpu_count(logical=False) or 1) - 1)
    report.bar(f"{name}, busy cores (all but one)", round(speed.busy_cores, 1), cores, "")
