"""`aivt setup ears`, against a stand-in for the hub."""

import argparse
import json
import signal
import subprocess
import sys

import pytest

from apps.asr_worker.models import command, install
from apps.asr_worker.models.folder import Mark, State, look
from apps.asr_worker.models.mark import read_through, write_mark
from apps.asr_worker.models.names import KNOWN, known
from apps.shared.edge import exit_code
from apps.shared.errors import MissingError
from apps.shared.settings import PROJECT_DIR
from tests.asr_worker.models.conftest import TINY
from tests.fakes.catalogue import Fault, Kind, in_thread
from tests.fakes.hub import FakeHub


@pytest.fixture
def fake():
    fake = FakeHub()
    for name in ("base.en", "small.en", "small"):
        model = known(name)
        assert model is not None
        fake.add_model(model.repository, TINY)
    with in_thread(fake):
        yield fake


@pytest.fixture
def setup_ears(monkeypatch, capsys, fake, make_settings, machine):
    """Run the command; returns its exit code, what it printed, and what it printed as errors."""
    monkeypatch.setenv("AIVT_DATA_DIR", str(make_settings().aivt_data_dir))
    monkeypatch.setenv("ASR_MODELS_URL", fake.url)
    monkeypatch.setenv("ASR_MODEL", "")

    def run(model=None, *, as_list=False, as_json=False):
        options = argparse.Namespace(model=model, list=as_list, json=as_json)
        code = exit_code(lambda: command.setup_ears(options))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def folder(make_settings):
    return lambda name: make_settings().hearing_dir / name


def test_the_recommended_model(setup_ears, folder):
    """What suits this computer and why, its size, languages, licence and place; and what to do next."""
    code, out, err = setup_ears()
    assert (code, look(folder("base.en")).state) == (0, State.INSTALLED)
    first, second, third, *_, last = out.splitlines()
    assert first == "Speech model: base.en: the largest that a processor decodes while you speak"
    assert second == "English only, 145 MB to download, licence MIT"
    assert third == "It will run on the processor as int8, and take about 345 MB of memory."
    assert "base.en is installed." in out
    assert last == "She hears with it from the next start of the show on: aivt up"
    assert "base.en: 100 %" in err


def test_on_a_computer_with_a_card(setup_ears, machine, card, folder):
    """Its name and memory, and what the model takes of it."""
    machine(card(16))
    code, out, _ = setup_ears()
    assert (code, look(folder("small.en")).state) == (0, State.INSTALLED)
    assert "Graphics card: RTX (16 GB)" in out
    assert "It will run on the graphics card as float16, and take about 978 MB of it." in out


def test_a_card_that_cannot_be_used_yet(setup_ears, machine, card, folder):
    """Why not, and what mends it, before anything is downloaded for the processor."""
    trouble = MissingError("cuda_incomplete", "cublas64_12.dll is missing", fix="Run: setup cuda")
    machine(card(16, cuda_types=frozenset(), trouble=trouble))
    code, out, _ = setup_ears()
    assert (code, look(folder("base.en")).state) == (0, State.INSTALLED)
    assert (
        "Not on a graphics card: cublas64_12.dll is missing\nThat would be quicker. fix: Run: setup cuda"
        in out
    )


def test_another_language(setup_ears, monkeypatch, machine, card):
    """Gets a model that knows it."""
    monkeypatch.setenv("ASR_LANGUAGE", "de")
    machine(card(16))
    code, out, _ = setup_ears()
    assert code == 0
    assert "Speech model: small: " in out
    assert "many languages" in out


def test_the_model_of_the_settings(setup_ears, monkeypatch):
    """ASR_MODEL goes before what we would choose."""
    monkeypatch.setenv("ASR_MODEL", "small.en")
    code, out, _ = setup_ears()
    assert code == 0
    assert "Speech model: small.en: ASR_MODEL" in out
    assert "She hears with it" in out


def test_a_chosen_model(setup_ears):
    """By --model; where another one would be used, what to set."""
    assert setup_ears()[0] == 0
    code, out, _ = setup_ears("Small.en")
    assert code == 0
    assert "Speech model: small.en: your choice" in out
    assert out.splitlines()[-1] == "To have her hear with it set ASR_MODEL=small.en in .env."


def test_installed_already(setup_ears, fake):
    """Says so after reading it all, asks nobody, and ends well."""
    setup_ears()
    fake.heads.clear()
    fake.requests.clear()
    code, out, _ = setup_ears()
    assert (code, fake.heads, fake.requests) == (0, [], [])
    assert "base.en is installed already, and whole." in out
    assert "She hears with it" in out


def test_put_there_by_hand(setup_ears, fake, put):
    """Is left as it is."""
    put("base.en")
    code, out, _ = setup_ears()
    assert (code, fake.heads) == (0, [])
    assert "base.en is installed already (put there by hand)." in out


def test_damaged(setup_ears, folder):
    """Also a changed byte is found, and mended."""
    setup_ears()
    config = folder("base.en") / "config.json"
    content = config.read_bytes()
    config.write_bytes(content[:-1] + b"~")
    code, out, _ = setup_ears()
    assert (code, config.read_bytes()) == (0, content)
    assert "base.en is installed." in out


def test_an_unknown_model(setup_ears, fake):
    """Those that resemble it are named; nothing is asked for."""
    code, _, err = setup_ears("smal.en")
    assert (code, fake.heads) == (2, [])
    assert "error: there is no speech model smal.en" in err
    assert "fix: Did you mean small.en" in err
    assert "aivt setup ears --list" in setup_ears("parakeet")[2]


