import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp
import pytest

from apps.shared.errors import AivtError, MissingError
from apps.shared.web import Limits, fetch, pause_s, place, retry_after_s
from tests.fakes.catalogue import FakeCatalogue, Fault, Kind

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
QUICK = Limits(stall_s=15, tries=3, first_pause_s=0, longest_pause_s=0)
IMPATIENT = replace(QUICK, stall_s=0.2)


@pytest.fixture
async def fake():
    async with FakeCatalogue() as fake:
        fake.files["note"] = b"hello"
        yield fake


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize(
    ("failures", "asked_s", "expected_s"),
    [
        (1, None, 1),
        (2, None, 2),
        (3, None, 4),
        (9, None, 60),
        (1, 7, 7),
        (3, 0, 0),
        (1, 3600, 60),
        (1, -5, 0),
    ],
)
def test_pauses_grow_and_the_server_goes_first(failures, asked_s, expected_s):
    """Each pause is twice the last; what the server asks for counts instead, but nothing beyond the cap."""
    assert pause_s(failures, asked_s, Limits(first_pause_s=1, longest_pause_s=60)) == expected_s


@pytest.mark.parametrize(
    ("header", "expected_s"),
    [
        ("120", 120),
        (" 3 ", 3),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 11:59:30 GMT", -30),
        ("soon", None),
        ("", None),
        ("-1", None),
        ("1.5", None),
    ],
)
def test_retry_after(header, expected_s):
    """Seconds or a date, as the HTTP standard has it; anything else is as if it were not there."""
    assert retry_after_s(header, NOW) == expected_s


async def test_a_small_file(fake, session):
    """Comes whole."""
    assert await fetch(session, f"{fake.url}/note", longest_bytes=5) == b"hello"


async def test_a_file_beyond_the_limit(fake, session):
    """Is refused rather than kept in memory."""
    with pytest.raises(AivtError) as raised:
        await fetch(session, f"{fake.url}/note", longest_bytes=4)
    assert raised.value.code == "wrong_size"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.STATUS, status=500),
        Fault(Kind.STATUS, status=503),
        Fault(Kind.STATUS, status=429, retry_after="0"),
        Fault(Kind.DROP, at_bytes=2),
    ],
    ids=str,
)
async def test_what_passes_is_tried_again(fake, session, fault):
    """Twice in a row the same trouble, and then it works."""
    fake.hurt("note", fault, fault)
    assert await fetch(session, f"{fake.url}/note", longest_bytes=5, limits=QUICK) == b"hello"
    assert len(fake.asked("note")) == 3


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(Kind.STATUS, status=500), "trouble (500)"),
        (Fault(Kind.STATUS, status=429), "patience (429)"),
        (Fault(Kind.STALL, at_bytes=2), "nothing came for 0.2 s"),
        (Fault(Kind.DROP, at_bytes=2), "the connection broke"),
    ],
    ids=str,
)
async def test_trouble_that_stays(fake, session, fault, words):
    """After the last try one line says what it was, and at which address."""
    fake.hurt("note", *[fault] * 9)
    limits = IMPATIENT if fault.kind is Kind.STALL else QUICK
    with pytest.raises(MissingError) as raised:
        await fetch(session, f"{fake.url}/note", longest_bytes=5, limits=limits)
    assert raised.value.code == "download_failed"
    assert raised.value.retryable
    assert words in str(raised.value)
    assert "127.0.0.1/voices/note" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(fake.asked("note")) == QUICK.tries


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (410, "not_found"), (403, "download_failed")]
)
async def test_a_refusal_is_final(fake, session, status, code):
    """What is not there, or not for us, is not asked for again."""
    fake.hurt("note", Fault(Kind.STATUS, status=status))
    with pytest.raises(MissingError) as raised:
        await fetch(session, f"{fake.url}/note", longest_bytes=5, limits=QUICK)
    assert raised.value.code == code
    assert len(fake.asked("note")) == 1


@pytest.mark.parametrize("faults", [[Fault(Kind.NOWHERE)], [Fault(Kind.CIRCLE)] * 20], ids=["file", "circle"])
async def test_a_redirect_to_nowhere(fake, session, faults):
    """To another kind of address, or in a circle, no redirect is followed, and none is tried again."""
    fake.hurt("note", *faults)
    with pytest.raises(MissingError, match="cannot be used"):
        await fetch(session, f"{fake.url}/note", longest_bytes=5, limits=QUICK)


async def test_nobody_listens(fake, session):
    """A server that is not there is said to be not there."""
    await fake.stop()
    with pytest.raises(MissingError, match=r"no connection to 127\.0\.0\.1"):
        await fetch(session, f"{fake.url}/note", longest_bytes=5, limits=QUICK)


async def test_a_server_that_answers_no_greeting(fake, session):
    """The limit for connecting covers the encryption's hand-shake, which this server never begins."""
    limits = Limits(connect_s=0.2, stall_s=15, tries=1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(MissingError, match=r"no connection within 0\.2 s"):
            await fetch(session, f"https://127.0.0.1:{port}/", longest_bytes=5, limits=limits)


def test_secrets_in_an_address_are_not_shown():
    """Neither a password nor a signed query gets into a message."""
    assert place("https://me:secret@host:8/a/b?Signature=xyz#c") == "host/a/b"
