import asyncio
import contextlib
import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import msgspec
import onnx
import pytest

from apps.shared.download import checksum_of
from apps.shared.errors import AivtError, EngineError, MissingError
from apps.shared.web import Limits
from apps.tts_worker.catalogue import listing
from apps.tts_worker.catalogue.install import get, install, only_one
from apps.tts_worker.catalogue.installed import State, is_current, read_source, state
from apps.tts_worker.engines.piper import Piper, installed
from tests.fakes.catalogue import FakeCatalogue, Fault, Kind, described

NAME = "en_US-one-medium"
QUICK = Limits(stall_s=15, tries=2, first_pause_s=0, longest_pause_s=0)
CARD = "# Model card\n\n* License: public domain\n"


@pytest.fixture
async def fake():
    async with FakeCatalogue() as fake:
        yield fake


@pytest.fixture
def settings(fake, make_settings, tmp_path):
    return make_settings(voices_url=fake.url, aivt_data_dir=tmp_path / "show")


@pytest.fixture
def offered(fake, piper_voice, settings):
    """Put a voice into the catalogue and return its offer; `changed` changes its JSON."""

    def offer(*, model: bytes = b"", changed: dict[str, object] | None = None, **voice):
        file = piper_voice("came", **{"aligned": False, **voice})
        config = json.loads(file.with_name("came.onnx.json").read_text()) | (changed or {})
        fake.add(NAME, model or file.read_bytes(), json.dumps(config).encode())
        return listing.parse(json.dumps(fake.voices).encode()).offers[NAME]

    return offer


@pytest.fixture
def fetched(settings):
    """Download into the downloads folder."""

    async def fetch(offer):
        async with aiohttp.ClientSession() as session:
            await get(session, settings, offer, lambda _: contextlib.nullcontext(lambda _: None), QUICK)

    return fetch


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


async def test_a_voice_is_installed(settings, offered, fetched, fake, spoken):
    """Four files, the show's own engine speaks with it, and it tells the length of its sounds."""
    offer = offered()
    await fetched(offer)
    assert installed(settings) == [], "not before it was tried"
    source = install(settings, offer, CARD)
    folder = settings.voices_dir
    assert names(folder) == [f"{NAME}.MODEL_CARD", f"{NAME}.onnx", f"{NAME}.onnx.json", f"{NAME}.source.json"]
    assert (folder / f"{NAME}.MODEL_CARD").read_text("utf-8") == CARD
    assert (folder / f"{NAME}.onnx.json").read_bytes() == fake.files[offer.config.path]
    assert len(onnx.load(str(folder / f"{NAME}.onnx")).graph.output) == 2
    assert list((folder / ".downloads").iterdir()) == []
    assert read_source(folder, NAME) == source
    assert source.aligned
    assert source.checksum == offer.model.checksum != source.installed_checksum
    assert source.installed_checksum == checksum_of(folder / f"{NAME}.onnx", "md5")
    assert state(folder, NAME) is State.INSTALLED
    assert is_current(folder, NAME, offer.model.checksum, offer.config.checksum)
    voice = Piper(settings.model_copy(update={"piper_voice": NAME}))
    assert spoken(voice, "Hello.")
    voice.close()


async def test_a_voice_without_a_card(settings, offered, fetched):
    """Is installed all the same."""
    offer = offered()
    await fetched(offer)
    install(settings, offer, None)
    assert state(settings.voices_dir, NAME) is State.INSTALLED
    assert not (settings.voices_dir / f"{NAME}.MODEL_CARD").exists()


async def test_a_voice_whose_lengths_cannot_be_found_is_kept(settings, offered, fetched, fake):
    """As it came, byte for byte; it is told that its mouth will be estimated."""
    graph = onnx.load_from_string(fake.files[offered().model.path])
    [ceil] = [node for node in graph.graph.node if node.op_type == "Ceil"]
    ceil.op_type = "Round"
    offer = offered(model=graph.SerializeToString())
    await fetched(offer)
    source = install(settings, offer, CARD)
    assert not source.aligned
    assert source.installed_checksum == source.checksum
    assert (settings.voices_dir / f"{NAME}.onnx").read_bytes() == fake.files[offer.model.path]
    assert is_current(settings.voices_dir, NAME, offer.model.checksum, offer.config.checksum)


@pytest.mark.parametrize(
    "wrong",
    [
        {"changed": {"audio": None}},
        {"changed": {"phoneme_id_map": {"^": [1], "_": [0], "$": [9999]}}},
        {"symbols": 8},
        {"model": b"<html>Sign in</html>"},
        {"model": b"\x00" * 1000},
    ],
    ids=str,
)
async def test_a_voice_that_does_not_work_is_not_installed(settings, offered, fetched, wrong):
    """A JSON of another voice, or what is no model: one line names the voice, and nothing is left of it."""
    offer = offered(**wrong)
    await fetched(offer)
    with pytest.raises(EngineError) as raised:
        install(settings, offer, CARD)
    assert raised.value.code == "voice_broken"
    assert NAME in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "aivt voices" in raised.value.fix
    assert names(settings.voices_dir) == []
    assert list((settings.voices_dir / ".downloads").iterdir()) == []


