"""`aivt replay`, against the real orchestrator; ears, brain and voice are played by the test."""

import argparse
import asyncio
import json

import pytest
import structlog

from apps.orchestrator import replay
from apps.orchestrator.replay import ChatLine, chat_lines
from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.messages import Health, PlayFile
from apps.shared.settings import Settings

LINES = [(2.0, "mika", "second"), (0.5, "noa", "first"), (4.0, "mika", "third")]


@pytest.fixture(autouse=True)
def logs():
    """The orchestrator's log goes elsewhere in a real process."""
    with structlog.testing.capture_logs() as said:
        yield said


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """What `aivt` reads when it is run beside the show of this folder."""
    settings = Settings(_env_file=None, aivt_data_dir=tmp_path, aivt_port=0)
    monkeypatch.setattr(Settings, "load", lambda: settings)
    return settings


@pytest.fixture
def rehearsal(show, settings):
    """A show into which recordings may be played."""
    show.conductor._rehearsal = True
    return show


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.now_s += duration_s


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(replay, "time", clock)
    return clock


@pytest.fixture
def chat(tmp_path):
    """Recorded chat, its lines not in order."""
    path = tmp_path / "chat.jsonl"
    path.write_text("\n".join(json.dumps({"t": t, "user": u, "text": x, "bits": 0}) for t, u, x in LINES))
    return path


@pytest.fixture
def wav(tmp_path):
    """Whether it can be heard is for the ears to say."""
    path = tmp_path / "streamer.wav"
    path.write_bytes(b"RIFF")
    return path


def options(chat: object = "", wav: object = "", speed: float = 1.0) -> argparse.Namespace:
    return argparse.Namespace(chat=str(chat), wav=str(wav), speed=speed)


def waiting(show) -> list[tuple[str, str, str]]:
    """The lines that wait to be answered: user, text, lane."""
    lines = show.conductor._lines
    items = [lines.take() for _ in range(len(lines))]
    return [(item.user, item.text, item.lane) for item in items]


async def test_chat_comes_in_at_its_times(rehearsal, clock, chat, capsys):
    """In their order, at the pace they had, each printed when it was said."""
    assert await asyncio.to_thread(replay.replay, options(chat)) == 0
    assert sum(clock.slept) == pytest.approx(4.0)
    assert sorted(waiting(rehearsal)) == [
        ("mika", "second", "chat"),
        ("mika", "third", "chat"),
        ("noa", "first", "chat"),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "     0.5  noa: first",
        "     2.0  mika: second",
        "     4.0  mika: third",
        "3 lines of chat played",
    ]


async def test_at_another_speed(rehearsal, clock, chat):
    """Twice as fast takes half of the time."""
    assert await asyncio.to_thread(replay.replay, options(chat, speed=2.0)) == 0
    assert sum(clock.slept) == pytest.approx(2.0)


async def test_a_line_without_words_is_left_out(rehearsal, clock, tmp_path, capsys):
    """Recorded chat has lines of nothing but an invisible sign; the rest of it is played."""
    path = tmp_path / "chat.jsonl"
    path.write_text('{"t":0,"user":"mika","text":"\\u200b"}\n\n{"t":1,"user":"mika","text":"hi"}\n', "utf-8")
    assert await asyncio.to_thread(replay.replay, options(path)) == 0
    assert waiting(rehearsal) == [("mika", "hi", "chat")]
    assert "left out: there is nothing to say" in capsys.readouterr().out.splitlines()[0]


async def test_the_recording_begins_before_the_chat(rehearsal, clock, chat, wav):
    """A model that is still loading holds up both, so that they keep pace."""
    async with rehearsal.worker("asr") as ears:
        await ears.send(Health(state="off", ready=False, reason="no microphone"))
        playing = asyncio.create_task(asyncio.to_thread(replay.replay, options(chat, wav, speed=2.0)))
        while not isinstance(told := await ears.receive(), PlayFile):
            pass
        assert told == PlayFile(path=str(wav.resolve()), speed=2.0)
        await ears.send(Health(state="starting", ready=False, reason="loading small.en"))
        await rehearsal.until(lambda: rehearsal.light("asr")["state"] == "starting")
        before_s = clock.now_s
        await rehearsal.until(lambda: clock.now_s > before_s + 10 * replay.EARS_LIMIT_S)
        assert len(rehearsal.conductor._lines) == 0
        await ears.send(Health(state="ok", ready=True, engine="whisper"))
        assert await playing == 0
    assert len(waiting(rehearsal)) == len(LINES)


