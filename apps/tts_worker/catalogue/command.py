"""`aivt voices`: what voices there are for Piper, under which licence, and getting one."""

import argparse
import asyncio
import difflib
import functools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TextIO

import aiohttp
import msgspec

from apps.shared.errors import SettingsError
from apps.shared.progress import counted, shown
from apps.shared.settings import Settings
from apps.shared.web import DEFAULT, Limits
from apps.tts_worker.catalogue import install, installed, listing
from apps.tts_worker.catalogue.installed import State, card_file, state
from apps.tts_worker.catalogue.listing import Catalogue, Offer
from apps.tts_worker.catalogue.model_card import NO_CARD, Licence, Terms, licence
from apps.tts_worker.engines import piper

# English, free on a stream that earns money, all three trained from scratch on recordings in the public
# domain (LJ Speech; LibriVox) and given away by who trained them, by their cards in rhasspy/piper-voices
# and https://brycebeattie.com/files/tts/. The mark is only shown while the card still says so.
RECOMMENDED = ("en_US-kristin-medium", "en_US-ljspeech-medium", "en_GB-cori-medium")

_STREAMS = {
    Terms.FREE: "free",
    Terms.ATTRIBUTION: "credit needed",
    Terms.NON_COMMERCIAL: "NO",
    Terms.UNKNOWN: "unclear",
}
_STATES = {State.ABSENT: "", State.INSTALLED: "installed", State.DAMAGED: "damaged"}


@dataclass(frozen=True, slots=True)
class Row:
    """One voice, as `--json` prints it."""

    name: str
    language: str
    quality: str
    size_bytes: int
    speakers: int
    licence: str
    commercial: str  # a Terms value
    recommended: bool
    installed: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """All that the list shows."""

    catalogue: Catalogue
    rows: list[Row]
    unread: int  # voices whose model card could not be had


def voices(options: argparse.Namespace) -> None:
    """List the voices (`options.language`, `.json`), or get those named in `options.download`."""
    settings = Settings.load()
    # With --json standard output is for the list alone.
    out = sys.stderr if options.json else sys.stdout
    if options.download:
        names = get(settings, options.download, out)
        if options.json:
            _print_json([row for row in asyncio.run(look(settings)).rows if row.name in names])
        return
    listing = asyncio.run(look(settings, options.language or ""))
    for note in _notes(listing):
        print(note, file=out)
    if options.json:
        _print_json(listing.rows)
    else:
        print(table(listing.rows, settings))


async def look(settings: Settings, language: str = "", limits: Limits = listing.LIMITS) -> Listing:
    """Return the voices of a language ("en", "en_GB"; "": all, also those that no catalogue knows).

    Raises MissingError without a catalogue, SettingsError for a language that it does not have.
    """
    async with aiohttp.ClientSession() as session:
        listed = await listing.load(session, settings, limits)
        offers = _in_language(listed.offers.values(), language)
        online = listed.trouble is None
        with counted("Reading licences") as tell:
            cards = await listing.cards(session, settings, offers, online=online, limits=limits, tell=tell)
    rows = [_row(offer, cards.get(offer.name), settings) for offer in offers]
    if not language:
        own = [name for name in piper.installed(settings) if name not in listed.offers]
        rows += [_own_row(name, settings.voices_dir) for name in own]
    unread = sum(offer.card is not None and offer.name not in cards for offer in offers)
    return Listing(listed, sorted(rows, key=_order), unread)


def get(settings: Settings, names: Iterable[str], out: TextIO, limits: Limits = DEFAULT) -> list[str]:
    """Download and install the voices; return their names in full.

    Raises SettingsError for a name that is not in the catalogue, before anything is downloaded, and what
    `install` raises.
    """
    offers, cards = asyncio.run(_chosen(settings, names, limits))
    with install.only_one(settings):
        for offer in offers:
            _get_one(settings, offer, cards.get(offer.name), out, limits)
    return [offer.name for offer in offers]


