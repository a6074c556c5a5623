"""The stand-in keeps to the HTTP rules that a resumed download is built on."""

import hashlib
import json

import aiohttp
import pytest

from tests.fakes.catalogue import SIGNATURE, FakeCatalogue, Fault, Kind

MODEL = bytes(range(256)) * 300
IDENTITY = {"Accept-Encoding": "identity"}


@pytest.fixture
async def fake():
    async with FakeCatalogue() as fake:
        fake.add("en_US-one-medium", MODEL, b"{}")
        yield fake


@pytest.fixture
def get(fake):
    """GET a path; returns status, headers and body."""

    async def get(path: str, **headers: str):
        async with aiohttp.ClientSession() as session:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            async with session.get(f"{fake.url}/{path}", headers=IDENTITY | named) as response:
                return response.status, response.headers, await response.read()

    return get


PATH = "en/en_US/one/medium/en_US-one-medium.onnx"


async def test_the_catalogue_describes_what_is_served(get):
    """Sizes and checksums of voices.json are those of the files."""
    _, _, raw = await get("voices.json")
    described = json.loads(raw)["en_US-one-medium"]["files"]
    assert len(described) == 3
    for path, file in described.items():
        status, _, body = await get(path)
        assert status == 200
        assert (len(body), hashlib.md5(body).hexdigest()) == (file["size_bytes"], file["md5_digest"])


async def test_models_lie_behind_a_redirect_with_a_signature(fake):
    """As on the real host; the address behind it is of no use without the signature."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{fake.url}/{PATH}", allow_redirects=False) as response:
            assert response.status == 302
            assert response.headers["Location"].endswith(f"?{SIGNATURE}")
        async with session.get(f"http://127.0.0.1:{fake.port}/cdn/{PATH}") as response:
            assert response.status == 403


@pytest.mark.parametrize(
    ("asked", "status", "begin"),
    [("bytes=100-", 206, 100), ("bytes=-5", 200, 0), ("bytes=0-1,5-6", 200, 0), ("bytes=999999-", 416, None)],
)
async def test_ranges(get, asked, status, begin):
    """From a byte to the end is answered, other forms get it all, one beyond the end gets 416."""
    got, headers, body = await get(PATH, Range=asked)
    assert got == status
    if begin is not None:
        assert body == MODEL[begin:]
    if status != 200:
        expected = f"bytes {begin}-{len(MODEL) - 1}" if begin else "bytes *"
        assert headers["Content-Range"] == f"{expected}/{len(MODEL)}"


async def test_if_range_holds_a_part_to_its_version(get):
    """The tag of this version gets the part, any other the whole file."""
    _, headers, _ = await get(PATH)
    assert (await get(PATH, Range="bytes=5-", If_Range=headers["ETag"]))[0] == 206
    assert (await get(PATH, Range="bytes=5-", If_Range='"old"'))[0] == 200


async def test_a_range_of_an_encoded_body_is_refused(get):
    """Its offsets would be those of the compressed bytes."""
    assert (await get(PATH, Range="bytes=5-", Accept_Encoding="gzip"))[0] == 400


async def test_unknown_paths_and_methods(fake, get):
    """Are errors, not empty answers."""
    assert (await get("en/nobody.onnx"))[0] == 404
    async with aiohttp.ClientSession() as session, session.post(f"{fake.url}/{PATH}") as response:
        assert response.status == 405


async def test_faults_happen_once_and_in_order(fake, get):
    """Each request uses up one; None is a healthy answer."""
    fake.hurt(PATH, Fault(Kind.STATUS, status=503), None, Fault(Kind.WRONG_BYTES))
    assert (await get(PATH))[0] == 503
    assert (await get(PATH))[2] == MODEL
    wrong = (await get(PATH))[2]
    assert len(wrong) == len(MODEL)
    assert wrong != MODEL
    assert [request.status for request in fake.asked(".onnx")] == [503, 200, 200]
