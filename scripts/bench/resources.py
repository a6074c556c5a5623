"""`aivt bench resources`: memory, start, idling, and the voice that comes with AIVT.

The show is the one that a newcomer gets: no Ollama, no Piper voice, so scripted lines and espeak.
"""

import argparse
import tempfile
import time
from contextlib import AbstractContextManager

import psutil

from apps.shared.clock import now_s
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker.engines.espeak import Espeak
from apps.tts_worker.voice import Chunk
from scripts.bench import rig
from scripts.bench.figures import Report, percentile, progress

STARTS = 7
IDLE_S = 20.0
SETTLE_S = 3.0  # after the last turn: what it left to do is done
UTTERANCES = 100
UTTERANCE = "Hi there, nice to see you!"  # between 1 and 2 s
MB = 1_000_000
NOBODY = "http://127.0.0.1:9"  # the discard port: no Ollama there, whatever else this computer runs


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bars are reached."""
    starts = options.turns or STARTS
    idle_s = min(IDLE_S, 4.0 * options.turns) if options.turns else IDLE_S
    report = Report("resources")
    progress(f"resources: {starts} starts, then {idle_s:g} s of silence")
    ready_s = []
    with tempfile.TemporaryDirectory(prefix="aivt-bench-") as compiled:
        with _default_show(compiled) as show:
            report.figures["first_ready_s"] = round(show.ready_s, 3)  # all modules are compiled here
        for _ in range(starts - 1):
            with _default_show(compiled) as show:
                ready_s.append(show.ready_s)
        with _default_show(compiled) as show:
            ready_s.append(show.ready_s)
            _at_rest(show, idle_s, report)
    report.spread("ready_s", ready_s)
    report.bar("start to READY p50", percentile(ready_s, 0.5), 2.5, "s")
    _voice(UTTERANCES, report)
    return report.show(as_json=options.json)


def _default_show(compiled: str) -> AbstractContextManager[rig.Show]:
    """Run the default show, whose modules are compiled already, or will be, in this folder."""
    return rig.show(
        OLLAMA_HOST=NOBODY,
        TTS_ENGINE="espeak",
        TTS_OUTPUT="none",
        PYTHONPYCACHEPREFIX=compiled,
        PYTHONDONTWRITEBYTECODE="",
    )


def _at_rest(show: rig.Show, idle_s: float, report: Report) -> None:
    show.say("hi Kitsu, how are you?")
    time.sleep(SETTLE_S)
    _weigh(show, report)
    idle_percent = _idle_percent(show, idle_s)
    report.figures["idle_cpu_percent"] = round(idle_percent, 3)
    report.bar("silent show, of one core", idle_percent, 1, "%")


def _weigh(show: rig.Show, report: Report) -> None:
    """Memory of each process, after a turn: what is loaded at first use is loaded."""
    total = 0.0
    for process in show.program.family():
        command = process.cmdline()
        name = command[-1] if "run" in command[-2:] else "supervisor"
        weight_mb = process.memory_info().rss / MB
        total += weight_mb
        report.figures[f"{name}_rss_mb"] = round(weight_mb, 1)
        report.figures[f"{name}_unshared_mb"] = round(_unshared_bytes(process) / MB, 1)
    report.figures["all_rss_mb"] = round(total, 1)
    report.bar("orchestrator, resident memory", report.figures["orchestrator_rss_mb"], 100, "MB")
    report.bar("whole default show, resident memory", total, 300, "MB")


def _unshared_bytes(process: psutil.Process) -> float:
    """USS: what would be freed if the process ended."""
    return float(process.memory_full_info().uss)


def _idle_percent(show: rig.Show, idle_s: float) -> float:
    began_s, cpu_s = now_s(), show.program.cpu_s()
    time.sleep(idle_s)
    return 100 * (show.program.cpu_s() - cpu_s) / (now_s() - began_s)


def _voice(utterances: int, report: Report) -> None:
    """Time espeak alone, in this process."""
    voice = Espeak(Settings.load())
    first_ms: list[float] = []
    whole_ms: list[float] = []
    size_bytes = 0
    for _ in range(utterances):
        chunks: list[tuple[float, int]] = []

        def take(chunk: Chunk, came: list[tuple[float, int]] = chunks) -> bool:
            came.append((now_s(), len(chunk.pcm)))
            return True

        began_s = now_s()
        voice.synthesize(UTTERANCE, Delivery(), take)
        whole_ms.append(1000 * (now_s() - began_s))
        first_ms.append(1000 * (chunks[0][0] - began_s))
        size_bytes = sum(size for _, size in chunks)
    report.figures["espeak_utterance_s"] = round(size_bytes / 2 / voice.sample_rate_hz, 2)
    voice.close()
    report.spread("espeak_first_chunk_ms", first_ms)
    report.spread("espeak_whole_ms", whole_ms)
    report.bar("espeak, first chunk p95", percentile(first_ms, 0.95), 3, "ms")
    report.bar("espeak, utterance of 1-2 s p95", percentile(whole_ms, 0.95), 15, "ms")
