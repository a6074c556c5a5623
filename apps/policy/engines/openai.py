"""A language model behind OpenAI's protocol: vLLM, llama.cpp's server, LM Studio and their like."""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import msgspec
import structlog

from apps.policy.prompt import Prompt
from apps.policy.serving import refusals
from apps.policy.serving.completion import Completion, Delta
from apps.policy.serving.dialect import Dialect
from apps.policy.serving.server import (
    LOOK_LIMIT_S,
    Answer,
    Server,
    Service,
    answer,
)
from apps.policy.thinking import THINKING_FIX, thinks_aloud
from apps.shared.errors import EngineError, MissingError, SettingsError
from apps.shared.logs import never_log
from apps.shared.settings import Settings

LOADING_RETRY_S = 1.0  # how often a server is asked that is still loading its model
START_TOKENS = 4  # of the first reply, which nobody hears: enough to see a thought begin

SERVICE = Service(
    name="the model server",
    setting="OPENAI_BASE_URL",
    unreachable_code="openai_unreachable",
    unreachable_fix="Start your model server, or correct OPENAI_BASE_URL (llama.cpp: "
    "http://127.0.0.1:8080/v1, vLLM: port 8000, LM Studio: port 1234).",
    broken_fix="Look at the model server's own log; restarting it often helps.",
)

log = structlog.get_logger()


class _Listed(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Listed]


