"""Real processes: which brain answers when models, servers and processes fail, and how she climbs back."""

import contextlib
import json
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.fakes import gguf
from tests.fakes.gguf import write_gguf
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai import FakeOpenAI, Fault
from tests.shows.beside import QUIET, Servers, Show, another_policy, brainless_show, quiet_show, still_there
from tests.shows.real import PROJECT, RealShow, real_show

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

VOICE = "en_US-aivt-tiny"
KEY = "sk-fox-0123456789abcdef"
FULL_REPLY = "I am the big model, and I like tea."


@pytest.fixture(scope="module")
def servers():
    with contextlib.closing(Servers()) as servers:
        yield servers


@pytest.fixture(scope="module")
def brainless(tmp_path_factory):
    """A show to which each test brings its own policy process."""
    with brainless_show(tmp_path_factory.mktemp("show"), AIVT_LOG_LEVEL="debug") as real:
        yield real


def outcomes(show: Show) -> list[str]:
    """What the journal has of all turns, once the show has ended."""
    with contextlib.closing(sqlite3.connect(show.real.folder / "journal.db")) as db:
        return [outcome for (outcome,) in db.execute("SELECT outcome FROM turns ORDER BY id")]


# --- the whole chain ---


def test_she_falls_down_the_chain_and_climbs_up_again(tmp_path, servers):
    """Ollama stops, llama.cpp is killed: each line is answered in its own turn, and she climbs back alone."""
    ollama = FakeOllama(reply=["Ollama", " says", " hello", "."])
    with servers.running(ollama):
        settings = {
            "POLICY_ENGINE": "ollama",
            "OLLAMA_HOST": ollama.url,
            "POLICY_GGUF": str(write_gguf(tmp_path / "fox.gguf")),
            "USE_STUB_TTS": "0",
            "PIPER_VOICE": VOICE,
        }
        with quiet_show(tmp_path / "data", **settings) as show:
            assert show.say()["reply"] == "Ollama says hello."
            assert show.light()["state"] == "ok"
            assert show.host() is None, "a model that is not needed takes no memory"
            fall_from_ollama(show, ollama, servers)
            fall_from_llama_cpp(show)
            climb_to_llama_cpp_and_piper(show)
            climb_to_ollama(show, ollama, servers)
        assert outcomes(show) == ["spoken"] * 5


def fall_from_ollama(show: Show, ollama: FakeOllama, servers: Servers) -> None:
    """It stops while she waits for its first word."""
    ollama.first_token_s = 60
    line = "are you there?"
    turn = show.saying(line)
    show.real.wait_for(lambda: line in ollama.generations[-1].messages[-1]["content"], "Ollama was not asked")
    servers.stop(ollama)
    result = turn.result()
    assert (result["outcome"], result["reply"]) == ("spoken", gguf.REPLY)
    assert result["reason"].startswith("ollama_unreachable")
    light = show.light()
    assert (light["state"], light["engine"], light["model"]) == ("degraded", "llamacpp", "fox")
    assert light["reason"] == f"llamacpp answers: no answer from {ollama.url}"
    assert "ollama serve" in light["fix"]


def fall_from_llama_cpp(show: Show) -> None:
    """Its process ends in the middle of a turn: it is held, asked, and killed."""
    host = show.host()
    assert host is not None
    host.suspend()
    turn = show.saying("and now?")
    show.real.wait_for(show.turn_id, "no turn began")
    host.kill()
    result = turn.result()
    assert result["outcome"] == "spoken"
    assert gguf.REPLY not in result["reply"]
    assert result["reason"].startswith("llamacpp_crashed")
    light = show.light()
    assert (light["state"], light["engine"]) == ("degraded", "scripted")
    assert "no answer from" in light["reason"]
    assert "llama.cpp crashed" in light["reason"]
    assert "ollama serve" in light["fix"], "what mends the best of them"


