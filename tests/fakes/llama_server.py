"""llama.cpp's own HTTP server, the real one, with a model of tests/fakes/gguf.py."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import xllamacpp

CONTEXT_TOKENS = 8192  # a tiny model has a token for each byte of most words


@contextmanager
def llama_server(model: Path, *, context_tokens: int = CONTEXT_TOKENS, key: str = "") -> Iterator[str]:
    """Serve a model from this process, on a port that the system chooses; gives its OPENAI_BASE_URL."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_ctx, params.n_parallel, params.cache_ram_mib = context_tokens, 1, 16
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.verbosity, params.ui, params.warmup, params.endpoint_slots = 0, False, False, True
    params.api_keys = [key] if key else []
    server = xllamacpp.Server(params)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server  # stops it


def slot(url: str) -> dict[str, Any]:
    """What the model is doing. Blocks."""
    with urlopen(f"{url.removesuffix('/v1')}/slots", timeout=5) as response:
        slots: list[dict[str, Any]] = json.load(response)
    return slots[0]
