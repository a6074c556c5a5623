"""`aivt model` and `aivt voices` as a streamer types them, against stand-ins: what is printed, exit codes."""

import contextlib
import json
import os
import subprocess

import pytest

from tests.fakes.catalogue import FakeCatalogue, Fault, Kind
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_library import PullFault
from tests.shows.beside import Servers
from tests.shows.real import AIVT, PROJECT

pytestmark = [pytest.mark.real, pytest.mark.timeout(60)]

NOBODY = {"OLLAMA_HOST": "127.0.0.1:1"}
TINY = "en_US-aivt-tiny"


@pytest.fixture
def ollama():
    return FakeOllama(models=["llama3.2:3b"], library=["llama3.1:8b"])


@pytest.fixture
def catalogue():
    catalogue = FakeCatalogue()
    folder = PROJECT / "tests" / "voices"
    model, config = (folder / f"{TINY}.{ending}" for ending in ("onnx", "onnx.json"))
    catalogue.add(TINY, model.read_bytes(), config.read_bytes())
    return catalogue


@pytest.fixture
def aivt(tmp_path, ollama, catalogue):
    """Run a command of `aivt` with the stand-ins; settings may be added."""
    with contextlib.closing(Servers()) as servers, servers.running(ollama, catalogue):
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("AIVT_", "POLICY_"))
        }
        env = {**kept, "AIVT_DATA_DIR": str(tmp_path), "OLLAMA_HOST": ollama.url, "VOICES_URL": catalogue.url}

        def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*AIVT, *arguments],
                cwd=PROJECT,
                env={**env, **settings},
                capture_output=True,
                encoding="utf-8",
                timeout=50,
                check=False,
            )

        yield run


def told(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The error and the fix, which are the last two lines."""
    lines = done.stderr.splitlines()[-2:]
    assert [line.partition(":")[0] for line in lines] == ["error", "fix"], done.stderr
    return lines


def test_a_model_is_pulled_and_then_listed(aivt):
    """What is in Ollama's library comes with its licence, and is among the models that are there."""
    done = aivt("model", "pull", "llama3.1:8b")
    assert done.returncode == 0, done.stderr
    assert "llama3.1:8b is there: 4.9 GB" in done.stdout
    assert "Licence: Llama 3.1 Community" in done.stdout
    assert "POLICY_MODEL=llama3.1:8b" in done.stdout
    listed = aivt("model", "list", "--json")
    assert listed.returncode == 0
    places = {model["name"]: model["place"] for model in json.loads(listed.stdout)["models"]}
    assert places["llama3.1:8b"] == "ollama"
    assert places["gemma3:12b"] == ""


def test_pulls_that_fail(aivt, ollama):
    """2: the name is wrong; 3: something is missing; 1: it broke. Each with its fix."""
    done = aivt("model", "pull", "llama3.1:9b")
    assert (done.returncode, told(done)) == (
        2,
        ["error: there is no model llama3.1:9b", "fix: Did you mean: aivt model pull llama3.1:8b"],
    )
    done = aivt("model", "pull", "llama3.1:8b", **NOBODY)
    assert done.returncode == 3
    assert "Start Ollama" in told(done)[1]
    ollama.pull_faults += [PullFault.DISK_FULL, PullFault.DIGEST]
    done = aivt("model", "pull", "llama3.1:8b")
    assert (done.returncode, told(done)[0]) == (3, "error: the disk of Ollama's models is full")
    done = aivt("model", "pull", "llama3.1:8b")
    assert (done.returncode, told(done)[0]) == (1, "error: a part of llama3.1:8b came damaged")


def test_the_status_tells_what_would_answer(aivt):
    """0 while what the settings want is there, 3 when only scripted lines are left, 2 for no engine."""
    done = aivt("model", "status", POLICY_MODEL="llama3.2:3b")
    assert done.returncode == 0
    assert "> ollama    ready    llama3.2:3b" in done.stdout
    done = aivt("model", "status", POLICY_ENGINE="ollama", **NOBODY)
    assert done.returncode == 3
    assert "> scripted  ready" in done.stdout
    assert "fix: Start Ollama" in done.stdout
    done = aivt("model", "status", POLICY_ENGINE="bogus")
    assert done.returncode == 2
    assert "POLICY_ENGINE='bogus'" in told(done)[0]


def test_a_voice_is_found_and_downloaded(aivt, tmp_path):
    """The list names licences; a voice is there as a whole, and once is enough."""
    listed = aivt("voices")
    assert listed.returncode == 0
    assert "public domain" in next(line for line in listed.stdout.splitlines() if TINY in line)
    done = aivt("voices", "--download", TINY)
    assert done.returncode == 0, done.stderr
    assert f"PIPER_VOICE={TINY}" in done.stdout
    assert {f"{TINY}.onnx", f"{TINY}.onnx.json"} <= {file.name for file in (tmp_path / "voices").iterdir()}
    again = aivt("voices", "--download", TINY)
    assert (again.returncode, "installed already" in again.stdout) == (0, True)


def test_downloads_that_fail(aivt, catalogue, tmp_path):
    """2: the name is wrong; 1: it came damaged; 3: there is no list. Each with its fix, no voice by half."""
    done = aivt("voices", "--download", "en_US-aivt-tinny")
    assert (done.returncode, told(done)[1]) == (2, f"fix: Did you mean {TINY}?")
    path = next(path for path in catalogue.files if path.endswith(".onnx"))
    catalogue.hurt(path, *[Fault(Kind.WRONG_BYTES)] * 2)
    done = aivt("voices", "--download", TINY)
    assert done.returncode == 1
    assert "damaged" in told(done)[0]
    assert list((tmp_path / "voices").glob("*.onnx*")) == []
    catalogue.raw = b"<html>Sign in to this network</html>"
    (tmp_path / "voices" / ".catalogue" / "voices.json").unlink()
    done = aivt("voices")
    assert done.returncode == 3
    assert "VOICES_URL" in told(done)[1]
