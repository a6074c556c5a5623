import json
from dataclasses import replace

import aiohttp
import pytest

from apps.shared.errors import AivtError, MissingError
from apps.shared.web import Limits, fetch
from apps.tts_worker.catalogue import listing
from apps.tts_worker.catalogue.listing import address, cards, load, parse
from tests.fakes.catalogue import FakeCatalogue, Fault, Kind

QUICK = Limits(stall_s=15, tries=2, first_pause_s=0, longest_pause_s=0)
MD5 = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def fake():
    async with FakeCatalogue() as fake:
        fake.add("en_US-one-medium", b"model", b"{}", aliases=["en-one"])
        fake.add("de_DE-zwei-low", b"modell", b"{}", licence="CC BY 4.0")
        yield fake


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def settings(fake, make_settings):
    return make_settings(voices_url=fake.url)


def entry(key="en_US-one-medium", **more):
    """One entry of voices.json, as the real one has them."""
    file = {"size_bytes": 5, "md5_digest": MD5}
    paths = more.pop("paths", [f"en/{key}.onnx", f"en/{key}.onnx.json", "en/MODEL_CARD"])
    return {
        "key": key,
        "name": "one",
        "language": {
            "code": "en_US",
            "family": "en",
            "region": "US",
            "name_native": "English",
            "name_english": "English",
            "country_english": "United States",
        },
        "quality": "medium",
        "num_speakers": 1,
        "speaker_id_map": {},
        "files": dict.fromkeys(paths, file),
        "aliases": [],
        **more,
    }


def parsed(*entries):
    return parse(json.dumps({str(number): each for number, each in enumerate(entries)}).encode())


def test_an_entry():
    """Every fact of it that the list shows or the download needs."""
    [offer] = parsed(entry(aliases=["old-name"], num_speakers=3)).offers.values()
    assert (offer.name, offer.language, offer.family) == ("en_US-one-medium", "en_US", "en")
    assert offer.language_name == "English (United States)"
    assert (offer.quality, offer.speakers, offer.aliases) == ("medium", 3, ("old-name",))
    assert offer.model.path == "en/en_US-one-medium.onnx"
    assert offer.config.path == "en/en_US-one-medium.onnx.json"
    assert (offer.model.size_bytes, offer.model.checksum) == (5, f"md5:{MD5}")


def test_an_entry_without_a_card():
    """Is a voice all the same."""
    [offer] = parsed(entry(paths=["a/b.onnx", "a/b.onnx.json"])).offers.values()
    assert offer.card is None


@pytest.mark.parametrize("key", ["pt_PT-tugão-medium", "es_ES-mls_9972-low", "de_DE-a+b-x_low"])
def test_names_as_they_are(key):
    """Letters of any language, digits, and the few marks that occur."""
    assert list(parsed(entry(key)).offers) == [key]


@pytest.mark.parametrize(
    "key",
    [
        "../one-medium",
        "/etc/a-b",
        "a\\b-c",
        "a-b.onnx",
        "CON",
        "",
        ".one-a",
        "a-b/../c",
        "a-b\n",
        "a-\x1b[2J",
    ],
)
def test_a_name_that_would_lead_out_of_the_folder_is_refused(key):
    """Files are named after it, so it must be a name and nothing else."""
    listed = parsed(entry(key, paths=["a/b.onnx", "a/b.onnx.json"]), entry())
    assert list(listed.offers) == ["en_US-one-medium"]
    assert listed.refused == 1


@pytest.mark.parametrize(
    "path", ["../x", "a/../../x", "/etc/x", "//evil.example/x", "a\\..\\x", "./x", "a/\x1bx", "a/.../x"]
)
def test_a_path_that_leads_elsewhere_is_refused(path):
    """Below the catalogue's address, and nowhere else."""
    assert parsed(entry(paths=[f"{path}.onnx", "a/x.onnx.json"])).refused == 1
    assert parsed(entry(paths=["a/x.onnx", f"{path}.onnx.json"])).refused == 1