def table(found: list[Row], settings: Settings) -> str:
    """Return the list for the terminal."""
    lines = [("", "NAME", "LANGUAGE", "QUALITY", "SIZE", "LICENCE", "STREAMS THAT EARN MONEY", "")]
    lines += [
        (
            "*" if row.recommended else "",
            row.name,
            row.language,
            row.quality + (f", {row.speakers} speakers" if row.speakers > 1 else ""),
            f"{row.size_bytes / 1e6:.1f} MB",
            row.licence,
            _STREAMS[Terms(row.commercial)],
            _STATES[state(settings.voices_dir, row.name)],
        )
        for row in found
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    notes = ["", "Get one:  aivt voices --download NAME"]
    if any(row.recommended for row in found):
        notes.insert(1, "* recommended: free on every stream")
    return "\n".join(chain(padded, notes))


async def _chosen(
    settings: Settings, names: Iterable[str], limits: Limits
) -> tuple[list[Offer], dict[str, str]]:
    async with aiohttp.ClientSession() as session:
        listed = await listing.load(session, settings, limits)
        offers = [_offer(listed, name) for name in dict.fromkeys(names)]
        online = listed.trouble is None
        return offers, await listing.cards(session, settings, offers, online=online, limits=limits)


def _offer(listed: Catalogue, name: str) -> Offer:
    if offer := listed.offers.get(listed.aliases.get(name, name)):
        return offer
    near = difflib.get_close_matches(name, [*listed.offers, *listed.aliases], n=3, cutoff=0.5)
    raise SettingsError(
        "unknown_voice",
        f"there is no voice {name}",
        fix=f"Did you mean {', '.join(near)}?" if near else "Choose one of the list: aivt voices",
    )


def _get_one(settings: Settings, offer: Offer, card: str | None, out: TextIO, limits: Limits) -> None:
    name = offer.name
    say = functools.partial(print, file=out)
    if installed.is_current(settings.voices_dir, name, offer.model.checksum, offer.config.checksum):
        say(f"{name} is installed already, and whole.")
    else:
        try:
            asyncio.run(_fetch(settings, offer, limits))
        except KeyboardInterrupt:
            say(f"Stopped. The same command goes on with {name} where it stopped.")
            raise
        source = install.install(settings, offer, card)
        say(f"{name} is installed. To use it set PIPER_VOICE={name}; in a show: aivt voices use {name}")
        if not source.aligned:
            say("It does not tell how long its sounds are: the mouth's shapes will be estimated.")
    found = _licence_of(card)
    say(f"Licence: {found.words}. {found.why}")
    if found.terms is Terms.NON_COMMERCIAL:
        say(f"WARNING: do not use {name} on a stream with advertising, subscriptions or donations.")


async def _fetch(settings: Settings, offer: Offer, limits: Limits) -> None:
    async with aiohttp.ClientSession() as session:
        await install.get(session, settings, offer, shown, limits)


def _in_language(offers: Iterable[Offer], language: str) -> list[Offer]:
    every = list(offers)
    wanted = language.lower().replace("-", "_")
    chosen = [offer for offer in every if wanted in {"", offer.family.lower(), offer.language.lower()}]
    if not chosen:
        known = ", ".join(sorted({offer.family for offer in every}))
        raise SettingsError(
            "unknown_language", f"there is no voice in {language!r}", fix=f"Languages there are: {known}"
        )
    return chosen


def _row(offer: Offer, card: str | None, settings: Settings) -> Row:
    found = _licence_of(card)
    return Row(
        offer.name,
        offer.language_name,
        offer.quality,
        offer.model.size_bytes,
        offer.speakers,
        found.words,
        found.terms,
        offer.name in RECOMMENDED and found.terms is Terms.FREE,
        state(settings.voices_dir, offer.name) is State.INSTALLED,
    )


def _own_row(name: str, folder: Path) -> Row:
    """A voice that was put into the folder by hand, of which only what lies there is known."""
    size_bytes = (folder / f"{name}.onnx").stat().st_size
    card = card_file(folder, name)
    found = _licence_of(card.read_text("utf-8", "replace") if card.is_file() else None)
    there = state(folder, name) is State.INSTALLED
    return Row(name, "", "", size_bytes, 1, found.words, found.terms, recommended=False, installed=there)


def _notes(listing: Listing) -> Iterator[str]:
    if listing.catalogue.trouble:
        yield f"The list could not be fetched ({listing.catalogue.trouble}); here is the last one."
    if listing.catalogue.refused:
        yield f"{listing.catalogue.refused} entries of the list cannot be used and are left out."
    if listing.unread and not listing.catalogue.trouble:
        yield f"The licences of {listing.unread} voices could not be read now; try again later."


def _order(row: Row) -> tuple[bool, bool, str]:
    return not row.recommended, not row.installed, row.name


def _licence_of(card: str | None) -> Licence:
    return NO_CARD if card is None else licence(card)


def _print_json(rows: list[Row]) -> None:
    print(msgspec.json.encode(rows).decode())
