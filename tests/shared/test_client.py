"""A worker's end of the bus, against the real orchestrator."""

import asyncio
import contextlib
from itertools import pairwise
from types import SimpleNamespace

import pytest
import structlog

from apps.shared import access
from apps.shared import client as client_module
from apps.shared.client import FIRST_RETRY_S, LAST_RETRY_S, Client
from apps.shared.errors import AivtError
from apps.shared.messages import BusMessage, Finish, Health, Output, Persona, Think
from apps.shared.settings import Settings
from apps.shared.wire import Outbox
from tests.orchestrator.served import PERSONA, serving


@pytest.fixture
async def show(tmp_path, monkeypatch):
    async with serving(tmp_path, monkeypatch) as served:
        yield served


class Voice:
    """A worker that only remembers."""

    module = "tts"

    def __init__(self) -> None:
        self.engine = "first"
        self.received: list[BusMessage] = []
        self.losses = 0

    def health(self) -> Health:
        return Health(state="ok", ready=True, engine=self.engine)

    def joined(self) -> list[Persona]:
        return []

    def receive(self, message: BusMessage) -> None:
        self.received.append(message)

    def lost(self) -> None:
        self.losses += 1


class Brain(Voice):
    """One that has something to tell on joining."""

    module = "policy"

    def joined(self) -> list[Persona]:
        return [PERSONA]


@contextlib.asynccontextmanager
async def running(settings: Settings, worker: Voice):
    """The client of a worker, joined or trying to."""
    client = Client(settings)
    task = asyncio.create_task(client.run(worker))
    try:
        yield client
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_on_joining_a_worker_says_how_it_is_and_what_else_counts(show):
    """Health and news are there at once, and messages flow both ways."""
    brain = Brain()
    async with running(show.settings, brain) as client:
        await show.until(lambda: show.conductor.status()["persona"] == {"id": "kitsu", "style": "kitsu"})
        assert show.light("policy")["engine"] == "first"
        client.send(Health(state="degraded", ready=True, engine="second"))
        await show.until(lambda: show.light("policy")["engine"] == "second")
        think = Think(turn_id="t", user="mika", text="hi", lane="chat")
        show.conductor._send("policy", think)
        await show.until(lambda: think in brain.received)


async def test_a_heartbeat_keeps_the_light_fresh(show, monkeypatch):
    """What has changed is told without being asked."""
    monkeypatch.setattr(client_module, "HEARTBEAT_S", 0.01)
    voice = Voice()
    async with running(show.settings, voice):
        await show.until(lambda: show.light("tts")["engine"] == "first")
        voice.engine = "another"
        await show.until(lambda: show.light("tts")["engine"] == "another")


async def test_a_worker_rejoins_a_restarted_orchestrator(show):
    """The same worker, with its model: it drops what it was doing and is back within 3 s."""
    voice = Voice()
    async with running(show.settings, voice) as client:
        await show.until(lambda: show.light("tts")["state"] == "ok")
        await show.stop()
        await show.until(lambda: voice.losses == 1)
        client.send(Finish(turn_id="t"))  # nobody is there to want it
        show.start()
        async with asyncio.timeout(3):
            await show.until(lambda: show.light("tts")["state"] == "ok")
        assert voice.received.count(Output(muted=False, held=False)) == 2


async def test_a_worker_may_come_first(tmp_path, monkeypatch):
    """A worker without an orchestrator waits for it, and says so once, not at each try."""
    monkeypatch.setattr(client_module, "SAY_AFTER_S", 0.0)
    settings = Settings(_env_file=None, aivt_data_dir=tmp_path, aivt_port=0)
    tries = []

    def port(settings):
        tries.append(settings)
        return access.read_port(settings)

    monkeypatch.setattr(client_module, "read_port", port)
    with structlog.testing.capture_logs() as said:
        async with running(settings, Voice()):
            while len(tries) < 3:
                await asyncio.sleep(0.001)
            async with serving(tmp_path, monkeypatch) as show:
                await show.until(lambda: show.light("tts")["state"] == "ok")
    waits = [line for line in said if line["event"] == "waiting for the orchestrator"]
    assert [line["fix"] for line in waits] == ["Start it with: python scripts/aivt.py up"]


