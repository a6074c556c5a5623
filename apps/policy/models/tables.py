"""How `aivt model` says things, pure: from what was found to text of a width."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from apps.policy.models.choices import Card, choice
from apps.policy.models.links import Link
from apps.policy.models.ollama_server import Loaded
from apps.policy.models.shelf import Model, Shelf
from apps.policy.models.show_light import Light

PIPE_COLUMNS = 120  # where no terminal says how wide it is
NAME_COLUMNS = 18  # a longer name stands on a line of its own
INDENT = "  "
BELOW = " " * 21  # below a model of the chain
FOR_GOOD = timedelta(days=365)

PLACES = {"ollama": "Ollama", "file": "file", "cloud": "cloud", "": "to pull"}
FITS = {"game": "with a game", "alone": "alone", "no": "too big", None: "-"}
HEADER = ("MODEL", "WHERE", "DISK", "MEMORY", "FITS", "LICENCE")


@dataclass(frozen=True, slots=True)
class Status:
    """What would answer, and what runs where."""

    wanted: str  # POLICY_ENGINE, or USE_STUB_POLICY
    chain: tuple[Link, ...]
    answers: Link
    loaded: tuple[Loaded, ...] | None  # what Ollama holds in memory now; None: it does not answer
    cards: tuple[Card, ...]
    ollama_settings: dict[str, str]  # as far as they can be seen from here
    show: Light | None  # None: no show runs here


def shelf(found: Shelf, columns: int) -> str:
    """Write the list of models."""
    rows = [_cells(model) for model in found.models]
    widths = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]
    widths[0] = min(widths[0], NAME_COLUMNS)
    lines = [*_cards([found.card] if found.card else []), "", f"  {_row(HEADER, widths, columns)}"]
    for model, cells in zip(found.models, rows, strict=True):
        lines += _entry(model, cells, widths, columns)
    lines += ["", *_wrapped(_verdict(found), columns)]
    for link in found.missing:
        lines += _wrapped(link.detail, columns)
        lines += _wrapped(f"fix: {link.fix}", columns, INDENT)
    if found.trouble and not any(link.engine == "ollama" for link in found.missing):
        lines += _wrapped(f"Ollama's own models are not listed: {found.trouble}", columns)
        lines += _wrapped(f"fix: {found.fix}", columns, INDENT)
    lines += _wrapped(
        "MEMORY is what a model takes on the graphics card with 4096 tokens of context, estimated.", columns
    )
    return "\n".join(lines)


def status(found: Status, columns: int) -> str:
    """Write what would answer, and what runs where."""
    lines = [_wish(found.wanted)]
    for link in found.chain:
        mark = ">" if link == found.answers else " "
        lines.append(f"{mark} {link.engine:<9} {link.state:<8} {link.model or link.detail}")
        if link.model:
            lines += _wrapped(link.detail, columns, BELOW)
        if link.fix:
            lines += _wrapped(f"fix: {link.fix}", columns, BELOW)
    lines += ["", *_memory(found.loaded, columns)]
    if found.ollama_settings:
        values = ", ".join(f"{name}={value}" for name, value in found.ollama_settings.items())
        lines += _wrapped(f"Ollama was started with {values}", columns)
    lines += [*_cards(found.cards), *_show(found.show, columns)]
    return "\n".join(lines)


def before_pull(name: str, free_bytes: int | None, card: Card | None, columns: int) -> str:
    """Write what is known of a model before it is there."""
    row = choice(name)
    words = [
        f"Pulling {name}: {row.disk_gb} GB, about {row.vram_gb} GB in memory." if row else f"Pulling {name}.",
        f"{free_bytes / 1e9:.1f} GB are free on Ollama's disk." if free_bytes is not None else "",
        f"The card has {_card_gb(card.total_bytes)}." if card else "",
        "Ctrl+C stops; the same command goes on later.",
    ]
    return "\n".join(_wrapped(" ".join(filter(None, words)), columns))


def after_pull(model: Model, card: Card | None, columns: int, to_set: Sequence[str]) -> str:
    """Write what has come. to_set: what has to be set in .env for her to answer with it."""
    kind = f" ({model.kind})" if model.kind else ""
    lines = [f"{model.name} is there: {gb(model.disk_bytes)} on disk{kind}."]
    if model.fault:
        lines += [f"She cannot answer with it: {model.fault}."]
    else:
        needs = f"It takes about {gb(model.vram_bytes)} with 4096 tokens of context"
        use = f"To have her answer with it, set {' and '.join(to_set)} in .env."
        lines += [
            f"{needs}{_fits(model, card)}",
            f"Licence: {model.licence}. Its text: ollama show {model.name} --license",
            use if to_set else "She answers with it from now on.",
        ]
    return "\n".join(part for line in lines for part in _wrapped(line, columns))


def _fits(model: Model, card: Card | None) -> str:
    if card is None or model.fit is None:
        return " in memory."
    verdict = {
        "game": "That leaves room for a game.",
        "alone": "That leaves little for a game.",
        "no": "That is too much: the processor would do a part, slowly.",
    }[model.fit]
    return f" of your card's {_card_gb(card.total_bytes)}. {verdict}"


def gb(size_bytes: int) -> str:
    """Write a size as Ollama does: 1 GB is a thousand million bytes."""
    return "?" if not size_bytes else f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e8 else _mb(size_bytes)


def _mb(size_bytes: int) -> str:
    return f"{max(size_bytes / 1e6, 0.1):.1f} MB"


def _card_gb(size_bytes: int) -> str:
    """As the card's maker counts: 1 GB is 1024 MiB, and what the driver keeps is not missing."""
    return f"{round(size_bytes / 1024**3, 1):g} GB"


