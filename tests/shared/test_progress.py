import io
from contextlib import redirect_stderr

import pytest
from tqdm import tqdm

from apps.shared import progress
from apps.shared.download import Progress
from apps.shared.progress import counted, shown


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal():
    return Terminal()


def test_a_file_gets_a_line_for_every_quarter(capsys):
    """However many pieces come, a log stays readable; trouble is told as it comes."""
    with shown("voice.onnx") as tell:
        for done in range(1001):
            tell(Progress(done * 1000, 1_000_000))
            if done == 600:
                tell(Progress(done * 1000, 1_000_000, "the connection broke"))
    assert capsys.readouterr().err.splitlines() == [
        "voice.onnx: 0 % of 1.0 MB",
        "voice.onnx: 25 % of 1.0 MB",
        "voice.onnx: 50 % of 1.0 MB",
        "voice.onnx: the connection broke; trying again",
        "voice.onnx: 75 % of 1.0 MB",
        "voice.onnx: 100 % of 1.0 MB",
    ]


def test_a_terminal_gets_a_bar(terminal):
    """With the size, and the trouble on a line of its own."""
    with redirect_stderr(terminal), shown("voice.onnx") as tell:
        tell(Progress(0, 2_000_000))
        tell(Progress(1_000_000, 2_000_000, "the connection broke"))
        tell(Progress(2_000_000, 2_000_000))
    text = terminal.getvalue()
    assert "voice.onnx: 100%" in text
    assert "2.00M/2.00M" in text
    assert "B/s" in text
    assert "the connection broke; trying again\n" in text


def test_what_was_there_before_is_no_speed(terminal, monkeypatch):
    """A download that goes on at its last byte did not bring the rest in no time."""
    bars = []

    def made(**named):
        bars.append(tqdm(**named))
        return bars[0]

    monkeypatch.setattr(progress, "tqdm", made)
    with redirect_stderr(terminal), shown("voice.onnx") as tell:
        tell(Progress(1_999_999, 2_000_000))
        tell(Progress(2_000_000, 2_000_000))
    assert (bars[0].initial, bars[0].n) == (1_999_999, 2_000_000)


def test_a_download_that_starts_over(terminal):
    """Goes back to the beginning, and still ends at the end."""
    with redirect_stderr(terminal), shown("voice.onnx") as tell:
        for done in (0, 900, 0, 1000):
            tell(Progress(done, 1000))
    assert "100%" in terminal.getvalue().split("\r")[-1]


def test_counting(terminal):
    """How many of how many, for somebody who watches."""
    with redirect_stderr(terminal), counted("Reading licences") as tell:
        for done in range(1, 11):
            tell(done, 10)
    assert "Reading licences" in terminal.getvalue()


def test_counting_is_silent_without_a_terminal(capsys):
    """A log needs no counter."""
    with counted("Reading licences") as tell:
        tell(1, 2)
    assert capsys.readouterr().err == ""
