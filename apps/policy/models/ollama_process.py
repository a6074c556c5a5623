"""Ollama as a process on this computer: how it was set up, and where it keeps its models."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

# What decides about memory and speed. Nothing else of its environment is looked at.
SETTINGS = (
    "OLLAMA_CONTEXT_LENGTH",
    "OLLAMA_FLASH_ATTENTION",
    "OLLAMA_KEEP_ALIVE",
    "OLLAMA_KV_CACHE_TYPE",
    "OLLAMA_MAX_LOADED_MODELS",
    "OLLAMA_MODELS",
    "OLLAMA_NUM_PARALLEL",
    "CUDA_VISIBLE_DEVICES",
)
SERVICE_FOLDER = Path("/usr/share/ollama/.ollama/models")  # where Linux's service keeps them


def settings() -> dict[str, str] | None:
    """Return those settings of a running Ollama that are set; None when it is not this user's process."""
    for process in _processes():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            return {name: environment[name] for name in SETTINGS if environment.get(name)}
    return None


def folder(known: dict[str, str] | None) -> Path | None:
    """Return the folder that holds Ollama's models; None when it cannot be told.

    known: what `settings` has returned.
    """
    if known is not None and "OLLAMA_MODELS" in known:
        places = [Path(known["OLLAMA_MODELS"])]
    else:
        places = [Path.home() / ".ollama" / "models", SERVICE_FOLDER]
    return next((place for place in places if place.is_dir()), None)


def free_bytes() -> int | None:
    """Return what is free on the disk of Ollama's models; None when it cannot be told."""
    place = folder(settings())
    try:
        return None if place is None else shutil.disk_usage(place).free
    except OSError:
        return None


def _processes() -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["name"]):
        if (process.info["name"] or "").lower() in {"ollama", "ollama.exe"}:
            yield process
