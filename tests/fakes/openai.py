"""A strict stand-in for a server of OpenAI's protocol: it refuses what the documentation says is refused.

Errors are OpenAI's objects; the parameters of vLLM and llama.cpp are taken as well, unless `strict`. Its
model says what the test has written down, at the pace the test sets, and fails the way the test asks for. Try
it by hand: `python -m tests.fakes.openai --port 8080`.
"""

import argparse
import asyncio
import json
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Literal, NamedTuple, Self

from aiohttp import web

Json = dict[str, Any]
Reply = Sequence[str] | Callable[[list[Json]], Sequence[str]]
Thoughts = Literal["", "reasoning_content", "reasoning", "inline"]

CONTEXT_TOKENS = 4096
LIMITS = ("max_tokens", "max_completion_tokens")
ROLES = {"system", "developer", "user", "assistant", "tool"}


class Rule(NamedTuple):
    """What a parameter may be."""

    kind: str
    types: tuple[type, ...]
    least: float = float("-inf")
    most: float = float("inf")


NUMBER, WHOLE = (int, float), (int,)
DOCUMENTED = {
    "model": Rule("string", (str,)),
    "messages": Rule("array", (list,)),
    "stream": Rule("boolean", (bool,)),
    "stream_options": Rule("object", (dict,)),
    "stop": Rule("array", (list, str)),
    "temperature": Rule("decimal", NUMBER, 0, 2),
    "top_p": Rule("decimal", NUMBER, 0, 1),
    "frequency_penalty": Rule("decimal", NUMBER, -2, 2),
    "presence_penalty": Rule("decimal", NUMBER, -2, 2),
    "n": Rule("integer", WHOLE, 1, 1),
    "seed": Rule("integer", WHOLE),
    "user": Rule("string", (str,)),
    **dict.fromkeys(LIMITS, Rule("integer", WHOLE, 1)),
}
EXTRAS = {
    "top_k": Rule("integer", WHOLE, -1),
    "min_p": Rule("decimal", NUMBER, 0, 1),
    "repeat_penalty": Rule("decimal", NUMBER, 0),
    "repetition_penalty": Rule("decimal", NUMBER, 0, 2),
    "cache_prompt": Rule("boolean", (bool,)),
    "chat_template_kwargs": Rule("object", (dict,)),
}


class Fault(Enum):
    """How one generation goes wrong; those in mid-stream do so after the first piece."""

    BUSY = auto()  # 429 with Retry-After
    QUOTA = auto()  # 429 because nothing is left to spend
    BAD_REQUEST = auto()  # 400 for no reason that is told
    HTTP_500 = auto()
    LOADING = auto()  # 503, as llama.cpp's server says it
    HTML = auto()  # somebody else's page
    SILENT_START = auto()  # the header comes, then nothing more
    SILENT_MIDWAY = auto()  # the connection stays open, nothing more comes
    DROPPED = auto()  # the connection breaks
    GARBAGE = auto()  # an event that is not JSON
    HALF_EVENT = auto()  # the stream ends, cleanly, inside an event
    ERROR_EVENT = auto()  # an error object in mid-stream
    NO_DONE = auto()  # the last event is the one with finish_reason
    NO_END = auto()  # the stream ends, cleanly, without any sign


