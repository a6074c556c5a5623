"""Real processes: the streamer speaks into a WAV file, she hears, stops, answers."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest

from apps.asr_worker.engines.scripted import SCRIPT
from tests.ears.measure import word_error_rate
from tests.ears.speech import RATE_HZ, Samples, cough, say
from tests.shows.beside import LIMIT_S, Show, still_there
from tests.shows.onlooker import Onlooker, looking_on
from tests.shows.real import AIVT, PROJECT, real_show
from tests.shows.recordings import LONG, QUESTION, VOICE, heard, spoken, write
from tests.shows.talker import SHORT

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

TINY = "tests/ears/tiny"
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


# --- what can be wrong with them ---


@pytest.fixture(scope="module")
def earless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """A show without ears, which may be started beside it."""
    folder = tmp_path_factory.mktemp("earless")
    settings = {"USE_STUB_TTS": "1", "TTS_OUTPUT": "discard", "POLICY_ENGINE": TALKER}
    with (
        real_show(folder, "--without", "asr", **settings) as real,
        contextlib.closing(Show(real)) as show,
    ):
        yield show
        assert real.stop() == 0


@contextlib.contextmanager
def ears(show: Show, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """`aivt run asr`, which is no more at the end."""
    process = subprocess.Popen(
        [*AIVT, "run", "asr"],
        cwd=PROJECT,
        env={**show.real.env, "ASR_MODEL": TINY, "ASR_INPUT": "none", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LIMIT_S)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and recordings that cannot be used."""
    folder = tmp_path_factory.mktemp("broken")
    for name in ("cut", "part"):
        shutil.copytree(PROJECT / TINY, folder / name)
    model = folder / "cut" / "model.bin"
    model.write_bytes(model.read_bytes()[:99_999])
    (folder / "part" / "vocabulary.json").unlink()
    (folder / "notes.wav").write_text("Remember to record something.")
    (folder / "empty.wav").write_bytes(b"")
    spoken(folder / "question.wav", QUESTION)
    return folder


@pytest.mark.parametrize(
    ("settings", "state", "reason", "fix"),
    [
        ({"ASR_MODEL": ""}, "off", "no speech model is there", "aivt setup ears"),
        ({"ASR_MODEL": "small.en"}, "off", "small.en is not there", "aivt setup ears --model small.en"),
        ({"ASR_MODEL": "{}/part"}, "off", "vocabulary.json or vocabulary.txt is missing", "Put"),
        ({"ASR_MODEL": "{}/cut"}, "down", "cannot be used", "aivt setup ears"),
        ({"ASR_DEVICE": "cuda"}, "degraded", "", "ASR_DEVICE|driver|cpu"),
        ({"ASR_ENGINE": "no.such:Ears"}, "off", "No module named 'no'", "choose another ASR_ENGINE"),
    ],
    ids=["no model", "not downloaded", "not whole", "damaged", "no card", "no such engine"],
)
def test_ears_that_cannot_be_as_they_are_wanted(earless, broken, settings, state, reason, fix):
    """The light tells what is wrong and what to do; the process stays, and the show goes on."""
    if "ASR_DEVICE" in settings and ctranslate2.get_cuda_device_count():
        pytest.skip("there is a card")
    given = {name: value.format(broken) for name, value in settings.items()}
    with ears(earless, ASR_INPUT=str(broken / "question.wav"), **given) as process:
        wrong = earless.until(
            lambda light: light["pid"] == process.pid and light["state"] not in {"starting", "ok"}, "asr"
        )
        assert wrong["state"] == state
        assert reason in wrong["reason"]
        assert re.search(fix, wrong["fix"]), wrong
        assert earless.say()["outcome"] == "spoken"
        assert process.poll() is None


