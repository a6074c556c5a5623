"""`aivt up`: real processes, tiny ones."""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import pytest

from apps.orchestrator import supervisor as module
from apps.orchestrator.supervisor import DELAYS_S, STARTED, WINDOW_S, Child, Restarts, Supervisor
from apps.shared.errors import AivtError, MissingError, PortInUseError, SettingsError
from apps.shared.messages import Process, Ready
from apps.shared.settings import Settings

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

RUNS = "import sys; print('up', flush=True); sys.stdin.read(); open('ended', 'a').write(sys.argv[1] + ' ')"
DIES = "print('up', flush=True); raise SystemExit(7)"


# --- deciding ---


def test_a_process_that_dies_is_restarted_ever_later_then_given_up():
    """At once the first time, then with growing delays, and not for ever."""
    restarts = Restarts()
    assert [restarts.after_death(100.0 + at) for at in range(len(DELAYS_S))] == list(DELAYS_S)
    assert restarts.after_death(110.0) is None
    assert restarts.count == len(DELAYS_S)


def test_a_process_that_dies_now_and_then_is_always_restarted():
    """A crash an hour is a nuisance, not a reason to give up."""
    restarts = Restarts()
    assert {restarts.after_death(number * (WINDOW_S + 1)) for number in range(50)} == {0.0}
    assert restarts.count == 50


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], ("", "")),
        (["12:00 tts    up"], ("", "")),
        (["error: no voice", "fix: Get one."], ("no voice", "Get one.")),
        (["Traceback ...", "error: no voice"], ("no voice", "")),
        (["error: first", "fix: One.", "error: last", "fix: Two."], ("last", "Two.")),
        (["12:00 tts    an error: in the middle"], ("", "")),
    ],
)
def test_the_last_words_are_the_error_and_its_fix(lines, words):
    """What a process says at its edge before it ends, and nothing else that it printed."""
    child = Child("tts")
    child.tail.extend(lines)
    assert child.last_words() == words


@pytest.mark.parametrize(
    ("name", "rehearsal", "without", "options"),
    [
        ("tts", True, {"policy"}, []),
        ("orchestrator", False, set(), []),
        ("orchestrator", True, {"vts", "policy"}, ["--rehearsal", "--without", "policy,vts"]),
    ],
)
def test_each_command_line_ends_with_what_it_runs(tmp_path, name, rehearsal, without, options):
    """So that a process can be found by it; the orchestrator also hears what kind of show it is."""
    settings = Settings(_env_file=None, aivt_data_dir=tmp_path)
    command = Supervisor(settings, rehearsal=rehearsal, without=frozenset(without))._command(name)
    assert command == [sys.executable, "-m", "apps.cli", "--supervised", *options, "run", name]


# --- doing ---