class OpenAI:
    """See Brain. Only `start` raises MissingError. A failure is not retried here.

    Raises SettingsError for a key that cannot be one.
    """

    engine = "openai"

    def __init__(self, settings: Settings) -> None:
        self.model = self._wanted = settings.policy_model
        key = _key(settings)
        address = settings.openai_base_url
        shown = _without_password(address)
        self._server = Server(
            SERVICE,
            shown if key else address,  # a password and a key together are refused by aiohttp
            shown=shown,
            headers={"Authorization": f"Bearer {key}"} if key else None,
        )
        self._with_key = bool(key)
        self._dialect = Dialect()
        self._there: Sequence[str] = ()  # the models that the server had at the start
        self._warned = False

    async def start(self, prompt: Prompt) -> None:
        """See Brain. Waits for a server that is loading its model, for as long as the caller does."""
        await self._warn_of_a_cloud()
        while not await self._is_up(prompt):  # noqa: ASYNC110  (another program, which tells no one)
            await asyncio.sleep(LOADING_RETRY_S)

    async def reply(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        said = thought = False
        async with aclosing(self._deltas(prompt, prompt.persona.reply.tokens)) as deltas:
            async for delta in deltas:
                if delta.content:
                    said = True
                    yield delta.content
                elif delta.is_thought:
                    thought = True
        if thought and not said:
            raise thinks_aloud()

    async def warm(self, prompt: Prompt) -> None:
        async with aclosing(self._deltas(prompt, 1)) as deltas:
            async for _ in deltas:
                pass

    async def close(self) -> None:
        await self._server.close()

    async def _warn_of_a_cloud(self) -> None:
        host = urlsplit(self._server.shown).hostname or ""
        if not self._warned and await _is_public(host):
            self._warned = True
            fix = (
                "If you do not want that, set OPENAI_BASE_URL to a server of your own, or POLICY_ENGINE=auto."
            )
            log.warning("what chat says leaves this computer", to=host, fix=fix)

    async def _is_up(self, prompt: Prompt) -> bool:
        """Find the model and evaluate the prompt; False while it is being loaded."""
        try:
            await self.look()
            if await self._thinks_about(prompt):
                log.warning("the model thinks before it answers", model=self.model, fix=THINKING_FIX)
        except EngineError as error:
            if error.code == "loading":
                return False
            if error.code == "model_missing":
                raise MissingError(error.code, str(error), fix=error.fix) from error
            raise
        return True

    @property
    def address(self) -> str:
        """Where the server is, without a password."""
        return self._server.shown

    async def look(self) -> list[str]:
        """Ask which models are there, and choose one. Raises MissingError, EngineError."""
        looked = await self._server.look("/models")
        try:
            names = [each.id for each in msgspec.json.decode(looked.body, type=_Models).data]
        except msgspec.MsgspecError:
            names = None
        if looked.status != 200 or names is None:
            raise self._refusal(looked)
        if not names:
            raise refusals.model_missing(self._asked())
        self._there = names
        self.model = self._wanted or _first(names)
        return names

    async def _thinks_about(self, prompt: Prompt) -> bool:
        """Let the model read the prompt; return whether it begins its reply with a thought."""
        async with aclosing(self._deltas(prompt, START_TOKENS)) as deltas:
            begun = [delta async for delta in deltas]
        words = "".join(delta.content or "" for delta in begun)
        return words.startswith("<think") or any(delta.is_thought for delta in begun)

    async def _deltas(self, prompt: Prompt, limit_tokens: int) -> AsyncGenerator[Delta, None]:
        """Stream one reply. Ending this generator closes its connection, which aborts the generation."""
        completion = Completion(self._asked())
        async with self._stream(prompt, limit_tokens) as response:
            async for data in response.content.iter_any():
                for delta in completion.feed(data):
                    yield delta
                if completion.ended:
                    return
            for delta in completion.close(framed=_is_framed(response)):
                yield delta
        if not completion.ended:
            # Ollama's does so when the model has repeated itself 30 times; what was said was said.
            log.debug("openai: stream ended without its end", model=self.model)

    @asynccontextmanager
    async def _stream(self, prompt: Prompt, limit_tokens: int) -> AsyncIterator[aiohttp.ClientResponse]:
        """Ask for a reply. What the server does not take is left out, and for ever once that has helped."""
        dialect = self._dialect
        while True:
            body = dialect.body(self.model, prompt, limit_tokens)
            async with self._server.post("/chat/completions", body) as response:
                if response.status == 200 and response.content_type not in {"application/json", "text/html"}:
                    self._learn(dialect)
                    yield response
                    return
                refused = await answer(response)
            error = self._refusal(refused)
            if error.code not in {"http_400", "http_422"}:
                raise error
            if (simpler := dialect.after(refusals.told(refused.body).marks, body)) is None:
                raise error
            dialect = simpler

    def _learn(self, dialect: Dialect) -> None:
        if dialect != self._dialect:
            self._dialect = dialect
            log.info(
                "the model server takes fewer parameters",
                without=", ".join(sorted(dialect.without)),
                limit=dialect.limit,
            )

    def _refusal(self, refused: Answer) -> EngineError:
        return refusals.refusal(refused, self._asked())

    def _asked(self) -> refusals.Asked:
        return refusals.Asked(self._server, self.model, self._there, self._with_key)


def _is_framed(response: aiohttp.ClientResponse) -> bool:
    """Whether HTTP itself tells the end of this body from a connection that broke."""
    return bool({"Transfer-Encoding", "Content-Length"} & response.headers.keys())


def _first(names: Sequence[str]) -> str:
    """Return the first model that can talk; LM Studio also lists one that only searches in documents."""
    return next((name for name in names if "embed" not in name.lower()), names[0])


def _key(settings: Settings) -> str:
    key = settings.openai_api_key.get_secret_value().strip()
    if not (key.isascii() and key.isprintable()):
        reason = "OPENAI_API_KEY has characters that no key has"
        raise SettingsError("bad_setting", reason, fix="Copy the key once more: it is a single word.")
    never_log(key)
    return key


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


async def _is_public(host: str) -> bool:
    """Whether a host lies outside this computer and its networks; False as long as nobody knows it."""
    try:
        async with asyncio.timeout(LOOK_LIMIT_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, None)
    except (OSError, UnicodeError):  # TimeoutError is an OSError
        return False
    # Not `is_private`: a tailnet's addresses (100.64.0.0/10) are neither.
    return any(ipaddress.ip_address(str(address[0])).is_global for *_, address in found)
