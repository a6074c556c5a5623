import hashlib

import aiohttp
import pytest
from aiohttp import web

from apps.asr_worker.models import hub
from apps.asr_worker.models.hub import Told, ask
from apps.shared.errors import MissingError
from apps.shared.web import Limits
from tests.fakes.hub import FakeHub

QUICK = Limits(stall_s=15, tries=2, first_pause_s=0, longest_pause_s=0)
MODEL, CONFIG = bytes(range(256)) * 40, b'{"a": 1}'


@pytest.fixture
async def fake():
    async with FakeHub() as fake:
        fake.files |= {"some/one/model.bin": MODEL, "some/one/config.json": CONFIG}
        yield fake


@pytest.fixture
def told(fake):
    """Ask for a file of some/one."""

    async def run(file, repository="some/one"):
        async with aiohttp.ClientSession() as session:
            return await ask(session, f"{fake.url}/{repository}/resolve/main/{file}", QUICK)

    return run


async def test_a_large_file(told, fake):
    """Size and SHA-256 are those of the redirect; the other host is not even asked."""
    assert await told("model.bin") == Told(len(MODEL), f"sha256:{hashlib.sha256(MODEL).hexdigest()}")
    assert fake.requests == []


async def test_a_small_file(told):
    """Through the redirect within the hub, to the size and git's name of the content."""
    name = hashlib.sha1(b"blob 8\0" + CONFIG).hexdigest()
    assert await told("config.json") == Told(len(CONFIG), f"git:{name}")


async def test_a_plain_file_server(told, fake):
    """Tells the size; its ETag, which may be anything, is no checksum."""
    fake.plain = True
    assert await told("model.bin") == Told(len(MODEL), "")


async def test_what_is_not_there(told, fake):
    """A file that the model does not have, or that is gone for good."""
    assert await told("vocabulary.txt") is None
    fake.refuse["some/one/config.json"].append(410)
    assert await told("config.json") is None


async def test_a_repository_that_is_not_there(told):
    """The hub answers 401, as for a private one."""
    with pytest.raises(MissingError, match="401") as raised:
        await told("config.json", "some/other")
    assert raised.value.code == "download_failed"


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_trouble_that_passes(told, fake, status):
    """Is asked again about."""
    fake.refuse["some/one/config.json"].append(status)
    assert await told("config.json") is not None
    assert len(fake.heads) == 2


async def test_trouble_that_stays(told, fake):
    """Is told with the status."""
    fake.refuse["some/one/config.json"].extend([503] * 9)
    with pytest.raises(MissingError, match=r"2 tries.*503") as raised:
        await told("config.json")
    assert raised.value.retryable


async def test_no_connection(told, fake):
    """Is told as what it is."""
    await fake.stop()
    with pytest.raises(MissingError, match="no connection"):
        await told("config.json")


@pytest.mark.parametrize(
    "to", ["", "file:///etc/hostname", "http://[", "{self}", "/somewhere/else"], ids=lambda to: to or "none"
)
async def test_redirects_that_lead_nowhere(told, fake, monkeypatch, to):
    """To what is no address, to itself, for ever."""

    async def circle(request):
        place = to.replace("{self}", str(request.rel_url))
        if to == "/somewhere/else":  # never the same twice
            place = f"/some/one/resolve/main/x{len(fake.heads)}"
        fake.heads.append(request.path)
        return web.Response(status=302, headers={"Location": place} if place else {})

    await fake.stop()
    monkeypatch.setattr(fake, "_resolve", circle)
    await fake.start()
    with pytest.raises(MissingError, match="leads nowhere") as raised:
        await told("config.json")
    assert raised.value.code == "download_failed"
    assert len(fake.heads) <= hub.MOST_REDIRECTS


@pytest.mark.parametrize("tag", ["", '"short"', 'W/"' + "g" * 64 + '"', '"' + "a" * 50 + '"'])
async def test_an_etag_of_another_kind(told, fake, tag, monkeypatch):
    """Is no checksum; the size counts all the same."""
    monkeypatch.setattr(fake, "_git", lambda _: tag)
    assert await told("config.json") == Told(len(CONFIG), "")


async def test_a_redirect_that_does_not_tell_the_size(told, fake, monkeypatch):
    """Its own length is not that of the file."""

    async def unsized(_):
        headers = {"X-Linked-ETag": '"' + "a" * 64 + '"', "Location": "http://127.0.0.1:9/"}
        return web.Response(status=302, headers=headers, text="Found")

    await fake.stop()
    monkeypatch.setattr(fake, "_resolve", unsized)
    await fake.start()
    assert await told("model.bin") == Told(None, "sha256:" + "a" * 64)


async def test_a_weak_etag(told, fake, monkeypatch):
    """Names the same content."""
    monkeypatch.setattr(fake, "_git", lambda _: 'W/"' + "A" * 40 + '"')
    assert await told("config.json") == Told(len(CONFIG), "git:" + "a" * 40)
