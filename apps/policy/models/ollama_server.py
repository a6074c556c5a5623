"""What Ollama's HTTP API tells about its models, and its own way of fetching one (as of its 0.33)."""

import dataclasses
from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Any, Self, TypeVar

import msgspec

from apps.policy.engines import ollama
from apps.policy.serving.server import Answer, Server, answer
from apps.shared.errors import EngineError, MissingError

START_FIX = (
    "Start Ollama (the Ollama app, or: ollama serve); if it is not installed: https://ollama.com/download"
)
WRONG_PORT_FIX = "Correct OLLAMA_HOST: another program has this port."
AGAIN_FIX = "Run the same command again: it goes on where it stopped."
SERVICE = dataclasses.replace(ollama.SERVICE, unreachable_fix=START_FIX)


class Details(msgspec.Struct, frozen=True):
    """What kind of file a model is."""

    parameter_size: str = ""  # "8.0B"
    quantization_level: str = ""  # "Q4_K_M"


class Pulled(msgspec.Struct, frozen=True):
    """A model that Ollama has. Sizes in bytes."""

    name: str
    size: int = 0
    details: Details | None = None
    remote_host: str = ""  # not "": the model runs in Ollama's cloud


class Loaded(msgspec.Struct, frozen=True):
    """A model that is in memory now. Sizes in bytes."""

    name: str
    size: int = 0
    size_vram: int = 0  # how much of it is on the graphics card
    context_length: int = 0  # tokens
    expires_at: datetime | None = None


class Shown(msgspec.Struct, frozen=True):
    """Everything about one model."""

    license: str = ""
    model_info: dict[str, Any] | None = None  # GGUF metadata
    capabilities: list[str] | None = None  # older versions do not tell
    details: Details | None = None
    remote_host: str = ""

    @property
    def talks(self) -> bool:
        """Whether it writes text; some only turn it into vectors."""
        return self.capabilities is None or "completion" in self.capabilities


class PullLine(msgspec.Struct, frozen=True):
    """One line of a pull's stream. Comes every 60 ms, whether anything has moved or not."""

    status: str = ""
    digest: str = ""  # of the layer that is being downloaded
    total: int = 0
    completed: int = 0  # left out until the first byte
    error: str = ""


class _Version(msgspec.Struct):
    version: str


class _Tags(msgspec.Struct):
    models: list[Pulled] | None = None


class _Loads(msgspec.Struct):
    models: list[Loaded] | None = None


class _Error(msgspec.Struct):
    error: str


Kind = TypeVar("Kind")


class OllamaServer:
    """Ollama at `url`, as an async context manager.

    All methods raise MissingError or EngineError "ollama_unreachable" when there is none, EngineError when
    it refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._server = Server(SERVICE, url)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    async def version(self) -> str:
        """Return Ollama's version."""
        return self._read(await self._server.look("/api/version"), _Version).version

    async def pulled(self) -> list[Pulled]:
        """Return the models that are there."""
        return self._read(await self._server.look("/api/tags"), _Tags).models or []

    async def loaded(self) -> list[Loaded]:
        """Return the models that are in memory."""
        return self._read(await self._server.look("/api/ps"), _Loads).models or []

    async def shown(self, name: str) -> Shown:
        """Return what Ollama knows about a model of its own. There is no deadline in it."""
        async with self._server.post("/api/show", {"model": name}) as response:
            return self._read(await answer(response), Shown)

    async def pull(self, name: str) -> AsyncGenerator[PullLine, None]:
        """Have Ollama fetch a model; closing this generator stops it, and keeps what has come so far.

        There is no deadline in it. A line's error is the caller's to judge.
        """
        try:
            async with self._server.post("/api/pull", {"model": name, "stream": True}) as response:
                if response.status != 200:
                    yield PullLine(error=_words(await answer(response)))
                    return
                async for raw in response.content:
                    yield msgspec.json.decode(raw, type=PullLine)
        except msgspec.MsgspecError as error:
            raise self._server.garbage() from error
        except EngineError as error:
            if error.code == "stream_error":  # ours, for a connection that broke
                raise EngineError("pull_broken", str(error), fix=AGAIN_FIX, retryable=True) from None
            raise

    def _read(self, looked: Answer, kind: type[Kind]) -> Kind:
        try:
            if looked.status == 200:
                return msgspec.json.decode(looked.body, type=kind)
            raise self._server.failure(_words(looked), looked.status)
        except msgspec.MsgspecError as error:
            reason = f"what answers at {self.url} is not Ollama"
            raise MissingError("ollama_unreachable", reason, fix=WRONG_PORT_FIX) from error


def _words(refused: Answer) -> str:
    """Ollama's own words. Raises msgspec.MsgspecError for what is not Ollama's."""
    return msgspec.json.decode(refused.body, type=_Error).error
