"""What the ears' process costs a show: without a model, and while nobody speaks."""

import tempfile
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import psutil

from apps.shared.clock import now_s
from apps.shared.messages import Snapshot
from scripts.bench import rig
from scripts.bench.asr_speech import Recording
from scripts.bench.figures import Report, progress
from scripts.bench.resources import IDLE_S, MB, NOBODY, SETTLE_S
from tests.ears.speech import RATE_HZ

QUIET = 0.001  # of full scale: a quiet room, -60 dB


def measure(model: str, turns: int, report: Report) -> None:
    """Weigh the process in both shows. model: ASR_MODEL."""
    idle_s = min(IDLE_S, 4.0 * turns) if turns else IDLE_S
    progress(f"asr: {idle_s:g} s of a show without a model, and of one that listens to silence")
    with _show(ASR_MODEL="", ASR_INPUT="none") as show:
        time.sleep(SETTLE_S)
        _weigh(show, "no_model", idle_s, report)
    with tempfile.TemporaryDirectory(prefix="aivt-bench-") as name:
        silence = _silence(2 * idle_s + 60).write(Path(name) / "silence.wav")
        with _show(ASR_MODEL=model, ASR_INPUT=str(silence)) as show, show.watch() as stream:
            stream.wait(Snapshot, _hears)
            time.sleep(SETTLE_S)
            _weigh(show, "listening", idle_s, report)


def _hears(snapshot: Snapshot) -> bool:
    modules = snapshot.status["modules"]
    assert isinstance(modules, dict)
    return bool(modules["asr"]["state"] == "ok")


def _show(**settings: str) -> AbstractContextManager[rig.Show]:
    return rig.show(
        OLLAMA_HOST=NOBODY,
        TTS_ENGINE="espeak",
        TTS_OUTPUT="none",
        USE_STUB_ASR="0",
        ASR_ENGINE="whisper",
        ASR_MODE="open",
        ECHO_MODE="headphones",
        **settings,
    )


def _silence(duration_s: float) -> Recording:
    noise = np.random.default_rng(1).standard_normal(round(duration_s * RATE_HZ), np.float32)
    return Recording(noise * np.float32(QUIET), ())


def _weigh(show: rig.Show, name: str, idle_s: float, report: Report) -> None:
    asr = next(process for process in show.program.family() if process.cmdline()[-2:] == ["run", "asr"])
    report.figures[f"asr_{name}_rss_mb"] = round(asr.memory_info().rss / MB, 1)
    report.figures[f"asr_{name}_unshared_mb"] = round(asr.memory_full_info().uss / MB, 1)
    began_s, asr_s, all_s = now_s(), _cpu_s(asr), show.program.cpu_s()
    time.sleep(idle_s)
    took_s = now_s() - began_s
    report.figures[f"asr_{name}_cpu_percent"] = round(100 * (_cpu_s(asr) - asr_s) / took_s, 2)
    report.figures[f"show_{name}_cpu_percent"] = round(100 * (show.program.cpu_s() - all_s) / took_s, 2)


def _cpu_s(process: psutil.Process) -> float:
    return sum(process.cpu_times()[:2])
