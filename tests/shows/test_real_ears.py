"""Real processes: the streamer speaks into a WAV file, she hears, stops, answers."""

import contextlib
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.ears.measure import word_error_rate
from tests.ears.speech import cough
from tests.shows.beside import Show, still_there
from tests.shows.onlooker import Onlooker, looking_on
from tests.shows.real import real_show
from tests.shows.recordings import LONG, QUESTION, TINY, heard, spoken, write
from tests.shows.talker import SHORT

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

TALKER = "tests.shows.talker:Talker"
A_FRAME_S = 0.02
NO_MICROPHONE = "she listens to no microphone: ASR_INPUT=none"


def rows(folder: Path, query: str, *values: object) -> list[dict[str, Any]]:
    """What the journal has."""
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(query, values).fetchall()]


class Stage:
    """A rehearsal without a microphone, and everybody in it. Each test leaves it as it found it."""

    def __init__(self, show: Show, eyes: Onlooker, folder: Path) -> None:
        self.show, self.eyes, self.folder = show, eyes, folder
        self.question = spoken(folder / "question.wav", QUESTION)
        self.long = spoken(folder / "long.wav", LONG)
        self.cough = write(folder / "cough.wav", cough(1.5, seed=1))

    def hear(self, recording: Path) -> None:
        """Play it instead of the microphone."""
        status, answer = self.show.ask("/control/hear", {"path": str(recording)})
        assert status == 200, answer

    def control(self, action: str, **body: object) -> int:
        return self.show.ask(f"/control/{action}", body)[0]

    def wav(self, turn_id: str) -> tuple[np.ndarray, int]:
        return heard(self.show.real.folder / "heard" / f"{turn_id}.wav")

    def answered(self, since: int) -> str:
        """Wait until she has answered the streamer; return the words that she answered."""
        turn = self.eyes.wait(since, "turnstate", lane="streamer", state="spoken")
        self.show.real.wait_for(lambda: self._turn(turn["turn_id"]), "the turn was not written down")
        row = self._turn(turn["turn_id"])[0]
        assert row["outcome"] == "spoken"
        return str(row["text"])

    def _turn(self, turn_id: str) -> list[dict[str, Any]]:
        return rows(
            self.show.real.folder, "SELECT * FROM turns WHERE id = ? AND outcome IS NOT NULL", turn_id
        )

    def settle(self) -> None:
        """Wait until nobody speaks any more."""

        def quiet() -> bool:
            status = self.show.status()
            queue = status["queue"]
            over = status["modules"]["asr"]["reason"] == NO_MICROPHONE
            return over and not (queue["turn_id"] or queue["waiting"] or status["ears"]["speaking"])

        self.show.real.wait_for(quiet, "somebody goes on speaking")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One show for all who play recordings into it; its end must leave nothing behind.

    WebRTC's detector is the one that takes a cough for a voice.
    """
    folder = tmp_path_factory.mktemp("rehearsal")
    settings = {"ASR_MODEL": TINY, "ASR_INPUT": "none", "ASR_VAD": "webrtc", "POLICY_ENGINE": TALKER}
    with real_show(folder / "data", **settings) as real, contextlib.closing(Show(real)) as show:
        with looking_on(show) as eyes:
            yield Stage(show, eyes, folder)
        family = real.family()
        assert real.stop() == 0
        assert still_there(family) == []
        assert not [line for line in real.lines if "Traceback" in line]


@pytest.fixture
def stage(rehearsal: Stage) -> Iterator[Stage]:
    yield rehearsal
    rehearsal.settle()


def test_she_hears_a_question_and_answers_it(tmp_path):
    """A WAV as microphone, her answer as a WAV: the right words, every stage's time, the head start."""
    microphone = spoken(tmp_path / "microphone.wav", QUESTION, lead_s=1.0)
    data = tmp_path / "data"
    settings = {"ASR_MODEL": TINY, "ASR_INPUT": str(microphone), "POLICY_ENGINE": TALKER}
    with real_show(data, **settings) as real, contextlib.closing(Show(real)) as show:
        real.wait_for(lambda: show.status()["latency"]["microphone_first_audio_ms"]["turns"], "no answer")
        light = show.until(lambda light: light["state"] == "off", "asr")
        assert (light["engine"], light["model"]) == ("whisper", "tiny, cpu int8")
        assert light["reason"] == "the recording of ASR_INPUT has been heard to its end"
        assert "ASR_INPUT" in light["fix"]
        assert show.status()["ears"]["transcripts"] == 1
        assert real.stop() == 0
    (turn,) = rows(data, "SELECT * FROM turns")
    assert (turn["lane"], turn["user"], turn["outcome"]) == ("streamer", "streamer", "spoken")
    assert word_error_rate([(QUESTION, turn["text"])]) <= 1 / 5
    assert turn["heard"] == turn["reply"] == SHORT
    stages = [turn[f"{stage}_ms"] for stage in ("endpoint", "transcript", "first_audio", "last_audio")]
    assert stages == sorted(stages)
    assert stages[0] > 0
    *_, start = rows(data, "SELECT * FROM head_starts ORDER BY turn_id")  # others were guessed too soon
    assert (start["turn_id"], start["kept"]) == (turn["id"], 1)
    assert start["saved_ms"] > 0
    sound, rate_hz = heard(data / "heard" / f"{turn['id']}.wav")
    assert len(sound) / rate_hz == pytest.approx(turn["audio_ms"] / 1000, abs=A_FRAME_S)
    assert np.abs(sound.astype(int)).max() > 3000
    assert rows(data, "SELECT * FROM incidents WHERE what LIKE '%ASR_INPUT%'") == []


