"""Real processes: Piper's voices, switched and damaged while the show runs."""

import contextlib
import json
import shutil
import sqlite3
import wave
from pathlib import Path

import pytest

from tests.fakes.ollama import FakeOllama
from tests.shows.beside import Servers, Show, quiet_show
from tests.shows.real import PROJECT

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

TINY = PROJECT / "tests" / "voices" / "en_US-aivt-tiny.onnx"
LONG_REPLY = "One little fox ran over the hill. Two little foxes ran after him, as fast as they could."
FOREIGN = {"num_speakers": 1, "speaker_id_map": {}}  # in its JSON: that of another voice


def put(folder: Path, name: str, **changed: object) -> Path:
    """Install the voice under a name, its JSON changed; return its .onnx file."""
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads(TINY.with_name(f"{TINY.name}.json").read_text("utf-8"))
    (folder / f"{name}.onnx.json").write_text(json.dumps({**config, **changed}), "utf-8")
    return Path(shutil.copy(TINY, folder / f"{name}.onnx"))


def journal(show: Show, turn_id: str) -> tuple[str, str]:
    """The reply of a turn, and what was heard of it."""
    with contextlib.closing(sqlite3.connect(show.real.folder / "journal.db")) as db:
        row: tuple[str, str] = db.execute("SELECT reply, heard FROM turns WHERE id = ?", [turn_id]).fetchone()
    return row


def test_a_voice_is_switched_in_the_middle_of_a_reply(tmp_path):
    """`aivt voices use`: every piece is heard once, by the old voice or the new one; the show names it."""
    put(tmp_path / "voices", "one")
    heard = tmp_path / "heard"
    ollama = FakeOllama(reply=[f"{word} " for word in LONG_REPLY.split()])
    with contextlib.closing(Servers()) as servers, servers.running(ollama):
        settings = {
            "POLICY_ENGINE": "ollama",
            "OLLAMA_HOST": ollama.url,
            "USE_STUB_TTS": "0",
            "PIPER_VOICE": "one",
            "TTS_OUTPUT": f"dir:{heard}",
        }
        with quiet_show(tmp_path, **settings) as show:
            told = {"name": "one", "names": ["one", "espeak"], "reason": "", "fix": ""}
            assert show.status()["voice"] == told
            turn = show.saying("tell me a story")
            show.real.wait_for(lambda: list(heard.glob("*.wav")), "nothing was heard")
            switched = show.real.aivt("voices", "use", "espeak")
            assert (switched.returncode, switched.stdout, switched.stderr) == (0, "espeak\n", "")
            status = show.status()
            assert status["voice"]["name"] == "espeak"
            turn_id = status["queue"]["turn_id"]
            assert turn_id, "it came in the middle"
            result = turn.result()
            assert (result["turn_id"], result["outcome"]) == (turn_id, "spoken")
    assert journal(show, turn_id) == (LONG_REPLY, LONG_REPLY)
    with wave.open(str(heard / f"{turn_id}.wav")) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(result["audio_ms"] / 1000, abs=0.1)


def test_voices_that_cannot_be_used(tmp_path):
    """Wrong names, foreign and damaged files: one reason with its fix; who speaks goes on, or espeak does."""
    model = put(tmp_path / "voices", "one")
    put(tmp_path / "voices", "two", **FOREIGN)
    with quiet_show(tmp_path, USE_STUB_TTS="0", PIPER_VOICE="one") as show:
        refuses_what_is_not_there(show)
        status, answer = show.ask("/control/voice", {"name": "two"})
        assert (status, answer["code"]) == (400, "voice_broken")
        assert "two.onnx.json" in answer["fix"]
        goes_on_with_one(show)

        model.write_bytes(model.read_bytes()[:99_999])
        goes_on_with_one(show)
        takes_espeak_when_it_starts_anew(show, model)
        put(model.parent, "one", **FOREIGN)
        takes_espeak_when_it_starts_anew(show, model)


def refuses_what_is_not_there(show: Show) -> None:
    """Over HTTP with the names that there are, on the command line with a fix."""
    status, answer = show.ask("/control/voice", {"name": "nobody"})
    assert (status, answer["names"]) == (404, ["one", "two", "espeak"])
    told = show.real.aivt("voices", "use", "nobody")
    assert told.returncode == 2
    error, fix = told.stderr.splitlines()
    assert error == "error: there is no voice 'nobody'"
    assert fix.startswith("fix: Use one of one, two, espeak")


def goes_on_with_one(show: Show) -> None:
    """What is loaded is not read again."""
    assert show.status()["voice"]["name"] == "one"
    assert show.say()["outcome"] == "spoken"
    light = show.light("tts")
    assert (light["state"], light["engine"], light["reason"]) == ("ok", "piper", "")


def takes_espeak_when_it_starts_anew(show: Show, model: Path) -> None:
    """Kill the voice process: the next one does not get this voice."""
    light = show.restarted("tts", show.process("tts"))
    assert (light["state"], light["engine"]) == ("degraded", "espeak")
    assert light["reason"].startswith(f"espeak speaks instead: the Piper voice {model} cannot be used")
    assert "one.onnx.json again, both of the same voice" in light["fix"]
    assert "\n" not in light["reason"]
    assert show.say()["outcome"] == "spoken"
