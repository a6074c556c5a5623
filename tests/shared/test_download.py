import asyncio
import errno
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import pytest

from apps.shared.download import Progress, Wanted, download, is_whole
from apps.shared.errors import AivtError, MissingError
from apps.shared.web import Limits
from tests.fakes.catalogue import FakeCatalogue, Fault, Kind

BODY = hashlib.shake_256(b"a voice").digest(200_000)
HALF = 100_000
QUICK = Limits(stall_s=15, tries=4, worth_bytes=1000, first_pause_s=0, longest_pause_s=0)
IMPATIENT = replace(QUICK, stall_s=0.2, tries=50)  # a busy computer may stall a healthy answer as well


@pytest.fixture
async def fake():
    async with FakeCatalogue() as fake:
        fake.files["model.onnx"] = BODY
        yield fake


@pytest.fixture
def wanted(fake, tmp_path):
    """The file; the arguments change what is known of it."""

    def make(**known) -> Wanted:
        md5 = hashlib.md5(BODY).hexdigest()
        values = {"size_bytes": len(BODY), "checksum": f"md5:{md5}", **known}
        return Wanted(f"{fake.url}/model.onnx", tmp_path / "deep" / "model.onnx", **values)

    return make


@pytest.fixture
def get():
    """Download with short limits; returns what was told."""

    async def get(wanted: Wanted, limits: Limits = QUICK) -> list[Progress]:
        told: list[Progress] = []
        async with aiohttp.ClientSession() as session:
            await download(session, wanted, told.append, limits)
        return told

    return get


def put_part(wanted: Wanted, content: bytes, tag: str = "") -> None:
    wanted.path.parent.mkdir(parents=True, exist_ok=True)
    wanted.path.with_name("model.onnx.part").write_bytes(content)
    if tag:
        wanted.path.with_name("model.onnx.part.etag").write_text(tag)


def files(wanted: Wanted) -> list[str]:
    return sorted(path.name for path in wanted.path.parent.iterdir())


async def test_a_whole_file_and_nothing_beside_it(get, wanted, fake):
    """One request behind a redirect, and progress from the first byte to the last."""
    told = await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert files(wanted()) == ["model.onnx"]
    assert [(request.status, request.range) for request in fake.requests] == [(200, "")]
    assert told[0] == Progress(0, len(BODY))
    assert told[-1] == Progress(len(BODY), len(BODY))
    assert [step.done_bytes for step in told] == sorted(step.done_bytes for step in told)


@pytest.mark.parametrize("checksum", ["", "sha256:" + hashlib.sha256(BODY).hexdigest().upper()])
@pytest.mark.parametrize("size", [None, len(BODY)])
async def test_whatever_is_known_of_it(get, wanted, checksum, size):
    """Without size or checksum it works as well, and SHA-256 is a checksum too."""
    await get(wanted(size_bytes=size, checksum=checksum))
    assert wanted().path.read_bytes() == BODY


async def test_what_is_there_is_not_fetched(get, wanted, fake):
    """No request is made for a file that is whole."""
    await get(wanted())
    fake.requests.clear()
    assert await get(wanted()) == [Progress(len(BODY), len(BODY))]
    assert fake.requests == []


async def test_a_damaged_file_is_replaced(get, wanted):
    """One changed byte is noticed."""
    wanted().path.parent.mkdir()
    wanted().path.write_bytes(BODY[:-1] + bytes([BODY[-1] ^ 1]))
    await get(wanted())
    assert wanted().path.read_bytes() == BODY


@pytest.mark.parametrize("etags", ["strong", "weak", ""])
async def test_a_broken_connection_is_taken_up_where_it_broke(get, wanted, fake, etags):
    """The second request asks for the rest alone, held to the same version where the server names one."""
    fake.etags = etags
    fake.hurt("model.onnx", Fault(Kind.DROP, at_bytes=HALF))
    told = await get(wanted())
    assert wanted().path.read_bytes() == BODY
    first, second = fake.requests
    assert (second.status, second.range) == (206, f"bytes={first.sent_bytes}-")
    assert bool(second.if_range) == (etags == "strong")
    assert second.sent_bytes == len(BODY) - first.sent_bytes
    assert [step.trouble for step in told if step.trouble] == ["the connection broke"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.SHORT, at_bytes=HALF),
        Fault(Kind.CHUNKED, at_bytes=HALF),
        Fault(Kind.STATUS, status=500),
        Fault(Kind.STATUS, status=429, retry_after="0"),
    ],
    ids=str,
)
async def test_trouble_that_passes(get, wanted, fake, fault):
    """An end before the end, a server with trouble: the file comes nevertheless."""
    fake.hurt("model.onnx", fault, fault)
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert len(fake.requests) == (2 if fault.at_bytes == HALF else 3)


