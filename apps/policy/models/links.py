"""Which engines of her chain could answer now, without starting any of them."""

import asyncio
import importlib.util
from dataclasses import dataclass
from typing import Literal

from apps.policy.brains import KNOWN, LAST, chain
from apps.policy.engines.openai import OpenAI
from apps.policy.models import choices, gguf_file
from apps.policy.models.ollama_server import OllamaServer, Pulled
from apps.shared.engines import engine_class
from apps.shared.errors import AivtError
from apps.shared.settings import Settings

NAMES_LIMIT = 5  # of a server's models in an error

Kind = Literal["ready", "missing"]


@dataclass(frozen=True, slots=True)
class Link:
    """One engine of the chain."""

    engine: str
    state: Kind
    model: str = ""  # what it would answer with
    detail: str = ""  # where it is, or why it is missing
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Ollama:
    """What Ollama said when it was asked, or why it did not."""

    version: str = ""
    pulled: tuple[Pulled, ...] = ()
    trouble: AivtError | None = None


async def ask(server: OllamaServer) -> Ollama:
    """Ask Ollama for its version and its choices."""
    try:
        return Ollama(await server.version(), tuple(await server.pulled()))
    except AivtError as error:
        return Ollama(trouble=error)


async def links(settings: Settings, ollama: Ollama) -> list[Link]:
    """Return the chain in its order; the scripted lines, which are always ready, are its last.

    Raises SettingsError or MissingError for an engine of the user's own that cannot be imported.
    """
    found = []
    for engine in chain(settings):
        match engine:
            case "ollama":
                found.append(await _ollama(settings, ollama))
            case "llamacpp":
                found.append(await asyncio.to_thread(_llamacpp, settings))
            case "openai":
                found.append(await _model_server(settings))
            case "scripted":
                found.append(Link(engine, "ready", detail="her own lines; needs nothing"))
            case _:
                engine_class("POLICY_ENGINE", engine, KNOWN)
                found.append(Link(engine, "ready", detail="your own; it is not asked here"))
    return found


def scripted_only(found: Link) -> bool:
    """Tell whether nothing but her own lines answers."""
    return found.engine == LAST


def answering(found: list[Link]) -> Link:
    """Return the link that would answer."""
    return next(link for link in found if link.state == "ready")


def wants_a_model(settings: Settings) -> bool:
    """Tell whether the settings ask for more than the scripted lines, beyond what `auto` tries by itself."""
    if chain(settings) == (LAST,):
        return False
    return settings.policy_engine != "auto" or bool(settings.policy_model or settings.policy_gguf)


def has(pulled: tuple[Pulled, ...], name: str) -> Pulled | None:
    """Return the model with this name among Ollama's; one without a tag is the latest."""
    return next((each for each in pulled if each.name in {name, f"{name}:latest"}), None)


async def wanted_model(settings: Settings) -> str:
    """Return the name of the model that she asks Ollama for."""
    if settings.policy_model:
        return settings.policy_model
    return choices.default_model(await asyncio.to_thread(choices.vram_gb)).name


async def to_answer_with(settings: Settings, name: str) -> list[str]:
    """Return what has to be set for her to answer with a model of Ollama's; empty when she does anyway."""
    wanted = await wanted_model(settings)
    return [
        *["POLICY_ENGINE=auto"] * ("ollama" not in chain(settings)),
        *[f"POLICY_MODEL={name}"] * (name not in {wanted, f"{wanted}:latest"}),
    ]


async def _ollama(settings: Settings, ollama: Ollama) -> Link:
    name = await wanted_model(settings)
    if ollama.trouble:
        return Link("ollama", "missing", name, str(ollama.trouble), ollama.trouble.fix)
    where = f"Ollama {ollama.version} at {settings.ollama_host}"
    there = has(ollama.pulled, name)
    if there is None:
        return Link("ollama", "missing", name, f"{where} has no {name}", _get(name, ollama.pulled))
    if there.remote_host:
        where = f"{where}, which passes it on to {there.remote_host}: what chat says leaves this computer"
    return Link("ollama", "ready", there.name, where)


def _get(name: str, pulled: tuple[Pulled, ...]) -> str:
    """Say how to get a model, or how to do without it."""
    there = next((row.name for row in reversed(choices.CHOICES) if has(pulled, row.name)), None)
    return f"aivt model pull {name}{f', or set POLICY_MODEL={there}' if there else ''}"


def _llamacpp(settings: Settings) -> Link:
    if importlib.util.find_spec("xllamacpp") is None:
        fix = "Run: python scripts/aivt.py up"
        return Link("llamacpp", "missing", settings.policy_gguf, "xllamacpp is not installed", fix)
    try:
        info = gguf_file.inspect(gguf_file.path_of(settings))
    except AivtError as error:
        return Link("llamacpp", "missing", settings.policy_gguf, str(error), error.fix)
    if not info.talks:
        detail = f"{info.path.name} completes text and cannot talk: it has no chat template"
        return Link("llamacpp", "missing", settings.policy_gguf, detail, gguf_file.OTHER_FIX)
    return Link("llamacpp", "ready", info.path.stem, f"inside AIVT, from {info.path}")


async def _model_server(settings: Settings) -> Link:
    """Ask the server for its models, as the engine does at its start."""
    brain = OpenAI(settings)
    try:
        there = await brain.look()
    except AivtError as error:
        return Link("openai", "missing", settings.policy_model, str(error), error.fix)
    finally:
        await brain.close()
    if brain.model not in there:
        detail = f"{brain.address} has no {brain.model} (it has: {', '.join(there[:NAMES_LIMIT])})"
        return Link("openai", "missing", brain.model, detail, "Set POLICY_MODEL to one of them.")
    return Link("openai", "ready", brain.model, f"at {brain.address}")
