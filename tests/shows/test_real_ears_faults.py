"""Real processes: ears that cannot be used as they are wanted, and `aivt transcribe`."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from apps.asr_worker.engines.scripted import SCRIPT
from tests.ears.measure import word_error_rate
from tests.ears.speech import RATE_HZ, Samples, say
from tests.shows.beside import LIMIT_S, Show, still_there
from tests.shows.onlooker import looking_on
from tests.shows.real import AIVT, PROJECT, real_show
from tests.shows.recordings import QUESTION, TINY, VOICE, spoken, write

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

QUIET = {"USE_STUB_TTS": "1", "TTS_OUTPUT": "discard", "POLICY_ENGINE": "tests.shows.talker:Talker"}


@pytest.fixture(scope="module")
def earless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Show]:
    """A show without ears, which may be started beside it."""
    folder = tmp_path_factory.mktemp("earless")
    with real_show(folder, "--without", "asr", **QUIET) as real, contextlib.closing(Show(real)) as show:
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
        ({"ASR_DEVICE": "cuda"}, "degraded", "NVIDIA|CUDA", "driver|cpu"),
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
        assert re.search(reason, wrong["reason"]), wrong
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
    ids=["model", "folder", "detector", "numbers", "language", "engine", "no sound", "empty", "no file"],
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
    settings = {**QUIET, "ASR_INPUT": "", "ASR_ENGINE": "bogus"}
    with real_show(tmp_path, **settings) as real, contextlib.closing(Show(real)) as show:
        light = show.until(lambda light: light["reason"].startswith("given up"), "asr")
        assert light["reason"] == "given up: ASR_ENGINE='bogus' is not an engine"
        assert "whisper" in light["fix"]
        assert show.say()["outcome"] == "spoken"
        assert len([line for line in real.lines if "bogus" in line and "supervisor" in line]) == 1
        assert real.stop() == 0


def test_the_stub_makes_words_up(earless, broken):
    """USE_STUB_ASR=1: whatever is said, she answers a line of the script; the light tells of it."""
    with (
        looking_on(earless) as eyes,
        ears(earless, USE_STUB_ASR="1", ASR_INPUT=str(broken / "question.wav")) as process,
    ):
        light = earless.until(lambda light: light["pid"] == process.pid and light["engine"], "asr")
        assert light["engine"] == "scripted"
        assert "made-up" in light["model"]
        assert eyes.wait(0, "hearing", state="final")["text"] in SCRIPT
        eyes.wait(0, "turnstate", lane="streamer", state="spoken")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_model_that_takes_a_minute_to_load(earless, tmp_path):
    """The show begins without ears, and neither its end nor that of `aivt run asr` waits for them."""
    recording = spoken(tmp_path / "question.wav", QUESTION)
    settings = {"ASR_ENGINE": "tests.shows.slow_ears:SlowEars", "ASR_INPUT": str(recording)}
    with (
        real_show(tmp_path / "data", **QUIET, **settings) as real,
        contextlib.closing(Show(real)) as show,
    ):
        light = show.until(lambda light: light["reason"] != "has not joined yet", "asr")
        assert (light["state"], light["reason"]) == ("starting", "loading what she hears with")
        assert show.say()["outcome"] == "spoken"
        family = real.family()
        assert len(family) == 5
        assert real.stop() == 0
        assert still_there(family) == []
    with ears(earless, **settings) as process:
        earless.until(lambda light: light["pid"] == process.pid, "asr")
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
    clipped: Samples = np.clip(8 * samples, -1, 1)  # of a peak of 0.5
    return clipped


@pytest.mark.parametrize(
    ("name", "change", "manner"),
    [
        ("stereo, 24 bits", None, {"channels": 2, "width_bytes": 3}),
        ("8 kHz", None, {"rate_hz": 8_000}),
        ("96 kHz", None, {"rate_hz": 96_000}),
        ("clipped", loud, {}),
    ],
    ids=["stereo", "8 kHz", "96 kHz", "clipped"],
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
    assert word_error_rate([(QUESTION, final["text"])]) <= 1 / 5
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
