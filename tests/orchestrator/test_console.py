"""`aivt say`, `aivt status` and `aivt voices use`, against the real orchestrator."""

import argparse
import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Literal

import pytest
import structlog

from apps.orchestrator import console
from apps.shared.access import make_token
from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.messages import Finish, SetVoice, SpeechEnd, Think, Thought, Voices
from apps.shared.settings import Settings
from tests.orchestrator.served import decided


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """What `aivt` reads when it is run beside the show of this folder."""
    settings = Settings(_env_file=None, aivt_data_dir=tmp_path, aivt_port=0)
    monkeypatch.setattr(Settings, "load", lambda: settings)
    return settings


@pytest.fixture(autouse=True)
def logs():
    """The orchestrator's log goes elsewhere in a real process."""
    with structlog.testing.capture_logs() as said:
        yield said


def options(text: str = "hi", *, lane: str = "chat", as_json: bool = False) -> argparse.Namespace:
    return argparse.Namespace(text=text, user="mika", lane=lane, json=as_json)


async def answer(policy, voice, reply: str, *, blocked: bool = False) -> Think:
    """Play both workers for one line."""
    think = await policy.receive()
    assert isinstance(think, Think)
    outcome: Literal["blocked", "whole"] = "blocked" if blocked else "whole"
    await policy.send(
        *decided(think.turn_id, reply),
        Thought(turn_id=think.turn_id, pieces=1, outcome=outcome, at_s=0.0, reason="rule" if blocked else ""),
    )
    while await voice.receive() != Finish(turn_id=think.turn_id):
        pass
    await voice.send(SpeechEnd(turn_id=think.turn_id, at_s=0.0))
    return think


@pytest.mark.parametrize(
    ("blocked", "as_json", "code", "out"),
    [
        (False, False, 0, "Hello mika 🦊.\n"),
        (True, False, 1, "blocked: rule\nHello mika 🦊.\n"),
        (False, True, 0, None),
    ],
)
async def test_say_prints_her_answer(show, settings, capsys, blocked, as_json, code, out):
    """The reply alone when it was spoken, else what became of it; with --json the whole result."""
    async with show.worker("policy") as policy, show.worker("tts") as voice:
        await show.until(lambda: not show.conductor.lights.missing())
        saying = asyncio.create_task(asyncio.to_thread(console.say, options("hi\udcff", as_json=as_json)))
        think = await answer(policy, voice, "Hello mika 🦊.", blocked=blocked)
        assert (think.user, think.text, think.lane) == ("mika", "hi\ufffd", "chat")
        assert await saying == code
    printed = capsys.readouterr().out
    if out is not None:
        assert printed == out
    else:
        assert json.loads(printed)["outcome"] == "spoken"


async def test_status_prints_every_light_with_its_fix(show, settings, capsys):
    """What a person needs to see at a glance, and the same as JSON for programs."""
    async with show.worker("tts"):
        await show.until(lambda: show.light("tts")["state"] == "ok")
        options = argparse.Namespace(json=False)
        assert await asyncio.to_thread(console.status, options) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "tts           ok        fake" in lines
        assert "policy        starting                         has not joined yet" in lines
        assert lines[-1].split() == ["queue", "0", "waiting"]
        options.json = True
        await asyncio.to_thread(console.status, options)
        assert json.loads(capsys.readouterr().out)["modules"]["tts"]["engine"] == "fake"


async def test_what_the_show_refuses_is_an_error_with_its_fix(show, settings):
    """An empty text is an argument to correct: exit code 2."""
    with pytest.raises(SettingsError, match="nothing to say") as caught:
        await asyncio.to_thread(console.say, options(" \n"))
    assert caught.value.fix == "Give some words."


async def test_the_token_of_another_show_is_named(show, settings):
    """Two shows, two folders: the error says which settings do not fit together."""
    (settings.aivt_data_dir / "token").write_text("of another show")
    with pytest.raises(AivtError, match="another show listens") as caught:
        await asyncio.to_thread(console.ask, "GET", "/status")
    assert "AIVT_DATA_DIR" in caught.value.fix


