"""`aivt bench voices`, in short. What it finds is no test's business, but that nothing is lost."""

import argparse

import pytest

from apps.shared.errors import MissingError
from scripts.bench import voices
from scripts.bench.switching import SENTENCES


def test_without_a_voice_there_is_nothing_to_measure(folder):
    """The error says how to get one: exit code 3."""
    with pytest.raises(MissingError, match="no Piper voice") as caught:
        voices.main(argparse.Namespace(turns=1, json=True))
    assert "aivt voices --download" in caught.value.fix


@pytest.mark.real
@pytest.mark.timeout(120)
def test_voices(run, voice):
    """Each voice is measured, and all pieces of a show whose voice is changed are heard once."""
    report = run(voices, turns=1)
    figures = report["figures"]
    assert report["notes"] == {"switched between": f"{voice} and {voice}-slower"}
    for name in (voice, "espeak"):
        assert 0 < figures[f"{name}_piece_ms_p50"] <= figures[f"{name}_piece_ms_p95"]
        assert 1 <= figures[f"{name}_piece_audio_s"] <= 2
    assert figures["switch_ms_count"] == 1
    assert figures["pieces"] == 2 * len(SENTENCES)
    bars = {bar["name"]: bar["figure"] for bar in report["bars"]}
    assert [bars[f"switching, {what}"] for what in ("pieces lost", "pieces spoken twice")] == [0, 0]
    assert bars["switching, samples that are of no piece"] == 0
