"""`aivt bench latency --real`: how soon she is heard with your own model and voice, beside the two alone.

The model is the one that POLICY_GGUF names, the voice PIPER_VOICE or else the first one installed; nothing is
taken from the cache of what was said before.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from apps.policy.models import gguf_file
from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.messages import Snapshot
from apps.shared.settings import Settings
from apps.tts_worker.engines import piper
from scripts.bench import rig
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.latency import STAGES, TURNS, Party, in_turns
from scripts.bench.programs import Program

ADDED_MS = 10.0  # what is ours to spend on a turn
LOAD_LIMIT_S = 180.0


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bar is reached. Raises MissingError without model or voice."""
    if options.what != "latency":
        raise SettingsError("bad_arguments", "--real goes with latency", fix="Run: aivt bench latency --real")
    engines, report = chosen(Settings.load()), Report("latency --real")
    report.notes |= {"model": engines["POLICY_GGUF"], "voice": engines["PIPER_VOICE"]}
    turns = options.turns or TURNS
    with ExitStack() as running:
        progress("latency: loading model and voice three times")
        alone = running.enter_context(floor(engines))
        parties = {"floor": Party(alone.program, alone.say)}
        shows = {
            cut: running.enter_context(rig.show(**engines, TTS_OUTPUT="discard", TTS_CUT=cut))
            for cut in ("sentence", "clause")
        }
        parties |= {cut: Party(show.program, show.say) for cut, show in shows.items()}
        progress(f"latency: {turns} turns of each: floor, by sentence, by clause")
        for show in shows.values():
            on_these(show)
        in_turns(parties, turns)
        for show in shows.values():  # it may have fallen back meanwhile
            on_these(show)
    _write(report, parties)
    return report.show(as_json=options.json)


def chosen(settings: Settings) -> dict[str, str]:
    """Return the settings that name model and voice. Raises MissingError."""
    model = gguf_file.path_of(settings)
    if (voice := piper.available(settings)) is None:
        raise MissingError(
            "voice_missing",
            f"there is no Piper voice {settings.piper_voice or f'in {settings.voices_dir}'}",
            fix="Get one (aivt voices --download NAME), or set PIPER_VOICE.",
        )
    return {
        "POLICY_ENGINE": "llamacpp",
        "POLICY_GGUF": str(model.resolve()),
        "TTS_ENGINE": "piper",
        "PIPER_VOICE": str(voice.resolve()),
        "TTS_DEVICE": settings.tts_device,
        "TTS_CACHE_MB": "0",
        "AIVT_PERSONA": settings.aivt_persona,
    }


@contextmanager
def floor(engines: dict[str, str]) -> Iterator[rig.Floor]:
    """Run model and voice without a show around them."""
    with tempfile.TemporaryDirectory(prefix="aivt-bench-") as name:
        env = {**os.environ, "PYTHONUTF8": "1", **engines, "AIVT_DATA_DIR": name}
        with Program("scripts.bench.real_floor", env=env) as program:
            program.wait_line("READY", LOAD_LIMIT_S)
            yield rig.Floor(program)


def on_these(show: rig.Show) -> None:
    """Wait until the show runs on model and voice. Raises AivtError when it does not, but on a stand-in."""

    def both(seen: Snapshot) -> bool:
        modules: Any = seen.status["modules"]
        return (modules["policy"]["engine"], modules["tts"]["engine"]) == ("llamacpp", "piper")

    with show.watch() as stream:
        try:
            stream.wait(Snapshot, both)
        except AivtError as error:
            reason = "the show does not run on this model and this voice"
            raise AivtError(
                "bench_failed", reason, fix="Try them: aivt model status; aivt voices bench"
            ) from error


def _write(report: Report, parties: dict[str, Party]) -> None:
    for name, party in parties.items():
        for stage in STAGES:
            report.spread(f"{name}_{stage}_ms", party.times_ms(stage))
        report.figures[f"{name}_cpu_ms"] = round(party.cpu_ms, 2)
        report.figures[f"{name}_turn_ms"] = round(1000 * party.seconds / len(party.marks), 1)
    alone_ms, ours_ms = (percentile(parties[name].times_ms(), 0.5) for name in ("floor", "sentence"))
    name = f"by sentence, first audio p50 (floor + {ADDED_MS:g} ms)"
    report.bar(name, ours_ms, alone_ms + ADDED_MS, "ms")