def test_she_stops_when_the_streamer_speaks(stage):
    """Silent at once, her turn is over when the words are known, and they are answered next."""
    since = stage.eyes.now
    story = stage.show.saying("tell me a story")
    stage.eyes.wait(since, "piecestarted")
    stage.hear(stage.question)
    result = story.result()
    assert (result["outcome"], result["reason"]) == ("cancelled", "barge_in: the streamer spoke")
    assert word_error_rate([(QUESTION, stage.answered(since))]) <= 1 / 5

    mine = {"turn_id": result["turn_id"]}
    eyes = stage.eyes
    order = [
        eyes.wait(since, "piecestarted", **mine),
        eyes.wait(since, "hearing", state="speaking"),
        eyes.wait(since, "piecehushed", **mine),
        eyes.wait(since, "hearing", state="final"),
        eyes.wait(since, "turnstate", state="cancelled", **mine),
        eyes.wait(since, "piecestarted", index=0, **_other(eyes, since, result["turn_id"])),
    ]
    assert [eyes.events.index(event) for event in order] == sorted(map(eyes.events.index, order))
    assert eyes.told(since, "pieceresumed", **mine) == []

    sound, rate_hz = stage.wav(result["turn_id"])
    stopped_s = sum(piece["audio_ms"] for piece in eyes.told(since, "pieceplayed", **mine)) / 1000
    stopped_s += order[2]["played_s"]
    last_s = (np.flatnonzero(sound)[-1] + 1) / rate_hz
    assert stopped_s - 0.5 <= last_s <= stopped_s + A_FRAME_S  # she may have been between two words
    assert len(sound) / rate_hz > stopped_s + 1, "she listens in silence until the words are over"


def _other(eyes: Onlooker, since: int, turn_id: str) -> dict[str, str]:
    """The turn that came next."""
    begun = [event["turn_id"] for event in eyes.told(since, "turnstate", state="speaking")]
    return {"turn_id": next(other for other in begun if other != turn_id)}


def test_a_cough_makes_her_pause(stage):
    """She goes on from where she stopped: her WAV has the whole reply, and the pause in it."""
    since = stage.eyes.now
    story = stage.show.saying("tell me a story")
    stage.eyes.wait(since, "piecestarted")
    stage.hear(stage.cough)
    result = story.result()
    assert result["outcome"] == "spoken", result
    hushed = stage.eyes.wait(since, "piecehushed")
    resumed = stage.eyes.wait(since, "pieceresumed")
    assert resumed["played_s"] == hushed["played_s"]
    assert [event["state"] for event in stage.eyes.told(since, "hearing")] == ["speaking", "nothing"]

    sound, rate_hz = stage.wav(result["turn_id"])
    before = round(hushed["played_s"] * rate_hz)
    if hushed["index"]:
        before += round(stage.eyes.wait(since, "pieceplayed")["audio_ms"] / 1000 * rate_hz)
    pause = int(np.argmax(sound[before:] != 0))
    assert pause / rate_hz > 0.3
    assert (len(sound) - pause) / rate_hz == pytest.approx(result["audio_ms"] / 1000, abs=0.3)


