"""Where the speech model runs, and in which numbers: on the graphics card where that works."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from apps.asr_worker.models import computer
from apps.asr_worker.models.computer import Computer
from apps.asr_worker.models.names import MB_BYTES, graphics_mb
from apps.shared.errors import AivtError, SettingsError
from apps.shared.settings import Settings

# Her language model takes up to 60 % of the card, the game and OBS what is left.
EARS_SHARE = 1 / 8

# CTranslate2 spins while it waits for its threads: with as many as there are cores, everything else that
# runs makes it 3 to 10 times slower. Beyond four it gains little.
MOST_THREADS = 4

TYPES = frozenset(
    {"int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32"}
)
# The best first. Old cards know no 16-bit numbers, the newest ones not every kind of int8.
WITH_ROOM = ("float16", "int8_float16", "int8_float32", "float32")
WITHOUT_ROOM = ("int8_float16", "int8_float32", "float16", "float32")
ON_PROCESSOR = ("int8", "float32")

# With ASR_DEVICE=auto nobody is told what cannot be mended, such as a computer without an NVIDIA card.
MENDABLE = {"cuda_incomplete", "nvidia_driver_old", "cuda_fails"}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Choice:
    """How to load a model, by the words of WhisperModel."""

    device: str  # "cuda", "cpu"
    compute_type: str
    cpu_threads: int
    trouble: AivtError | None = None  # why it is not the graphics card
    why: str = ""  # for the streamer


def choose(settings: Settings, model_dir: Path) -> Choice:
    """Choose for the model in this folder, and log it.

    Blocks up to a second. Raises SettingsError for an ASR_COMPUTE_TYPE that the device does not take.
    """
    size_bytes = (model_dir / "model.bin").stat().st_size
    chosen = decide(settings, computer.look(settings), size_bytes)
    fix = {"fix": chosen.trouble.fix} if chosen.trouble else {}
    log.info(
        "speech model",
        model=model_dir.name,
        device=chosen.device,
        compute_type=chosen.compute_type,
        cpu_threads=chosen.cpu_threads,
        why=chosen.why,
        **fix,
    )
    return chosen


def decide(settings: Settings, machine: Computer, size_bytes: int) -> Choice:
    """Decide, pure. size_bytes: of model.bin. Raises SettingsError as `choose` does."""
    if settings.asr_device != "cpu" and machine.cuda_types:
        return _on_card(settings, machine, size_bytes)
    trouble = machine.trouble
    if trouble and settings.asr_device == "auto" and trouble.code not in MENDABLE:
        trouble = None
    wished = _wished(settings, machine.cpu_types, "the processor", lenient=trouble is not None)
    why = str(machine.trouble) if machine.trouble else "ASR_DEVICE=cpu"
    chosen = wished or _first(ON_PROCESSOR, machine.cpu_types)
    return Choice("cpu", chosen, threads(machine.cores), trouble, why)


def threads(cores: int) -> int:
    """Return how many threads to decode with on a processor with this many physical cores."""
    return max(1, min(MOST_THREADS, cores - 1))


def _on_card(settings: Settings, machine: Computer, size_bytes: int) -> Choice:
    needed_bytes = graphics_mb(size_bytes / MB_BYTES) * MB_BYTES
    room = needed_bytes <= machine.card_bytes * EARS_SHARE
    wished = _wished(settings, machine.cuda_types, f"the {machine.card}")
    chosen = wished or _first(WITH_ROOM if room else WITHOUT_ROOM, machine.cuda_types)
    return Choice("cuda", chosen, threads(machine.cores), why=machine.card)


def _first(best_first: tuple[str, ...], there: frozenset[str]) -> str:
    return next((each for each in best_first if each in there), "float32")


def _wished(settings: Settings, there: frozenset[str], device: str, *, lenient: bool = False) -> str:
    """Return ASR_COMPUTE_TYPE; "" leaves it to us. lenient: it was meant for the card, which fails."""
    wished = settings.asr_compute_type.strip().lower()
    if wished in there or wished == "auto":
        return "" if wished == "auto" else wished
    if lenient and wished in TYPES:
        return ""
    raise SettingsError(
        "bad_compute_type",
        f"ASR_COMPUTE_TYPE={settings.asr_compute_type} cannot be used on {device}",
        fix=f"Set it to one of: {', '.join(['auto', *sorted(there)])}",
    )