@pytest.mark.parametrize(
    "change",
    [
        {"files": {}},
        {"paths": ["a/x.onnx"]},
        {"paths": ["a/x.onnx", "b/x.onnx", "a/x.onnx.json"]},
        {"files": {"a/x.onnx": {"size_bytes": -1, "md5_digest": MD5}}},
        {"files": {"a/x.onnx": {"size_bytes": 5, "md5_digest": f"{MD5}\n"}}},
        {"files": {"a/x.onnx": {"size_bytes": 5, "md5_digest": "../../../../../../../../../etc/x"}}},
        {"files": {"a/x.onnx": {"size_bytes": "5", "md5_digest": MD5}}},
        {"num_speakers": 0},
        {"language": "en"},
        {"quality": "\x1b[2J"},
        {"key": 5},
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_used(change):
    """Does not take the others with it."""
    listed = parsed(entry(**change), entry("en_US-two-low"))
    assert (list(listed.offers), listed.refused) == (["en_US-two-low"], 1)


@pytest.mark.parametrize("raw", [b"", b"<html>Sign in</html>", b"[]", b"null", b'{"a": ', b"\xff\xfe"])
def test_what_is_no_catalogue(raw):
    """Is told in one line with a fix."""
    with pytest.raises(AivtError) as raised:
        parse(raw)
    assert raised.value.code == "bad_catalogue"
    assert "VOICES_URL" in raised.value.fix


async def test_it_is_fetched_and_kept(session, settings, fake):
    """The second time without a connection shows the same, and why."""
    first = await load(session, settings, QUICK)
    assert set(first.offers) == {"en_US-one-medium", "de_DE-zwei-low"}
    assert first.aliases == {"en-one": "en_US-one-medium"}
    assert first.trouble is None
    await fake.stop()
    second = await load(session, settings, QUICK)
    assert second.offers == first.offers
    assert "no connection" in str(second.trouble)


@pytest.mark.parametrize("raw", [b"<html>Sign in</html>", b""])
async def test_a_login_page_does_not_replace_the_copy(session, settings, fake, raw):
    """What came last that was a catalogue stays."""
    await load(session, settings, QUICK)
    fake.raw = raw or b" "
    for _ in range(2):
        listed = await load(session, settings, QUICK)
        assert len(listed.offers) == 2
        assert listed.trouble
        assert listed.trouble.code == "bad_catalogue"


async def test_no_connection_and_no_copy(session, settings, fake):
    """One line with the fix."""
    await fake.stop()
    with pytest.raises(MissingError) as raised:
        await load(session, settings, QUICK)
    assert raised.value.code == "catalogue_missing"
    assert "internet" in raised.value.fix


async def test_a_copy_of_another_address_is_not_shown(session, settings, fake):
    """Who changes VOICES_URL wants those voices."""
    await load(session, settings, QUICK)
    elsewhere = settings.model_copy(update={"voices_url": f"{fake.url}/elsewhere"})
    with pytest.raises(MissingError):
        await load(session, elsewhere, QUICK)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"url": 5}'])
async def test_a_spoilt_copy_is_none(session, settings, fake, content):
    """It is not read, and no reason to fail in another way."""
    await load(session, settings, QUICK)
    (settings.voices_dir / ".catalogue" / "voices.json").write_bytes(content)
    await fake.stop()
    with pytest.raises(MissingError, match="there is no list of voices"):
        await load(session, settings, QUICK)


async def test_cards_are_read_once(session, settings, fake):
    """From the web the first time, from the copies from then on."""
    offers = list((await load(session, settings, QUICK)).offers.values())
    told = []
    first = await cards(
        session, settings, offers, online=True, limits=QUICK, tell=lambda *now: told.append(now)
    )
    assert told == [(1, 2), (2, 2)]
    assert "public domain" in first["en_US-one-medium"]
    assert "CC BY 4.0" in first["de_DE-zwei-low"]
    fake.requests.clear()
    assert await cards(session, settings, offers, online=True, limits=QUICK) == first
    assert await cards(session, settings, offers, online=False, limits=QUICK) == first
    assert fake.requests == []


async def test_a_changed_card_is_read_anew(session, settings, fake):
    """The catalogue names its checksum."""
    offers = (await load(session, settings, QUICK)).offers.values()
    await cards(session, settings, offers, online=True, limits=QUICK)
    fake.add("en_US-one-medium", b"model", b"{}", licence="CC BY-NC 4.0")
    offers = (await load(session, settings, QUICK)).offers.values()
    found = await cards(session, settings, offers, online=True, limits=QUICK)
    assert "CC BY-NC 4.0" in found["en_US-one-medium"]


async def test_a_spoilt_copy_of_a_card_is_read_anew(session, settings):
    """Its name says what its content must be."""
    offers = (await load(session, settings, QUICK)).offers.values()
    first = await cards(session, settings, offers, online=True, limits=QUICK)
    for kept in (settings.voices_dir / ".catalogue").glob("*.MODEL_CARD"):
        kept.write_text("* License: public domain")
    assert await cards(session, settings, offers, online=False, limits=QUICK) == {}
    assert await cards(session, settings, offers, online=True, limits=QUICK) == first


async def test_a_card_that_cannot_be_had_is_missing(session, settings, fake):
    """The others are there, and it is asked for again the next time."""
    offers = (await load(session, settings, QUICK)).offers.values()
    path = "en/en_US/one/medium/MODEL_CARD"
    fake.hurt(path, *[Fault(Kind.STATUS, status=500)] * QUICK.tries)
    assert list(await cards(session, settings, offers, online=True, limits=QUICK)) == ["de_DE-zwei-low"]
    assert len(await cards(session, settings, offers, online=True, limits=QUICK)) == 2


async def test_cards_have_a_deadline_together(session, settings, fake):
    """A host that falls silent costs the list its licences, and not its minute after minute."""
    offers = (await load(session, settings, QUICK)).offers.values()
    path = "en/en_US/one/medium/MODEL_CARD"
    fake.hurt(path, Fault(Kind.SILENT))
    found = await cards(session, settings, offers, online=True, limits=replace(QUICK, stall_s=60), all_s=1.0)
    assert list(found) == ["de_DE-zwei-low"]


async def test_only_a_few_cards_at_once(session, settings, fake, monkeypatch):
    """The host is not stormed with a request for each of its voices."""
    for number in range(30):
        fake.add(f"en_US-v{number}-low", b"model", b"{}", licence=f"number {number}")
    offers = (await load(session, settings, QUICK)).offers.values()
    now = most = 0

    async def counted(*args, **named):
        nonlocal now, most
        now += 1
        most = max(most, now)
        try:
            return await fetch(*args, **named)
        finally:
            now -= 1

    monkeypatch.setattr(listing, "fetch", counted)
    assert len(await cards(session, settings, offers, online=True, limits=QUICK)) == 32
    assert most == listing.CARDS_AT_ONCE


def test_an_address_is_quoted(make_settings):
    """Names have letters that web addresses have not."""
    settings = make_settings(voices_url="https://example.org/voices/")
    [offer] = parsed(entry("pt_PT-tugão-medium")).offers.values()
    assert address(settings, offer.model) == "https://example.org/voices/en/pt_PT-tug%C3%A3o-medium.onnx"
