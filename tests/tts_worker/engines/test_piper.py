"""Piper: which voice is taken, where phoneme times come from, and what is said of a broken voice."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from apps.shared.errors import EngineError, MissingError
from apps.tts_worker.engines import piper as engine
from apps.tts_worker.engines.piper import Piper, available
from apps.tts_worker.voice import Phoneme
from tests.tts_worker.conftest import HOP_LENGTH, LENGTHS, VARIATION

RATE_HZ = 16_000  # of the voice in conftest.py


def after(symbols):
    """When it has said these symbols, each followed by a blank."""
    ids = [number for symbol in "_".join(symbols) + "_" for number in DEFAULT_PHONEME_ID_MAP[symbol]]
    spread = np.arange(len(ids), dtype=np.float32) * VARIATION
    return np.ceil(LENGTHS[ids] + spread - np.floor(spread)).sum() * HOP_LENGTH / RATE_HZ


@pytest.mark.parametrize("name", ["", "noise", "noise.onnx"])
def test_voice_by_name(make_settings, piper_voice, name):
    """A name means a voice in the voices folder, with or without its ending; no name, the first one."""
    piper_voice("zebra")
    model = piper_voice("noise")
    settings = make_settings(piper_voice=name)
    assert available(settings) == model
    assert Piper(settings).voice == "noise"


def test_voice_by_file(make_settings, piper_voice):
    """A path means that very file, wherever it lies."""
    model = piper_voice()
    assert Piper(make_settings(piper_voice=str(model), aivt_data_dir=model.parent / "none")).voice == "noise"


def test_half_a_voice_is_not_chosen(make_settings, piper_voice):
    """A model whose JSON is missing is passed over for the next one that is whole."""
    piper_voice("a").with_name("a.onnx.json").unlink()
    whole = piper_voice("b")
    assert available(make_settings()) == whole


@pytest.mark.parametrize("name", ["", "noise", "voices/noise.onnx"])
def test_missing_voice(make_settings, name):
    """Without a voice there is none available, and loading it says which setting and files to look at."""
    settings = make_settings(piper_voice=name)
    assert available(settings) is None
    with pytest.raises(MissingError, match=r"\.onnx") as caught:
        Piper(settings)
    assert "PIPER_VOICE" in caught.value.fix
    assert ".onnx.json" in caught.value.fix


@pytest.mark.parametrize("broken", ["noise.onnx", "noise.onnx.json"])
@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"[]", b'{"audio": {}}', b"\xff\xfe"])
def test_broken_file(make_settings, piper_voice, broken, content):
    """A half-downloaded or foreign file is an error whose fix names both files."""
    piper_voice().with_name(broken).write_bytes(content)
    with pytest.raises(EngineError) as caught:
        Piper(make_settings())
    assert "noise.onnx and noise.onnx.json" in caught.value.fix


def test_json_of_another_voice(make_settings, piper_voice):
    """A JSON with more symbols than its model knows is found out on loading, not in the first sentence."""
    piper_voice(symbols=40)
    with pytest.raises(EngineError) as caught:
        Piper(make_settings())
    assert "noise.onnx and noise.onnx.json" in caught.value.fix


def test_times_told_by_the_voice(make_settings, piper_voice, spoken):
    """With the alignment output each sound begins where the voice says, stress counted to its vowel."""
    piper_voice()
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    # every symbol, also ^, the space, the stress mark and the full stop, is an id and a blank
    starts = [after("^"), after("^ɐ "), after("^ɐ k"), after("^ɐ kˈæ"), after("^ɐ kˈæt")]
    assert [phoneme.ipa for phoneme in chunk.phonemes] == ["ɐ", "k", "æ", "t", ""]
    assert [phoneme.start_s for phoneme in chunk.phonemes] == starts
    assert after("^ɐ kˈæt.") < len(chunk.pcm) / 2 / RATE_HZ < after("^ɐ kˈæt.$")


def test_times_added_on_loading(make_settings, piper_voice, spoken):
    """A voice without that output is given it when it is loaded."""
    piper_voice(aligned=False)
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    assert chunk.phonemes[0].start_s == after("^")


def test_times_estimated(make_settings, piper_voice, spoken, monkeypatch):
    """Without either the sounds share the sentence evenly and still fit it."""
    monkeypatch.setitem(sys.modules, "onnx", None)
    piper_voice(aligned=False)
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    assert [phoneme.ipa for phoneme in chunk.phonemes] == ["ɐ", "k", "æ", "t", ""]
    steps = [b.start_s - a.start_s for a, b in pairwise(chunk.phonemes)]
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert chunk.phonemes[-1].start_s < len(chunk.pcm) / 2 / RATE_HZ


def test_times_that_do_not_add_up_are_not_believed(make_settings, piper_voice, spoken):
    """Alignments that disagree with the sound's length (a wrong hop length) give way to the estimate."""
    model = piper_voice()
    config = model.with_name("noise.onnx.json")
    config.write_text(config.read_text("utf-8").replace('"hop_length": 256', '"hop_length": 512'), "utf-8")
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    assert chunk.phonemes[-1].start_s < len(chunk.pcm) / 2 / RATE_HZ


def test_a_chunk_per_sentence(make_settings, piper_voice, spoken):
    """Each sentence is one chunk, and the second one's times go on where the first one ended."""
    piper_voice()
    first, second = spoken(Piper(make_settings()), "One. Two.")
    assert second.phonemes[0].start_s >= len(first.pcm) / 2 / RATE_HZ


