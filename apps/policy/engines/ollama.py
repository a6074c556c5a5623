"""A language model served by Ollama, over its HTTP API (documented behaviour as of its 0.33)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import aiohttp
import msgspec
import structlog
from aiohttp.http_exceptions import HttpProcessingError

from apps.policy import models
from apps.policy.prompt import Prompt, messages
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings

CONNECT_LIMIT_S = 3.0  # Windows takes 2 s to find out that nobody listens on a loopback port
LOOK_LIMIT_S = 5.0  # for the list of models
LOAD_LIMIT_S = 150.0  # a model of 8 GB from a slow disk
REPLY_LIMIT_S = 60.0  # for a whole reply, however steadily it comes
REPLY_LIMIT_TOKENS = 160  # about 40 s of speech
CONTEXT_TOKENS = 4096

# Sent with every request, the warm-up included: a model whose context or `shift` changes is loaded anew,
# which takes seconds and loses what it has evaluated. Without `truncate: false` a long prompt would
# silently lose the persona's text.
ALWAYS: dict[str, Any] = {
    "stream": True,
    "think": False,  # models that can think do so unless told not to
    "truncate": False,
    "shift": False,
    # Outlives the quiet stretches of a show, and gives the card back to the game afterwards, even when
    # this worker has crashed.
    "keep_alive": "30m",
}

UNREACHABLE_FIX = "Start Ollama (the Ollama app, or: ollama serve), or set POLICY_ENGINE=scripted."
SERVER_FIX = "Look at Ollama's own log; restarting Ollama often helps."
SLOW_FIX = "Choose a smaller POLICY_MODEL, or close what else uses the graphics card."

log = structlog.get_logger()


class _Said(msgspec.Struct):
    content: str = ""  # beside it may stand "thinking", which is never spoken


class _Line(msgspec.Struct):
    """One line of a stream, or the whole body of an error."""

    message: _Said | None = None
    done: bool = False
    error: str = ""


class _Listed(msgspec.Struct):
    name: str


class _Tags(msgspec.Struct):
    models: list[_Listed]


class Ollama:
    """See Brain. Only `start` raises MissingError. Nothing is retried here."""

    engine = "ollama"

    def __init__(self, settings: Settings) -> None:
        self.model = settings.policy_model
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def start(self, prompt: Prompt) -> None:
        if not self.model:
            card_gb = await asyncio.to_thread(models.vram_gb)
            self.model = models.default_model(card_gb).name
        pulled = await self._pulled()
        if not {self.model, f"{self.model}:latest"} & set(pulled):
            there = ", ".join(pulled) or "none"
            raise MissingError(
                "model_missing",
                f"Ollama has no model {self.model} (it has: {there})",
                fix=f"ollama pull {self.model}",
            )
        # Its first piece comes when the prompt is evaluated; nobody wants the rest.
        async with aclosing(self._reply(prompt, first_token_s=LOAD_LIMIT_S)) as pieces:
            await anext(pieces, None)

    def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        return self._reply(prompt, first_token_s=self._settings.policy_first_token_s)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A fresh connection costs 0.2 ms on loopback; a kept one may have died with the server.
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S),
            )
        return self._session

    async def _pulled(self) -> list[str]:
        """Ask which models are there."""
        url = f"{self._settings.ollama_host}/api/tags"
        try:
            async with asyncio.timeout(LOOK_LIMIT_S), self._connected().get(url) as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.read(), self.model)
                return [each.name for each in msgspec.json.decode(await response.read(), type=_Tags).models]
        except (aiohttp.ClientError, TimeoutError) as error:
            raise MissingError("ollama_unreachable", f"no answer from {url}", fix=UNREACHABLE_FIX) from error
        except msgspec.MsgspecError as error:
            raise MissingError(
                "ollama_unreachable",
                f"what answers at {url} is not Ollama",
                fix="Correct OLLAMA_HOST: another program has this port.",
            ) from error

    async def _reply(self, prompt: Prompt, *, first_token_s: float) -> AsyncGenerator[str, None]:
        """Put a deadline on every wait for a piece; it stands still while the caller has one."""
        loop = asyncio.get_running_loop()
        stall_s = self._settings.policy_stall_s
        ends_at = loop.time() + first_token_s + REPLY_LIMIT_S
        begun = False
        try:
            async with asyncio.timeout(first_token_s) as deadline, aclosing(self._pieces(prompt)) as pieces:
                async for piece in pieces:
                    begun = True
                    deadline.reschedule(None)
                    yield piece
                    deadline.reschedule(min(loop.time() + stall_s, ends_at))
        except TimeoutError as error:
            if loop.time() >= ends_at:
                raise _too_long() from error
            raise (_stalled(stall_s) if begun else _too_slow(first_token_s)) from error

    async def _pieces(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        """Stream the text of one request. Ending this generator closes its connection, which aborts it."""
        request = self._connected().post(
            f"{self._settings.ollama_host}/api/chat", json=_body(self.model, prompt)
        )
        try:
            async with request as response:
                if response.status != 200:
                    raise _refusal(response.status, await response.read(), self.model)
                async for raw in response.content:
                    line = _decoded(raw)
                    if line.error:
                        raise _failure(line.error)
                    if line.message and line.message.content:
                        yield line.message.content
                    if line.done:
                        return
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            reason = f"no answer from {self._settings.ollama_host}"
            raise EngineError("ollama_unreachable", reason, fix=UNREACHABLE_FIX) from error
        except aiohttp.ClientError as error:
            raise _failure(f"the connection broke ({type(error).__name__})") from error
        except HttpProcessingError as error:  # a line longer than 128 KiB
            raise _garbage() from error
        # Ollama ends a stream like this when the model repeats itself 30 times; what was said was said.
        log.debug("ollama: stream ended without done", model=self.model)


def _body(model: str, prompt: Prompt) -> dict[str, Any]:
    return {
        **ALWAYS,
        "model": model,
        "messages": messages(prompt),
        "options": {
            "num_ctx": CONTEXT_TOKENS,
            "num_predict": REPLY_LIMIT_TOKENS,
            "temperature": round(0.6 + 0.6 * prompt.persona.chaos, 2),
        },
    }


def _decoded(raw: bytes) -> _Line:
    try:
        return msgspec.json.decode(raw, type=_Line)
    except msgspec.MsgspecError as error:
        raise _garbage() from error


def _refusal(status: int, body: bytes, model: str) -> EngineError:
    """What an HTTP status other than 200 means."""
    try:
        words = msgspec.json.decode(body, type=_Line).error
    except msgspec.MsgspecError:
        words = ""  # a proxy's page
    if status == 404 and "not found" in words:
        return EngineError("model_missing", words, fix=f"ollama pull {model}")
    return _failure(words or "no reason given", status)


def _failure(words: str, status: int | None = None) -> EngineError:
    """Say in our terms what Ollama says, in mid-stream (no status) or instead of a stream."""
    if "context length" in words or "exceed_context_size" in words:
        fix = f"Shorten the persona's system text: the prompt must fit into {CONTEXT_TOKENS} tokens."
        return EngineError("context_too_small", f"Ollama: {words}", fix=fix)
    code = f"http_{status}" if status else "stream_error"
    passing = status is None or status >= 500
    return EngineError(code, f"Ollama: {words}", fix=SERVER_FIX, retryable=passing)


def _too_slow(limit_s: float) -> EngineError:
    reason = f"no word from the model within {limit_s:g} s"
    return EngineError("first_token_timeout", reason, fix=SLOW_FIX, retryable=True)


def _stalled(limit_s: float) -> EngineError:
    return EngineError("stalled", f"the model fell silent for {limit_s:g} s in mid-reply", fix=SLOW_FIX)


def _too_long() -> EngineError:
    return EngineError("reply_too_long", f"the reply took more than {REPLY_LIMIT_S:g} s", fix=SLOW_FIX)


def _garbage() -> EngineError:
    fix = "Check that OLLAMA_HOST leads to Ollama and to nothing else."
    return EngineError("garbage", "what came is not Ollama's format", fix=fix)
