"""The Windows scripts, checked without PowerShell: that they parse, and avoid the traps that are known.

Only the Windows job of CI proves that they run.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from apps.cli import PROCESSES, parser
from apps.shared.messages import MODULES

PROJECT = Path(__file__).parents[2]
SCRIPTS = sorted((PROJECT / "scripts").rglob("*.ps1"))
RUNNERS = [path for path in SCRIPTS if path.name.startswith("run_")]
ALIASES = {
    "cd",
    "ls",
    "dir",
    "cp",
    "mv",
    "rm",
    "del",
    "cat",
    "echo",
    "pwd",
    "ps",
    "kill",
    "%",
    "?",
    "iex",
    "irm",
}
NATIVE = {"python", "py", "uv", "git", "npm", "wt", "pip", "powershell", "cmd"}
# "$Name: text" asks for a variable on a drive called Name; "${Name}: text" does not.
DRIVE_TRAP = re.compile(r'"[^"\n]*\$\w+:(?![\w:])')

each_script = pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
each_runner = pytest.mark.parametrize("path", RUNNERS, ids=lambda path: path.name)


def text_of(path: Path) -> str:
    return path.read_text(encoding="ascii")


def nodes(source: str) -> Iterator[Node]:
    """Walk the syntax tree, in the order of the text."""
    pending = [Parser(Language(tree_sitter_powershell.language())).parse(source.encode()).root_node]
    while pending:
        node = pending.pop()
        yield node
        pending.extend(reversed(node.children))


def words(node: Node) -> str:
    return (node.text or b"").decode()


def commands(source: str) -> Iterator[tuple[str, Node]]:
    """Yield the name of every command that is called, with its node."""
    for node in nodes(source):
        if node.type == "command":
            name = node.child_by_field_name("command_name")
            assert name is not None
            yield words(name).lower(), node


def statement_of(node: Node) -> Node:
    """Return the statement that a command is part of."""
    while node.parent is not None and node.parent.type not in {"statement_list", "program"}:
        node = node.parent
    return node


def unchecked_native_calls(source: str) -> list[str]:
    """Return the native commands (a known name, or anything called by &) whose exit code is not looked at."""
    return [
        words(node)
        for name, node in commands(source)
        if name in NATIVE or words(node).startswith("&")
        if "$LASTEXITCODE" not in words(statement_of(node).next_named_sibling or statement_of(node))
    ]


def test_there_are_scripts():
    """The checks below have something to check."""
    assert {"run_all.ps1", "run_orchestrator.ps1", "run_policy.ps1", "run_tts.ps1"} <= {
        p.name for p in RUNNERS
    }


@each_script
def test_parses(path):
    """The script is valid, in the grammar of Windows PowerShell 5.1, which knows no && and ||."""
    tree = list(nodes(text_of(path)))
    assert not [words(node) for node in tree if node.type == "ERROR" or node.is_missing]
    assert not [words(node) for node in tree if node.type == "pipeline_chain_tail"]


@each_script
def test_ascii(path):
    """The script is plain ASCII, because Windows PowerShell 5.1 reads UTF-8 without a mark as ANSI."""
    assert path.read_bytes().isascii()


@each_script
def test_help(path):
    """`Get-Help` tells what the script does, shows an example, and describes every parameter."""
    source = text_of(path)
    assert source.startswith("<#\n.SYNOPSIS\n")
    assert "\n.EXAMPLE\n" in source
    described = set(re.findall(r"^\.PARAMETER (\w+)$", source, re.MULTILINE))
    assert described == {name for name, _ in parameters(source)}


def parameters(source: str) -> list[tuple[str, str]]:
    """Return (name, text) of the script's own parameters, not those of its functions."""
    block = next(node for node in nodes(source) if node.type == "param_block")
    declared = [node for node in nodes(words(block)) if node.type == "script_parameter"]
    return [
        (words(child).lstrip("$"), words(node))
        for node in declared
        for child in node.children
        if child.type == "variable"
    ]


@each_script
def test_parameters_are_typed(path):
    """The script is an advanced one, which refuses unknown parameters, and each parameter has a type."""
    source = text_of(path)
    assert re.search(r"^\[CmdletBinding\(.*\)\]\nparam\(", source, re.MULTILINE)
    for name, declaration in parameters(source):
        assert re.search(rf"\[(string|string\[\]|switch|int)\] \${name}\b", declaration)


@each_script
def test_strict_before_the_first_command(path):
    """Strict mode and stopping at errors come before anything else is done."""
    source = text_of(path)
    name, strict = next(commands(source))
    assert name == "set-strictmode"
    assert words(strict) == "Set-StrictMode -Version 3.0"
    following = statement_of(strict).next_named_sibling
    assert following is not None
    assert words(following) == "$ErrorActionPreference = 'Stop'"