async def test_a_show_that_ends_meanwhile_answers_all_the_same(show, settings, capsys):
    """Whoever waits is told that the show has ended."""
    async with show.worker("policy") as policy, show.worker("tts"):
        await show.until(lambda: not show.conductor.lights.missing())
        saying = asyncio.create_task(asyncio.to_thread(console.say, options()))
        await policy.receive()
        await show.stop()
        assert await saying == 1
        show.start()
    assert capsys.readouterr().out == "cancelled: show_ended: the show was stopped\n"


@pytest.mark.parametrize("what", ["no folder", "no port", "nobody there"])
def test_without_a_show_it_says_how_to_start_one(settings, what):
    """However one finds out: exit code 3."""
    if what != "no folder":
        make_token(settings)
    if what == "nobody there":
        with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as once:
            (settings.aivt_data_dir / "port").write_text(str(once.server_port))
    with pytest.raises(MissingError, match="no show is running") as caught:
        console.ask("GET", "/status")
    assert "aivt.py up" in caught.value.fix


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>hello</html>"),
        (404, b'{"detail":"Not Found"}'),
        (404, b"null"),
        (200, b"[]"),
        (500, b'{"code":"internal"}'),
        (200, None),
    ],
)
def test_another_program_on_the_port_is_no_fault_of_ours(settings, status, body):
    """Whatever it answers, it is one error with a reason."""

    class Stranger(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if body is not None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Keep the test's output clean."""

    make_token(settings)
    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        (settings.aivt_data_dir / "port").write_text(str(stranger.server_port))
        serving = threading.Thread(target=stranger.handle_request)
        serving.start()
        with pytest.raises(AivtError) as caught:
            console.ask("GET", "/status")
        serving.join()
    assert str(caught.value)


async def using(show, name: str, answer: Voices) -> "asyncio.Task[int]":
    """Play the voice worker for one `aivt voices use`."""
    async with show.worker("tts") as voice:
        await voice.send(Voices(name="espeak", names=("amber", "espeak")))
        await show.until(lambda: show.conductor.status()["voice"])
        task = asyncio.create_task(asyncio.to_thread(console.use_voice, argparse.Namespace(name=name)))
        while not isinstance(asked := await voice.receive(), SetVoice):
            pass
        assert asked == SetVoice(name="amber")
        await voice.send(answer)
        await asyncio.wait({task})
        return task


async def test_use_voice_prints_who_speaks_now(show, settings, capsys):
    """One line, once the voice is there."""
    task = await using(show, "amber", Voices(name="amber", names=("amber", "espeak")))
    assert task.result() == 0
    assert capsys.readouterr().out == "amber\n"


@pytest.mark.parametrize(
    ("code", "reason", "fix", "told"),
    [
        ("unknown_name", "", "", "Use one of amber, espeak; or get it: aivt voices --download NAME"),
        ("voice_broken", "amber is no voice", "Get it again.", "Get it again."),
    ],
)
async def test_a_voice_that_cannot_be_used_is_an_error_with_its_fix(
    show, settings, capsys, code, reason, fix, told
):
    """An argument to correct, exit code 2; which names there are is said."""
    answer = Voices(name="espeak", names=("amber", "espeak"), code=code, reason=reason, fix=fix)
    with pytest.raises(SettingsError, match="amber") as caught:
        (await using(show, "amber", answer)).result()
    assert (caught.value.code, caught.value.fix, caught.value.exit_code) == (code, told, 2)
    assert capsys.readouterr().out == ""


async def test_without_a_voice_process_there_is_none_to_change(show, settings):
    """The show is there, the voice is not: its light says why."""
    with pytest.raises(AivtError, match="tts is not there") as caught:
        await asyncio.to_thread(console.use_voice, argparse.Namespace(name="amber"))
    assert (caught.value.code, caught.value.exit_code) == ("tts_down", 1)
    assert caught.value.fix