@pytest.mark.looptime
async def test_the_retries_back_off(tmp_path, monkeypatch):
    """Quick at first, then once a second, never all at the same moment."""
    tries = []

    def no_token(settings):
        tries.append(asyncio.get_running_loop().time())
        raise ConnectionRefusedError

    monkeypatch.setattr(client_module, "read_token", no_token)
    settings = Settings(_env_file=None, aivt_data_dir=tmp_path, aivt_port=1)
    async with running(settings, Voice()):
        await asyncio.sleep(60)
    gaps = [later - earlier for earlier, later in pairwise(tries)]
    assert gaps[0] == pytest.approx(FIRST_RETRY_S, rel=0.21)
    assert gaps[1] == pytest.approx(2 * FIRST_RETRY_S, rel=0.21)
    assert all(gap == pytest.approx(LAST_RETRY_S, rel=0.21) for gap in gaps[6:])
    assert len(set(gaps)) == len(gaps)


async def test_what_the_orchestrator_says_wrong_is_passed_over(show):
    """A frame that this worker cannot read, or an error about one of its own, does not end the connection."""
    voice = Voice()
    with structlog.testing.capture_logs() as said:
        async with running(show.settings, voice) as client:
            await show.until(lambda: show.light("tts")["state"] == "ok")
            client.send(PERSONA)  # not for the voice to send
            await show.until(lambda: any(line.get("code") == "unexpected_type" for line in said))
            client.send(Health(state="ok", ready=True, engine="still here"))
            await show.until(lambda: show.light("tts")["engine"] == "still here")
    assert voice.losses == 1


async def test_a_worker_that_is_too_far_ahead_begins_anew(show):
    """When the orchestrator does not read, the connection ends rather than lose some messages in between."""
    voice = Voice()
    async with running(show.settings, voice) as client:
        await show.until(lambda: show.light("tts")["state"] == "ok")
        for _ in range(Outbox.LIMIT + 1):
            client.send(Health(state="ok", ready=True))
        await show.until(lambda: voice.losses == 1)
        await show.until(lambda: voice.received.count(Output(muted=False, held=False)) == 2)


async def test_of_two_processes_of_a_name_one_stands_down(show):
    """The one that is replaced ends with the reason, so that they do not throw each other out for ever."""
    first, second = Voice(), Voice()
    second.engine = "second"
    task = asyncio.create_task(Client(show.settings).run(first))
    await show.until(lambda: show.light("tts")["state"] == "ok")
    async with running(show.settings, second):
        with pytest.raises(AivtError, match="another tts process has joined") as caught:
            await task
        assert "only one" in caught.value.fix
        await show.until(lambda: show.light("tts")["engine"] == "second")
        assert (first.losses, second.losses) == (1, 0)


async def test_a_worker_with_another_shows_token_is_told(show, tmp_path_factory, monkeypatch):
    """It keeps trying, since the right show may come yet, and its log says how it was refused."""
    monkeypatch.setattr(client_module, "SAY_AFTER_S", 0.0)
    stranger = tmp_path_factory.mktemp("other")
    (stranger / "token").write_text("not-the-token")
    settings = Settings(_env_file=None, aivt_data_dir=stranger, aivt_port=show.port)
    with structlog.testing.capture_logs() as said:
        async with running(settings, Voice()):
            await show.until(lambda: any("HTTP 401" in line.get("reason", "") for line in said))
    assert show.light("tts")["state"] == "starting"


async def test_a_fault_of_the_worker_is_not_hidden(show):
    """What a worker raises on a message ends its process: it would be in an unknown state."""

    class Broken(Voice):
        def receive(self, message: BusMessage) -> None:
            raise ZeroDivisionError

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await Client(show.settings).run(Broken())


async def test_a_cancellation_that_gets_lost_ends_it_all_the_same(tmp_path, monkeypatch):
    """What swallows a cancellation (a TaskGroup may, up to Python 3.12) does not make a worker immortal."""
    serving = asyncio.Event()

    @contextlib.asynccontextmanager
    async def joined(_module):
        yield SimpleNamespace(close_code=1000)

    async def serve(_socket, _worker):
        serving.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)

    client = Client(Settings(_env_file=None, aivt_data_dir=tmp_path))
    monkeypatch.setattr(client, "_joined", joined)
    monkeypatch.setattr(client, "_serve", serve)
    running = asyncio.create_task(client.run(SimpleNamespace(module="tts")))
    await serving.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
