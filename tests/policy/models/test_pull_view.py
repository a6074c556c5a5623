import io
import re

from apps.policy.models.pull_view import Bar, Lines, view
from apps.policy.models.pulling import Progress

GB = 10**9
STEPS = [
    Progress("pulling manifest"),
    Progress("pulling aa", 0, 4 * GB),
    Progress("pulling aa", GB, 4 * GB),
    Progress("pulling aa", GB + 1, 4 * GB),
    Progress("pulling aa", 4 * GB, 4 * GB),
    Progress("pulling bb", 4 * GB, 4 * GB + 8000),
    Progress("verifying sha256 digest", 4 * GB + 8000, 4 * GB + 8000),
    Progress("success", 4 * GB + 8000, 4 * GB + 8000),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, steps=STEPS) -> str:
    with view("fox", stream) as seen:
        for step in steps:
            seen.show(step)
    return stream.getvalue()


def test_without_a_terminal_each_line_says_something_new():
    """A log file gets a line for each state and each tenth, and none twice."""
    assert shown(io.StringIO()).splitlines() == [
        "fox: pulling manifest",
        "fox: 0 % of 4.0 GB",
        "fox: 20 % of 4.0 GB",
        "fox: 100 % of 4.0 GB",
        "fox: verifying sha256 digest",
        "fox: success",
    ]


def test_a_terminal_gets_a_bar():
    """One line that is drawn again and again, full at the end, and closed."""
    screen = shown(Terminal())
    frames = [frame for frame in screen.split("\r") if frame.strip()]
    assert len(frames) > 1
    assert re.search(r"fox: success: 100%\|.*4\.00G/4\.00G", frames[-1])
    assert screen.endswith("\n")
    assert screen.count("\n") == 1


def test_the_bar_begins_where_an_earlier_pull_left_off():
    """What was there before is not counted as this minute's speed."""
    screen = shown(Terminal(), [Progress("pulling aa", 3 * GB, 4 * GB)])
    assert "75%" in screen
    assert re.search(r"\?B/s|0\.00B/s", screen)


def test_the_stream_decides_the_view():
    """Nothing is drawn before there is something to draw."""
    assert isinstance(view("fox", Terminal()), Bar)
    assert isinstance(view("fox", io.StringIO()), Lines)
    assert shown(Terminal(), STEPS[:1]) == ""