def test_brackets_hold_no_phonemes(make_settings, piper_voice, spoken):
    """Double brackets, by which piper takes raw phonemes, are only brackets to chat."""
    piper_voice()
    voice = Piper(make_settings())
    sounds = [p.ipa for chunk in spoken(voice, "[[zzz]]") for p in chunk.phonemes if p.ipa]
    assert sounds != ["z", "z", "z"]


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [
        ("^hˈiː$", [("h", 1), ("i", 2), ("", 5)]),
        ("^n\u0329 a,b$", [("n", 1), ("a", 4), ("", 5), ("b", 6), ("", 7)]),
        ("^a.$", [("a", 1), ("", 2)]),
        ("^...$", []),
    ],
    ids=["stress and length", "accent, word gap and comma", "one silence at the end", "no sound"],
)
def test_symbols_to_phonemes(symbols, expected):
    """Marks join their sound, a comma is a pause, a gap between words is none."""
    timed = [(symbol, 1.0) for symbol in symbols]
    assert list(engine._phonemes(timed, 0, 1)) == [Phoneme(ipa, at) for ipa, at in expected]


def test_uses_one_core_less(make_settings, piper_voice, monkeypatch):
    """The session leaves a core to the rest of the show, and runs on one where there is only one."""
    piper_voice()
    for cores, threads in ((6, 5), (1, 1), (None, 1)):
        monkeypatch.setattr("psutil.cpu_count", lambda *, logical, cores=cores: cores)
        options = Piper(make_settings())._model.voice.session.get_session_options()
        assert options.intra_op_num_threads == threads


@pytest.mark.parametrize(
    ("wish", "hum_hz"),
    [("", 250), ("ann", 187.5), ("bob", 250), ("0", 187.5), ("1", 250)],
    ids=["the voice's own", "by name", "by name", "by number", "by number"],
)
def test_speakers(make_settings, piper_voice, spoken, wish, hum_hz):
    """A voice of several is asked for one by name or number, and otherwise speaks as its own default."""
    piper_voice(speakers=("ann", "bob"), default_speaker_id=1)
    voice = Piper(make_settings())
    assert voice.speakers == ("ann", "bob")
    (chunk,) = spoken(voice, "A cat.", speaker=wish)
    spectrum = np.abs(np.fft.rfft(np.frombuffer(chunk.pcm, "<i2")))
    assert spectrum.argmax() * RATE_HZ / (len(chunk.pcm) / 2) == pytest.approx(hum_hz, abs=3)


@pytest.mark.parametrize("wish", ["carl", "2", "-1", "Ann", "٣"])
def test_unknown_speaker(make_settings, piper_voice, spoken, wish):
    """A speaker that the voice has not is refused, with those that it has."""
    piper_voice(speakers=("ann", "bob"))
    with pytest.raises(EngineError) as caught:
        spoken(Piper(make_settings()), "A cat.", speaker=wish)
    assert caught.value.code == "unknown_speaker"
    assert "ann, bob, or a number from 0 to 1" in caught.value.fix


def test_speakers_without_names(make_settings, piper_voice):
    """Where the JSON names none of them they go by their numbers."""
    piper_voice(speakers=("ann", "bob"), speaker_id_map={})
    assert Piper(make_settings()).speakers == ("0", "1")


@pytest.mark.parametrize(
    ("delivery", "scales"),
    [
        ({}, [0.5, 1.1, 0.7]),
        ({"noise": 0, "rhythm": 0}, [0, 1.1, 0]),
        ({"noise": 1.5, "rhythm": 0.2}, [1.5, 1.1, 0.2]),
    ],
)
def test_noise_and_rhythm(make_settings, piper_voice, spoken, monkeypatch, delivery, scales):
    """What is not wished for is the voice's own, as its JSON says."""
    piper_voice(inference={"noise_scale": 0.5, "length_scale": 1.1, "noise_w": 0.7})
    voice = Piper(make_settings())
    session, given = voice._model.voice.session, []
    run = session.run

    def listen(names, inputs):
        given.append(inputs)
        return run(names, inputs)

    monkeypatch.setattr(session, "run", listen)
    spoken(voice, "A cat.", **delivery)
    assert given[0]["scales"].tolist() == pytest.approx(scales)


def test_speed_is_of_the_voices_own(make_settings, piper_voice, spoken):
    """A voice that speaks slowly by itself is made quicker from there."""
    piper_voice("slow", inference={"length_scale": 1.5})
    slow = Piper(make_settings())
    (own,), (quick,) = spoken(slow, "A cat is here."), spoken(slow, "A cat is here.", speed=1.5)
    assert len(quick.pcm) * 1.5 == pytest.approx(len(own.pcm), rel=0.05)


def test_sound_is_the_voices(make_settings, piper_voice, spoken):
    """The samples are 16-bit and as long as the voice made them."""
    piper_voice()
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    samples = np.frombuffer(chunk.pcm, "<i2")
    assert len(samples) % HOP_LENGTH == 0
    assert np.abs(samples).max() == 32_767  # piper makes the loudest sample of a sentence full scale


def test_another_file_is_another_voice(make_settings, piper_voice):
    """A voice replaced under the same name never finds the clips of the old one in the cache."""
    piper_voice()
    before = Piper(make_settings()).settings
    piper_voice(symbols=300)
    assert Piper(make_settings()).settings != before


def test_looking_for_a_voice_is_cheap():
    """Asking whether a voice is there imports neither piper nor onnxruntime."""
    code = (
        "import sys; from apps.shared.settings import Settings; from apps.tts_worker.engines import piper;"
        "piper.available(Settings(_env_file=None)); sys.exit('onnxruntime' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
