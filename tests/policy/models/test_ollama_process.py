import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from apps.policy.models import ollama_process


class Process:
    """What psutil gives for a process."""

    def __init__(self, name, environment):
        self.info = {"name": name}
        self._environment = environment

    def environ(self):
        if isinstance(self._environment, Exception):
            raise self._environment
        return self._environment


@pytest.fixture
def running(monkeypatch):
    """Put these processes in the computer's place."""
    return lambda *processes: monkeypatch.setattr(psutil, "process_iter", lambda _: iter(processes))


def test_only_what_matters_is_looked_at(running):
    """Keys and paths of others in its environment are nobody's business; what is empty is not set."""
    running(
        Process("bash", {"OLLAMA_KEEP_ALIVE": "1m"}),
        Process(
            "Ollama.exe",
            {"OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_KEEP_ALIVE": "", "SECRET": "x", "OLLAMA_API_KEY": "k"},
        ),
    )
    assert ollama_process.settings() == {"OLLAMA_KV_CACHE_TYPE": "q8_0"}


def test_a_process_of_somebody_else_is_passed_over(running):
    """A service keeps its environment to itself; another process may still tell."""
    denied = psutil.AccessDenied(1)
    running(Process("ollama", denied))
    assert ollama_process.settings() is None
    running(Process("ollama", psutil.NoSuchProcess(1)), Process("ollama", {"OLLAMA_NUM_PARALLEL": "2"}))
    assert ollama_process.settings() == {"OLLAMA_NUM_PARALLEL": "2"}
    running(Process(None, denied))
    assert ollama_process.settings() is None


@pytest.mark.skipif(sys.platform != "linux", reason="a program takes the name of its link on Linux only")
def test_a_real_process_is_found_by_its_name(tmp_path, running):
    """The program's name is Ollama's, its environment is read from the system."""
    program = tmp_path / "ollama"
    program.symlink_to(sys.executable)
    environment = {**os.environ, "OLLAMA_FLASH_ATTENTION": "1"}
    with subprocess.Popen([program, "-c", "input()"], stdin=subprocess.PIPE, env=environment) as child:
        real = next(each for each in psutil.process_iter(["name"]) if each.pid == child.pid)
        running(real)
        assert (ollama_process.settings() or {})["OLLAMA_FLASH_ATTENTION"] == "1"
        child.communicate(b"\n")


def test_the_folder_of_the_models_is_the_one_that_is_there(tmp_path, monkeypatch):
    """What Ollama was told, else the user's; none is not guessed."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(ollama_process, "SERVICE_FOLDER", tmp_path / "service")
    assert ollama_process.folder(None) is None
    own = tmp_path / ".ollama" / "models"
    own.mkdir(parents=True)
    told = tmp_path / "disk"
    assert ollama_process.folder({}) == own
    assert ollama_process.folder({"OLLAMA_MODELS": str(told)}) is None
    told.mkdir()
    assert ollama_process.folder({"OLLAMA_MODELS": str(told)}) == told


def test_free_space_is_that_of_this_folder(tmp_path, running, monkeypatch):
    """None when nobody knows where the models are, or the disk is gone."""
    running(Process("ollama", {"OLLAMA_MODELS": str(tmp_path)}))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", {tmp_path: usage}.__getitem__)
    assert ollama_process.free_bytes() == usage.free
    running(Process("ollama", {"OLLAMA_MODELS": str(tmp_path / "away")}))
    assert ollama_process.free_bytes() is None
