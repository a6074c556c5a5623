"""A language model in a GGUF file, run by llama.cpp in a process that belongs to the policy's."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import psutil
import structlog

from apps.policy.llamacpp import mark
from apps.policy.llamacpp.lines import Hello, Load
from apps.policy.llamacpp.mark import Note
from apps.policy.llamacpp.process import DiedError, HostError, HostProcess, RefusedError
from apps.policy.models import gguf_file
from apps.policy.models.gguf_file import GgufInfo
from apps.policy.prompt import CONTEXT_TOKENS, Prompt, messages
from apps.policy.thinking import thinks_aloud
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings

MARK = "loading-gguf"  # in AIVT_DATA_DIR

SMALLER_FIX = "Choose a smaller model or quantisation, or close what else uses memory."
CRASH_FIX = "Choose a smaller model or another quantisation. To try this one again, restart AIVT."
AGAIN_FIX = (
    "Look at policy's log. It is started again by itself; if that does not last, choose another model."
)

log = structlog.get_logger()


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None  # thoughts, which are never spoken


class _Choice(msgspec.Struct):
    delta: _Delta


class _Timings(msgspec.Struct):
    """What llama.cpp counted, in the last event of a reply."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float


class _Error(msgspec.Struct):
    code: int = 0
    message: str = ""
    type: str = ""


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    timings: _Timings | None = None
    error: _Error | None = None


class LlamaCpp:
    """See Brain. Only `start` raises MissingError. Nothing is retried here."""

    engine = "llamacpp"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.model = Path(settings.policy_gguf).stem
        self._context_tokens = CONTEXT_TOKENS
        self._host: HostProcess | None = None
        self._crashed: tuple[Note, EngineError] | None = None  # the file that llama.cpp did not survive

    async def start(self, prompt: Prompt) -> None:
        """See Brain.

        Raises, each with its fix: MissingError "gguf_missing", "llamacpp_missing"; EngineError "gguf_broken",
        "gguf_unsupported", "gguf_crashed", "out_of_memory", "context_too_small".
        """
        await self.close()
        info, note = await asyncio.to_thread(self._look)
        self.model = info.path.stem
        self._context_tokens = min(CONTEXT_TOKENS, info.context_tokens or CONTEXT_TOKENS)
        try:
            with mark.marked(self._settings.aivt_data_dir / MARK, note):
                await self._load(info)
                await self.warm(prompt)
        except BaseException as error:
            await self.close()
            if isinstance(error, EngineError) and isinstance(error.__cause__, DiedError):
                reason = f"llama.cpp crashed with {info.path.name}: {error.__cause__}"
                self._crashed = note, EngineError("gguf_crashed", reason, fix=CRASH_FIX)
                raise self._crashed[1] from error
            raise

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        said = thought = False
        async with aclosing(self._events(prompt, prompt.persona.reply.tokens)) as events:
            async for event in events:
                for choice in event.choices:
                    thought = thought or bool(choice.delta.reasoning_content)
                    if text := choice.delta.content:
                        said = True
                        yield text
                if event.timings:
                    log.debug("llama.cpp replied", model=self.model, **msgspec.structs.asdict(event.timings))
        if thought and not said:
            raise thinks_aloud()

    async def warm(self, prompt: Prompt) -> None:
        async with aclosing(self._events(prompt, 1)) as events:
            async for _ in events:
                pass

    async def close(self) -> None:
        if host := self._host:
            self._host = None
            await host.end()

    def _look(self) -> tuple[GgufInfo, Note]:
        """Look into the file. Raises AivtError for one that she cannot answer with."""
        path = gguf_file.path_of(self._settings)
        note, info = mark.note(path), gguf_file.inspect(path)
        if not info.talks:
            reason = f"{info.path.name} completes text and cannot talk: it has no chat template"
            raise EngineError("gguf_unsupported", reason, fix=gguf_file.OTHER_FIX)
        if self._crashed and self._crashed[0] == note:
            raise self._crashed[1]
        return info, note

    async def _load(self, info: GgufInfo) -> None:
        self._host = host = await HostProcess.begun()
        try:
            hello = await host.hello()
        except (DiedError, TimeoutError) as error:
            words = str(error) or "it does not come up"
            fix = "Run: python scripts/aivt.py up"
            raise MissingError("llamacpp_missing", f"llama.cpp cannot be run: {words}", fix=fix) from error
        _check_memory(info, self._context_tokens, hello)
        try:
            await host.load(Load(str(info.path), self._context_tokens, _threads()))
        except RefusedError as error:
            raise _refused(info, str(error)) from error
        except DiedError as error:
            raise _crashed(str(error)) from error

    async def _events(self, prompt: Prompt, limit_tokens: int) -> AsyncGenerator[_Event, None]:
        """Stream one reply. Ending this generator stops it in llama.cpp."""
        if self._host is None:
            raise EngineError("not_running", "llama.cpp is not running", fix=AGAIN_FIX)
        body = _body(prompt, limit_tokens)
        try:
            async with aclosing(self._host.chunks(body)) as chunks:
                async for data in chunks:
                    event = msgspec.json.decode(data, type=_Event)
                    if event.error:
                        raise self._failure(event.error)
                    yield event
        except DiedError as error:
            raise _crashed(str(error)) from error
        except (HostError, msgspec.MsgspecError) as error:
            raise EngineError("llamacpp_error", f"llama.cpp: {error}", fix=AGAIN_FIX) from error

    def _failure(self, error: _Error) -> EngineError:
        if error.type == "exceed_context_size_error":
            return _too_long(self._context_tokens, error.message)
        passing = error.code >= 500
        return EngineError("llamacpp_error", f"llama.cpp: {error.message}", fix=AGAIN_FIX, retryable=passing)


