import argparse
import json
import sys
import wave

import numpy as np
import pytest
import structlog

from apps.asr_worker import recognisers
from apps.asr_worker import transcribe as command
from apps.asr_worker.recogniser import Hypothesis
from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.transcribe import transcribe, transcribe_once
from apps.shared.edge import exit_code
from apps.shared.errors import EngineError
from apps.shared.settings import PROJECT_DIR, Settings
from tests.asr_worker.scripted_sound import WORD_S, Reader, SteadyVad, spoken
from tests.data import recorded
from tests.ears.speech import keyboard, mixed, white

TINY = PROJECT_DIR / "tests" / "ears" / "tiny"


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch, tmp_path):
    """Nothing from `.env` or the environment, and an empty data folder."""
    monkeypatch.setitem(Settings.model_config, "env_file", None)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AIVT_DATA_DIR", str(tmp_path / "data"))
    yield
    structlog.reset_defaults()


@pytest.fixture
def reader(monkeypatch):
    """A recogniser that reads scripted sound."""
    reader = Reader()
    monkeypatch.setattr(recognisers, "load", lambda _settings: reader)
    monkeypatch.setattr(command, "open_vad", lambda _setting: SteadyVad())
    return reader


@pytest.fixture
def run(capsys):
    """Run the command; return its exit code, its lines and its errors."""

    def run(path, json=True, realtime=False):
        options = argparse.Namespace(file=str(path), json=json, realtime=realtime)
        code = exit_code(lambda: transcribe(options))
        out, err = capsys.readouterr()
        return code, out.removesuffix("\n").split("\n") if out else [], err

    return run


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def of(lines, kind):
    return [line for line in map(json.loads, lines) if line["type"] == kind]


# --- with sound that is read -------------------------------------------------------------------------


@pytest.mark.parametrize("realtime", [False, True])
def test_partials_grow_and_finals_follow(run, reader, tmp_path, realtime):
    """One JSON line for each, with times in the file; `at_s` is when it was known, on the same clock."""
    path = write(tmp_path / "a.wav", spoken("_ hello kitsu what _ _ _ yes go on _ _ _"))
    code, lines, _ = run(path, realtime=realtime)
    assert code == 0
    finals, partials = of(lines, "final"), of(lines, "partial")
    assert [(line["text"], line["start_s"], line["end_s"]) for line in finals] == [
        ("hello kitsu what", pytest.approx(WORD_S, abs=0.01), pytest.approx(4 * WORD_S, abs=0.01)),
        ("yes go on", pytest.approx(7 * WORD_S, abs=0.01), pytest.approx(10 * WORD_S, abs=0.01)),
    ]
    assert {tuple(line) for line in [*finals, *partials]} == {("type", "text", "start_s", "end_s", "at_s")}
    assert {line["text"] for line in partials} >= {"hello", "hello kitsu", "hello kitsu what", "yes go on"}
    everything = [json.loads(line) for line in lines]
    assert all(line["at_s"] >= line["end_s"] for line in everything)
    assert everything == sorted(everything, key=lambda line: line["at_s"])
    assert reader.closed


def test_as_fast_as_possible_time_is_how_far_the_file_was_fed(run, reader, tmp_path):
    """A final is known after the endpoint's wait in the file's time, whatever the computer's speed."""
    path = write(tmp_path / "a.wav", spoken("hello kitsu what _ _ _ _ _ _ _ _ _"))
    (final,) = of(run(path)[1], "final")
    assert final["at_s"] == pytest.approx(final["end_s"] + 0.55, abs=0.04)


def test_speech_without_words(run, reader, tmp_path):
    """It is told as speech, without a text."""
    reader.says = ""
    path = write(tmp_path / "a.wav", spoken("_ hello kitsu what _ _ _"))
    code, lines, _ = run(path)
    assert code == 0
    (line,) = map(json.loads, lines)
    assert list(line) == ["type", "start_s", "end_s", "at_s"]
    assert (line["type"], line["start_s"]) == ("speech", pytest.approx(WORD_S, abs=0.01))
    _, lines, _ = run(path, json=False)
    assert lines == ["0:00.3 - 0:01.3  (no words: no_words)"]


def test_speech_up_to_the_files_end(run, reader, tmp_path):
    """What is being said when the file ends is transcribed as well."""
    path = write(tmp_path / "a.wav", spoken("_ hello kitsu"))
    (final,) = of(run(path)[1], "final")
    assert (final["text"], final["end_s"]) == ("hello kitsu", pytest.approx(3 * WORD_S, abs=0.01))


def test_a_file_of_silence(run, reader, tmp_path):
    """It says nothing, and that is no error."""
    assert run(write(tmp_path / "a.wav", np.zeros(3 * RATE_HZ)))[:2] == (0, [])


