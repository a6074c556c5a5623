"""The documents tell the truth about the code."""

import argparse
import re
import tomllib

import pytest

from apps.cli import parser
from apps.policy import persona
from apps.policy.models.choices import CHOICES
from apps.shared.settings import PROJECT_DIR

README = (PROJECT_DIR / "README.md").read_text("utf-8")
PROTOCOL = (PROJECT_DIR / "docs/protocol.md").read_text("utf-8")
LICENCES = (PROJECT_DIR / "docs/licences.md").read_text("utf-8").lower()
PROJECT = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text("utf-8"))["project"]


def commands() -> dict[str, argparse.ArgumentParser]:
    """Every command of the command line."""
    actions = (one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    return dict(next(actions).choices)


@pytest.mark.parametrize("name", commands())
def test_readme_lists_every_command_and_option(name):
    """A command that works is in the README's table, with all of its options."""
    row = next((line for line in README.splitlines() if line.startswith(f"| `{name}")), "")
    assert row
    for action in commands()[name]._actions:
        for option in action.option_strings[-1:]:
            assert option == "--help" or option in row or action.option_strings[0] in row


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.name)
def test_readme_has_the_table_of_models(choice):
    """Who follows the README pulls the model that she looks for."""
    assert f"`ollama pull {choice.name}`" in README


def test_readme_begins_with_the_two_commands():
    """The first code that a newcomer sees is how to start and how to test."""
    block = re.search(r"```\n(.*?)```", README, re.DOTALL)
    assert block
    assert [line.split("#")[0].strip() for line in block[1].splitlines()] == [
        "python scripts/aivt.py up",
        "python scripts/aivt.py test",
    ]


def test_readme_names_every_preset():
    """Each manner of hers is there to be chosen."""
    assert all(f"`{name}`" in README or f"={name}`" in README for name in persona.names())


def test_every_link_leads_somewhere():
    """Documents that are linked to exist."""
    for path in [*PROJECT_DIR.glob("*.md"), *(PROJECT_DIR / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("dependency", PROJECT["dependencies"])
def test_every_component_has_its_licence_in_the_table(dependency):
    """What is installed on a streamer's computer is named with its licence."""
    assert re.split(r"[\[<>=]", dependency.lower())[0] in LICENCES


@pytest.mark.parametrize(
    "action", ["say", "skip", "pause", "resume", "panic", "mute", "unmute", "style", "voice", "scene"]
)
def test_protocol_names_every_control(action):
    """Each button's address is documented."""
    assert re.search(rf"`(POST /control/)?{action}`", PROTOCOL)
