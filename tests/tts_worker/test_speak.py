import json
import wave

import numpy as np
import pytest

from apps.cli import main


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """The stub voice, and a data folder without any other."""
    monkeypatch.setenv("AIVT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TTS_ENGINE", "tone")
    monkeypatch.setenv("USE_STUB_TTS", "false")


@pytest.fixture
def said(tmp_path):
    """Run `aivt speak` and return the samples and the rate of what it wrote."""

    def say(text):
        path = tmp_path / "out.wav"
        assert main(["speak", text, "-o", str(path)]) == 0
        with wave.open(str(path)) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
            return file.readframes(file.getnframes()), file.getframerate()

    return say


@pytest.mark.parametrize("engine", ["tone", "espeak"])
def test_the_mouth_ends_with_the_sound(monkeypatch, tmp_path, engine):
    """The mouth shapes are in order of time, from the first sample to exactly the last one."""
    monkeypatch.setenv("TTS_ENGINE", engine)
    sound, mouth = tmp_path / "out.wav", tmp_path / "out.json"
    text = "Hello chat, I am back. Did you miss me?"
    assert main(["speak", text, "-o", str(sound), "--visemes", str(mouth)]) == 0
    with wave.open(str(sound)) as file:
        pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    assert np.abs(np.frombuffer(pcm, "<i2")).max() > 3000
    shapes = json.loads(mouth.read_text())
    assert all(set(shape) == {"t", "viseme", "weight", "phoneme"} for shape in shapes)
    times = [shape["t"] for shape in shapes]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (0, len(pcm) / 2 / rate_hz)
    assert shapes[-1]["viseme"] == "sil"


@pytest.mark.parametrize(
    ("written", "words"), [("You have 3 lives.", "You have three lives."), ("*waves* hi 🦊", "hi")]
)
def test_it_says_what_she_would_say_live(said, written, words):
    """Numbers are words, and what has no sound is left out."""
    assert said(written) == said(words)


@pytest.mark.parametrize("text", ["", "...", "🦊", "\x00"])
def test_nothing_to_say(tmp_path, capsys, text):
    """A text without words is a bad argument, and writes no file."""
    assert main(["speak", text, "-o", str(tmp_path / "out.wav")]) == 2
    assert "fix:" in capsys.readouterr().err
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("options", "name"),
    [(["-o", "away/out.wav"], "away"), (["-o", "out.wav", "--visemes", "away/out.json"], "away")],
)
def test_a_file_that_cannot_be_written(monkeypatch, tmp_path, capsys, options, name):
    """The error names the file and how to go on."""
    monkeypatch.chdir(tmp_path)
    assert main(["speak", "hello", *options]) == 3
    printed = capsys.readouterr().err
    assert name in printed
    assert "fix:" in printed


def test_a_voice_that_is_missing(monkeypatch, tmp_path, capsys):
    """Here no other voice stands in: what was asked for is to be heard, or the reason why not."""
    monkeypatch.setenv("TTS_ENGINE", "piper")
    assert main(["speak", "hello", "-o", str(tmp_path / "out.wav")]) == 3
    assert "no Piper voice" in capsys.readouterr().err
