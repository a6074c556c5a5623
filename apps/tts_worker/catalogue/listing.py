"""The public catalogue of Piper's voices: what there is, how large, under which licence.

`voices.json` as the repository rhasspy/piper-voices keeps it; a copy of it, and of every model card that was
read, stays in AIVT_DATA_DIR/voices/.catalogue for the days without internet.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import aiohttp
import msgspec

from apps.shared.download import told_disk_errors
from apps.shared.errors import AivtError, MissingError
from apps.shared.settings import Settings
from apps.shared.web import Limits, fetch

LIMITS = Limits(tries=3)
CARDS_LIMIT_S = 30.0  # for all cards together; the rest is "unknown" this time
CARDS_AT_ONCE = 8
LONGEST_CATALOGUE_BYTES = 20_000_000
LONGEST_CARD_BYTES = 64_000

_NAME = re.compile(
    r"\w+(?:-[\w+]+)+"
)  # en_US-ljspeech-medium; without dots and slashes a file's name anywhere


class CatalogueFile(msgspec.Struct, frozen=True):
    """A file as the catalogue describes it."""

    size_bytes: Annotated[int, msgspec.Meta(ge=1)]
    md5_digest: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-fA-F]{32}\Z")]
    path: str = ""  # below VOICES_URL

    @property
    def checksum(self) -> str:
        return f"md5:{self.md5_digest.lower()}"


class _Language(msgspec.Struct, frozen=True):
    code: str
    family: str
    name_english: str = ""
    country_english: str = ""


class _Voice(msgspec.Struct, frozen=True):
    key: str
    language: _Language
    quality: str
    files: dict[str, CatalogueFile]
    num_speakers: Annotated[int, msgspec.Meta(ge=1)] = 1
    aliases: list[str] = []


class _Cached(msgspec.Struct, frozen=True):
    url: str
    voices: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Offer:
    """A voice that can be downloaded."""

    name: str
    language: str  # "en_US"
    family: str  # "en"
    language_name: str  # "English (United States)"
    quality: str
    speakers: int
    model: CatalogueFile
    config: CatalogueFile
    card: CatalogueFile | None
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What is on offer; `trouble` says why it is an old copy."""

    offers: dict[str, Offer]
    refused: int = 0  # entries that cannot be used
    trouble: AivtError | None = None
    aliases: dict[str, str] = field(default_factory=dict)


def address(settings: Settings, file: CatalogueFile) -> str:
    """Return where a file of the catalogue is fetched from."""
    return f"{settings.voices_url}/{quote(file.path)}"


async def load(session: aiohttp.ClientSession, settings: Settings, limits: Limits = LIMITS) -> Catalogue:
    """Fetch the catalogue; without a connection the copy of the last time.

    Raises MissingError when there is neither.
    """
    url = f"{settings.voices_url}/voices.json"
    try:
        raw = await fetch(session, url, longest_bytes=LONGEST_CATALOGUE_BYTES, limits=limits)
        catalogue = parse(raw)
    except AivtError as error:
        copy = _kept(settings)
        if copy is None:
            raise MissingError(
                "catalogue_missing",
                f"there is no list of voices: {error}",
                fix="Check the internet connection, or VOICES_URL in .env.",
            ) from error
        return parse(copy, error)
    _write(_folder(settings) / "voices.json", msgspec.json.encode(_Cached(url, msgspec.Raw(raw))))
    return catalogue


def parse(raw: bytes, trouble: AivtError | None = None) -> Catalogue:
    """Read a `voices.json`; entries that cannot be used, or name files outside, are counted and left out.

    Raises AivtError for what is no catalogue.
    """
    try:
        entries = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise AivtError(
            "bad_catalogue",
            "what came is no list of voices",
            fix="Check VOICES_URL in .env; a login page of the network may stand in the way.",
        ) from error
    offers = {}
    for entry in entries.values():
        with contextlib.suppress(msgspec.DecodeError, ValueError):
            offer = _offer(msgspec.json.decode(entry, type=_Voice))
            offers[offer.name] = offer
    aliases = {alias: offer.name for offer in offers.values() for alias in offer.aliases}
    return Catalogue(offers, len(entries) - len(offers), trouble, aliases)