# --- the list ---


def _cells(model: Model) -> tuple[str, ...]:
    fits = "-" if model.fault else FITS[model.fit]
    sizes = gb(model.disk_bytes), gb(model.vram_bytes)
    return (model.name, PLACES[model.place], *sizes, fits, model.licence)


def _entry(model: Model, cells: Sequence[str], widths: Sequence[int], columns: int) -> Iterator[str]:
    mark = ">" if model.chosen else " "
    if len(model.name) > widths[0]:
        yield f"{mark} {model.name}"
        mark, cells = " ", ("", *cells[1:])
    yield f"{mark} {_row(cells, widths, columns)}"
    below = " " * (widths[0] + 4)
    if model.fault:
        yield from _wrapped(f"cannot be used: {model.fault}", columns, below)
        if model.fix:
            yield from _wrapped(f"fix: {model.fix}", columns, below)
    elif model.note:
        yield from _wrapped(model.note, columns, below)


def _row(cells: Sequence[str], widths: Sequence[int], columns: int) -> str:
    line = "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
    room = columns - len(INDENT)
    return line if len(line) <= room else f"{line[: room - 1]}…"


def _verdict(found: Shelf) -> str:
    answers = found.answers
    if any(model.chosen for model in found.models):
        return "> is the one that she answers with."
    what = f"{answers.engine} {answers.model}".rstrip()
    return f"She answers with: {'her scripted lines' if answers.engine == 'scripted' else what}."


# --- the status ---


def _wish(wanted: str) -> str:
    if wanted == "USE_STUB_POLICY":
        return "USE_STUB_POLICY is on: only her scripted lines answer."
    return f"POLICY_ENGINE={wanted}: the first of these that is ready answers (>)."


def _memory(loads: Sequence[Loaded] | None, columns: int) -> Iterator[str]:
    if loads is None:
        return
    yield "In Ollama's memory now:" if loads else "In Ollama's memory now: nothing"
    for loaded in loads:
        yield from _wrapped(_loaded(loaded), columns, INDENT)
        if loaded.size_vram < loaded.size:
            fix = "Close what else uses the graphics card, or choose a smaller model (aivt model list)."
            yield from _wrapped(f"fix: {fix}", columns, INDENT * 2)


def _loaded(loaded: Loaded) -> str:
    share = round(100 * loaded.size_vram / loaded.size) if loaded.size else 0
    where = f"{share} % on the graphics card" if share >= 100 else f"{100 - share} % on the processor: slow"
    context = f", context {loaded.context_length} tokens" if loaded.context_length else ""
    return f"{loaded.name}  {gb(loaded.size)}, {where}{context}{_until(loaded.expires_at)}"


def _until(at: datetime | None) -> str:
    if at is None:
        return ""
    if at - datetime.now(UTC) > FOR_GOOD:
        return ", for good"
    return f", until {at.astimezone():%H:%M}"


def _cards(cards: Sequence[Card]) -> Iterator[str]:
    if not cards:
        yield "No NVIDIA graphics card was found: models run on the processor, which is slow."
    for card in cards:
        yield f"{card.name}: {card.used_bytes / 1024**3:.1f} of {_card_gb(card.total_bytes)} in use"


def _show(light: Light | None, columns: int) -> Iterator[str]:
    if light is None:
        yield "No show is running."
        return
    what = " ".join(filter(None, (light.state, light.engine, light.model)))
    yield from _wrapped(f"The running show says: {what}{f' ({light.reason})' * bool(light.reason)}", columns)
    if light.fix:
        yield from _wrapped(f"fix: {light.fix}", columns, INDENT)


def _wrapped(text: str, columns: int, indent: str = "") -> list[str]:
    """Break text into lines, names and addresses never inside."""
    return textwrap.wrap(
        text, max(columns, 40), initial_indent=indent, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