def test_for_people(run, reader, tmp_path, monkeypatch):
    """Finals with their times; on a terminal partials before them, on a line that they replace."""
    path = write(tmp_path / "a.wav", spoken("_ hello kitsu what _ _ _ yes go on _ _ _"))
    assert run(path, json=False)[1] == ["0:00.3 - 0:01.3  hello kitsu what", "0:02.2 - 0:03.2  yes go on"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    first, second = run(path, json=False)[1]
    assert "\r\x1b[K… hello kitsu\r\x1b[K… hello kitsu what\r" in first
    assert first.endswith("\r\x1b[K0:00.3 - 0:01.3  hello kitsu what")
    assert second.endswith("\r\x1b[K0:02.2 - 0:03.2  yes go on")


def test_a_decode_that_fails(run, reader, tmp_path):
    """The rest is transcribed, and the command ends with the reason."""
    reader.fails = EngineError("memory", "out of memory", fix="...")
    code, lines, err = run(write(tmp_path / "a.wav", spoken("_ hello kitsu what _ _ _")))
    assert (code, len(of(lines, "speech"))) == (1, 1)
    assert "out of memory" in err


@pytest.mark.parametrize("content", [None, b"", b"this is no sound"])
def test_a_file_that_cannot_be_used(run, tmp_path, content):
    """One line that names it, and its fix, before any model is looked for."""
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    code, lines, err = run(path)
    assert (code, lines) == (2, [])
    assert "a.wav" in err
    assert "fix: " in err


def test_without_a_model(run, tmp_path):
    """The fix tells how to get one."""
    code, lines, err = run(write(tmp_path / "a.wav", spoken("hello kitsu")))
    assert (code, lines) == (3, [])
    assert "fix: " in err
    assert "aivt" in err


def test_the_stand_in(run, tmp_path, monkeypatch):
    """USE_STUB_ASR needs no model; it hears by the real voice detector that somebody speaks."""
    monkeypatch.setenv("USE_STUB_ASR", "true")
    said = recorded.sentence(0)
    speech = said.padded(0.5, 1.0)
    code, lines, _ = run(write(tmp_path / "a.wav", speech.samples))
    assert code == 0
    (final,) = of(lines, "final")
    assert final["text"]
    assert final["start_s"] == pytest.approx(0.5, abs=0.15)
    assert final["end_s"] == pytest.approx(0.5 + said.duration_s, abs=0.25)


# --- one utterance, for `aivt devices --test` --------------------------------------------------------


def test_once(reader):
    """What three seconds from the microphone say; nothing for what is not believed."""
    assert transcribe_once(Settings(), spoken("_ hello kitsu _")) == "hello kitsu"
    assert transcribe_once(Settings(), spoken("_ _ _")) == ""
    reader.sure = Hypothesis("", avg_logprob=-3.0)
    assert transcribe_once(Settings(), spoken("_ hello kitsu _")) == ""
    assert reader.closed


def test_once_without_a_model():
    """There is nothing to tell it with."""
    assert transcribe_once(Settings(), spoken("hello")) is None


# --- with a real model -------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setenv("ASR_MODEL", str(TINY))
    monkeypatch.setenv("ASR_DEVICE", "cpu")


def plain(text):
    return text.lower().translate(str.maketrans("", "", ".?,!"))


def test_three_sentences(run, tiny):
    """The real model, voice detector and endpoint: partials that grow, finals that are right."""
    places = [(line[0].start_s, line[-1].end_s) for line in recorded.words()]
    code, lines, _ = run(recorded.THREE)
    assert code == 0
    finals = of(lines, "final")
    assert [plain(line["text"]) for line in finals] == recorded.texts()
    for line, (start_s, end_s) in zip(finals, places, strict=True):
        assert line["start_s"] == pytest.approx(start_s, abs=0.2)
        assert line["end_s"] == pytest.approx(end_s, abs=0.25)
        partials = [partial for partial in of(lines, "partial") if partial["start_s"] == line["start_s"]]
        assert len(partials) >= 4
        assert [partial["end_s"] for partial in partials] == sorted(partial["end_s"] for partial in partials)
        lengths = [len(partial["text"].split()) for partial in partials]
        assert lengths[0] <= 2 < lengths[-1]
        assert plain(partials[-1]["text"]) == plain(line["text"])


def test_a_sentence_in_noise(run, tiny, tmp_path):
    """Hiss and typing around it are no speech."""
    speech = recorded.sentence(2).padded(2.0, 3.0)
    noisy = mixed(
        mixed(speech, white(speech.duration_s, seed=1), 20), keyboard(speech.duration_s, seed=2), 15
    )
    code, lines, _ = run(write(tmp_path / "a.wav", noisy.samples))
    assert code == 0
    assert [plain(line["text"]) for line in of(lines, "final")] == [recorded.texts()[2]]


def test_once_with_the_model(tiny):
    """What was just said into the microphone."""
    heard = transcribe_once(Settings(), recorded.sentence(1).padded(0.5, 0.5).samples)
    assert plain(heard or "") == recorded.texts()[1]