def climb_to_llama_cpp_and_piper(show: Show) -> None:
    """llama.cpp is started again by itself; a voice that was missing is taken once its files are there."""
    light = show.light("tts")
    assert (light["state"], light["engine"]) == ("degraded", "espeak")
    assert VOICE in light["reason"]
    assert "PIPER_VOICE" in light["fix"]
    folder = show.real.folder / "voices"
    folder.mkdir(exist_ok=True)
    for ending in ("onnx.json", "onnx"):
        shutil.copy(PROJECT / "tests" / "voices" / f"{VOICE}.{ending}", folder)
    assert show.until(lambda light: light["engine"] == "llamacpp")["state"] == "degraded"
    assert show.until(lambda light: light["engine"] == "piper", "tts")["state"] == "ok"
    assert show.say()["reply"] == gguf.REPLY


def climb_to_ollama(show: Show, ollama: FakeOllama, servers: Servers) -> None:
    """Ollama is there again, on its port: llama.cpp's memory is freed."""
    host = show.host()
    assert host is not None
    ollama.first_token_s = 0
    servers.start(ollama)
    light = show.until(lambda light: light["engine"] == "ollama")
    assert (light["state"], light["reason"]) == ("ok", "")
    assert show.say()["reply"] == "Ollama says hello."
    assert still_there([host]) == []


# --- models that do not do ---


def cut_off(path: Path) -> Path:
    whole = write_gguf(path).read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return path


@pytest.mark.parametrize(
    ("write", "reason", "fix"),
    [
        pytest.param(cut_off, "fox.gguf is cut off", "Download it again", id="cut off"),
        pytest.param(
            lambda path: write_gguf(path, architecture="foxformer"),
            "unknown model architecture: 'foxformer'",
            "another family",
            id="unknown architecture",
        ),
        pytest.param(
            lambda path: write_gguf(path, template=None), "no chat template", "Instruct", id="no template"
        ),
        pytest.param(
            lambda path: write_gguf(path, context_tokens=64),
            "context size (64 tokens)",
            "made for 4096 tokens",
            id="context too small",
        ),
        pytest.param(
            lambda path: write_gguf(path, thoughts="Hmm, a viewer says hello."),
            "thinks aloud",
            "an instruct model",
            id="thinks aloud",
        ),
    ],
)
def test_a_model_that_does_not_do(brainless, tmp_path, write: Callable[[Path], Path], reason, fix):
    """Scripted lines answer the very first line, and the light says in one line why, and what to do."""
    model = write(tmp_path / "fox.gguf")
    with another_policy(brainless, POLICY_ENGINE="llamacpp", POLICY_GGUF=str(model)) as show:
        result = show.say()
        light = show.light()
    assert result["outcome"] == "spoken"
    assert "Hmm" not in result["reply"]
    assert gguf.REPLY not in result["reply"]
    assert (light["state"], light["engine"]) == ("degraded", "scripted")
    assert reason in light["reason"]
    assert fix in light["fix"]
    assert "\n" not in light["reason"] + light["fix"]


def test_a_model_that_runs_in_a_circle_is_ended(brainless, tmp_path):
    """What she says again and again is said once, and the next line is answered as well."""
    model = write_gguf(tmp_path / "fox.gguf", "I like snacks and you do too. ", loop=True)
    with another_policy(brainless, POLICY_ENGINE="llamacpp", POLICY_GGUF=str(model)) as show:
        replies = [show.say()["reply"] for _ in range(2)]
        assert replies == ["I like snacks and you do too."] * 2
        assert show.light()["state"] == "ok"


# --- a server that fails ---


def wants_another_key(fake: FakeOpenAI) -> None:
    fake.key = "sk-another-9876543210"


def loses_its_model(fake: FakeOpenAI) -> None:
    fake.models.clear()


def openai_policy(brainless: RealShow, fake: FakeOpenAI) -> AbstractContextManager[Show]:
    """A policy process that has the stand-in's address and its key."""
    settings = {"POLICY_ENGINE": "openai", "OPENAI_BASE_URL": fake.url, "OPENAI_API_KEY": KEY}
    return another_policy(brainless, **settings)


