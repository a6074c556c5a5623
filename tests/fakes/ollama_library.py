"""What the stand-in for Ollama knows about models, and how it fetches one: the numbers of real ones.

Sizes, shapes and the order of a pull's lines were read in Ollama's API documentation, its source (about
0.33) and what users have posted of it.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

Json = dict[str, Any]

TICK_S = 0.06  # between two lines of a pull, whether anything has moved or not
LINES = 4  # for each layer when a pull takes no time


class PullFault(Enum):
    """How one pull goes wrong."""

    DISK_FULL = auto()  # half-way
    OFFLINE = auto()  # before the manifest
    TOO_OLD = auto()
    DIGEST = auto()  # at the end; the layer is thrown away
    STALLED = auto()  # half-way: lines come on, bytes do not
    SILENT = auto()  # half-way: nothing comes any more
    NO_SUCCESS = auto()  # the stream ends, cleanly, half-way
    GARBAGE = auto()  # a line that is not JSON


WORDS: dict[PullFault | None, str] = {
    PullFault.DISK_FULL: "write sha256-{digest}-partial: no space left on device",
    PullFault.OFFLINE: 'pull model manifest: Get "https://registry.example/v2/{name}": '
    "dial tcp: lookup registry.example: no such host",
    PullFault.TOO_OLD: "pull model manifest: 412: \n\nThe model you are attempting to pull requires a newer "
    "version of Ollama.\n\nPlease download the latest version.",
    PullFault.DIGEST: "digest mismatch, file must be downloaded again: want sha256:{digest}, got sha256:0000",
}

LLAMA = (
    "LLAMA {} COMMUNITY LICENSE AGREEMENT\nLlama {} Version Release Date: July 23, 2024\n\n“Agreement” means"
)
APACHE = (
    "                                 Apache License\n                           Version 2.0, January 2004\n"
)
GEMMA = "Gemma Terms of Use \n\nLast modified: February 21, 2024\n\nBy using, reproducing"
RESEARCH = (
    "Qwen RESEARCH LICENSE AGREEMENT\n\nQwen RESEARCH LICENSE AGREEMENT Release Date: September 19, 2024"
)


@dataclass(frozen=True)
class Facts:
    """What is true of a model."""

    size: int  # bytes, of all layers
    parameter_size: str = "3.2B"
    family: str = "llama"
    info: Json = field(default_factory=dict)  # GGUF metadata without the family's prefix
    license: str = ""
    talks: bool = True
    remote_host: str = ""

    @property
    def model_info(self) -> Json:
        """GGUF metadata, as /api/show gives it."""
        prefixed = {f"{self.family}.{name}": value for name, value in self.info.items()}
        return {"general.architecture": self.family, **prefixed, "tokenizer.ggml.tokens": []}


def _llama(layers: int, embedding: int, heads: int) -> Json:
    return {
        "block_count": layers, "embedding_length": embedding, "vocab_size": 128256,
        "attention.head_count": heads, "attention.head_count_kv": 8, "context_length": 131072,
    }  # fmt: skip


FACTS = {
    "llama3.2:3b": Facts(
        2_019_393_189, info=_llama(28, 3072, 24), license=LLAMA.format(3.2, 3.2)
    ),
    "qwen3:4b-instruct": Facts(
        2_497_293_931, "4.0B", "qwen3",
        {"block_count": 36, "embedding_length": 2560, "attention.head_count": 32,
         "attention.head_count_kv": 8, "attention.key_length": 128, "attention.value_length": 128},
        APACHE,
    ),
    "llama3.1:8b": Facts(
        4_920_753_328, "8.0B", info=_llama(32, 4096, 32), license=LLAMA.format(3.1, 3.1)
    ),
    "gemma3:12b": Facts(
        8_149_190_253, "12.2B", "gemma3",
        {"block_count": 48, "embedding_length": 3840, "attention.head_count": 16,
         "attention.head_count_kv": 8, "attention.key_length": 256, "attention.value_length": 256,
         "attention.sliding_window": 1024, "vision.block_count": 27},
        GEMMA,
    ),
    "qwen2.5:3b": Facts(1_929_912_432, "3.1B", "qwen2", license=RESEARCH),
    "nomic-embed-text:latest": Facts(274_302_450, "137M", "nomic-bert", license=APACHE, talks=False),
    "gpt-oss:120b-cloud": Facts(384, "116.8B", "gptoss", remote_host="https://ollama.com:443"),
}  # fmt: skip
UNKNOWN = Facts(2_019_393_189, info=_llama(28, 3072, 24))


def facts(name: str) -> Facts:
    """Return what is true of a model; of one that only a test knows, that of a small Llama."""
    return FACTS.get(name, UNKNOWN)


@dataclass
class Library:
    """Fetches models; keeps what a broken-off pull has fetched."""

    bytes_per_s: float = 0.0  # 0: at once
    partial: dict[str, int] = field(default_factory=dict)  # digest -> bytes that are there

    async def pull(self, name: str, fault: PullFault | None) -> AsyncGenerator[Json | bytes, None]:
        """Yield the lines of a pull, as Ollama does, up to its success or its error."""
        digests = [hashlib.sha256(f"{name} {part}".encode()).hexdigest() for part in ("model", "licence")]
        words = WORDS.get(fault, "").format(name=name, digest=digests[0])
        yield {"status": "pulling manifest"}
        if fault in {PullFault.OFFLINE, PullFault.TOO_OLD}:
            yield {"error": words}
            return
        sizes = [facts(name).size - 7711, 7711]
        for digest, size in zip(digests, sizes, strict=True):
            async for line in self._layer(digest, size):
                yield line
                if fault and fault is not PullFault.DIGEST and line.get("completed", 0) * 2 >= size:
                    async for after in self._break(fault, line, words):
                        yield after
                    return
        yield {"status": "verifying sha256 digest"}
        if fault is PullFault.DIGEST:
            self.partial.pop(digests[0])
            yield {"error": words}
            return
        yield {"status": "writing manifest"}
        yield {"status": "success"}

    async def _layer(self, digest: str, size: int) -> AsyncGenerator[Json, None]:
        """Fetch one layer, or the rest of it."""
        step = int(self.bytes_per_s * TICK_S) or -(-size // LINES)
        while True:
            done = self.partial.setdefault(digest, 0)
            counted = {"completed": done} if done else {}  # Go leaves a zero out
            yield {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": size, **counted}
            if done >= size:
                return
            if self.bytes_per_s:
                await asyncio.sleep(TICK_S)
            self.partial[digest] = min(done + step, size)

    async def _break(self, fault: PullFault, line: Json, words: str) -> AsyncGenerator[Json | bytes, None]:
        match fault:
            case PullFault.STALLED:
                while True:
                    await asyncio.sleep(TICK_S)
                    yield line
            case PullFault.SILENT:
                await asyncio.Event().wait()
            case PullFault.GARBAGE:
                yield b"<html>Bad gateway</html>\n"
            case PullFault.DISK_FULL:
                yield {"error": words}
