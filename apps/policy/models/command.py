"""`aivt model status|list|pull`: what the policy worker would serve, what there is, and how to get it."""

import argparse
import asyncio
import json
import shutil
import sys
from contextlib import aclosing
from urllib.parse import urlsplit

import msgspec

from apps.policy.models import choices, links, ollama_process, pulling, shelf, show_light, tables
from apps.policy.models.ollama_server import AGAIN_FIX, Loaded, OllamaServer
from apps.policy.models.pull_view import view
from apps.policy.models.tables import Status
from apps.shared.errors import AivtError
from apps.shared.settings import Settings

NOTHING_TO_SERVE = 3  # as for MissingError: what the settings want is not there


def model_list(options: argparse.Namespace) -> int:
    """Print the models that there are and those that fit this computer."""
    found = asyncio.run(_shelf(Settings.load()))
    print(_json(found) if options.json else tables.shelf(found, _columns()))
    return 0


def model_status(options: argparse.Namespace) -> int:
    """Print what would answer, and what runs where; NOTHING_TO_SERVE when only scripted lines are left."""
    settings = Settings.load()
    found = asyncio.run(_status(settings))
    print(_json(found) if options.json else tables.status(found, _columns()))
    short = links.scripted_only(found.answers) and links.wants_a_model(settings)
    return NOTHING_TO_SERVE if short else 0


def model_pull(options: argparse.Namespace) -> int:
    """Have Ollama fetch a model, and say what it takes."""
    settings = Settings.load()
    name = pulling.checked_name(options.name)
    try:
        asyncio.run(_pull(settings, name))
    except KeyboardInterrupt:
        print(f"\nStopped. The same command goes on from here: aivt model pull {name}", file=sys.stderr)
        raise
    return 0


async def _shelf(settings: Settings) -> shelf.Shelf:
    card = await asyncio.to_thread(_card)
    async with OllamaServer(settings.ollama_host) as server:
        ollama = await links.ask(server)
        chain = await links.links(settings, ollama)
        found = await shelf.models_there(server, ollama, settings, card.total_bytes if card else None)
    answers = links.answering(chain)
    trouble = ollama.trouble
    return shelf.Shelf(
        models=shelf.choose(found, answers),
        card=card,
        answers=answers,
        missing=tuple(link for link in chain if link.state == "missing"),
        trouble=str(trouble) if trouble else "",
        fix=trouble.fix if trouble else "",
    )


async def _status(settings: Settings) -> Status:
    async with OllamaServer(settings.ollama_host) as server:
        ollama = await links.ask(server)
        chain = await links.links(settings, ollama)
        loaded = None if ollama.trouble else await _loaded(server)
    return Status(
        wanted="USE_STUB_POLICY" if settings.use_stub_policy else settings.policy_engine,
        chain=tuple(chain),
        answers=links.answering(chain),
        loaded=loaded,
        cards=await asyncio.to_thread(choices.cards),
        ollama_settings=await asyncio.to_thread(_ollama_settings, settings),
        show=await asyncio.to_thread(show_light.light, settings),
    )


async def _pull(settings: Settings, name: str) -> None:
    card = await asyncio.to_thread(_card)
    async with OllamaServer(settings.ollama_host) as server:
        await server.version()  # says at once, and in its own words, when Ollama is away
        there = tuple(await server.pulled())
        free_bytes = await asyncio.to_thread(_free_bytes, settings)
        print(tables.before_pull(name, free_bytes, card, _columns()), flush=True)
        known = [*(row.name for row in choices.CHOICES), *(each.name for each in there)]
        lines = pulling.pull(server.pull(name), name, known=known, free_bytes=free_bytes)
        with view(name) as bar:
            async with aclosing(lines) as progress:
                async for now in progress:
                    bar.show(now)
        pulled = links.has(tuple(await server.pulled()), name)
        if pulled is None:
            raise AivtError("pull_incomplete", f"Ollama does not list {name} after all", fix=AGAIN_FIX)
        found = await shelf.of_ollama(server, pulled, card.total_bytes if card else None)
    to_set = await links.to_answer_with(settings, pulled.name)
    print(tables.after_pull(found, card, _columns(), to_set))


async def _loaded(server: OllamaServer) -> tuple[Loaded, ...] | None:
    """Return what is in memory; None when Ollama does not tell, as versions before 2024 do not."""
    try:
        return tuple(await server.loaded())
    except AivtError:
        return None


def _card() -> choices.Card | None:
    return max(choices.cards(), key=lambda card: card.total_bytes, default=None)


def _ollama_settings(settings: Settings) -> dict[str, str]:
    return (ollama_process.settings() if _is_near(settings) else None) or {}


def _free_bytes(settings: Settings) -> int | None:
    """Return what is free where Ollama keeps its models; None when that cannot be told from here."""
    return ollama_process.free_bytes() if _is_near(settings) else None


def _is_near(settings: Settings) -> bool:
    """Tell whether Ollama runs on this computer."""
    return urlsplit(settings.ollama_host).hostname in {"127.0.0.1", "localhost", "::1"}


def _columns() -> int:
    return shutil.get_terminal_size((tables.PIPE_COLUMNS, 24)).columns


def _json(value: object) -> str:
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
