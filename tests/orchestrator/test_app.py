"""The orchestrator, put together."""

import argparse
import asyncio
import contextlib
import sqlite3

import aiohttp
import pytest

from apps.orchestrator.app import _listener, run
from apps.shared.access import read_port, read_token
from apps.shared.errors import AivtError, MissingError, PortInUseError
from apps.shared.settings import Settings

OPTIONS = argparse.Namespace(show_without=frozenset({"tts"}), show_rehearsal=True)


@pytest.fixture
def settings(tmp_path):
    return Settings(_env_file=None, aivt_data_dir=tmp_path / "data", aivt_port=0)


@contextlib.asynccontextmanager
async def running(settings):
    """`aivt run orchestrator`, until it listens; then asked to stop."""
    task = asyncio.create_task(run(settings, OPTIONS))
    port = settings.aivt_data_dir / "port"
    while not (port.exists() or task.done()):
        await asyncio.sleep(0.001)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_it_makes_its_folder_and_listens(settings):
    """The token, the port and the journal are made; what it was started with is in its status."""
    async with running(settings):
        headers = {"Authorization": f"Bearer {read_token(settings)}"}
        url = f"http://127.0.0.1:{read_port(settings)}/status"
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
            status = await response.json()
    assert status["show"]["rehearsal"] is True
    assert status["modules"]["tts"]["reason"] == "left out with --without"
    with contextlib.closing(sqlite3.connect(settings.aivt_data_dir / "journal.db")) as db:
        (show,) = db.execute("SELECT id, ended_at FROM shows").fetchall()
    assert show[0] == status["show"]["id"]
    assert show[1] is not None


async def test_a_second_one_on_the_folder_is_refused(settings):
    """Before it has touched anything: the first goes on, and keeps its token and its port."""
    async with running(settings) as first:
        before = (read_token(settings), read_port(settings))
        with pytest.raises(AivtError, match="another show is running"):
            await run(settings, OPTIONS)
        assert (read_token(settings), read_port(settings)) == before
        assert not first.done()


async def test_a_port_in_use_is_named(settings):
    """Whoever has it: exit code 4, with the setting to change."""
    async with running(settings):
        port = read_port(settings)
        second = Settings(_env_file=None, aivt_data_dir=settings.aivt_data_dir / "second", aivt_port=port)
        with pytest.raises(PortInUseError, match=f"port {port} is in use") as caught:
            await run(second, OPTIONS)
    assert "AIVT_PORT" in caught.value.fix


def test_a_port_is_taken_from_the_first_moment():
    """Of two that start at the same time, one gets it, before either serves."""
    with contextlib.closing(_listener(0)) as first:
        host, port = first.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(PortInUseError):
            _listener(port)


@pytest.mark.parametrize("name", ["journal.db", "token"])
async def test_a_file_that_cannot_be_used_is_one_error(settings, name):
    """Exit code 3 and the fix; the folder and the port are free again."""
    (settings.aivt_data_dir / name).mkdir(parents=True)
    for _ in range(2):
        with pytest.raises(MissingError) as caught:
            await run(settings, OPTIONS)
        assert caught.value.fix