class Show:
    """A supervisor over tiny processes."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, scripts: dict[str, str]) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(module, "DELAYS_S", (0.0, 0.0))
        monkeypatch.setattr(
            Supervisor, "_command", lambda _, name: [sys.executable, "-ISc", scripts[name], name]
        )
        settings = Settings(_env_file=None, aivt_data_dir=folder, aivt_port=0)
        without = frozenset(STARTED) - frozenset(scripts)
        self.supervisor = Supervisor(settings, rehearsal=True, without=without)
        self.reports: list[Process] = []
        monkeypatch.setattr(self.supervisor._client, "send", self.reports.append)
        self.folder = folder

    def child(self, name: str) -> Child:
        return self.supervisor._children[name]

    async def until(self, what) -> None:
        while not what():
            await asyncio.sleep(0.001)

    async def until_up(self, *names: str) -> None:
        await self.until(lambda: all("up" in self.child(name).tail for name in names))

    def ready(self) -> None:
        self.supervisor.receive(Ready(url="http://127.0.0.1:5/"))

    def ended(self) -> list[str]:
        """The processes that ended by themselves when asked, in order."""
        return (self.folder / "ended").read_text().split()


@pytest.fixture
def show(tmp_path, monkeypatch):
    def make(**scripts: str) -> Show:
        return Show(tmp_path, monkeypatch, scripts)

    return make


@contextlib.asynccontextmanager
async def running(show: Show):
    """The show, until it is stopped as by Ctrl+C."""
    task = asyncio.create_task(show.supervisor.run())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ExceptionGroup):
            await task
        for child in show.supervisor._children.values():
            assert child.process is None or child.process.returncode is not None


async def test_all_are_started_and_stopped_in_order(show):
    """What thinks ends first, then what sounds, then what binds them; each is asked and given time."""
    show = show(orchestrator=RUNS, policy=RUNS, tts=RUNS)
    async with running(show):
        await show.until_up("orchestrator", "policy", "tts")
    assert show.ended() == ["policy", "tts", "orchestrator"]


async def test_what_is_left_out_is_not_started(show):
    """--without means that there is no such process, and no news of one."""
    show = show(orchestrator=RUNS, tts=RUNS)
    async with running(show):
        await show.until_up("orchestrator", "tts")
        assert [report.module for report in show.supervisor.joined()] == ["orchestrator", "tts"]
    assert show.ended() == ["tts", "orchestrator"]


async def test_a_dead_worker_is_restarted(show):
    """With the news of it for the panel: why, how often, and what comes next."""
    show = show(orchestrator=RUNS, tts=RUNS)
    async with running(show):
        await show.until_up("tts")
        first = show.child("tts").process
        first.kill()
        await show.until(lambda: show.child("tts").process is not first)
        await show.until_up("tts")
    (report,) = show.reports
    assert (report.module, report.state, report.restarts) == ("tts", "starting", 1)
    assert report.reason.endswith("restart 1 in 0.0 s")


async def test_a_worker_that_keeps_dying_is_given_up_and_the_show_goes_on(show):
    """Once she has been ready, a red light with the reason is all that follows."""
    show = show(orchestrator=RUNS, tts=DIES)
    show.ready()
    async with running(show) as task:
        await show.until(lambda: show.child("tts").state == "down")
        assert not task.done()
        assert show.child("orchestrator").process.returncode is None
        assert show.reports[-1] == Process(
            module="tts",
            state="down",
            reason="given up: it ended with exit code 7",
            fix="Look at its log, then start the show again.",
            restarts=2,
        )


@pytest.mark.parametrize(
    ("was_ready", "dying"), [(False, "tts"), (False, "orchestrator"), (True, "orchestrator")]
)
async def test_a_show_that_cannot_be_ends(show, was_ready, dying):
    """Before she was ready because somebody sits there and waits; later when its centre is lost."""
    show = show(**{"orchestrator": RUNS, "tts": RUNS, dying: DIES})
    if was_ready:
        show.ready()
    async with running(show) as task:
        with pytest.RaisesGroup(pytest.RaisesExc(AivtError, match=f"{dying}: it ended with exit code 7")):
            await task
    assert dying not in show.ended()


@pytest.mark.parametrize(("code", "error"), [(2, SettingsError), (3, MissingError), (4, PortInUseError)])
async def test_what_a_person_has_to_mend_is_not_tried_again(show, code, error):
    """The same error, with the same fix and the same exit code, at once."""
    words = f"print('error: it is wrong'); print('fix: Mend it.'); raise SystemExit({code})"
    show = show(orchestrator=RUNS, tts=words)
    async with running(show) as task:
        with pytest.RaisesGroup(pytest.RaisesExc(error, match="tts: it is wrong")) as caught:
            await task
        (raised,) = caught.value.exceptions
        assert getattr(raised, "fix", "") == "Mend it."
        assert show.child("tts").restarts.count == 0


@posix
@pytest.mark.parametrize("stubborn", [False, True], ids=["ignores the end of input", "ignores SIGTERM too"])
async def test_who_does_not_listen_is_ended(show, monkeypatch, stubborn):
    """First asked, then told, then killed; and the others get their turn."""
    monkeypatch.setattr(module, "CLOSING_S", 0.05)
    monkeypatch.setattr(module, "TERMINATING_S", 0.05)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_{}); "
    deaf += "print('up', flush=True); time.sleep(60)"
    show = show(orchestrator=RUNS, tts=deaf.format("IGN" if stubborn else "DFL"))
    async with running(show):
        await show.until_up("orchestrator", "tts")
        tts = show.child("tts").process
    assert tts.returncode == -(signal.SIGKILL if stubborn else signal.SIGTERM)
    assert show.ended() == ["orchestrator"]


async def test_what_they_print_is_passed_on(show, capfd):
    """To stderr, so that stdout holds READY alone; last words are told by the supervisor itself."""
    show = show(orchestrator="print('hello'); print('error: not yet');" + RUNS)
    async with running(show):
        await show.until_up("orchestrator")
        show.ready()
        show.ready()
    said = capfd.readouterr()
    assert "hello\n" in said.err
    assert "error: not yet" not in said.err
    assert said.out.count("READY http://127.0.0.1:5/\n") == 1


async def test_an_endless_line_does_not_end_the_show(show, monkeypatch):
    """A library that prints its progress without ever a new line is left to it."""
    monkeypatch.setattr(module, "LINE_LIMIT_BYTES", 1000)
    show = show(orchestrator="print('x' * 5000, flush=True);" + RUNS)
    async with running(show) as task:
        await show.until_up("orchestrator")
        assert not task.done()


async def test_odd_bytes_are_passed_on_too(show, capfd):
    """What is not UTF-8 is shown as well as it can be."""
    show = show(orchestrator="import os; os.write(1, b'caf\\xe9\\n');" + RUNS)
    async with running(show):
        await show.until_up("orchestrator")
    assert "caf\ufffd\n" in capfd.readouterr().err
