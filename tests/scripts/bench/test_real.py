"""`aivt bench latency --real`, in short, with a tiny model and a tiny voice."""

import argparse

import pytest

from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.settings import Settings
from scripts.bench import latency, real, rig, stream
from tests.fakes.gguf import write_gguf


def options(what="latency"):
    return argparse.Namespace(what=what, turns=1, json=True, real=True)


@pytest.fixture
def model(folder, monkeypatch):
    monkeypatch.setenv("POLICY_GGUF", "fox")
    (folder / "models").mkdir()
    return write_gguf(folder / "models/fox.gguf")


def test_only_latency_is_measured_with_the_real_engines():
    """The other benches have theirs anyway, or none at all: exit code 2."""
    with pytest.raises(SettingsError) as caught:
        real.main(options("interrupt"))
    assert caught.value.fix == "Run: aivt bench latency --real"


def test_both_engines_are_needed(folder, monkeypatch):
    """Each that is missing is named with the way to get it: exit code 3."""
    with pytest.raises(MissingError, match="POLICY_GGUF"):
        real.main(options())
    monkeypatch.setenv("POLICY_GGUF", "fox")
    (folder / "models").mkdir()
    write_gguf(folder / "models/fox.gguf")
    with pytest.raises(MissingError, match="no Piper voice") as caught:
        real.main(options())
    assert "aivt voices --download" in caught.value.fix


def test_the_show_gets_the_very_files(folder, model, voice):
    """Whatever folder it runs on; and nothing it said before is played again."""
    chosen = real.chosen(Settings.load())
    assert chosen["POLICY_GGUF"] == str(model)
    assert chosen["PIPER_VOICE"] == str(folder / "voices" / f"{voice}.onnx")
    assert (chosen["POLICY_ENGINE"], chosen["TTS_ENGINE"], chosen["TTS_CACHE_MB"]) == (
        "llamacpp",
        "piper",
        "0",
    )


@pytest.mark.real
@pytest.mark.timeout(120)
def test_real(run, model, voice):
    """Floor and shows go through all stages in order, on the engines that were asked for."""
    report = run(real, turns=2, what="latency", real=True)
    figures = report["figures"]
    assert report["notes"]["model"] == str(model)
    for party in ("floor", "sentence", "clause"):
        times_ms = [figures[f"{party}_{stage}_ms_p50"] for stage in latency.STAGES]
        assert times_ms == sorted(times_ms)
        assert figures[f"{party}_first_audio_ms_count"] == 2


@pytest.mark.real
@pytest.mark.timeout(60)
def test_a_show_on_a_stand_in_is_not_measured(monkeypatch):
    """Scripted lines and espeak are quicker than any model: that would be a fine figure, and a false one."""
    monkeypatch.setattr(stream, "SEEN_LIMIT_S", 1.0)
    with (
        rig.show(POLICY_ENGINE="scripted", TTS_ENGINE="espeak", TTS_OUTPUT="none") as show,
        pytest.raises(AivtError, match="does not run on this model"),
    ):
        real.on_these(show)
