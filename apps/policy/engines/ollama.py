"""A language model served by Ollama, over its HTTP API (documented behaviour as of its 0.33)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
import structlog

from apps.policy.models import choices
from apps.policy.prompt import CONTEXT_TOKENS, Prompt, messages
from apps.policy.serving.server import Answer, Server, Service, answer
from apps.policy.thinking import thinks_aloud
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings

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

SERVICE = Service(
    name="Ollama",
    setting="OLLAMA_HOST",
    unreachable_code="ollama_unreachable",
    unreachable_fix="Start Ollama (the Ollama app, or: ollama serve), or set POLICY_ENGINE=scripted.",
    broken_fix="Look at Ollama's own log; restarting Ollama often helps.",
)

log = structlog.get_logger()


class _Said(msgspec.Struct):
    content: str = ""
    thinking: str = ""  # never spoken


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
        self._server = Server(SERVICE, settings.ollama_host)

    async def start(self, prompt: Prompt) -> None:
        if not self.model:
            card_gb = await asyncio.to_thread(choices.vram_gb)
            self.model = choices.default_model(card_gb).name
        pulled = await self._pulled()
        if not {self.model, f"{self.model}:latest"} & set(pulled):
            there = ", ".join(pulled) or "none"
            raise MissingError(
                "model_missing",
                f"Ollama has no model {self.model} (it has: {there})",
                fix=f"ollama pull {self.model}",
            )
        await self.warm(prompt)

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        said = thought = False
        async with aclosing(self._messages(prompt, prompt.persona.reply.tokens)) as stream:
            async for message in stream:
                thought = thought or bool(message.thinking)
                if message.content:
                    said = True
                    yield message.content
        if thought and not said:
            raise thinks_aloud()

    async def warm(self, prompt: Prompt) -> None:
        async with aclosing(self._messages(prompt, 1)) as stream:
            async for _ in stream:
                pass

    async def close(self) -> None:
        await self._server.close()

    async def _pulled(self) -> list[str]:
        """Ask which models are there."""
        looked = await self._server.look("/api/tags")
        if looked.status != 200:
            raise self._refusal(looked)
        try:
            return [each.name for each in msgspec.json.decode(looked.body, type=_Tags).models]
        except msgspec.MsgspecError as error:
            raise MissingError(
                "ollama_unreachable",
                f"what answers at {self._server.shown} is not Ollama",
                fix="Correct OLLAMA_HOST: another program has this port.",
            ) from error

    async def _messages(self, prompt: Prompt, limit_tokens: int) -> AsyncGenerator[_Said, None]:
        """Stream one request's messages. Ending this generator closes its connection, which aborts it."""
        body = _body(self.model, prompt, limit_tokens)
        async with self._server.post("/api/chat", body) as response:
            if response.status != 200:
                raise self._refusal(await answer(response))
            async for raw in response.content:
                line = self._decoded(raw)
                if line.error:
                    raise self._failure(line.error)
                if line.message:
                    yield line.message
                if line.done:
                    return
        # Ollama ends a stream like this when the model repeats itself 30 times; what was said was said.
        log.debug("ollama: stream ended without done", model=self.model)

    def _decoded(self, raw: bytes) -> _Line:
        try:
            return msgspec.json.decode(raw, type=_Line)
        except msgspec.MsgspecError as error:
            raise self._server.garbage() from error

    def _refusal(self, refused: Answer) -> EngineError:
        """What an HTTP status other than 200 means."""
        try:
            words = msgspec.json.decode(refused.body, type=_Line).error
        except msgspec.MsgspecError:
            words = ""  # a proxy's page
        if refused.status == 404 and "not found" in words:
            return EngineError("model_missing", words, fix=f"ollama pull {self.model}")
        return self._failure(words or "no reason given", refused.status)

    def _failure(self, words: str, status: int | None = None) -> EngineError:
        """Say in our terms what Ollama says, in mid-stream (no status) or instead of a stream."""
        if "context length" in words or "exceed_context_size" in words:
            fix = f"Shorten the persona's system text: the prompt must fit into {CONTEXT_TOKENS} tokens."
            return EngineError("context_too_small", f"Ollama: {words}", fix=fix)
        return self._server.failure(words, status)


def _body(model: str, prompt: Prompt, limit_tokens: int) -> dict[str, Any]:
    sampling = prompt.persona.sampling
    return {
        **ALWAYS,
        "model": model,
        "messages": messages(prompt),
        "options": {
            "num_ctx": CONTEXT_TOKENS,
            "num_predict": limit_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
        },
    }
