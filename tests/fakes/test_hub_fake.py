"""The stand-in answers as the public hub does, so that what works with it works there."""

import hashlib

import aiohttp
import pytest

from tests.fakes.catalogue import SIGNATURE
from tests.fakes.hub import COMMIT, FakeHub

MODEL, CONFIG = bytes(range(256)) * 40, b'{"a": 1}'
GIT = hashlib.sha1(b"blob 8\0" + CONFIG).hexdigest()
IDENTITY = {"Accept-Encoding": "identity"}


@pytest.fixture
async def fake():
    async with FakeHub() as fake:
        fake.files |= {"some/one/model.bin": MODEL, "some/one/config.json": CONFIG}
        yield fake


@pytest.fixture
def ask(fake):
    """Ask for a file of some/one without following; returns status, headers and body."""

    async def ask(method, path, **headers):
        async with aiohttp.ClientSession() as session:
            url = path if path.startswith("http") else f"{fake.url}/{path}"
            headers = IDENTITY | {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.request(method, url, headers=headers, allow_redirects=False) as response:
                return response.status, response.headers, await response.read()

    return ask


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_large_file_lies_with_another_host(fake, ask, method):
    """The redirect tells size, SHA-256 and commit; what it leads to is signed, and its ETag no SHA-256."""
    status, headers, _ = await ask(method, "some/one/resolve/main/model.bin")
    assert (status, headers["X-Repo-Commit"], headers["X-Linked-Size"]) == (302, COMMIT, str(len(MODEL)))
    sha256 = hashlib.sha256(MODEL).hexdigest()
    assert headers["X-Linked-ETag"] == f'"{sha256}"'
    there = headers["Location"]
    assert there == f"http://127.0.0.1:{fake.cdn_port}/cdn/some/one/model.bin?{SIGNATURE}"
    status, headers, body = await ask("GET", there)
    assert (status, body) == (200, MODEL)
    assert len(headers["ETag"].strip('"')) == len(sha256)
    assert headers["ETag"].strip('"') != sha256
    assert "X-Linked-ETag" not in headers
    assert (await ask("GET", there.split("?")[0]))[0] == 403
    assert (await ask("HEAD", there))[0] == 403


@pytest.mark.parametrize("method", ["HEAD", "GET"])
async def test_a_small_file_lies_within_the_hub(ask, method):
    """The redirect is relative and names the commit; the ETag is git's name for the content."""
    status, headers, _ = await ask(method, "some/one/resolve/main/config.json")
    assert (status, headers["Location"].startswith(f"/api/resolve-cache/models/some/one/{COMMIT}/")) == (
        307,
        True,
    )
    status, headers, body = await ask(method, headers["Location"][1:])
    assert (status, headers["ETag"], headers["X-Repo-Commit"]) == (200, f'"{GIT}"', COMMIT)
    assert headers["Content-Length"] == str(len(CONFIG))
    assert body == (b"" if method == "HEAD" else CONFIG)


async def test_a_part_of_a_file(fake, ask):
    """By a range, as long as the ETag is still the same."""
    _, headers, _ = await ask("GET", "some/one/resolve/main/model.bin")
    there = headers["Location"]
    _, headers, _ = await ask("GET", there)
    part = {"Range": "bytes=100-", "If_Range": headers["ETag"]}
    assert (await ask("GET", there, **part))[::2] == (206, MODEL[100:])
    assert (await ask("GET", there, **part | {"If_Range": '"other"'}))[::2] == (200, MODEL)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("some/one/resolve/main/vocabulary.txt", 404),
        ("some/other/resolve/main/config.json", 401),
        ("some/one/resolve/main/config.json?download=true", 400),
        ("some/one/resolve/v1/config.json", 404),
        ("some/one/config.json", 404),
        (f"api/resolve-cache/models/some/one/{'0' * 40}/config.json?etag=1", 400),
        (f"api/resolve-cache/models/some/one/{COMMIT}/config.json", 400),
    ],
)
async def test_other_addresses_are_refused(ask, path, status):
    """A file that is not there, a repository that is not there, and what the hub never gave out."""
    assert (await ask("HEAD", path))[0] == status


async def test_a_plain_file_server(fake, ask):
    """Knows no redirect and no checksum."""
    fake.plain = True
    status, headers, body = await ask("GET", "some/one/resolve/main/model.bin")
    assert (status, body) == (200, MODEL)
    assert not {name for name in headers if name.lower().startswith("x-")}


async def test_what_was_asked_is_kept(fake, ask):
    """Questions for headers apart from those for bytes."""
    await ask("HEAD", "some/one/resolve/main/config.json")
    _, headers, _ = await ask("GET", "some/one/resolve/main/config.json")
    await ask("GET", headers["Location"][1:])
    assert fake.heads == ["some/one/config.json"]
    assert [(request.path, request.status) for request in fake.requests] == [("some/one/config.json", 200)]
