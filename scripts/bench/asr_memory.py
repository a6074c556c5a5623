"""Four hours of silence, music and speech, faster than real time: the memory of scripts.bench.asr_soak."""

import json
import tempfile
from pathlib import Path

import numpy as np

from apps.shared.clock import now_s
from scripts.bench.asr_speech import Recording, said
from scripts.bench.figures import Report, progress
from scripts.bench.programs import Program
from tests.ears.speech import RATE_HZ, Samples, cough, keyboard, music, pink

HOURS = 4.0
WALL_LIMIT_S = 420.0  # what is not done by then is left out; how much was heard is among the figures
PASS_LIMIT_S = 300.0
GROWTH_MB = 30.0

SENTENCES = 12  # in a scene: one in 25 s
STRETCH_S = 25.0


def scene(seed: int = 5) -> Recording:
    """Return five minutes: a sentence now and then, in silence or over music, and what is no speech."""
    parts: list[Samples] = []
    for number, take in enumerate(said(SENTENCES, seed)):
        sound = 0.01 * pink(STRETCH_S, number)
        start = round((5 + number % 7) * RATE_HZ)
        sound[start : start + len(take.speech.samples)] += take.speech.samples
        match number % 4:
            case 1:
                sound += 0.3 * music(STRETCH_S, number)
            case 2:
                sound[-10 * RATE_HZ :] += 0.5 * keyboard(10.0, number)
            case 3:
                sound[-5 * RATE_HZ :] += cough(5.0, number)[: 5 * RATE_HZ]
        parts.append(sound.astype(np.float32))
    return Recording(np.concatenate(parts), ())


def measure(env: dict[str, str], turns: int, report: Report) -> None:
    """Play the scene again and again. turns: how often after the first time; 0: for HOURS."""
    heard = scene()
    hours = (turns + 1) * heard.duration_s / 3600 if turns else HOURS
    progress(f"asr: {hours:.1f} hours of sound, for at most {WALL_LIMIT_S:g} s")
    deadline_s = now_s() + WALL_LIMIT_S
    with tempfile.TemporaryDirectory(prefix="aivt-bench-") as name:
        path = heard.write(Path(name) / "scene.wav")
        with Program("scripts.bench.asr_soak", str(path), env=env) as program:
            warm = last = _again(program)
            rss_mb: list[float] = []
            while not rss_mb or (last["hours"] < hours - 1e-3 and now_s() < deadline_s):
                last = _again(program)
                rss_mb.append(last["rss_mb"])
    report.figures |= {
        "soak_hours": round(last["hours"], 2),
        "soak_warm_rss_mb": round(warm["rss_mb"], 1),
        "soak_halfway_rss_mb": round(rss_mb[len(rss_mb) // 2], 1),
        "soak_highest_rss_mb": round(max(rss_mb), 1),
        "soak_last_rss_mb": round(last["rss_mb"], 1),
        "soak_transcripts": last.get("Transcript", 0),
        "soak_nothing": last.get("NoWords", 0),
    }
    report.bar(
        f"memory in {last['hours']:.1f} h of sound, more than warm",
        max(rss_mb) - warm["rss_mb"],
        GROWTH_MB,
        "MB",
    )


def _again(program: Program) -> dict[str, float]:
    program.tell("again")
    told: dict[str, float] = json.loads(program.wait_line("{", PASS_LIMIT_S)[1])
    return told