@pytest.mark.parametrize("fault", [Fault(Kind.STALL, at_bytes=HALF), Fault(Kind.SILENT)], ids=str)
async def test_a_server_that_falls_silent(get, wanted, fake, fault):
    """In the middle or before its first word: it is left, and asked anew."""
    fake.hurt("model.onnx", fault)
    told = await get(wanted(), IMPATIENT)
    assert wanted().path.read_bytes() == BODY
    assert "nothing came for 0.2 s" in {step.trouble for step in told}


async def test_many_breaks_are_no_failure_while_it_goes_on(get, wanted, fake):
    """The count of tries begins anew with each stretch that is worth it."""
    fake.hurt("model.onnx", *[Fault(Kind.DROP, at_bytes=20_000)] * 9)
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert len(fake.requests) == 10


async def test_a_server_that_never_gets_further(get, wanted, fake):
    """Dropping at the same byte of the whole file every time is failing, however many bytes were sent."""
    fake.ranges = False
    fake.hurt("model.onnx", *[Fault(Kind.DROP, at_bytes=HALF)] * 99)
    with pytest.raises(MissingError) as raised:
        await get(wanted())
    assert raised.value.code == "download_failed"
    assert len(fake.requests) == QUICK.tries


async def test_what_arrived_before_it_failed_is_kept(get, wanted, fake):
    """The next call asks for the rest alone."""
    fake.hurt("model.onnx", Fault(Kind.DROP, at_bytes=HALF), *[Fault(Kind.STATUS)] * 9)
    with pytest.raises(MissingError):
        await get(wanted())
    kept = wanted().path.with_name("model.onnx.part").read_bytes()
    assert len(kept) > 0
    assert BODY.startswith(kept)
    fake.faults.clear()
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert fake.requests[-1].range == f"bytes={len(kept)}-"


async def test_cancelling_keeps_what_arrived(wanted, fake):
    """Ctrl+C in mid-download costs nothing but the rest."""
    fake.hurt("model.onnx", Fault(Kind.STALL, at_bytes=HALF))
    half = asyncio.Event()

    def tell(progress: Progress) -> None:
        if progress.done_bytes == HALF:
            half.set()

    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(download(session, wanted(), tell))
        await half.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not wanted().path.exists()
        await download(session, wanted())
    assert wanted().path.read_bytes() == BODY
    assert fake.requests[-1].range == f"bytes={HALF}-"


async def test_a_server_without_ranges_starts_over(get, wanted, fake):
    """The whole file in answer to a request for a part replaces what was there, and is not appended."""
    put_part(wanted(), BODY[:HALF])
    fake.ranges = False
    await get(wanted())
    assert wanted().path.read_bytes() == BODY


async def test_another_part_than_asked_for_is_not_appended(get, wanted, fake):
    """What does not begin at the right byte is thrown away, and all of it fetched."""
    put_part(wanted(), BODY[:HALF])
    fake.hurt("model.onnx", Fault(Kind.OTHER_RANGE))
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert [request.status for request in fake.requests] == [206, 200]


async def test_a_part_of_an_older_version_is_not_gone_on_with(get, wanted, fake):
    """The tag of the older version makes the server send the new one from the beginning."""
    put_part(wanted(), bytes(HALF), '"of-last-year"')
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert [(request.status, request.if_range) for request in fake.requests] == [(200, '"of-last-year"')]


async def test_a_part_that_nobody_could_check_is_not_gone_on_with(get, wanted, fake):
    """Without a tag and without a checksum two versions might be spliced together unnoticed."""
    put_part(wanted(), bytes(HALF))
    await get(wanted(checksum=""))
    assert wanted().path.read_bytes() == BODY
    assert fake.requests[0].range == ""


async def test_a_tag_that_is_none_is_not_sent(get, wanted, fake):
    """A spoilt file beside the part does not get into a request's head."""
    put_part(wanted(), BODY[:HALF], '"a"\r\nHost: elsewhere')
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert fake.requests[0].if_range == ""


async def test_stopped_just_before_the_end(get, wanted, fake):
    """All bytes are there and only the check was missing: nothing is fetched when the size is known."""
    put_part(wanted(), BODY)
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert fake.requests == []


async def test_stopped_just_before_the_end_of_unknown_size(get, wanted, fake):
    """There the server's 416 names the size, which is what we have."""
    put_part(wanted(), BODY)
    await get(wanted(size_bytes=None))
    assert wanted().path.read_bytes() == BODY
    assert [request.status for request in fake.requests] == [416]


