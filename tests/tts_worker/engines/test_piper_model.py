"""Loading a Piper voice: what is missing, where it runs, and what is said of files that do not do."""

import sys
from types import SimpleNamespace

import onnxruntime
import pytest
from structlog.testing import capture_logs

from apps.shared.errors import EngineError, MissingError
from apps.shared.messages import Delivery
from apps.tts_worker.engines.piper import Piper

CUDA = "CUDAExecutionProvider"


@pytest.mark.parametrize("library", ["onnxruntime", "piper", "soxr"])
@pytest.mark.parametrize("broken", [None, SimpleNamespace()], ids=["not there", "half there"])
def test_a_library_that_is_not_there(make_settings, piper_voice, monkeypatch, library, broken):
    """An installation of which something is missing is one error with its fix."""
    piper_voice()
    monkeypatch.setitem(sys.modules, library, broken)
    with pytest.raises(MissingError) as caught:
        Piper(make_settings())
    assert caught.value.code == "piper_missing"
    assert "scripts/aivt.py up" in caught.value.fix


def test_without_onnx_the_mouth_is_estimated(make_settings, piper_voice, monkeypatch):
    """She speaks without the package that adds the phonemes' times, and the log says what is missing."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    piper_voice(aligned=False)
    with capture_logs() as logs:
        assert Piper(make_settings()).trouble is None
    assert [entry["log_level"] for entry in logs] == ["warning"]


@pytest.mark.parametrize(
    ("config", "code", "reason"),
    [
        ({"audio": {"sample_rate": 0}}, "voice_broken", "0 Hz"),
        ({"audio": {"sample_rate": "fast"}}, "voice_broken", "fast"),
        ({"espeak": {"voice": "xx-nowhere"}}, "voice_broken", "voice"),
        ({"phoneme_type": "pinyin"}, "voice_language", "pinyin"),
        ({"phoneme_type": "runes"}, "voice_broken", "runes"),
        ({"num_speakers": 2, "speaker_id_map": 7}, "voice_broken", "items"),
        ({"num_speakers": 2}, "voice_broken", "sid"),
        ({"phoneme_id_map": {}}, "voice_broken", "empty"),
    ],
)
def test_a_json_that_does_not_do(make_settings, piper_voice, config, code, reason):
    """What cannot be spoken with is found out on loading, and told in one line."""
    piper_voice(**config)
    with pytest.raises(EngineError, match=reason) as caught:
        Piper(make_settings())
    assert caught.value.code == code
    assert caught.value.fix
    assert "\n" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (MemoryError(), "smaller voice"),
        (RuntimeError("std::bad_alloc"), "smaller voice"),
        (
            RuntimeError("BFCArena ... Failed to allocate memory for requested buffer of size 9"),
            "smaller voice",
        ),
        (RuntimeError("CUDA failure 2: out of memory"), "TTS_DEVICE=cpu"),
    ],
)
def test_without_memory(make_settings, piper_voice, spoken, monkeypatch, error, fix):
    """A voice that does not fit, on loading or later, says so; the same call may succeed afterwards."""

    def fail(*_, **__):
        raise error

    piper_voice()
    voice = Piper(make_settings())
    monkeypatch.setattr(voice._model.voice.session, "run", fail)
    with pytest.raises(EngineError) as while_speaking:
        spoken(voice, "A cat.")
    monkeypatch.setattr(onnxruntime, "InferenceSession", fail)
    with pytest.raises(EngineError) as while_loading:
        Piper(make_settings())
    for caught in (while_speaking, while_loading):
        assert (caught.value.code, caught.value.retryable) == ("out_of_memory", True)
        assert fix in caught.value.fix


def test_an_error_of_the_listener_is_not_the_voices(make_settings, piper_voice):
    """What `give` raises is not taken for a broken voice, whatever its type."""
    piper_voice()

    def give(_chunk):
        raise RuntimeError("the listener's own")

    with pytest.raises(RuntimeError, match="the listener's own"):
        Piper(make_settings()).synthesize("A cat.", Delivery(), give)


@pytest.mark.parametrize(
    ("no_cuda", "offered", "reason"),
    [
        (
            MissingError("no_cuda", "the CUDA libraries are not installed", fix="Run this."),
            True,
            "not installed",
        ),
        (None, False, "onnxruntime cannot use"),
        (None, True, "onnxruntime cannot use"),
    ],
    ids=["not set up", "not in this onnxruntime", "it falls back by itself"],
)
def test_without_cuda_it_runs_on_the_processor(
    make_settings, piper_voice, spoken, monkeypatch, no_cuda, offered, reason
):
    """A graphics card that cannot be used is told with its fix, and she speaks all the same."""
    required = []

    def require(use):
        required.append(use)
        if no_cuda:
            raise no_cuda

    monkeypatch.setattr("apps.shared.cuda.require", require)
    if offered:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, "CPUExecutionProvider"])
    make_session = onnxruntime.InferenceSession

    def session(*args, providers):
        known = [one for one in providers if one == "CPUExecutionProvider"]  # as without its libraries
        return make_session(*args, providers=known)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    piper_voice()
    voice = Piper(make_settings(tts_device="cuda"))
    assert required == ["voices"]
    assert reason in str(voice.trouble)
    assert voice.trouble
    assert voice.trouble.fix.endswith(". Or set TTS_DEVICE=cpu.")
    assert ".." not in voice.trouble.fix
    assert spoken(voice, "A cat.")


def test_a_card_without_memory(make_settings, piper_voice, spoken, monkeypatch):
    """A voice that does not fit on the card runs on the processor, and the card's trouble is told."""
    monkeypatch.setattr("apps.shared.cuda.require", lambda _: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    make_session = onnxruntime.InferenceSession

    def session(*args, providers):
        if providers[0] != "CPUExecutionProvider":
            raise RuntimeError("CUDA failure 2: out of memory")
        return make_session(*args, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    piper_voice()
    voice = Piper(make_settings(tts_device="cuda"))
    assert voice.trouble
    assert voice.trouble.code == "out_of_memory"
    assert spoken(voice, "A cat.")


def test_the_card_is_asked_for_first(make_settings, piper_voice, monkeypatch):
    """Where CUDA is there the voice is loaded onto the card, with the processor for what it cannot do."""
    monkeypatch.setattr("apps.shared.cuda.require", lambda _: None)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA])
    make_session, asked = onnxruntime.InferenceSession, []

    def session(*args, providers):
        asked.append([one if isinstance(one, str) else one[0] for one in providers])
        made = make_session(*args, providers=["CPUExecutionProvider"])
        monkeypatch.setattr(made, "get_providers", lambda: [CUDA, "CPUExecutionProvider"])
        return made

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    piper_voice()
    assert Piper(make_settings(tts_device="cuda")).trouble is None
    assert asked == [[CUDA, "CPUExecutionProvider"]]


def test_on_the_processor_cuda_is_not_looked_at(make_settings, piper_voice, monkeypatch):
    """Who does not ask for the card pays nothing for it."""

    def require(_):
        raise AssertionError("asked for CUDA")

    monkeypatch.setattr("apps.shared.cuda.require", require)
    piper_voice()
    assert Piper(make_settings()).trouble is None


def test_slack_is_what_rounding_costs(make_settings, piper_voice):
    """A voice that rounds lengths up to whole frames adds less than its length for each length scale."""
    piper_voice()
    assert 1.05 < Piper(make_settings())._model.slack < 1.3