def test_a_compute_type_that_cannot_be_used(setup_ears, monkeypatch, fake):
    """Is told before the download, not after it."""
    monkeypatch.setenv("ASR_COMPUTE_TYPE", "float16")
    code, _, err = setup_ears()
    assert (code, fake.heads) == (2, [])
    assert "fix: Set it to one of: auto, float32, int8, int8_float32" in err


def test_a_failure(setup_ears, fake, monkeypatch):
    """Two lines, and exit code 3."""
    fake.files.clear()
    code, _, err = setup_ears()
    assert code == 3
    assert "error: 127.0.0.1/Systran/faster-whisper-base.en/resolve/main/config.json is refused" in err
    assert (
        "fix: Check the address and the name. Or set ASR_MODELS_URL to a mirror, or put the files of" in err
    )


def test_a_processor_without_int8(setup_ears, machine, processor, monkeypatch):
    """The model is tried in the numbers that this processor knows."""
    tried = []
    monkeypatch.setattr(install, "try_out", lambda _, compute_type: tried.append(compute_type))
    setup_ears()
    machine(type(processor)(4, frozenset({"float32"})))
    setup_ears("small.en")
    assert tried == ["int8", "float32"]


# --- the list ---


def listed(out):
    """Lines of the table by name, without their marks."""
    lines = [line.lstrip(">* ") for line in out.splitlines() if " MB " in line]
    return {line.split()[0]: line for line in lines}


def test_the_list(setup_ears, machine, card, put):
    """All models with size, languages, memory, licence; what is there, what is recommended, what is used."""
    machine(card(16))
    put("base.en")
    put("large-v3", without=("tokenizer.json",))
    write_mark(put("tiny"), Mark("", "", {}, finished=False))
    code, out, _ = setup_ears(as_list=True)
    lines = listed(out)
    assert (code, list(lines)) == (0, [model.name for model in KNOWN])
    assert lines["small.en"].split() == ["small.en", "English", "484", "MB", "684", "MB", "978", "MB", "MIT"]
    assert lines["base.en"].endswith("MIT      installed")
    assert lines["large-v3"].endswith("incomplete")
    assert lines["tiny"].endswith("unfinished")
    assert [line.split()[1] for line in out.splitlines() if line.startswith(("*", ">*"))][:1] == ["small.en"]
    assert [line.split()[1] for line in out.splitlines() if line.startswith("> ")][:1] == ["base.en"]
    assert "* recommended for this computer: accurate" in out
    assert "aivt setup ears --model NAME" in out


def test_the_list_without_a_model(setup_ears):
    """Says what is missing and what to run."""
    code, out, _ = setup_ears(as_list=True)
    assert code == 0
    assert out.splitlines()[-1].startswith(
        "no speech model is there, so she cannot hear. Run: aivt setup ears"
    )
    assert ">" not in out.replace(" -> ", "")


def test_own_models_are_listed(setup_ears, put):
    """After those of the table, with what is known of them."""
    put("my-model")
    lines = listed(setup_ears(as_list=True)[1])
    assert list(lines)[-1] == "my-model"
    assert lines["my-model"].endswith("installed")


def test_as_json(setup_ears, put):
    """One list with exactly these keys, and nothing else on standard output."""
    put("base.en")
    code, out, err = setup_ears(as_list=True, as_json=True)
    rows = {row["name"]: row for row in json.loads(out)}
    assert (code, err) == (0, "")
    assert rows["base.en"] == {
        "name": "base.en",
        "repository": "Systran/faster-whisper-base.en",
        "languages": "English",
        "size_mb": 145.0,
        "processor_mb": 345,
        "graphics_mb": 503,
        "licence": "MIT",
        "recommended": True,
        "state": "installed",
        "used": True,
    }
    assert [name for name, row in rows.items() if row["recommended"]] == ["base.en"]


def test_as_json_without_a_model(setup_ears):
    """The trouble goes to standard error."""
    code, out, err = setup_ears(as_list=True, as_json=True)
    assert (code, len(json.loads(out))) == (0, len(KNOWN))
    assert "aivt setup ears" in err


# --- as a program ---

PROGRAM = """
import argparse, signal, sys
from apps.asr_worker.models import command
from apps.shared.edge import exit_code
# What a shell starts in the background is told to ignore it, and hands that on.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(exit_code(lambda: command.setup_ears(argparse.Namespace(model="small.en", list=False, json=False))))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a console's Ctrl+C cannot be sent to a child alone")
def test_ctrl_c(setup_ears, fake, folder):
    """Keeps what has come, says so, and the next call goes on with it."""
    model = known("small.en")
    assert model is not None
    path = f"{model.repository}/model.bin"
    half_bytes = (len(fake.files[path]) + 1) // 2
    fake.hurt(path, Fault(Kind.STALL, at_bytes=half_bytes))
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            assert program.stderr is not None
            assert any("50 %" in line for line in program.stderr)
            program.send_signal(signal.SIGINT)
            out, err = program.communicate(timeout=15)
        finally:
            program.kill()
    assert (program.returncode, err) == (130, "")
    assert "Stopped. The same command goes on where it stopped." in out
    assert setup_ears("small.en")[0] == 0
    assert fake.asked("model.bin")[-1].range == f"bytes={half_bytes}-"
    assert read_through(folder("small.en")).state is State.INSTALLED


def test_nothing_heavy_is_loaded_by_looking():
    """The worker finds its model before it loads what runs it."""
    heavy = {"aiohttp", "av", "ctranslate2", "faster_whisper", "numpy", "onnxruntime"}
    script = (
        "import sys, apps.asr_worker.models.shelf, apps.asr_worker.models.choice;"
        f"print(*sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_DIR, capture_output=True, check=True)
    assert done.stdout.split() == []
