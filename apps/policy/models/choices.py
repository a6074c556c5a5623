"""Which model to run when the streamer has not chosen one: by the memory of the graphics card."""

import shutil
import subprocess
from dataclasses import dataclass

ASK_LIMIT_S = 2.0
MIB = 1024**2


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """One row of the table."""

    from_vram_gb: int  # the smallest card it is meant for
    name: str  # as `ollama pull` takes it
    disk_gb: float  # download and size on disk
    vram_gb: float  # in memory with 4096 tokens of context (footprint.py)
    licence: str
    note: str  # why this one, for the panel


# About half of the card at most: the rest belongs to the game and to OBS. None of them thinks before it
# answers, which would cost seconds before her first word.
CHOICES = (
    ModelChoice(0, "llama3.2:3b", 2.0, 3.1, "Llama 3.2 Community", "small cards, and bearable without any"),
    ModelChoice(8, "qwen3:4b-instruct", 2.5, 3.9, "Apache-2.0", "quick, beside a demanding game"),
    ModelChoice(12, "llama3.1:8b", 4.9, 6.0, "Llama 3.1 Community", "keeps a character over a long chat"),
    ModelChoice(16, "gemma3:12b", 8.1, 9.8, "Gemma terms", "the liveliest talker that still answers in time"),
)


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card."""

    name: str
    total_bytes: int
    used_bytes: int  # by everything that runs now


def choice(name: str) -> ModelChoice | None:
    """Return the row of the table with this name."""
    return next((each for each in CHOICES if each.name == name), None)


def default_model(vram_gb: float | None) -> ModelChoice:
    """Return the model for a card with this much memory (GiB); None: no card is known."""
    # An "8 GB" card reports 7.996: its driver keeps a few MiB.
    size_gb = round(vram_gb or 0)
    return max(
        (choice for choice in CHOICES if choice.from_vram_gb <= size_gb),
        key=lambda choice: choice.from_vram_gb,
    )


def vram_gb() -> float | None:
    """Ask the NVIDIA driver for the memory (GiB) of the largest card; None without one. Blocks up to 2 s."""
    largest = max((card.total_bytes for card in cards()), default=None)
    return None if largest is None else largest / 1024**3


def cards() -> tuple[Card, ...]:
    """Ask the NVIDIA driver for its cards with memory of their own. Blocks up to 2 s."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        answer = subprocess.run(  # noqa: S603  (a fixed command, found on the user's own PATH)
            [program, "--query-gpu=memory.total,memory.used,name", "--format=csv,noheader,nounits"],
            capture_output=True,
            check=True,
            text=True,
            timeout=ASK_LIMIT_S,
            # Without it a console window flashes up on Windows when the worker has none.
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except (OSError, subprocess.SubprocessError):
        return ()
    rows = [[field.strip() for field in line.split(",", 2)] for line in answer.stdout.splitlines()]
    # MiB; "[N/A]" where the memory is the computer's own.
    return tuple(
        Card(name, int(total_mib) * MIB, int(used_mib) * MIB)
        for total_mib, used_mib, name in (row for row in rows if len(row) == 3)
        if total_mib.isdecimal() and used_mib.isdecimal()
    )