def _body(prompt: Prompt, limit_tokens: int) -> dict[str, Any]:
    return {
        "messages": messages(prompt),
        "stream": True,
        # An event for each batch of the prompt that is evaluated: where there is one, there can be a stop.
        "return_progress": True,
        "cache_prompt": True,
        "max_tokens": limit_tokens,
        "chat_template_kwargs": {"enable_thinking": False},
        **msgspec.structs.asdict(prompt.persona.sampling),
    }


def _threads() -> int:
    """All cores but one, which the game, OBS and her voice share with the rest."""
    return max(1, (psutil.cpu_count(logical=False) or 2) - 1)


def _check_memory(info: GgufInfo, context_tokens: int, hello: Hello) -> None:
    needed = info.memory_bytes(context_tokens)
    free = psutil.virtual_memory().available + hello.graphics_bytes
    if needed > free:
        reason = f"{info.path.name} needs about {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free"
        raise EngineError("out_of_memory", reason, fix=SMALLER_FIX)


def _refused(info: GgufInfo, words: str) -> EngineError:
    """Say in our terms why llama.cpp does not take a model that looked fine."""
    reason = f"llama.cpp cannot load {info.path.name}: {words}"
    if "architecture" in words:
        fix = "Choose a model of another family, or a newer AIVT."
        return EngineError("gguf_unsupported", reason, fix=fix)
    if "allocate" in words or "out of memory" in words:
        return EngineError("out_of_memory", reason, fix=SMALLER_FIX)
    return EngineError("gguf_broken", reason, fix="Download it again, or choose another model.")


def _crashed(words: str) -> EngineError:
    return EngineError("llamacpp_crashed", f"llama.cpp crashed: {words}", fix=AGAIN_FIX)


def _too_long(context_tokens: int, words: str) -> EngineError:
    if context_tokens < CONTEXT_TOKENS:
        fix = f"Choose a model made for {CONTEXT_TOKENS} tokens or more; this one takes {context_tokens}."
    else:
        fix = f"Shorten the persona's system text: the prompt must fit into {context_tokens} tokens."
    return EngineError("context_too_small", f"llama.cpp: {words}", fix=fix)
