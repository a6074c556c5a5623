"""`aivt bench asr`, in short. What it finds is no test's business, but that all of it is measured."""

import argparse

import numpy as np
import pytest

from apps.shared.errors import MissingError
from scripts.bench import asr, asr_memory, asr_show
from scripts.bench.asr_speech import recording, said
from tests.ears.speech import RATE_HZ


@pytest.fixture(autouse=True)
def _no_model_of_the_streamer(monkeypatch):
    """The small model of the tests, wherever they run."""
    monkeypatch.setenv("ASR_MODEL", "")
    monkeypatch.setenv("ASR_DEVICE", "cpu")


def test_a_model_that_is_not_there(folder, monkeypatch):
    """The error says how to get one: exit code 3."""
    monkeypatch.setenv("ASR_MODEL", "small.en")
    with pytest.raises(MissingError) as caught:
        asr.main(argparse.Namespace(turns=1, json=True))
    assert "setup ears" in caught.value.fix


def test_words_are_where_the_recording_has_them():
    """Sentence after sentence, with silence between them that ends any utterance, in soft noise."""
    takes = said(3)
    one = recording(takes)
    assert len(one.sentences) == 3
    assert one.speech_s < sum(take.speech.duration_s for take in takes) < one.duration_s
    for sentence, take in zip(one.sentences, takes, strict=True):
        assert [word.text for word in sentence.words] == take.speech.text.split()
        during, after = (
            one.samples[round(from_s * RATE_HZ) : round(to_s * RATE_HZ)]
            for from_s, to_s in (
                (sentence.start_s, sentence.end_s),
                (sentence.end_s + 0.1, sentence.end_s + 1.5),
            )
        )
        assert np.std(during) > 10 * np.std(after) > 0


def test_a_recording_is_written_as_it_is(tmp_path):
    """16 bits, 16 kHz, one channel: what the ears read back is what was said."""
    from apps.asr_worker.sources.recording import pieces  # noqa: PLC0415 - PyAV, for this test alone

    one = recording(said(1))
    read = np.concatenate(list(pieces(one.write(tmp_path / "one.wav"))))
    assert len(read) == len(one.samples)
    assert np.abs(read - one.samples).max() < 2 / 32768


def test_the_scene_has_speech_and_much_else():
    """Five minutes, of which music, keys and silence are the greater part."""
    scene = asr_memory.scene()
    assert scene.duration_s == asr_memory.SENTENCES * asr_memory.STRETCH_S
    assert np.abs(scene.samples).max() > 0.4
    assert np.isfinite(scene.samples).all()


def test_what_the_engines_need_alone():
    """120 ms to the first token, three more for the clause, then 50 ms and 4 for each of 15 characters."""
    assert asr_show.engines_ms() == pytest.approx(120 + 50 + 50 + 60)


@pytest.mark.real
@pytest.mark.timeout(240)
def test_asr(run):
    """Ears and floor hear the sentences, both shows answer them, and every part has its figures."""
    report = run(asr, turns=2)
    figures = report["figures"]
    assert report["notes"] == {"model": "tiny"}
    for party in ("ears", "floor"):
        assert figures[f"{party}_word_to_partial_ms_count"] > 4
        assert figures[f"{party}_speech_end_to_final_ms_count"] == 2
        assert figures[f"{party}_cpu_ms_per_second_of_speech"] > 0
    assert figures["short_partial_cpu_ms_p50"] < figures["padded_partial_cpu_ms_p50"]
    assert figures["padded_500_newest_word_to_stable_ms_count"] > 4
    assert figures["vad_silero_ms_p50"] > figures["vad_webrtc_ms_p50"] > 0
    for party in ("head_start", "no_head_start"):
        answered = figures[f"{party}_first_sound_ms_count"] + figures[f"{party}_unanswered"]
        assert answered == 2
    assert figures["head_starts_kept"] + figures["head_starts_thrown_away"] >= 1
    assert 0 < figures["asr_no_model_rss_mb"] < figures["asr_listening_rss_mb"]
    assert figures["asr_listening_cpu_percent"] > 0
    assert figures["soak_hours"] == pytest.approx(0.25, abs=0.01)
    assert figures["soak_transcripts"] > 10
