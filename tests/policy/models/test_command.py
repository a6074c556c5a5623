"""The three commands as a whole, against the strict stand-in."""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys

import pytest

from apps.policy.models import choices, command, ollama_process
from apps.policy.models.choices import Card
from apps.policy.models.ollama_server import OllamaServer
from apps.shared.edge import INTERRUPTED, exit_code
from apps.shared.errors import EngineError, MissingError, SettingsError
from apps.shared.settings import PROJECT_DIR, Settings
from tests.fakes.gguf import write_gguf
from tests.fakes.ollama import FakeOllama
from tests.fakes.ollama_library import FACTS, PullFault
from tests.fakes.raw_http import answering, whole

NAME = "llama3.1:8b"
AS_JSON = argparse.Namespace(json=True)
NOBODY = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def computer(monkeypatch):
    """A card of 12 GB, for which the table has llama3.1:8b; no Ollama but the stand-in."""
    monkeypatch.setattr(choices, "cards", lambda: (Card("Fox 3000", 12 * 1024**3, 0),))
    monkeypatch.setattr(ollama_process, "settings", lambda: {"OLLAMA_NUM_PARALLEL": "2"})
    monkeypatch.setattr(ollama_process, "free_bytes", lambda: 10**12)


@pytest.fixture
async def fake():
    async with FakeOllama(models=[], library=[NAME]) as fake:
        yield fake


@pytest.fixture
def settings(tmp_path):
    def make(**values) -> Settings:
        return Settings(_env_file=None, aivt_data_dir=tmp_path, **({"ollama_host": NOBODY} | values))

    return make


@pytest.fixture
def use(settings, monkeypatch):
    """Let the commands find these settings."""
    return lambda **values: monkeypatch.setattr(Settings, "load", lambda: settings(**values))


# --- pull ---


async def test_a_pull_tells_what_it_takes_before_and_after(settings, fake, capsys):
    """From nothing to a model that she answers with."""
    await command._pull(settings(ollama_host=fake.url), NAME)
    printed = capsys.readouterr()
    assert "Pulling llama3.1:8b: 4.9 GB" in printed.out
    assert "1000.0 GB are free" in printed.out
    assert "llama3.1:8b is there: 4.9 GB on disk (8.0B Q4_K_M)." in printed.out
    assert "Licence: Llama 3.1 Community." in printed.out
    assert "She answers with it from now on." in printed.out
    assert "100 % of 4.9 GB" in printed.err
    assert fake.asked("/api/pull") == [{"model": NAME, "stream": True}]
    found = await command._status(settings(ollama_host=fake.url))
    assert (found.answers.engine, found.answers.model) == ("ollama", NAME)


async def test_a_pull_without_space_downloads_nothing(settings, fake, monkeypatch):
    """The disk of Ollama's models is looked at, on this computer only."""
    fake.downloads.bytes_per_s = FACTS[NAME].size
    monkeypatch.setattr(ollama_process, "free_bytes", lambda: 10**9)
    with pytest.raises(MissingError, match=r"1\.0 GB are free"):
        await command._pull(settings(ollama_host=fake.url), NAME)
    assert fake.models == {}
    assert command._free_bytes(settings(ollama_host="http://192.168.1.7:11434")) is None


async def test_a_pull_that_fails_says_why(settings, fake, capsys):
    """What went wrong is an error, not a line among others."""
    fake.pull_faults.append(PullFault.OFFLINE)
    with pytest.raises(EngineError, match=r"cannot be reached \(no such host\)"):
        await command._pull(settings(ollama_host=fake.url), NAME)
    with pytest.raises(SettingsError) as caught:
        await command._pull(settings(ollama_host=fake.url), "lama3.1:8b")
    assert NAME in caught.value.fix
    assert "is there" not in capsys.readouterr().out


def test_a_pull_without_ollama_is_a_missing_thing(use, capsys):
    """Exit code 3, and how to get it; nothing is announced before."""
    use()
    assert exit_code(lambda: command.model_pull(argparse.Namespace(name=NAME))) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "https://ollama.com/download" in printed.err


def test_a_wrong_name_asks_nobody(use, capsys):
    """Exit code 2 for what cannot be a name."""
    use()
    assert exit_code(lambda: command.model_pull(argparse.Namespace(name="https://x"))) == 2
    assert "cannot be a model's name" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C goes to a whole console there")
