"""Real engines for the benches, small enough for a test, and a way to run one."""

import argparse
import json
import shutil

import pytest

from apps.shared.settings import PROJECT_DIR

VOICE = PROJECT_DIR / "tests/voices/en_US-aivt-tiny.onnx"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder without anything in it, and settings that name nothing else."""
    for name in ("POLICY_GGUF", "PIPER_VOICE", "AIVT_PERSONA", "TTS_DEVICE"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("AIVT_DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def voice(folder):
    """Our own Piper voice, installed; returns its name."""
    (folder / "voices").mkdir()
    for file in (VOICE, VOICE.with_name(f"{VOICE.name}.json")):
        shutil.copy(file, folder / "voices")
    return VOICE.stem


@pytest.fixture
def run(capsys):
    """The figures of a short run, as `--json` prints them; every bar has a figure."""

    def run(bench, turns, **options):
        given = argparse.Namespace(turns=turns, json=True, **options)
        assert bench.main(given) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["bars"]
        assert all(bar["figure"] is not None for bar in report["bars"])
        return report

    return run