def written(folder: Path) -> list[Path]:
    """Everything that a show has written: logs, journal, what its processes printed."""
    return [file for file in folder.rglob("*") if file.is_file()]


def breaks(*faults: Fault) -> Callable[[FakeOpenAI], None]:
    return lambda fake: fake.faults.extend(faults)


@pytest.mark.parametrize(
    ("fail", "reason", "fix"),
    [
        pytest.param(wants_another_key, "refuses the key", "OPENAI_API_KEY", id="401"),
        pytest.param(loses_its_model, "no model kitsu any more", "Load it again", id="404"),
        # What may pass is tried twice.
        pytest.param(breaks(Fault.BUSY, Fault.BUSY), "too much to do, for 20 s", "at once", id="429"),
        pytest.param(breaks(Fault.HTTP_500, Fault.HTTP_500), "had an error", "server's own log", id="500"),
        pytest.param(breaks(Fault.GARBAGE), "format", "OPENAI_BASE_URL leads to", id="garbage"),
        pytest.param(breaks(Fault.DROPPED, Fault.DROPPED), "broke", "server's own log", id="dropped"),
    ],
)
def test_a_server_that_fails_in_mid_show(brainless, servers, fail, reason, fix):
    """Scripted lines answer in the same turn, the light says why; her key is written nowhere."""
    fake = FakeOpenAI(key=KEY, reply=[f"{word} " for word in FULL_REPLY.split()])
    with servers.running(fake), openai_policy(brainless, fake) as show:
        assert show.light()["state"] == "ok"
        fail(fake)
        results = [show.say() for _ in range(2)]
        light = show.light()
    assert [result["outcome"] for result in results] == ["spoken"] * 2
    assert not any("tea" in result["reply"] for result in results)
    assert reason in results[0]["reason"]
    assert fix in results[0]["reason"]
    assert (light["state"], light["engine"]) == ("degraded", "scripted")
    assert reason in light["reason"]
    assert fix in light["fix"]
    assert KEY not in json.dumps([results, light])
    assert "policy.jsonl" in {file.name for file in written(brainless.folder)}
    assert [file for file in written(brainless.folder) if KEY.encode() in file.read_bytes()] == []


def test_what_was_said_before_a_server_broke_stands(brainless, servers):
    """A sentence that came whole is heard; the half one after it is not."""
    fake = FakeOpenAI(key=KEY, reply=["I am a fox. I like", " tea."])
    with servers.running(fake), openai_policy(brainless, fake) as show:
        fake.faults.append(Fault.DROPPED)
        result = show.say()
    assert (result["outcome"], result["reply"]) == ("spoken", "I am a fox.")
    assert "connection broke" in result["reason"]


# --- processes ---


@posix
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_llama_cpp_does_not_outlive_a_show(tmp_path, how):
    """However the show is ended, its model's process ends too, even one that hangs."""
    model = write_gguf(tmp_path / "fox.gguf")
    with real_show(tmp_path, **QUIET, **with_gguf(model)) as real, contextlib.closing(Show(real)) as show:
        host = show.host()
        assert host is not None
        host.suspend()
        family = real.family()
        real.process.send_signal(how)
        assert still_there(family) == []


def test_a_killed_policy_takes_llama_cpp_along_and_both_come_back(tmp_path):
    """kill -9 of the policy process: no orphan holds the memory, the model is loaded again, she answers."""
    model = write_gguf(tmp_path / "fox.gguf")
    with quiet_show(tmp_path, **with_gguf(model)) as show:
        host = show.host()
        assert host is not None
        light = show.restarted("policy", show.process("policy"))
        assert (light["state"], light["engine"]) == ("ok", "llamacpp")
        assert still_there([host]) == []
        assert show.say()["reply"] == gguf.REPLY


def with_gguf(model: Path) -> dict[str, str]:
    return {"POLICY_ENGINE": "llamacpp", "POLICY_GGUF": str(model)}