def test_her_ears_are_killed_while_she_listens(stage):
    """She goes on with what she said; the next ears are there by themselves, and hear."""
    since = stage.eyes.now
    story = stage.show.saying("tell me a story")
    stage.eyes.wait(since, "piecestarted")
    stage.hear(stage.long)
    stage.eyes.wait(since, "piecehushed")
    ears = stage.show.process("asr")
    ears.kill()
    stage.show.until(lambda light: light["reason"] == NO_MICROPHONE and light["pid"] != ears.pid, "asr")
    assert stage.eyes.told(since, "hearing")[-1]["state"] == "nothing"
    assert story.result()["outcome"] == "spoken"
    assert stage.eyes.told(since, "pieceresumed")

    since = stage.eyes.now
    stage.hear(stage.question)
    assert word_error_rate([(QUESTION, stage.answered(since))]) <= 1 / 5


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="POSIX signals")
def test_her_ears_hang_while_she_listens(stage):
    """She goes on, the light is red; when they wake up it is green again by itself, and they hear."""
    since = stage.eyes.now
    stage.show.saying("tell me a story")
    stage.eyes.wait(since, "piecestarted")
    stage.hear(stage.long)
    stage.eyes.wait(since, "piecehushed")
    ears = stage.show.process("asr")
    ears.suspend()
    try:
        light = stage.show.until(lambda light: light["state"] == "down", "asr")
        assert light["reason"] == "has not answered for 3 s"
        assert light["fix"]
        stage.eyes.wait(since, "pieceresumed")
    finally:
        ears.resume()
    light = stage.show.until(lambda light: light["state"] == "ok", "asr")
    assert light["pid"] == ears.pid
    assert stage.answered(since)


def test_ears_that_are_switched_off(stage):
    """Nothing is heard, the light says why; switched on again they hear."""
    since = stage.eyes.now
    assert stage.control("ears", name="off") == 200
    stage.hear(stage.question)
    light = stage.show.until(lambda light: "switched off" in light["reason"], "asr")
    assert (light["state"], light["fix"]) == ("off", "Switch them on in the panel.")
    stage.show.until(lambda light: light["reason"] == NO_MICROPHONE, "asr")
    assert stage.eyes.told(since, "hearing") == []
    assert stage.control("ears", name="on") == 200
    stage.hear(stage.question)
    assert word_error_rate([(QUESTION, stage.answered(since))]) <= 1 / 5


def test_push_to_talk(stage):
    """Only what is said while the key is held is heard; without that mode the key means nothing."""
    assert stage.control("talk") == 400
    assert stage.control("ears", name="push") == 200
    since = stage.eyes.now
    stage.hear(stage.question)
    stage.show.until(lambda light: light["state"] == "ok", "asr")
    stage.show.until(lambda light: light["reason"] == NO_MICROPHONE, "asr")
    assert stage.eyes.told(since, "hearing") == []

    stage.hear(stage.question)
    stage.show.until(lambda light: light["state"] == "ok", "asr")  # the recording has begun
    assert stage.control("talk") == 200
    stage.eyes.wait(since, "hearing", state="partial")
    assert stage.control("talk_end") == 200
    assert stage.answered(since)
    stage.show.until(lambda light: light["reason"] == NO_MICROPHONE, "asr")
    assert len(stage.eyes.told(since, "hearing", state="speaking")) == 1
    assert stage.control("ears", name="open") == 200


def test_replay(stage):
    """`aivt replay --wav --chat`: the streamer and a viewer are answered; a damaged file is told."""
    chat = stage.folder / "chat.jsonl"
    chat.write_text('{"t": 2.5, "user": "mika", "text": "hi"}\n', "utf-8")
    since = stage.eyes.now
    done = stage.show.real.aivt("replay", "--wav", str(stage.question), "--chat", str(chat))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.splitlines() == [
        "     2.5  mika: hi",
        "1 lines of chat played",
        "she hears question.wav, to its end",
    ]
    assert word_error_rate([(QUESTION, stage.answered(since))]) <= 1 / 5
    stage.eyes.wait(since, "turnstate", lane="chat", user="mika", state="spoken")

    stage.settle()
    done = stage.show.real.aivt("replay", "--wav", str(chat))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: the recording {chat} is not a sound file that can be read, or a damaged one",
        "fix: Choose another recording.",
    ]
    stage.hear(stage.cough)  # which ends the trouble
