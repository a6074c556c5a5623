"""Getting a speech model: fetched, checked, loaded once, and only then called installed.

It is put together where it will lie. aivt-model.json says from the first byte on that it is not finished,
and is written anew as the last of all.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from apps.asr_worker.models import hub
from apps.asr_worker.models.folder import (
    MODEL,
    NEEDED,
    OPTIONAL,
    VOCABULARIES,
    FileMark,
    Mark,
    read_mark,
)
from apps.asr_worker.models.mark import whole, write_mark, wrong
from apps.asr_worker.models.names import Known
from apps.asr_worker.models.trial import try_out
from apps.shared.download import (
    Progress,
    Wanted,
    checksum_of,
    download,
    held,
    require_space,
    told_disk_errors,
)
from apps.shared.errors import AivtError, EngineError, MissingError
from apps.shared.progress import shown
from apps.shared.settings import Settings
from apps.shared.web import DEFAULT, Limits, place

MARK_BYTES = 4096  # at most; for the space that is asked for

Shown = Callable[[str], AbstractContextManager[Callable[[Progress], None]]]


@dataclass(frozen=True, slots=True)
class Remote:
    """One of the model's files."""

    name: str
    url: str
    told: hub.Told


def get(settings: Settings, model: Known, compute_type: str, limits: Limits = DEFAULT) -> Path:
    """Download the model, try it, and return its folder. Goes on where an earlier call stopped.

    compute_type: what the processor takes, for the trial.
    Raises MissingError and AivtError as `apps.shared.download.download` does, AivtError
    "download_running", EngineError "asr_model_broken".
    """
    place_for = settings.hearing_dir / model.name
    with only_one(settings.hearing_dir):
        mark = _all_there(place_for)
        if mark is None:
            with _told_by_hand(settings, model, place_for):
                mark = asyncio.run(fetch(settings, model, place_for, shown, limits))
        try:
            try_out(place_for, compute_type)
        except EngineError as error:
            raise EngineError(
                error.code,
                f"{model.name} was downloaded, but it cannot be loaded: {error}",
                fix="Close other programs to free memory, and run the same command again. If that does not "
                f"help, delete {place_for} first, or choose another model: aivt setup ears --list",
            ) from error
        write_mark(place_for, mark)
    return place_for


async def fetch(settings: Settings, model: Known, to: Path, shown: Shown, limits: Limits = DEFAULT) -> Mark:
    """Fetch what is missing of the model into the folder; return the mark of it all, not yet written."""
    base = f"{settings.asr_models_url}/{model.repository}"
    async with aiohttp.ClientSession() as session:
        remotes = [remote async for remote in _files(session, base, limits)]
        plan = {each.name: FileMark(each.told.size_bytes, each.told.checksum) for each in remotes}
        mark = Mark(model.repository, base, plan, finished=False)
        await asyncio.to_thread(_prepare, to, mark)
        for remote in remotes:
            # A bar for the one that takes time; the others are there before it could be drawn.
            bar = shown(model.name) if remote.name == MODEL else contextlib.nullcontext(lambda _: None)
            with bar as tell:
                await _fetch_one(session, to / remote.name, remote, tell, limits)
    return await asyncio.to_thread(_described, to, mark)


def only_one(folder: Path) -> AbstractContextManager[None]:
    """See apps.shared.download.held."""
    return held(folder / ".lock", "speech models")


def _all_there(folder: Path) -> Mark | None:
    """Return the mark of a download of which only the trial is missing, or whose files came by hand."""
    mark = read_mark(folder)
    if mark is None or not mark.files or wrong(folder, mark):
        return None
    return _described(folder, mark)


async def _files(session: aiohttp.ClientSession, base: str, limits: Limits) -> AsyncIterator[Remote]:
    """Ask for all files, the model itself last. Raises MissingError "not_found" where one is not there."""
    small: Sequence[Sequence[str]] = [[name] for name in NEEDED if name != MODEL]
    for names in (*small, VOCABULARIES, [OPTIONAL], [MODEL]):
        for name in names:
            url = f"{base}/resolve/main/{name}"
            if told := await hub.ask(session, url, limits):
                yield Remote(name, url, told)
                break
        else:
            if OPTIONAL not in names:
                raise MissingError(
                    "not_found", f"{place(base)} has no {' or '.join(names)}", fix="Check ASR_MODELS_URL."
                )


async def _fetch_one(
    session: aiohttp.ClientSession,
    path: Path,
    remote: Remote,
    tell: Callable[[Progress], None],
    limits: Limits,
) -> None:
    told = remote.told
    by_git = told.checksum.startswith("git:")  # `download` does not know that one
    if by_git:
        await asyncio.to_thread(_drop_unless_whole, path, told)
    checksum = "" if by_git else told.checksum
    await download(session, Wanted(remote.url, path, told.size_bytes, checksum), tell, limits)
    if by_git and not await asyncio.to_thread(_drop_unless_whole, path, told):
        raise AivtError(
            "wrong_checksum",
            f"{place(remote.url)} arrived damaged: its checksum is not the announced one",
            fix="Run the same command again. If it says so again, its source is broken: try another "
            "ASR_MODELS_URL.",
        )


def _drop_unless_whole(path: Path, told: hub.Told) -> bool:
    is_whole = whole(path, told.size_bytes, told.checksum)
    if not is_whole:
        with told_disk_errors(path):
            path.unlink(missing_ok=True)
    return is_whole


def _prepare(to: Path, mark: Mark) -> None:
    """Make the folder, and say in it what will be there. Raises MissingError "disk_full" beforehand."""
    with told_disk_errors(to):
        to.mkdir(parents=True, exist_ok=True)
    needed_bytes = sum(_still_needed(to / name, file.size_bytes or 0) for name, file in mark.files.items())
    require_space(to, needed_bytes + MARK_BYTES)
    write_mark(to, mark)


def _still_needed(path: Path, size_bytes: int) -> int:
    """Return how many bytes are still to come, by the sizes of what lies there."""
    files = (path, path.with_name(f"{path.name}.part"))
    there_bytes = max((file.stat().st_size for file in files if file.is_file()), default=0)
    return max(size_bytes - there_bytes, 0)


def _described(to: Path, mark: Mark) -> Mark:
    """Return the mark of the finished download; what was not told of a file is read from it."""
    files = {
        name: FileMark((to / name).stat().st_size, file.checksum or checksum_of(to / name, "sha256"))
        for name, file in mark.files.items()
    }
    return msgspec.structs.replace(mark, files=files, finished=True)


@contextlib.contextmanager
def _told_by_hand(settings: Settings, model: Known, folder: Path) -> Iterator[None]:
    """Add the other ways to every error of the network."""
    try:
        yield
    except MissingError as error:
        if error.code not in {"download_failed", "not_found"}:
            raise
        page = f"{settings.asr_models_url}/{model.repository}"
        raise MissingError(
            error.code,
            str(error),
            fix=f"{error.fix} Or set ASR_MODELS_URL to a mirror, or put the files of {place(page)} into "
            f"{folder} by hand and run the same command again.",
            retryable=error.retryable,
        ) from error