@pytest.mark.parametrize(
    ("light", "error", "reason"),
    [
        (
            Health(state="off", ready=False, reason="no speech model is there", fix="Run: aivt setup ears"),
            MissingError,
            "she does not hear it: no speech model is there",
        ),
        (
            Health(state="degraded", ready=True, reason="the recording {} is empty", fix="Choose another."),
            SettingsError,
            "the recording {} is empty",
        ),
    ],
    ids=["deaf", "damaged"],
)
async def test_a_recording_that_is_not_heard(rehearsal, clock, chat, wav, light, error, reason):
    """Her ears' own reason and fix; no chat without the streamer's words that belong to it."""
    path = str(wav.resolve())
    async with rehearsal.worker("asr") as ears:
        await ears.send(
            Health(state=light.state, ready=light.ready, reason=light.reason.format(path), fix=light.fix)
        )
        await rehearsal.until(lambda: rehearsal.light("asr")["state"] == light.state)
        with pytest.raises(error) as raised:
            await asyncio.to_thread(replay.replay, options(chat, wav))
    assert str(raised.value) == reason.format(path)
    assert raised.value.fix == light.fix
    assert len(rehearsal.conductor._lines) == 0


async def test_without_ears(rehearsal, clock, wav):
    """The show says that there are none."""
    with pytest.raises(AivtError, match="the ears are not there") as raised:
        await asyncio.to_thread(replay.replay, options(wav=wav))
    assert raised.value.fix


async def test_a_live_show_takes_none(show, settings, clock, chat, wav):
    """Viewers must not be answered who are not there; exit code 2 and how to do it right."""
    with pytest.raises(SettingsError, match="rehearsals only") as raised:
        await asyncio.to_thread(replay.replay, options(chat, wav))
    assert raised.value.fix == "Start the show with: up --rehearsal"
    assert len(show.conductor._lines) == 0


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"speed": 0.0, "chat": "c"}, "bad_speed"),
        ({"speed": 11.0, "chat": "c"}, "bad_speed"),
        ({"speed": float("nan"), "chat": "c"}, "bad_speed"),
        ({}, "nothing_to_play"),
        ({"chat": "not/there.jsonl"}, "no_chat_file"),
        ({"chat": "."}, "no_chat_file"),
        ({"wav": "not/there.wav"}, "no_such_file"),
        ({"wav": "."}, "no_such_file"),
    ],
)
def test_what_cannot_be_played_is_told_before_a_show_is_asked(monkeypatch, given, code):
    """With the fix, and whether or not a show runs."""
    monkeypatch.setattr(replay, "ask", lambda *_: pytest.fail("a show was asked"))
    with pytest.raises(SettingsError) as raised:
        replay.replay(options(**given))
    assert raised.value.code == code
    assert raised.value.fix


@pytest.mark.parametrize(
    "line",
    [b"hi", b"[]", b'{"t": "soon", "user": "mika", "text": "hi"}', b'{"t": 1}', b"\xff", b'{"t": 1e999}'],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path, line):
    """Its number in the file, counted as editors count, and what a line looks like."""
    path = tmp_path / "chat.jsonl"
    path.write_bytes(b'{"t": 0, "user": "noa", "text": "hi"}\r\n\n' + line)
    found = chat_lines(path)
    assert next(found) == ChatLine(t=0.0, user="noa", text="hi")
    with pytest.raises(SettingsError, match=r"chat\.jsonl, line 3: ") as raised:
        next(found)
    assert '"user": "mika"' in raised.value.fix