class Request(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: Json


@dataclass
class Generation:
    """One reply: what the model was shown and how far it came."""

    messages: list[Json]
    pieces: int = 0  # of the whole reply
    sent: int = 0
    ended: str = ""  # "stop", "length", "fault" or "aborted"


class Refused(Exception):  # noqa: N818  (an answer, not a failure)
    """An answer other than 200, with OpenAI's error object."""

    def __init__(
        self,
        status: int,
        words: str,
        code: str | None = None,
        *,
        param: str | None = None,
        kind: str = "invalid_request_error",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(words)
        self.status, self.headers = status, headers
        self.error = {"message": words, "type": kind, "param": param, "code": code}


class FakeOpenAI:
    """A model server on 127.0.0.1: `async with FakeOpenAI(reply=["Hi", " there."]) as fake: ... fake.url`.

    models: the ids it lists. key: what it wants as Bearer; "" for none. strict: whether it takes documented
    parameters only. limit: the one name of a reply's limit that it takes; "" for both.
    context_tokens: of prompt and reply.
    thinks: where its thoughts come, which `enable_thinking: false` ends unless it is `stubborn`.
    reply: the pieces (tokens) of every reply, or a function of the messages that the model is shown.
    first_token_s, tokens_per_s: the pace; 0 means at once. loading: how many requests are told to wait first.
    """

    def __init__(
        self,
        *,
        models: Iterable[str] = ("kitsu",),
        key: str = "",
        strict: bool = False,
        limit: str = "",
        context_tokens: int = CONTEXT_TOKENS,
        thinks: Thoughts = "",
        stubborn: bool = False,
        reply: Reply = ("Hello", " there", "."),
        first_token_s: float = 0.0,
        tokens_per_s: float = 0.0,
        loading: int = 0,
    ) -> None:
        self.models = list(models)
        self.key, self.strict, self.limit, self.context_tokens = key, strict, limit, context_tokens
        self.thinks, self.stubborn = thinks, stubborn
        self.thoughts: Sequence[str] = ("Hmm", ", a fox.")
        self.reply = reply
        self.first_token_s, self.tokens_per_s, self.loading = first_token_s, tokens_per_s, loading
        self.faults: deque[Fault | None] = deque()  # one is used up by each generation
        self.requests: list[Request] = []
        self.generations: list[Generation] = []
        self.port = 0
        self._pending = 0
        self._site: web.AppRunner | None = None
        self._quiet = asyncio.Condition()

    # --- for the test ---

    @property
    def url(self) -> str:
        """What OPENAI_BASE_URL wants."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def aborted(self) -> list[Generation]:
        """Generations that stopped because the client went away."""
        return [each for each in self.generations if each.ended == "aborted"]

    @property
    def asked(self) -> list[Json]:
        """Bodies of all requests for a reply."""
        return [request.body for request in self.requests if request.path == "/v1/chat/completions"]

    async def idle(self) -> None:
        """Wait until no generation is under way."""
        async with self._quiet:
            await self._quiet.wait_for(lambda: self._pending == 0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        app = web.Application(middlewares=[self._edge])
        app.add_routes([web.get("/v1/models", self._models, allow_head=False)])
        app.add_routes([web.post("/v1/chat/completions", self._chat)])
        # Handlers end when their client goes away, and do not outlive the server.
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._site.setup()
        site = web.TCPSite(self._site, "127.0.0.1", self.port)
        await site.start()
        self.port = self._site.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, break what is under way."""
        if self._site is not None:
            await self._site.cleanup()
            self._site = None

    # --- the server ---

    @web.middleware
    async def _edge(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Look at the key before anything else, and give every error its object."""
        try:
            self._let_in(request)
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            words = f"Invalid URL ({request.method} {request.path})"
            if error.status == 405:
                words = f"Not allowed to {request.method} on {request.path}."
            return _refusal(Refused(error.status, words))
        except Refused as error:
            return _refusal(error)
        return response

    def _let_in(self, request: web.Request) -> None:
        if self.loading > 0:
            self.loading -= 1
            raise _loading()
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if not self.key or (scheme == "Bearer" and given == self.key):
            return
        words = f"Incorrect API key provided: {given}." if given else "You didn't provide an API key."
        raise Refused(401, words, "invalid_api_key")

    async def _models(self, request: web.Request) -> web.Response:
        self.requests.append(Request(request.path, dict(request.headers), {}))
        listed = [{"id": name, "object": "model", "created": 1, "owned_by": "test"} for name in self.models]
        return web.json_response({"object": "list", "data": listed})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if request.content_type != "application/json":
            raise Refused(415, "Unsupported Media Type: Only 'application/json' is allowed")
        try:
            body = json.loads(await request.text())
        except ValueError as error:
            raise Refused(400, f"We could not parse the JSON body of your request: {error}") from error
        self.requests.append(Request(request.path, dict(request.headers), body))
        self._check(body)
        generation = Generation(body["messages"])
        self.generations.append(generation)
        async with self._under_way(generation):
            return await self._send(request, body, generation)

    def _check(self, body: Any) -> None:
        """Refuse what the documentation says is refused."""
        if not isinstance(body, dict) or not body.get("model"):
            raise Refused(400, "you must provide a model parameter")
        rules = DOCUMENTED if self.strict else DOCUMENTED | EXTRAS
        unknown = sorted(body.keys() - rules.keys())
        if unknown and self.strict:
            noun = "argument" if len(unknown) == 1 else "arguments"
            raise Refused(400, f"Unrecognized request {noun} supplied: {', '.join(unknown)}")
        for name in body.keys() & rules.keys():
            _check_value(name, body[name], rules[name])
        self._check_limit(body)
        if body.get("stream_options") and not body.get("stream"):
            raise Refused(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
        _check_messages(body.get("messages"))
        if body["model"] not in self.models:
            words = f"The model `{body['model']}` does not exist or you do not have access to it."
            raise Refused(404, words, "model_not_found")
        count = sum(map(_tokens, body["messages"])) + _limit(body, 0)
        if count > self.context_tokens:
            words = f"This model's maximum context length is {self.context_tokens} tokens, not {count}."
            raise Refused(400, words, "context_length_exceeded", param="messages")

    def _check_limit(self, body: Json) -> None:
        given = [name for name in LIMITS if name in body]
        if len(given) == 2:
            raise Refused(400, f"Setting '{LIMITS[0]}' and '{LIMITS[1]}' at the same time is not supported.")
        if self.limit and given and given != [self.limit]:
            words = f"Unsupported parameter: '{given[0]}' is not supported with this model."
            words += f" Use '{self.limit}' instead."
            raise Refused(400, words, "unsupported_parameter", param=given[0])

    @asynccontextmanager
    async def _under_way(self, generation: Generation) -> AsyncIterator[None]:
        self._pending += 1
        try:
            yield
        except (asyncio.CancelledError, ConnectionError):
            generation.ended = generation.ended or "aborted"
            raise
        finally:
            self._pending -= 1
            async with self._quiet:
                self._quiet.notify_all()

    async def _send(self, request: web.Request, body: Json, generation: Generation) -> web.StreamResponse:
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            generation.ended = "fault"
        if fault is Fault.HTML:
            return web.Response(text="<html>Welcome to nginx!</html>", content_type="text/html")
        _refuse(fault)
        script = [*self._thought(body), *self._said(generation.messages)]
        limited = script[: _limit(body, len(script))]
        generation.pieces = len(limited)
        finish = "stop" if limited == script else "length"
        envelope = Envelope(body["model"])
        if not body.get("stream"):
            await asyncio.sleep(self.first_token_s)
            generation.sent, generation.ended = len(limited), generation.ended or finish
            return web.json_response(envelope.whole(limited, finish))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b": ping\n\n")
        await asyncio.sleep(self.first_token_s)
        if fault is Fault.SILENT_START:
            await asyncio.Event().wait()
        await response.write(_event(envelope.chunk({"role": "assistant", "content": None})))
        for delta in limited:
            if generation.sent and self.tokens_per_s:
                await asyncio.sleep(1 / self.tokens_per_s)
            await response.write(_event(envelope.chunk(delta)))
            generation.sent += 1
            if fault not in {None, Fault.NO_DONE}:
                await self._break(request, response, fault)
                return response
        generation.ended = generation.ended or finish
        await response.write(_event(envelope.chunk({}, finish)))
        if (body.get("stream_options") or {}).get("include_usage"):
            await response.write(_event({**envelope.chunk({}), "choices": [], "usage": _usage(limited)}))
        if fault is not Fault.NO_DONE:
            await response.write(b"data: [DONE]\n\n")
        return response

    async def _break(self, request: web.Request, response: web.StreamResponse, fault: Fault | None) -> None:
        match fault:
            case Fault.ERROR_EVENT:
                error = {"message": "CUDA out of memory", "type": "server_error", "param": None, "code": 500}
                await response.write(_event({"error": error}))
            case Fault.GARBAGE:
                await response.write(b"data: <html>Bad gateway</html>\n\n")
            case Fault.HALF_EVENT:
                await response.write(b'data: {"id":"chatcmpl-1","choices":[{"del')
            case Fault.SILENT_MIDWAY:
                await asyncio.Event().wait()
            case Fault.DROPPED:
                assert request.transport is not None
                request.transport.abort()

    def _thought(self, body: Json) -> list[Json]:
        told_not_to = (body.get("chat_template_kwargs") or {}).get("enable_thinking") is False
        if not self.thinks or (told_not_to and not self.stubborn):
            return []
        if self.thinks == "inline":
            return [{"content": piece} for piece in ("<think>", *self.thoughts, "</think>")]
        return [{self.thinks: piece} for piece in self.thoughts]

    def _said(self, messages: list[Json]) -> list[Json]:
        return [
            {"content": piece} for piece in (self.reply(messages) if callable(self.reply) else self.reply)
        ]


class Envelope:
    """What the protocol puts around a piece of text."""

    def __init__(self, model: str) -> None:
        self._common = {"id": f"chatcmpl-{time.monotonic_ns()}", "created": int(time.time()), "model": model}

    def chunk(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._common, "object": "chat.completion.chunk", "choices": [choice]}

    def whole(self, deltas: list[Json], finish: str) -> Json:
        content = "".join(delta.get("content", "") for delta in deltas)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": content},
            "finish_reason": finish,
        }
        return {**self._common, "object": "chat.completion", "choices": [choice], "usage": _usage(deltas)}


# --- the rules, pure ---


def _check_value(name: str, value: object, rule: Rule) -> None:
    """As in JSON: a boolean is no number."""
    if value is None:
        return
    if not isinstance(value, rule.types) or (isinstance(value, bool) and bool not in rule.types):
        got = {bool: "boolean", int: "integer", float: "decimal", str: "string", list: "array"}
        words = f"Invalid type for '{name}': expected {rule.kind}, but got {got.get(type(value), 'object')}."
        raise Refused(400, words, "invalid_type", param=name)
    if isinstance(value, int | float) and value < rule.least:
        words = f"Invalid '{name}': expected a value >= {rule.least}, but got {value} instead."
        raise Refused(400, words, f"{rule.kind}_below_min_value", param=name)
    if isinstance(value, int | float) and value > rule.most:
        words = f"Invalid '{name}': expected a value <= {rule.most}, but got {value} instead."
        raise Refused(400, words, f"{rule.kind}_above_max_value", param=name)


def _check_messages(messages: list[Json] | None) -> None:
    """Of the protocol: roles and texts. Of most chat templates: the system's first, then turn by turn."""
    if messages is None:
        raise Refused(
            400, "Missing required parameter: 'messages'.", "missing_required_parameter", param="messages"
        )
    if not messages:
        raise Refused(400, "Invalid 'messages': empty array.", "empty_array", param="messages")
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise Refused(400, f"Invalid value for '{where}.role'.", "invalid_value", param=f"{where}.role")
        if not isinstance(message.get("content"), str | list):
            words = f"Invalid type for '{where}.content': expected a string or an array."
            raise Refused(400, words, "invalid_type", param=f"{where}.content")
    turns = [message["role"] for message in messages[messages[0]["role"] == "system" :]]
    if turns != [("user", "assistant")[place % 2] for place in range(len(turns))] or len(turns) % 2 == 0:
        raise Refused(400, "Conversation roles must alternate user/assistant/user/assistant/...")


def _refuse(fault: Fault | None) -> None:
    match fault:
        case Fault.BUSY:
            words = "Rate limit reached for requests. Please try again in 20s."
            raise Refused(429, words, "rate_limit_exceeded", kind="requests", headers={"Retry-After": "20"})
        case Fault.QUOTA:
            words = "You exceeded your current quota, please check your plan and billing details."
            raise Refused(429, words, "insufficient_quota", kind="insufficient_quota")
        case Fault.BAD_REQUEST:
            raise Refused(400, "Bad request.")
        case Fault.HTTP_500:
            words = "The server had an error while processing your request."
            raise Refused(500, words, kind="server_error")
        case Fault.LOADING:
            raise _loading()


def _loading() -> Refused:
    return Refused(503, "Loading model", "503", kind="unavailable_error")


def _limit(body: Json, otherwise: int) -> int:
    return int(next((body[name] for name in LIMITS if body.get(name) is not None), otherwise))


def _tokens(message: Json) -> int:
    """About as many as a real tokenizer would find."""
    return 4 + len(str(message["content"]).encode()) // 4


def _usage(deltas: list[Json]) -> Json:
    return {"prompt_tokens": 1, "completion_tokens": len(deltas), "total_tokens": 1 + len(deltas)}


def _event(value: Json) -> bytes:
    return f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def _refusal(refused: Refused) -> web.Response:
    return web.json_response({"error": refused.error}, status=refused.status, headers=refused.headers)


async def _serve(port: int) -> None:
    fake = FakeOpenAI(
        reply=lambda messages: re.findall(
            r"\s*\S+", f"You said {messages[-1]['content']!r}, and I heard it."
        ),
        first_token_s=0.3,
        tokens_per_s=30,
    )
    fake.port = port
    async with fake:
        print(f"a stand-in for a model server at {fake.url}, with the models {', '.join(fake.models)}")
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for vLLM and the like, to try AIVT with.")
    parser.add_argument("--port", type=int, default=8080)
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args().port))