async def cards(
    session: aiohttp.ClientSession,
    settings: Settings,
    offers: Iterable[Offer],
    *,
    online: bool,
    limits: Limits = LIMITS,
    all_s: float = CARDS_LIMIT_S,
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[str, str]:
    """Return the model cards by voice, of those that could be had: from the copies first, then the web.

    tell: hears how many of how many have been looked for. online: False reads the copies only.
    """
    found: dict[str, str] = {}
    missing = []
    for offer in offers:
        if offer.card is None:
            continue
        if (text := _kept_card(settings, offer.card)) is not None:
            found[offer.name] = text
        elif online:
            missing.append((offer.name, offer.card))
    places = asyncio.Semaphore(CARDS_AT_ONCE)
    done = 0

    async def get(name: str, card: CatalogueFile) -> None:
        nonlocal done
        async with places:
            with contextlib.suppress(AivtError):  # its licence is shown as unknown
                body = await fetch(
                    session, address(settings, card), longest_bytes=LONGEST_CARD_BYTES, limits=limits
                )
                found[name] = body.decode("utf-8", "replace")
                if f"md5:{_md5(body)}" == card.checksum:
                    _write(_card_file(settings, card), body)
        done += 1
        tell(done, len(missing))

    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(all_s), asyncio.TaskGroup() as group:
            for name, card in missing:
                group.create_task(get(name, card))
    return found


def _offer(voice: _Voice) -> Offer:
    """Check one entry. Raises ValueError."""
    if not _NAME.fullmatch(voice.key):
        raise ValueError(f"not a voice's name: {voice.key!r}")
    model = _only(voice.files, ".onnx")
    config = _only(voice.files, ".onnx.json")
    card = _only(voice.files, "MODEL_CARD") if any(p.endswith("MODEL_CARD") for p in voice.files) else None
    language = voice.language
    country = f" ({language.country_english})" if language.country_english else ""
    shown = (language.code, language.family, f"{language.name_english}{country}", voice.quality)
    if not all(text.isprintable() for text in shown):
        raise ValueError("control characters")
    return Offer(voice.key, *shown, voice.num_speakers, model, config, card, tuple(map(str, voice.aliases)))


def _only(files: dict[str, CatalogueFile], ending: str) -> CatalogueFile:
    [path] = [path for path in files if path.endswith(ending)]
    if not path.isprintable() or "\\" in path or not all(part.strip(".") for part in path.split("/")):
        raise ValueError(f"leads elsewhere: {path!r}")  # "/x", "a//b", "a/../b"
    return msgspec.structs.replace(files[path], path=path)


def _folder(settings: Settings) -> Path:
    return settings.voices_dir / ".catalogue"


def _kept(settings: Settings) -> bytes | None:
    """Return the catalogue of the last time, if it is of the same address."""
    try:
        kept = msgspec.json.decode((_folder(settings) / "voices.json").read_bytes(), type=_Cached)
    except (OSError, msgspec.DecodeError):
        return None
    return bytes(kept.voices) if kept.url == f"{settings.voices_url}/voices.json" else None


def _kept_card(settings: Settings, card: CatalogueFile) -> str | None:
    try:
        body = _card_file(settings, card).read_bytes()
    except OSError:
        return None
    return body.decode("utf-8", "replace") if f"md5:{_md5(body)}" == card.checksum else None


def _card_file(settings: Settings, card: CatalogueFile) -> Path:
    """Named by its checksum, so that a changed card is another file."""
    return _folder(settings) / f"{card.md5_digest.lower()}.MODEL_CARD"


def _md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def _write(path: Path, body: bytes) -> None:
    """Write so that a reader finds the old file or the new one."""
    with told_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(body)
        new.replace(path)
