"""Both voice detectors, the real ones, and which of them is opened."""

import sys
from importlib import util

import numpy as np
import pytest

from apps.asr_worker.endpoint import GO_ON, START
from apps.asr_worker.sound import FRAME_SAMPLES
from apps.asr_worker.vads import open_vad
from apps.asr_worker.vads.silero import Silero
from apps.asr_worker.vads.webrtc import Webrtc
from apps.asr_worker.voice_activity import Vad
from apps.shared.errors import MissingError
from tests.data import recorded
from tests.ears.noise import RATE_HZ, keyboard, music, pink, white
from tests.ears.speech import mixed, say


def frames(samples):
    count = len(samples) // FRAME_SAMPLES
    return samples[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES)


def probabilities(vad, samples):
    return [vad.probability(frame) for frame in frames(samples)]


@pytest.fixture(params=["silero", "webrtc"])
def vad(request) -> Vad:
    return open_vad(request.param)


def test_speech_is_a_voice_and_silence_is_none(vad):
    """In more than nine of ten frames of a sentence, and soon after its end no more."""
    speech = recorded.sentence(1).padded(0.96, 0.96)  # espeak says it differently each time
    found = probabilities(vad, speech.samples)
    said = found[33:-33]
    assert sum(value >= START for value in said) > 0.9 * len(said)
    assert max(found[:28]) < GO_ON
    assert max(found[-20:]) < GO_ON
    assert vad.trouble is None


def test_a_detector_that_was_reset_hears_as_if_for_the_first_time(vad):
    """What it remembered of the sound before a gap is gone."""
    speech = say("what do you think about the game?").samples
    first = probabilities(vad, speech)
    probabilities(vad, white(1.0, seed=1))
    vad.reset()
    assert probabilities(vad, speech) == first


@pytest.mark.parametrize("scale", [0.0, 30.0], ids=["digital silence", "far beyond full scale"])
def test_any_sound_gets_a_probability(vad, scale):
    """Zeros, and samples that should not exist."""
    found = probabilities(vad, white(0.5, seed=2) * np.float32(scale))
    assert all(0 <= value <= 1 for value in found)


def test_the_frame_that_is_given_stays_as_it_is(vad):
    """The same frame goes to the recogniser."""
    frame = white(1.0, seed=3)[:FRAME_SAMPLES]
    before = frame.copy()
    vad.probability(frame)
    assert np.array_equal(frame, before)


@pytest.mark.parametrize("noise", [white, pink, music, keyboard])
@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_silero_hears_a_voice_in_noise(noise, snr_db):
    """It is there in three of four frames of the sentence, and in one of the noise before it at most."""
    speech = say("my health is really low and the boss is big").padded(2.0, 1.0)
    found = probabilities(Silero(), mixed(speech, noise(4.0, 7), snr_db).samples)
    said = found[65:-33]
    assert sum(value >= GO_ON for value in said) > 0.75 * len(said)
    assert sum(value >= START for value in found[:60]) <= 1


def test_silero_remembers_from_frame_to_frame():
    """Frame by frame it finds what faster-whisper's own class finds in the whole recording."""
    from faster_whisper.vad import get_vad_model  # noqa: PLC0415 - half a second, for this test alone

    speech = say("can you tell me a joke?").padded(0.5, 0.5).samples
    whole = get_vad_model()(frames(speech).reshape(-1).copy())
    assert probabilities(Silero(), speech) == pytest.approx(list(np.ravel(whole)), abs=1e-4)


def test_webrtc_loses_no_sample_between_its_frames_and_ours():
    """Its frames are 30 ms, ours 32: every 15th of ours completes two of its own."""
    heard = []
    vad = Webrtc()

    class Listening:
        def is_speech(self, pcm, rate_hz):
            assert rate_hz == RATE_HZ
            heard.append(np.frombuffer(pcm, np.int16))
            return False

    vad._vad = Listening()
    samples = white(3.0, seed=4)
    probabilities(vad, samples)
    together = np.concatenate(heard)
    assert {len(piece) for piece in heard} == {480}
    assert len(together) > 3 * RATE_HZ - FRAME_SAMPLES - 480
    assert np.array_equal(together, (samples * 32767).astype(np.int16)[: len(together)])


def test_auto_is_silero():
    """It was measured against the other, and against both together."""
    assert open_vad("auto").name == "silero"


@pytest.mark.parametrize(
    ("setting", "missing", "name"),
    [
        ("auto", "onnxruntime", "webrtc"),
        ("silero", "onnxruntime", "webrtc"),
        ("auto", "faster_whisper", "webrtc"),
        ("webrtc", "webrtcvad", "silero"),
    ],
)
def test_what_is_missing_is_told_and_the_other_listens(monkeypatch, setting, missing, name):
    """The show goes on with worse ears, and their trouble names the fix."""
    _lose(monkeypatch, missing)
    vad = open_vad(setting)
    assert vad.name == name
    assert vad.trouble is not None
    assert f"{name} listens instead" in str(vad.trouble)
    assert vad.trouble.fix


def test_without_any_detector_there_are_no_ears(monkeypatch):
    """The reason is that of the one that was wanted."""
    _lose(monkeypatch, "onnxruntime")
    _lose(monkeypatch, "webrtcvad")
    with pytest.raises(MissingError) as raised:
        open_vad("auto")
    assert raised.value.code == "onnxruntime_missing"
    assert raised.value.fix


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "silero_missing"), (b"", "silero_unreadable"), (b"no network", "silero_unreadable")],
)
def test_a_network_that_cannot_be_used(monkeypatch, tmp_path, content, code):
    """A package without it, and a file that a full disk or a virus scanner has emptied."""
    (tmp_path / "faster_whisper" / "assets").mkdir(parents=True)
    (tmp_path / "faster_whisper" / "__init__.py").touch()
    if content is not None:
        (tmp_path / "faster_whisper" / "assets" / "silero_vad_v6.onnx").write_bytes(content)
    monkeypatch.delitem(sys.modules, "faster_whisper", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError) as raised:
        Silero()
    assert raised.value.code == code


def _lose(monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    found = util.find_spec

    def find_spec(name, package=None):
        return None if name == module else found(name, package)

    monkeypatch.setattr("apps.asr_worker.vads.silero.find_spec", find_spec)
