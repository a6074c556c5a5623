"""The real processes, started as a streamer starts them."""

import os
import signal
import sqlite3
import sys
import wave
from array import array
from pathlib import Path

import psutil
import pytest

from tests.shows.real import RealShow, real_show

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def loudness(path: Path) -> tuple[float, int]:
    """Seconds of sound and its peak."""
    with wave.open(str(path)) as file:
        samples = array("h", file.readframes(file.getnframes()))
        return len(samples) / file.getframerate(), max(map(abs, samples))


def turns(show: RealShow) -> list[tuple[str, str, float | None]]:
    """What the journal has of each turn."""
    with sqlite3.connect(show.folder / "journal.db") as db:
        rows = db.execute("SELECT id, outcome, first_audio_ms FROM turns ORDER BY id").fetchall()
    db.close()
    return rows


def test_one_line_becomes_her_voice(tmp_path):
    """`aivt up`, then `aivt say`: a fitting reply, every stage's time, and a WAV with speech in it."""
    with real_show(tmp_path) as show:
        result = show.say("hi Kitsu, how are you?", "--user", "mika")
        assert result["outcome"] == "spoken"
        assert "mika" in result["reply"].lower()
        stages = ("first_token", "first_sentence", "tts_first_chunk", "first_audio", "last_audio")
        times = [result["timings_ms"][stage] for stage in stages]
        assert times == sorted(times)
        seconds, peak = loudness(tmp_path / "heard" / f"{result['turn_id']}.wav")
        assert seconds == pytest.approx(result["audio_ms"] / 1000, abs=0.1)
        assert peak > 3000
        assert show.stop() == 0
        assert turns(show) == [(result["turn_id"], "spoken", result["timings_ms"]["first_audio"])]


@posix
@pytest.mark.parametrize("name", ["policy", "tts"])
def test_a_killed_worker_comes_back_and_the_next_turn_is_spoken(tmp_path, name):
    """kill -9 of a worker in mid-turn: that turn fails, the worker is restarted, the next turn is spoken."""
    with real_show(tmp_path, USE_STUB_TTS="1", POLICY_ENGINE="tests.shows.slow:SlowBrain") as show:
        speaking = show.saying("tell me a story")
        show.wait_for(lambda: show.status()["queue"]["turn_id"], "no turn began")
        before = show.pid(name)
        os.kill(before, signal.SIGKILL)
        out, _ = speaking.communicate(timeout=30)
        assert '"outcome": "failed"' in out
        assert f"{name}_lost" in out
        assert show.say("and now?")["outcome"] == "spoken"
        assert show.pid(name) != before


@posix
def test_a_killed_orchestrator_is_rejoined_by_workers_that_kept_their_models(tmp_path):
    """kill -9 of the orchestrator: the same workers rejoin, the journal is whole, the next turn is spoken."""
    with real_show(tmp_path, POLICY_ENGINE="tests.shows.slow:SlowBrain", USE_STUB_TTS="1") as show:
        workers = {name: show.pid(name) for name in ("policy", "tts")}
        cut_off = show.saying("tell me a story")
        show.wait_for(lambda: show.status()["queue"]["turn_id"], "no turn began")
        os.kill(show.pid("orchestrator"), signal.SIGKILL)
        cut_off.communicate(timeout=30)
        show.wait_for(
            lambda: show.status().get("modules", {}).get("tts", {}).get("state") == "ok",
            "the voice did not rejoin",
        )
        assert show.say("still there?")["outcome"] == "spoken"
        assert {name: show.pid(name) for name in workers} == workers
        assert [outcome for _, outcome, _ in turns(show)] == ["failed", "spoken"]


@posix
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind(tmp_path, how):
    """Ctrl+C, a closed terminal, a polite and a rude kill of the supervisor: no process outlives it."""
    with real_show(tmp_path) as show:
        family = show.family()
        assert len(family) == 5
        names = {process.pid: process.cmdline()[-1] for process in family}
        os.kill(show.process.pid, how)
        _gone, alive = psutil.wait_procs(family, timeout=10)
        assert not [names[process.pid] for process in alive]


def test_bad_settings_end_it_at_once_with_the_fix(tmp_path):
    """A setting that a worker cannot use ends `aivt up` with exit code 2 and one clear error."""
    show = RealShow(tmp_path, TTS_ENGINE="bogus")
    assert show.process.wait(20) == 2
    show.stop()
    said = [line for line in show.lines if line.startswith(("error:", "fix:"))]
    assert "TTS_ENGINE='bogus'" in said[-2]
    assert "espeak" in said[-1]


def test_a_port_in_use_is_named(tmp_path):
    """A second show on the same port ends with exit code 4."""
    with real_show(tmp_path / "one") as first:
        port = first.wait_ready().rsplit(":", 1)[1].strip("/")
        second = RealShow(tmp_path / "two", AIVT_PORT=port)
        assert second.process.wait(20) == 4
        second.stop()
        assert f"error: orchestrator: port {port} is in use by another program" in second.lines


def test_two_shows_cannot_share_a_data_folder(tmp_path):
    """The second show on a data folder ends with one error; the first does not notice."""
    with real_show(tmp_path) as first:
        second = RealShow(tmp_path)
        assert second.process.wait(20) == 1
        second.stop()
        assert any("another show is running on the data folder" in line for line in second.lines)
        assert first.say("hello")["outcome"] == "spoken"
