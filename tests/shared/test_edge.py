"""A process's edge: errors become two lines and an exit code."""

import pytest

from apps.shared.edge import exit_code, known
from apps.shared.errors import (
    AivtError,
    BadMessageError,
    EngineError,
    MissingError,
    PortInUseError,
    SettingsError,
)

MISSING = MissingError("no_model", "the model is not there", fix="Pull it.")


def raising(error: BaseException):
    def command() -> int | None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError, 2),
        (MissingError, 3),
        (PortInUseError, 4),
        (EngineError, 1),
        (BadMessageError, 1),
        (AivtError, 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error, code, capsys):
    """Scripts tell by the code what is wrong; people read the reason and the fix, and no traceback."""
    assert exit_code(raising(error("some_code", "it is broken", fix="Mend it."))) == code
    assert capsys.readouterr() == ("", "error: it is broken\nfix: Mend it.\n")


def test_an_error_without_a_fix_is_one_line(capsys):
    """No empty promise of a fix."""
    exit_code(raising(AivtError("some_code", "it is broken")))
    assert capsys.readouterr().err == "error: it is broken\n"


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_a_command_that_works_says_nothing(result, code, capsys):
    """What a command returns is its exit code; None is 0."""
    assert exit_code(lambda: result) == code
    assert capsys.readouterr() == ("", "")


def test_an_error_is_found_in_the_groups_around_it(capsys):
    """Task groups wrap what their tasks raise, as deep as they are nested."""
    group = ExceptionGroup("outer", [ExceptionGroup("inner", [MISSING])])
    assert exit_code(raising(group)) == 3
    assert capsys.readouterr().err.startswith("error: the model is not there\n")


def test_a_fault_beside_an_error_is_not_hidden():
    """When something of ours fails as well, that is what is to be seen."""
    assert known(ExceptionGroup("both", [MISSING, KeyError("x")])) is None
    assert known(ExceptionGroup("two of ours", [MISSING, AivtError("b", "later")])) is MISSING


def test_a_fault_of_ours_asks_to_be_reported(capsys):
    """Anything unforeseen shows where it happened, in one place, and ends with 1."""
    assert exit_code(raising(ZeroDivisionError("division by zero"))) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "error: ZeroDivisionError: division by zero" in said
    assert "fix: This is a fault of AIVT" in said


def test_secrets_are_not_printed(capsys):
    """Neither as part of an error nor in a traceback."""
    exit_code(raising(AivtError("refused", "refused: Authorization: Bearer abcdef123456")))
    exit_code(raising(RuntimeError("oauth:abcdef123456 was refused")))
    assert "abcdef123456" not in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (BrokenPipeError(), 1)])
def test_being_interrupted_is_no_error(error, code, capsys):
    """Ctrl+C and a reader that has gone need no words."""
    assert exit_code(raising(error)) == code
    assert capsys.readouterr() == ("", "")
