"""What models there are: the recommended ones, Ollama's, and the files in the models folder."""

import asyncio
import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from apps.policy.models import choices, footprint, gguf_file, licences
from apps.policy.models.choices import Card
from apps.policy.models.links import Link, Ollama
from apps.policy.models.ollama_server import OllamaServer, Pulled, Shown
from apps.policy.prompt import CONTEXT_TOKENS
from apps.shared.errors import AivtError, MissingError
from apps.shared.settings import Settings

SHOW_LIMIT_S = 10.0  # for what Ollama knows about one model
SHOW_AT_ONCE = 4

Place = Literal["ollama", "file", "cloud", ""]


@dataclass(frozen=True, slots=True)
class Model:
    """One model that she could answer with."""

    name: str
    place: Place  # where it is; "": not on this computer yet; "cloud": it never will be
    disk_bytes: int = 0  # 0: not known
    vram_bytes: int = 0  # estimated, with 4096 tokens of context; 0: not known
    fit: footprint.Fit | None = None  # None: no card is known, or the estimate is not
    licence: str = licences.UNSTATED
    kind: str = ""  # "8.0B Q4_K_M"
    note: str = ""  # why it is recommended, or what to know about it
    fault: str = ""  # why she cannot answer with it
    fix: str = ""
    chosen: bool = False  # she would answer with it now


@dataclass(frozen=True, slots=True)
class Shelf:
    """All choices, and who would answer."""

    models: tuple[Model, ...]
    card: Card | None  # the largest
    answers: Link
    missing: tuple[Link, ...]  # what would be better than that, but is not ready
    trouble: str = ""  # why Ollama's own models are not among them
    fix: str = ""


async def of_ollama(server: OllamaServer, pulled: Pulled, card_bytes: int | None) -> Model:
    """Ask Ollama about one of its choices."""
    if pulled.remote_host:
        note = f"runs at {pulled.remote_host}: what chat says would leave this computer"
        return Model(pulled.name, "cloud", note=note)
    try:
        async with asyncio.timeout(SHOW_LIMIT_S):
            shown = await server.shown(pulled.name)
    except AivtError as error:
        return Model(pulled.name, "ollama", pulled.size, fault=str(error), fix=error.fix)
    except TimeoutError:
        fault = f"Ollama says nothing about it within {SHOW_LIMIT_S:g} s"
        return Model(pulled.name, "ollama", pulled.size, fault=fault, fix="Restart Ollama.")
    return known(pulled, shown, card_bytes)


def known(pulled: Pulled, shown: Shown, card_bytes: int | None) -> Model:
    """Put together what Ollama has said about a model of its own."""
    needed = footprint.vram_bytes(pulled.size, footprint.shape(shown.model_info or {}))
    details = shown.details or pulled.details
    choice = choices.choice(pulled.name)
    return Model(
        pulled.name,
        "ollama",
        pulled.size,
        needed,
        footprint.fit(needed, card_bytes) if card_bytes else None,
        licences.name_of(shown.license),
        kind=f"{details.parameter_size} {details.quantization_level}".strip() if details else "",
        note=choice.note if choice else "",
        fault="" if shown.talks else "it turns text into numbers, and cannot talk",
    )


def recommended(choice: choices.ModelChoice, card_bytes: int | None) -> Model:
    """A row of the table, for a model that is not there yet."""
    needed = round(choice.vram_gb * 1e9)
    return Model(
        choice.name,
        "",
        round(choice.disk_gb * 1e9),
        needed,
        footprint.fit(needed, card_bytes) if card_bytes else None,
        choice.licence,
        note=choice.note,
    )


def of_file(path: Path, card_bytes: int | None) -> Model:
    """Look into a GGUF file."""
    try:
        info = gguf_file.inspect(path)
    except AivtError as error:
        return Model(path.stem, "file", fault=str(error), fix=error.fix)
    needed = info.memory_bytes(CONTEXT_TOKENS)
    return Model(
        path.stem,
        "file",
        info.size_bytes,
        needed,
        footprint.fit(needed, card_bytes) if card_bytes else None,
        licences.name_of(info.licence),
        kind=f"{info.size_label} {info.quantisation}".strip(),
        fault="" if info.talks else "it completes text and cannot talk: it has no chat template",
    )


async def models_there(
    server: OllamaServer, ollama: Ollama, settings: Settings, card_bytes: int | None
) -> list[Model]:
    """Return all models: the recommended first, in the table's order, then Ollama's others, then files."""
    places = asyncio.Semaphore(SHOW_AT_ONCE)

    async def asked(pulled: Pulled) -> Model:
        async with places:
            return await of_ollama(server, pulled, card_bytes)

    by_name = {model.name: model for model in await asyncio.gather(*map(asked, ollama.pulled))}
    table = [
        by_name.pop(row.name) if row.name in by_name else recommended(row, card_bytes)
        for row in choices.CHOICES
    ]
    paths = await asyncio.to_thread(_files, settings)
    files = [await asyncio.to_thread(of_file, path, card_bytes) for path in paths]
    return [*table, *by_name.values(), *files]


def choose(found: list[Model], answers: Link) -> tuple[Model, ...]:
    """Mark the model that she would answer with now."""
    places: dict[str, set[Place]] = {"ollama": {"ollama", "cloud"}, "llamacpp": {"file"}}
    there = places.get(answers.engine, set())
    return tuple(
        replace(model, chosen=model.name == answers.model and model.place in there) for model in found
    )


def _files(settings: Settings) -> list[Path]:
    """Return the models of the folder, and POLICY_GGUF's wherever it is."""
    folder = settings.models_dir
    names = set(gguf_file.names(folder))
    paths = [path for path in sorted(folder.glob("*")) if path.stem in names and _is_gguf(path)]
    with contextlib.suppress(MissingError):  # it is said as what she cannot answer with
        wanted = gguf_file.path_of(settings)
        paths += [wanted] * (wanted not in paths)
    return paths


def _is_gguf(path: Path) -> bool:
    return path.suffix.lower() == gguf_file.ENDING