def test_a_microphone_that_is_not_there(earless):
    """By its name and with the choice that there is; where no sound library is, how to get it."""
    with ears(earless, ASR_INPUT="Blue Yeti") as process:
        light = earless.until(lambda light: light["pid"] == process.pid and light["state"] == "down", "asr")
        missing = "PortAudio" in light["reason"]
        assert (
            missing or "Blue Yeti" in light["reason"] or "no microphone on this computer" in light["reason"]
        )
        assert ("libportaudio2" if missing else "ASR_INPUT") in light["fix"]
        assert earless.say()["outcome"] == "spoken"


@pytest.mark.parametrize(
    ("settings", "error", "fix"),
    [
        ({"ASR_MODEL": "smal.en"}, "ASR_MODEL=smal.en is no known speech model", "small.en"),
        ({"ASR_MODEL": "no/such/folder"}, "there is no speech model in", "aivt setup ears"),
        ({"ASR_VAD": "nonsense"}, "ASR_VAD='nonsense' cannot be used", "Correct ASR_VAD"),
        ({"ASR_COMPUTE_TYPE": "int7"}, "ASR_COMPUTE_TYPE=int7 cannot be used", "int8"),
        ({"ASR_LANGUAGE": "de"}, "does not know ASR_LANGUAGE=de", "ASR_LANGUAGE=en"),
        ({"ASR_ENGINE": "bogus"}, "ASR_ENGINE='bogus' is not an engine", "whisper"),
        ({"ASR_INPUT": "{}/notes.wav"}, "notes.wav is not a sound file", "another recording"),
        ({"ASR_INPUT": "{}/empty.wav"}, "empty.wav is empty", "another recording"),
        ({"ASR_INPUT": "{}/gone.wav"}, "gone.wav is not there", "Correct its name"),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_settings_that_cannot_be_used(earless, broken, settings, error, fix):
    """One error with its fix and exit code 2: to be corrected, not to be tried again."""
    given = {"ASR_INPUT": str(broken / "question.wav")}
    given |= {name: value.format(broken) for name, value in settings.items()}
    with ears(earless, **given) as process:
        said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 2, said
    (told,) = [line for line in said.splitlines() if line.startswith("error:")]
    assert error in told
    (what,) = [line for line in said.splitlines() if line.startswith("fix:")]
    assert fix in what
    assert "Traceback" not in said


def test_wrong_settings_of_the_ears_leave_the_show_alone(tmp_path):
    """`aivt up` begins without them, says why, and does not start them again and again."""
    settings = {"USE_STUB_TTS": "1", "TTS_OUTPUT": "discard", "ASR_INPUT": "none", "ASR_ENGINE": "bogus"}
    with real_show(tmp_path, **settings) as real, contextlib.closing(Show(real)) as show:
        light = show.until(lambda light: light["state"] == "down", "asr")
        assert light["reason"] == "given up: ASR_ENGINE='bogus' is not an engine"
        assert "whisper" in light["fix"]
        assert show.say()["outcome"] == "spoken"
        assert len([line for line in real.lines if "bogus" in line and "supervisor" in line]) == 1
        assert real.stop() == 0


def test_the_stub_makes_words_up(earless, broken):
    """USE_STUB_ASR=1: whatever is said, she answers a line of the script; the light says that it is a stub."""
    with (
        looking_on(earless) as eyes,
        ears(earless, USE_STUB_ASR="1", ASR_INPUT=str(broken / "question.wav")) as process,
    ):
        light = earless.until(lambda light: light["pid"] == process.pid and light["engine"], "asr")
        assert light["engine"] == "scripted"
        assert "made-up" in light["model"]
        assert eyes.wait(0, "hearing", state="final")["text"] == SCRIPT[0]
        eyes.wait(0, "turnstate", lane="streamer", state="spoken")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_model_that_takes_a_minute_to_load(tmp_path):
    """The show begins without ears, and neither its end nor that of `aivt run asr` waits for them."""
    recording = spoken(tmp_path / "question.wav", QUESTION)
    settings = {"ASR_ENGINE": "tests.shows.slow_ears:SlowEars", "ASR_INPUT": str(recording)}
    with (
        real_show(tmp_path / "data", USE_STUB_TTS="1", TTS_OUTPUT="discard", **settings) as real,
        contextlib.closing(Show(real)) as show,
    ):
        light = show.until(lambda light: light["reason"] != "has not joined yet", "asr")
        assert (light["state"], light["reason"]) == ("starting", "loading what she hears with")
        assert show.say()["outcome"] == "spoken"
        family = real.family()
        assert len(family) == 5
        assert real.stop() == 0
        assert still_there(family) == []
    (tmp_path / "data" / "logs" / "asr.jsonl").unlink()
    with ears(show, **settings) as process:
        real.wait_for((tmp_path / "data" / "logs" / "asr.jsonl").is_file, "the ears did not start")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0


def test_a_live_show_takes_no_recordings(tmp_path):
    """`aivt replay` ends with exit code 2 and says how to do it right."""
    recording = spoken(tmp_path / "question.wav", QUESTION)
    env = {**os.environ, "AIVT_PORT": "0", "AIVT_DATA_DIR": str(tmp_path)}
    live = subprocess.Popen([*AIVT, "run", "orchestrator"], cwd=PROJECT, env=env, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + LIMIT_S
        while not (tmp_path / "port").is_file() and time.monotonic() < until_s:
            time.sleep(0.02)
        done = aivt(env, "replay", "--wav", str(recording))
    finally:
        live.kill()
        live.wait(LIMIT_S)
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        [
            "error: recordings are played into rehearsals only",
            "fix: Start the show with: up --rehearsal",
        ],
    )


def aivt(env: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command."""
    return subprocess.run(
        [*AIVT, *arguments],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def loud(samples: Samples) -> Samples:
    """Four times as loud as it fits."""
    return np.clip(4 * samples / np.abs(samples).max(), -1, 1).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "change", "manner"),
    [
        ("stereo, 24 bits", None, {"channels": 2, "width_bytes": 3}),
        ("8 kHz", None, {"rate_hz": 8_000}),
        ("96 kHz", None, {"rate_hz": 96_000}),
        ("clipped", loud, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_transcribe_takes_every_wav(tmp_path, name, change, manner):
    """The words, one line of JSON per partial and final, and exit code 0."""
    speech = say(QUESTION, VOICE).padded(0.3, 1).samples
    recording = write(tmp_path / f"{name}.wav", change(speech) if change else speech, **manner)
    env = {**os.environ, "AIVT_DATA_DIR": str(tmp_path / "data"), "ASR_MODEL": TINY}
    done = aivt(env, "transcribe", str(recording), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    *partials, final = map(json.loads, done.stdout.splitlines())
    assert {line["type"] for line in partials} == {"partial"}
    assert final["type"] == "final"
    assert word_error_rate([(QUESTION, final["text"])]) <= (3 / 5 if "rate_hz" in manner else 1 / 5)
    assert final["start_s"] == pytest.approx(0.3, abs=0.15)


def test_transcribe_tells_what_it_cannot_read(tmp_path, broken):
    """Exit code 2 for a file, 3 without a model, each with one error and its fix; silence is no error."""
    env = {**os.environ, "AIVT_DATA_DIR": str(tmp_path), "ASR_MODEL": TINY}
    for name in ("notes.wav", "empty.wav", "gone.wav"):
        done = aivt(env, "transcribe", str(broken / name), "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "fix"]
        assert name in done.stderr
    done = aivt({**env, "ASR_MODEL": ""}, "transcribe", str(broken / "question.wav"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "aivt setup ears" in done.stderr.splitlines()[-1]
    silence = write(tmp_path / "silence.wav", np.zeros(600 * RATE_HZ, np.float32))
    done = aivt(env, "transcribe", str(silence), "--json")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
