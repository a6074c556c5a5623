"""`aivt bench asr`: how soon and how rightly she hears, what that costs, and what the head start saves.

The model is the one that ASR_MODEL names, else the small one of the tests.
"""

import argparse
import os
from pathlib import Path

from structlog.testing import capture_logs

from apps.asr_worker.models import shelf
from apps.shared.settings import PROJECT_DIR, Settings
from scripts.bench import asr_hearing, asr_memory, asr_methods, asr_process, asr_show, asr_vad
from scripts.bench.figures import Report

TINY = PROJECT_DIR / "tests" / "ears" / "tiny"
SENTENCES = 40
TURNS = 20  # of each show


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bars are reached. Raises MissingError without the model."""
    settings = Settings.load()
    wanted = settings.model_copy(update={"asr_model": settings.asr_model or str(TINY)})
    model = str(shelf.find(wanted))  # its folder, for shows on data folders of their own
    # As the defaults have it, whatever the streamer has set: the figures are to be compared.
    chosen = {
        "ASR_MODEL": model,
        "ASR_ENGINE": "whisper",
        "ASR_LANGUAGE": "en",
        "ASR_MODE": "open",
        "ASR_HOTWORDS": "",
        "ASR_NOISE_GATE_DB": "0",
        "ASR_AUTO_GAIN": "0",
        "ECHO_MODE": "headphones",
        "USE_STUB_ASR": "0",
    }
    settings = settings.model_copy(update={"asr_model": model})
    env = {**os.environ, **chosen, "PYTHONUTF8": "1"}
    report = Report("asr", notes={"model": Path(model).name})
    with capture_logs():  # standard output is the report's
        _measure(settings, env, model, options.turns, report)
    return report.show(as_json=options.json)


def _measure(settings: Settings, env: dict[str, str], model: str, turns: int, report: Report) -> None:
    sentences = turns or SENTENCES
    asr_hearing.measure(settings, env, sentences, report)
    asr_methods.measure(env, sentences, report)
    asr_vad.measure(sentences, report)
    asr_show.measure(model, turns or TURNS, report)
    asr_process.measure(model, turns, report)
    asr_memory.measure(env, turns, report)