async def test_ctrl_c_stops_the_download_and_says_how_to_go_on(fake, tmp_path):
    """A real process: Ollama stops and keeps what has come; the exit code is that of Ctrl+C."""
    fake.downloads.bytes_per_s = FACTS[NAME].size / 1000
    code = (
        "import argparse, sys; from apps.policy.models import command; "
        "from apps.shared.edge import exit_code;"
        f"sys.exit(exit_code(lambda: command.model_pull(argparse.Namespace(name={NAME!r}))))"
    )
    environment = {**os.environ, "OLLAMA_HOST": fake.url, "AIVT_DATA_DIR": str(tmp_path)}
    child = await pulling_process(code, environment)
    async for line in child.stderr:
        if b"0 % of" in line:
            break
    child.send_signal(signal.SIGINT)
    out, err = await child.communicate()
    assert child.returncode == INTERRUPTED
    assert f"The same command goes on from here: aivt model pull {NAME}".encode() in err
    assert b"is there" not in out
    assert NAME not in fake.models


async def pulling_process(code: str, environment: dict[str, str]):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=PROJECT_DIR, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


# --- list ---


def test_the_list_works_without_ollama(use, tmp_path, capsys):
    """Table and files, as text and as data; it is no error that Ollama is away."""
    (tmp_path / "models").mkdir()
    write_gguf(tmp_path / "models" / "fox.gguf")
    use(policy_gguf="fox")
    assert command.model_list(argparse.Namespace(json=False)) == 0
    told = capsys.readouterr().out
    assert "> fox" in told
    assert "gemma3:12b" in told
    assert "ollama serve" in told
    assert command.model_list(AS_JSON) == 0
    data = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in data["models"] if model["chosen"]] == ["fox"]
    assert data["card"]["name"] == "Fox 3000"
    assert data["trouble"]


async def test_the_list_has_what_ollama_has(settings, fake):
    """The model that she would take is marked."""
    fake.models[NAME] = False
    found = await command._shelf(settings(ollama_host=fake.url))
    [chosen] = [model for model in found.models if model.chosen]
    assert (chosen.name, chosen.place) == (NAME, "ollama")
    assert found.missing == ()
    assert found.trouble == ""


# --- status ---


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, 0),
        ({"policy_engine": "ollama"}, 3),
        ({"policy_gguf": "nothing"}, 3),
        ({"policy_engine": "scripted"}, 0),
        ({"policy_engine": "ollama", "use_stub_policy": True}, 0),
    ],
)
def test_only_an_unmet_wish_is_a_failure(use, capsys, values, code):
    """Scripted lines are enough for who has asked for nothing else."""
    use(**values)
    assert command.model_status(argparse.Namespace(json=False)) == code
    assert "> scripted" in capsys.readouterr().out


def test_a_file_instead_of_ollama_is_no_failure(use, tmp_path, capsys):
    """A wish is met by whatever answers in the wanted engine's place."""
    write_gguf(tmp_path / "fox.gguf")
    use(policy_engine="ollama", policy_gguf=str(tmp_path / "fox.gguf"))
    assert command.model_status(AS_JSON) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["answers"]["engine"] == "llamacpp"
    assert [link["state"] for link in data["chain"]] == ["missing", "ready", "ready"]
    assert data["loaded"] is None
    assert data["show"] is None


async def test_an_ollama_that_does_not_tell_what_is_in_memory_is_used_all_the_same(settings):
    """Old versions have no /api/ps."""
    absent = whole(b"404 page not found", "404 Not Found", "text/plain")
    async with answering(absent) as url, OllamaServer(url) as server:
        assert await command._loaded(server) is None


async def test_the_status_sees_what_runs(settings, fake):
    """What Ollama holds in memory, how it was started, and the card."""
    fake.models[NAME] = False
    here = settings(ollama_host=fake.url)
    load = {"model": NAME, "messages": []}
    async with OllamaServer(fake.url) as server, server._server.post("/api/chat", load) as loading:
        await loading.read()
    found = await command._status(here)
    assert found.loaded
    assert found.loaded[0].name == NAME
    assert found.ollama_settings == {"OLLAMA_NUM_PARALLEL": "2"}
    assert found.cards[0].name == "Fox 3000"
    assert command._ollama_settings(settings(ollama_host="http://192.168.1.7:11434")) == {}
