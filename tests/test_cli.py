"""The command line: what may be typed, where it leads, and how it ends."""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace

import pytest

from apps import cli
from apps.shared.messages import MODULES
from apps.shared.settings import PROJECT_DIR


@pytest.mark.parametrize(
    ("line", "module", "function"),
    [
        ("up", "apps.orchestrator.supervisor", "up"),
        ("say hello", "apps.orchestrator.console", "say"),
        ("status --json", "apps.orchestrator.console", "status"),
        ("speak hello -o out.wav", "apps.tts_worker.speak", "speak"),
        ("test -k turn", "scripts.suite", "main"),
        ("bench latency", "scripts.bench.latency", "main"),
        ("bench latency --real", "scripts.bench.real", "main"),
        ("bench voices --turns 3", "scripts.bench.voices", "main"),
        ("bench brains --json", "scripts.bench.brains", "main"),
        ("voices", "apps.tts_worker.catalogue.command", "voices"),
        ("voices bench --json", "apps.tts_worker.measure", "bench"),
        ("voices use amber", "apps.orchestrator.console", "use_voice"),
        ("transcribe a.wav --json --realtime", "apps.asr_worker.transcribe", "transcribe"),
        ("devices --test", "apps.asr_worker.devices", "devices"),
        ("setup cuda", "scripts.setup_cuda", "main"),
        ("setup ears --model tiny.en", "apps.asr_worker.models.command", "setup_ears"),
        ("replay --chat c.jsonl --wav a.wav --speed 2", "apps.orchestrator.replay", "replay"),
        ("model pull llama3.1:8b", "apps.policy.models.command", "model_pull"),
    ],
)
def test_each_command_leads_to_its_app(monkeypatch, line, module, function):
    """What the function returns is the exit code, None is 0; nothing else is imported."""
    imported = []

    def remember(name):
        imported.append(name)
        return SimpleNamespace(**{function: lambda options: None if line == "up" else 7})

    monkeypatch.setattr(cli, "import_module", remember)
    assert cli.main(line.split()) == (0 if line == "up" else 7)
    assert imported == [module]


def targets(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every `module:function` that a command of this parser leads to."""
    if target := parser.get_default("to"):
        yield from map(target.format, cli.BENCHES) if "{}" in target else (target,)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from targets(below)


@pytest.mark.parametrize(
    "target",
    [
        *(f"{module}:run" for module in cli.PROCESSES.values()),
        *targets(cli.parser()),
        "scripts.bench.real:main",
    ],
)
def test_what_the_command_line_names_is_there(target):
    """Import strings are not checked by any type checker."""
    module, _, function = target.partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize(
    "line",
    [
        "dance",
        "run",
        "run ear",
        "say",
        "say hi --as king",
        "speak hi",
        "up --without orchestrator",
        "up --without tts,ear",
        "bench everything",
    ],
)
def test_a_wrong_command_line_ends_with_2(line, capsys):
    """And with one line on what is wrong with it."""
    with pytest.raises(SystemExit) as ended:
        cli.main(line.split())
    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "names", ["tts", "tts,policy", " tts , policy ,", *(set(MODULES) - {"orchestrator"})]
)
def test_any_module_may_be_left_out(names):
    """Also one that is not built yet: a script that leaves it out goes on working when it is."""
    chosen = cli.parser().parse_args(["up", "--without", names]).without
    assert chosen == {name.strip() for name in names.split(",") if name.strip()}


@pytest.mark.parametrize("name", cli.PROCESSES)
def test_a_command_line_of_the_supervisor_is_understood(name):
    """What it puts before `run NAME` reaches the process."""
    line = ["--supervised", "--rehearsal", "--without", "obs,vts", "run", name]
    options = cli.parser().parse_args(line)
    assert (options.supervised, options.show_rehearsal, options.name) == (True, True, name)
    assert options.show_without == {"obs", "vts"}


def test_up_and_the_orchestrator_do_not_mix_their_options():
    """`up --without` is not taken for the orchestrator's own."""
    options = cli.parser().parse_args(["up", "--without", "tts"])
    assert (options.without, options.show_without) == ({"tts"}, frozenset())


def test_without_a_command_there_is_help(capsys):
    """All commands with a line each."""
    assert cli.main([]) == 0
    help_text = capsys.readouterr().out
    assert all(command in help_text for command in ("up", "run", "say", "status", "speak", "bench", "test"))


def test_a_process_is_run_until_it_ends(monkeypatch):
    """`aivt run tts` reads the settings, then runs the worker's own `run` with them."""
    ran = []

    async def run(settings, options):
        ran.append((settings, options.name))
        await asyncio.sleep(0)

    monkeypatch.setattr("apps.shared.process.settings_and_logs", lambda name: f"settings of {name}")
    monkeypatch.setattr(cli, "import_module", lambda name: SimpleNamespace(run=run))
    assert cli.main(["run", "tts"]) == 0
    assert ran == [("settings of tts", "tts")]


def aivt(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "apps.cli", *arguments],
        cwd=PROJECT_DIR,
        env={**os.environ, **environment},
        capture_output=True,
        timeout=15,
        check=False,
    )


def test_a_bad_setting_is_two_lines_and_2(tmp_path):
    """In the process as it is really run: the setting, its value and the fix, and no traceback."""
    done = aivt("run", "tts", AIVT_PORT="many", AIVT_DATA_DIR=str(tmp_path))
    assert done.returncode == 2
    error, fix = done.stderr.decode().splitlines()
    assert error.startswith("error: AIVT_PORT='many' cannot be used")
    assert fix.startswith("fix: Correct AIVT_PORT")


def test_a_text_that_the_terminal_cannot_show_is_no_fault():
    """Her emoji reach an old Windows code page, or a pipe, as well as they can."""
    show = "from apps import cli; cli.import_module = lambda name: __import__('types').SimpleNamespace(say="
    show += "lambda options: print('Hello 🦊')); raise SystemExit(cli.main(['say', 'hi']))"
    done = subprocess.run(
        [sys.executable, "-c", show],
        cwd=PROJECT_DIR,
        env={**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Hello ")