@each_script
def test_no_aliases_and_no_evaluation(path):
    """Commands are written out, and no text is run as code."""
    called = {name for name, _ in commands(text_of(path))}
    assert not called & (ALIASES | {"invoke-expression"})


@each_script
def test_no_drive_trap(path):
    """No string holds "$Name:", which PowerShell refuses and the grammar accepts."""
    assert not DRIVE_TRAP.findall(text_of(path))


@each_script
def test_exit_codes_are_looked_at(path):
    """After every program that is called, the next statement reads its exit code."""
    assert unchecked_native_calls(text_of(path)) == []


@each_script
def test_paths_from_the_script(path):
    """Files are found beside the script, wherever it is started from."""
    source = text_of(path)
    for file in re.findall(r"'([\w{}]+\.(?:py|ps1))'", source):
        assert re.search(rf"Join-Path \$PSScriptRoot \(?'{re.escape(file)}'", source), file
        if "{0}" not in file:
            assert (path.parent / file).exists()


@pytest.mark.parametrize(
    ("source", "unchecked"),
    [
        ("& $Python x.py\nexit $LASTEXITCODE", []),
        ("& $Python x.py\nWrite-Output done", ["& $Python x.py"]),
        ("git status", ["git status"]),
        ("if ($A) {\n    git status\n    exit $LASTEXITCODE\n}", []),
    ],
)
def test_the_exit_code_check_itself(source, unchecked):
    """The check above tells a looked-at exit code from an ignored one."""
    assert unchecked_native_calls(source) == unchecked


def test_the_drive_trap_check_itself():
    """The check above finds the trap, and leaves scopes and braces alone."""
    assert DRIVE_TRAP.search('"$Name: text"')
    assert not DRIVE_TRAP.search('"${Name}: $env:PATH $script:Count"')


def test_a_script_for_each_process():
    """Each process of the show has its script, which starts that very process."""
    started = {}
    for path in RUNNERS:
        if call := re.search(r"-Arguments @\('run', '(\w+)'\)", text_of(path)):
            started[path.name] = call.group(1)
    assert started == {f"run_{name}.ps1": name for name in PROCESSES}


def test_tabs_open_each_process():
    """`run_all.ps1 -Tabs` opens each process of the show, the orchestrator first."""
    listed = re.search(r"\$Names = @\(([^|]+)\|", text_of(PROJECT / "scripts" / "run_all.ps1"))
    assert listed is not None
    assert re.findall(r"'(\w+)'", listed.group(1)) == list(PROCESSES)


def test_without_names_the_processes():
    """The help of -Without lists the names that `aivt up --without` takes."""
    described = re.search(
        r"\.PARAMETER Without\n[^:]+:([^.]+?), separated", text_of(PROJECT / "scripts" / "run_all.ps1")
    )
    assert described is not None
    assert re.findall(r"\w+", described.group(1).replace(" or ", " ")) == [
        m for m in MODULES if m != "orchestrator"
    ]


def test_options_of_up_exist():
    """Every option that run_all.ps1 passes is one that `aivt up` takes."""
    passed = re.findall(r"'(--[\w-]+)'", text_of(PROJECT / "scripts" / "run_all.ps1"))
    assert passed == ["--rehearsal", "--no-browser", "--without"]
    options = parser().parse_args(["up", "--rehearsal", "--no-browser", "--without", "tts,policy"])
    assert (options.command, options.rehearsal, options.no_browser) == ("up", True, True)


@pytest.mark.parametrize("option", ["Rehearsal", "NoBrowser", "Without", "Tabs"])
def test_run_all_takes(option):
    """run_all.ps1 takes what the documentation promises."""
    assert option in {name for name, _ in parameters(text_of(PROJECT / "scripts" / "run_all.ps1"))}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_supported_python_is_looked_for(version):
    """The Python launcher is asked for each version that AIVT supports."""
    assert f"'py -{version}'" in text_of(PROJECT / "scripts" / "aivt.ps1")


def test_double_click():
    """up.cmd gets past the execution policy, hands its arguments on, and stays open after a failure."""
    source = (PROJECT / "up.cmd").read_text(encoding="ascii")
    assert r'powershell -NoProfile -ExecutionPolicy Bypass -File "%~dp0scripts\run_all.ps1" %*' in source
    assert "pause" in source
    assert "exit /b %EXIT_CODE%" in source


@each_runner
def test_readme_names_the_script(path):
    """The README tells of every script that is there to be started."""
    assert path.name in (PROJECT / "README.md").read_text(encoding="utf-8")
