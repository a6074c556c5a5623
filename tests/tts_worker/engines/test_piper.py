"""Piper: which voice is taken, where phoneme times come from, and what is said of a broken voice."""

import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from apps.shared.errors import EngineError, MissingError
from apps.tts_worker.engines import piper as engine
from apps.tts_worker.engines.piper import Piper, available
from apps.tts_worker.voice import Phoneme

SAMPLES_PER_ID = 1_024  # of the voice in conftest.py, as is its rate
RATE_HZ = 16_000


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
    # in ids: every symbol, also ^, the space, the stress mark and the full stop, is one and a blank
    starts = [round(phoneme.start_s * RATE_HZ / SAMPLES_PER_ID) for phoneme in chunk.phonemes]
    assert [phoneme.ipa for phoneme in chunk.phonemes] == ["ɐ", "k", "æ", "t", ""]
    assert starts == [2, 6, 8, 12, 14]


def test_times_added_on_loading(make_settings, piper_voice, spoken, monkeypatch):
    """A voice without that output is given it where the `onnx` package is installed."""
    aligned = piper_voice().read_bytes()
    piper_voice(aligned=False)
    patched = SimpleNamespace(SerializeToString=lambda: aligned)
    patch = SimpleNamespace(add_alignment_output=lambda _: "frames")
    monkeypatch.setitem(sys.modules, "onnx", SimpleNamespace(load=lambda _: patched))
    monkeypatch.setitem(sys.modules, "piper.patch_voice_with_alignment", patch)
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    assert chunk.phonemes[0].start_s == 2 * SAMPLES_PER_ID / RATE_HZ


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
        options = Piper(make_settings())._voice.session.get_session_options()
        assert options.intra_op_num_threads == threads


def test_sound_is_the_voices(make_settings, piper_voice, spoken):
    """The samples are 16-bit and as long as the voice made them."""
    piper_voice()
    (chunk,) = spoken(Piper(make_settings()), "A cat.")
    samples = np.frombuffer(chunk.pcm, "<i2")
    assert len(samples) % SAMPLES_PER_ID == 0
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
