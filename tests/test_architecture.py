"""The rules that hold the project together, checked over all of its files."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from msgspec import inspect

from apps.shared.messages import Approved, Message, Viseme
from apps.shared.settings import PROJECT_DIR, Settings

APPS = PROJECT_DIR / "apps"
FILES = sorted(APPS.rglob("*.py"))
OURS = {"apps", "scripts", "tests", "training"}
UNITS = ("_s", "_ms", "_hz", "_db", "_bytes")
COUNTS = {"index", "pieces", "pid", "protocol", "restarts", "stable"}
SHARES = {"weight", "played", "probability", "no_speech_prob", "avg_logprob", "speed"}  # or ratios
VISEME_TIME = {"t"}  # seconds; the name is fixed by `aivt speak --visemes`


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PROJECT_DIR).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """All modules that a file imports, wherever in it, and those that it names in import strings."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                found |= {name.name for name in names}
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, f"{path}: a relative import hides which app it is of"
                found |= {f"{module}.{name.name}" for name in names}
            case ast.Constant(value=str(text)) if re.fullmatch(
                r"(apps|scripts|tests|training)\.[\w.:]+", text
            ):
                found.add(text)
    return found


def test_an_app_imports_shared_and_itself():
    """Nothing else of ours: any app can be replaced, and none can break another by importing it."""
    foreign = {}
    for path in FILES:
        app = module_of(path).split(".")[1]
        if app == "cli":  # it leads to every app by import strings, and imports none
            continue
        names = {name for name in imported(path) if name.split(".")[0] in OURS}
        allowed = {"apps.shared", f"apps.{app}", "apps.cli"}  # the last: what the supervisor's children run
        foreign[module_of(path)] = {name for name in names if ".".join(name.split(".")[:2]) not in allowed}
    assert {module: names for module, names in foreign.items() if names} == {}


def test_the_command_line_imports_no_app():
    """Only what is chosen is loaded: `aivt say` must not wait for a voice."""
    source = ast.parse((APPS / "cli.py").read_text(encoding="utf-8"))
    names = {str(node.module) for node in ast.walk(source) if isinstance(node, ast.ImportFrom)}
    assert {name for name in names if name.startswith("apps.")} <= {
        "apps.shared.edge",
        "apps.shared.messages",
        "apps.shared.process",
    }


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("apps.cli", {"aiohttp", "fastapi", "numpy", "sqlite_utils", "uvicorn", "websockets"}),
        (
            "apps.orchestrator.console",
            {"aiohttp", "fastapi", "numpy", "sqlite_utils", "uvicorn", "websockets"},
        ),
        ("apps.orchestrator.supervisor", {"aiohttp", "fastapi", "numpy", "sqlite_utils", "uvicorn"}),
        ("apps.orchestrator.app", {"aiohttp", "numpy"}),
        (
            "apps.asr_worker.worker",
            {"aiohttp", "av", "ctranslate2", "faster_whisper", "fastapi", "sqlite_utils", "uvicorn"},
        ),
        ("apps.policy.worker", {"aiohttp", "fastapi", "numpy", "sqlite_utils", "uvicorn"}),
        ("apps.tts_worker.worker", {"aiohttp", "fastapi", "sqlite_utils", "uvicorn"}),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_chosen(module, heavy):
    """A process starts quickly, and runs where an engine's library is missing."""
    heavy = heavy | {"inflect", "onnxruntime", "piper", "sounddevice"}
    script = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT_DIR, capture_output=True, check=True)
    assert done.stdout.split() == []


def test_a_file_can_be_read_in_one_sitting():
    """What grows beyond 400 lines has two subjects."""
    lines = {module_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    del lines["apps.shared.messages"]  # the contract: a list that is looked things up in, whole in one place
    assert {module: count for module, count in lines.items() if count > 400} == {}


def test_only_the_settings_read_the_environment():
    """One place knows what may be set; the supervisor hands it on to its children, the ears tell NumPy."""
    reading = {
        module_of(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    }
    assert reading <= {"apps.shared.settings", "apps.orchestrator.supervisor", "apps.asr_worker.__init__"}


def test_every_setting_is_in_the_example_with_its_default(monkeypatch):
    """A streamer who copies .env.example changes nothing by it, and finds everything in it."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    example = PROJECT_DIR / ".env.example"
    assert set(dotenv_values(example)) == {name.upper() for name in Settings.model_fields}
    assert Settings(_env_file=example) == Settings(_env_file=None)


@pytest.mark.parametrize(
    "kind", [Approved, Viseme, *Message.__subclasses__()], ids=lambda kind: kind.__name__
)
def test_every_number_in_a_message_says_what_it_counts(kind):
    """A unit in its name, or one of the few counts and shares that need none."""
    described = inspect.type_info(kind)
    assert isinstance(described, inspect.StructType)
    number = inspect.IntType | inspect.FloatType
    numbers = [field.name for field in described.fields if isinstance(field.type, number)]
    known = COUNTS | SHARES | (VISEME_TIME if kind is Viseme else set())
    assert [name for name in numbers if not name.endswith(UNITS) and name not in known] == []