async def test_a_part_longer_than_the_file(get, wanted, fake):
    """Is of something else; with the size unknown the server says so with 416."""
    put_part(wanted(), bytes(len(BODY) + 5))
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    wanted().path.unlink()
    put_part(wanted(), bytes(len(BODY) + 5))
    await get(wanted(size_bytes=None))
    assert wanted().path.read_bytes() == BODY
    assert [request.status for request in fake.requests] == [200, 416, 200]


async def test_a_damaged_download_is_fetched_once_more(get, wanted, fake):
    """From the first byte, and then it is right."""
    fake.hurt("model.onnx", Fault(Kind.WRONG_BYTES))
    await get(wanted())
    assert wanted().path.read_bytes() == BODY
    assert [request.range for request in fake.requests] == ["", ""]


async def test_damaged_twice(get, wanted, fake):
    """Then it is the server's file that is wrong: one line says so, and nothing is left of it."""
    fake.hurt("model.onnx", *[Fault(Kind.WRONG_BYTES)] * 9)
    with pytest.raises(AivtError) as raised:
        await get(wanted())
    assert raised.value.code == "wrong_checksum"
    assert raised.value.fix
    assert len(fake.requests) == 2
    assert files(wanted()) == []


@pytest.mark.parametrize("fault", [Fault(Kind.LONG, at_bytes=7), Fault(Kind.CHUNKED)], ids=str)
async def test_a_longer_file_than_announced(get, wanted, fake, fault):
    """Is another file: refused by its head, or where that says nothing at the first byte too many."""
    if fault.kind is Kind.CHUNKED:
        fake.files["model.onnx"] = BODY + b"1234567"
    fake.hurt("model.onnx", fault)
    with pytest.raises(AivtError) as raised:
        await get(wanted())
    assert raised.value.code == "wrong_size"
    assert not wanted().path.exists()
    assert len(fake.requests) == 1


async def test_a_shorter_file_than_announced(get, wanted, fake):
    """Its size is told as soon as the server names it."""
    fake.files["model.onnx"] = BODY[:HALF]
    with pytest.raises(AivtError, match=f"{HALF} bytes instead of {len(BODY)}"):
        await get(wanted())
    assert not wanted().path.exists()


async def test_no_room_is_noticed_before_anything_is_fetched(monkeypatch, get, wanted):
    """The line says how much is needed and how much is free."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=150_000))
    with pytest.raises(MissingError, match=r"0\.2 MB are needed .* 0\.1 MB are free") as raised:
        await get(wanted())
    assert raised.value.code == "disk_full"
    assert files(wanted()) == []
    put_part(wanted(), BODY[:HALF])
    await get(wanted())
    assert wanted().path.read_bytes() == BODY, "room for the rest is room enough"


async def test_a_disk_that_becomes_full(monkeypatch, get, wanted):
    """One line, and the part that fitted is gone on with when there is room again."""
    room = {"bytes": HALF}
    opened = Path.open

    class Narrow:
        def __init__(self, file):
            self._file = file

        def write(self, piece):
            fits = piece[: room["bytes"]]
            self._file.write(fits)
            room["bytes"] -= len(fits)
            if len(fits) < len(piece):
                raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            self._file.close()

    def narrow(path, mode="r", *more, **named):
        file = opened(path, mode, *more, **named)
        return Narrow(file) if mode == "ab" else file

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", narrow)
        with pytest.raises(MissingError) as raised:
            await get(wanted())
    assert raised.value.code == "disk_full"
    assert raised.value.fix
    assert wanted().path.with_name("model.onnx.part").stat().st_size == HALF
    await get(wanted())
    assert wanted().path.read_bytes() == BODY


async def test_a_folder_that_cannot_be_written(get, wanted, tmp_path):
    """One line names the place."""
    (tmp_path / "deep").write_text("a file where the folder should be")
    with pytest.raises(MissingError) as raised:
        await get(wanted())
    assert raised.value.code == "cannot_write"
    assert "deep" in str(raised.value)


async def test_not_there(get, wanted, fake):
    """A missing file is told as such, at once."""
    del fake.files["model.onnx"]
    with pytest.raises(MissingError) as raised:
        await get(wanted())
    assert raised.value.code == "not_found"


async def test_an_empty_file(get, wanted, fake):
    """Is a file as well."""
    fake.files["model.onnx"] = b""
    await get(wanted(size_bytes=None, checksum=""))
    assert wanted().path.read_bytes() == b""


def test_whole_means_every_known_thing_fits(tmp_path):
    """Size and checksum both count, and what is unknown does not."""
    file = tmp_path / "file"
    md5 = "md5:" + hashlib.md5(b"abc").hexdigest()
    assert not is_whole(file, None, "")
    file.write_bytes(b"abc")
    assert is_whole(file, None, "")
    assert is_whole(file, 3, md5)
    assert not is_whole(file, 4, md5)
    file.write_bytes(b"abd")
    assert not is_whole(file, 3, md5)
