"""From a catalogue's offer to a voice that speaks: fetched, tried, and then put into the voices folder.

Everything happens in voices/.downloads/NAME, which the voices' engine does not look into. NAME.onnx comes
into the voices folder last, so that a voice is never there by half.
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import aiohttp
import msgspec

from apps.shared.download import (
    Progress,
    Wanted,
    checksum_of,
    download,
    held,
    is_whole,
    require_space,
    told_disk_errors,
)
from apps.shared.errors import EngineError
from apps.shared.settings import Settings
from apps.shared.web import DEFAULT, Limits
from apps.tts_worker.catalogue.alignment import add_alignment
from apps.tts_worker.catalogue.installed import Source, card_file, source_file
from apps.tts_worker.catalogue.listing import Offer, address
from apps.tts_worker.engines.piper import Piper
from apps.tts_worker.engines.piper_model import config_of

Shown = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]


def only_one(settings: Settings) -> AbstractContextManager[None]:
    """See apps.shared.download.held."""
    return held(settings.voices_dir / ".downloads" / "lock", "voices")


async def get(
    session: aiohttp.ClientSession, settings: Settings, offer: Offer, shown: Shown, limits: Limits = DEFAULT
) -> None:
    """Fetch the voice's two files into the downloads folder. Raises as `download` does."""
    model = _model(settings, offer)
    with told_disk_errors(model):
        model.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(_ready(model).parent, ignore_errors=True)  # by half, from a call that was stopped
    # Twice the model: as it came, and with its alignment.
    require_space(model.parent, 2 * offer.model.size_bytes + offer.config.size_bytes - _there_bytes(model))
    _reuse(settings, offer, model)
    config = Wanted(
        address(settings, offer.config), config_of(model), offer.config.size_bytes, offer.config.checksum
    )
    await download(session, config, limits=limits)
    with shown(offer.name) as tell:
        wanted = Wanted(address(settings, offer.model), model, offer.model.size_bytes, offer.model.checksum)
        await download(session, wanted, tell, limits)


def install(settings: Settings, offer: Offer, card: str | None) -> Source:
    """Add the alignment, try the voice, and put it into the voices folder. Takes a second or two.

    Raises EngineError for a voice that cannot speak ("voice_broken") or not on this computer, MissingError
    when the disk is full or not writable.
    """
    came = _model(settings, offer)
    ready = _ready(came)
    with told_disk_errors(ready):
        ready.parent.mkdir(exist_ok=True)
        shutil.copyfile(config_of(came), config_of(ready))
    try:
        aligned = add_alignment(came, ready)
        if not aligned:
            with told_disk_errors(ready):
                shutil.copyfile(came, ready)
        _try(settings, ready)
    except EngineError as error:
        if error.retryable:
            raise
        with told_disk_errors(came.parent):
            shutil.rmtree(came.parent)  # the next call is not to go on with it
        if error.code != "voice_broken":
            raise
        raise EngineError(
            "voice_broken",
            f"the voice {offer.name} of the catalogue does not work: {error}",
            fix="Choose another voice: aivt voices",
        ) from error
    with told_disk_errors(settings.voices_dir / ready.name):
        source = Source(
            address(settings, offer.model),
            offer.model.checksum,
            offer.model.size_bytes,
            aligned,
            checksum_of(ready, "md5"),
            ready.stat().st_size,
        )
        _place(settings.voices_dir, offer.name, ready, source, card)
        shutil.rmtree(came.parent)
    return source


def _place(folder: Path, name: str, ready: Path, source: Source, card: str | None) -> None:
    if card is not None:
        card_file(folder, name).write_text(card, "utf-8")
    source_file(folder, name).write_bytes(msgspec.json.encode(source))
    model = folder / f"{name}.onnx"
    model.unlink(missing_ok=True)  # an older one does not fit the new JSON
    config_of(ready).replace(config_of(model))
    ready.replace(model)


def _try(settings: Settings, model: Path) -> None:
    """Load the voice as the show does, which runs it once. Raises EngineError."""
    Piper(settings.model_copy(update={"piper_voice": str(model), "tts_device": "cpu"})).close()


def _reuse(settings: Settings, offer: Offer, model: Path) -> None:
    """Take the model that somebody put into the voices folder by hand, if it is the very same."""
    by_hand = settings.voices_dir / model.name
    if not model.is_file() and is_whole(by_hand, offer.model.size_bytes, offer.model.checksum):
        with told_disk_errors(model):
            shutil.copyfile(by_hand, model)


def _model(settings: Settings, offer: Offer) -> Path:
    return settings.voices_dir / ".downloads" / offer.name / f"{offer.name}.onnx"


def _ready(model: Path) -> Path:
    """Return where the voice is put together and tried."""
    return model.parent / "ready" / model.name


def _there_bytes(model: Path) -> int:
    """Return how much of the model an earlier call has got."""
    files = (model, model.with_name(f"{model.name}.part"))
    return max((file.stat().st_size for file in files if file.is_file()), default=0)