async def test_an_older_one_stays_until_the_new_one_works(settings, offered, fetched):
    """A broken update takes nothing away."""
    offer = offered()
    await fetched(offer)
    install(settings, offer, CARD)
    before = (settings.voices_dir / f"{NAME}.onnx").read_bytes()
    broken = offered(model=b"<html>")
    await fetched(broken)
    with pytest.raises(EngineError):
        install(settings, broken, CARD)
    assert (settings.voices_dir / f"{NAME}.onnx").read_bytes() == before
    assert is_current(settings.voices_dir, NAME, offer.model.checksum, offer.config.checksum)


async def test_stopped_at_any_point_it_is_never_there_by_half(settings, offered, fetched, monkeypatch):
    """Whichever renaming is the last that happens, the engine sees the whole voice or none."""
    offer = offered()
    calls = 0
    replace = type(settings.voices_dir).replace

    def stopping(path, target):
        nonlocal calls
        calls -= 1
        if calls < 0:
            raise KeyboardInterrupt
        return replace(path, target)

    for allowed in (0, 1, 3):
        if allowed == 3:  # now one is there already, whose JSON does not fit
            await fetched(offer)
            install(settings, offer, CARD)
            offer = offered(changed={"another": 1})
        await fetched(offer)
        calls = allowed % 2
        with monkeypatch.context() as patched:
            patched.setattr(type(settings.voices_dir), "replace", stopping)
            with pytest.raises(KeyboardInterrupt):
                install(settings, offer, CARD)
        assert installed(settings) == []
    await fetched(offer)
    install(settings, offer, CARD)
    assert is_current(settings.voices_dir, NAME, offer.model.checksum, offer.config.checksum)


async def test_the_model_that_lies_there_by_hand_is_used(settings, offered, fetched, fake):
    """The very same file is not fetched again, only its JSON."""
    offer = offered()
    settings.voices_dir.mkdir(parents=True)
    (settings.voices_dir / f"{NAME}.onnx").write_bytes(fake.files[offer.model.path])
    await fetched(offer)
    assert fake.asked(".onnx") == []
    install(settings, offer, CARD)
    assert is_current(settings.voices_dir, NAME, offer.model.checksum, offer.config.checksum)


async def test_room_for_two_is_asked_for_beforehand(settings, offered, fetched, fake, monkeypatch):
    """The file as it comes and the one with its lengths lie side by side for a moment."""
    offer = offered()
    needed = 2 * offer.model.size_bytes + offer.config.size_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 1))
    with pytest.raises(MissingError) as raised:
        await fetched(offer)
    assert raised.value.code == "disk_full"
    assert fake.requests == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed))
    await fetched(offer)


async def test_what_an_earlier_call_got_needs_no_room(settings, offered, fetched, fake, monkeypatch):
    """Neither by a part of the file nor by the whole of it."""
    offer = offered()
    fake.hurt(offer.model.path, Fault(Kind.DROP, at_bytes=3000), *[Fault(Kind.STATUS)] * 2)
    with pytest.raises(MissingError):
        await fetched(offer)
    needed = 2 * offer.model.size_bytes + offer.config.size_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=needed - 3000))
    fake.faults.clear()
    await fetched(offer)
    assert fake.requests[-1].range == "bytes=3000-"


async def test_a_disk_that_becomes_full_at_the_end(settings, offered, fetched, fake, monkeypatch):
    """One line; what was fetched is kept, what was written by half is not."""
    offer = offered()
    await fetched(offer)
    written = Path.write_bytes

    def full(path, content):
        written(path, content[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(MissingError) as raised:
            install(settings, offer, CARD)
    assert raised.value.code == "disk_full"
    fake.requests.clear()
    await fetched(offer)
    assert fake.requests == []
    assert names(settings.voices_dir / ".downloads" / NAME) == [f"{NAME}.onnx", f"{NAME}.onnx.json"]
    install(settings, offer, CARD)
    assert installed(settings) == [NAME]


def test_two_downloads_at_once(settings):
    """The second is told to wait."""
    with only_one(settings), pytest.raises(AivtError) as raised, only_one(settings):
        pass
    assert raised.value.code == "download_running"
    with only_one(settings):
        pass


async def test_damage_is_noticed(settings, offered, fetched):
    """A cut file by a look, a changed byte by reading it, a changed JSON likewise."""
    offer = offered()
    await fetched(offer)
    await asyncio.to_thread(install, settings, offer, CARD)
    folder = settings.voices_dir
    model, config = folder / f"{NAME}.onnx", folder / f"{NAME}.onnx.json"
    whole = model.read_bytes()

    def current() -> bool:
        return is_current(folder, NAME, offer.model.checksum, offer.config.checksum)

    model.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert (state(folder, NAME), current()) == (State.INSTALLED, False)
    model.write_bytes(whole[:100])
    assert (state(folder, NAME), current()) == (State.DAMAGED, False)
    model.write_bytes(whole)
    assert current()
    newer = f"md5:{described(b'newer')['md5_digest']}"
    assert not is_current(folder, NAME, newer, offer.config.checksum), "the catalogue has a newer one"
    config.write_bytes(config.read_bytes() + b" ")
    assert not current()
    config.unlink()
    assert state(folder, NAME) is State.ABSENT


def test_a_voice_put_there_by_hand(settings, piper_voice):
    """Is a voice, but of no known origin; a spoilt note of it is none."""
    model = piper_voice("own")
    assert state(model.parent, "own") is State.INSTALLED
    assert read_source(model.parent, "own") is None
    assert not is_current(model.parent, "own", checksum_of(model, "md5"), "")
    (model.parent / "own.source.json").write_bytes(msgspec.json.encode({"url": 5}))
    assert read_source(model.parent, "own") is None
