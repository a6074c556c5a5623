"""A strict stand-in for Ollama's HTTP server: it refuses what Ollama refuses, in Ollama's words.

What it enforces was read from Ollama's source (about 0.33). Its model says what the test has written down,
at the pace the test sets (waits are asyncio.sleep), and fails the way the test asks for. Try it by hand:
`python -m tests.fakes.ollama --port 11434`.
"""

import argparse
import asyncio
import ipaddress
import json
import re
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from aiohttp import web

from tests.fakes.ollama_library import Library, PullFault, facts

Json = dict[str, Any]
Reply = Sequence[str] | Callable[[list[Json]], Sequence[str]]

CONTEXT_TOKENS = 4096
REPEATS_LIMIT = 30  # after more identical chunks in a row Ollama ends the stream without a word
FOREVER_S = 1e9
MODEL_NAME = re.compile(r"[\w.:-]+(/[\w.:-]+)*", re.ASCII)
RUNNER_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "num_thread", "use_mmap", "main_gpu")

FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "name", "prompt", "system", "template"), (str,)),
    **dict.fromkeys(("stream", "truncate", "shift", "raw", "insecure"), (bool,)),
    **dict.fromkeys(("messages", "context", "tools"), (list,)),
    "options": (dict,),
}
OPTIONS: dict[str, tuple[str, tuple[type, ...]]] = {
    **dict.fromkeys(("num_ctx", "num_batch", "num_gpu", "num_thread", "main_gpu"), ("integer", (int, float))),
    **dict.fromkeys(("num_predict", "num_keep", "seed"), ("integer", (int, float))),
    **dict.fromkeys(("top_k", "repeat_last_n"), ("integer", (int, float))),
    **dict.fromkeys(("temperature", "top_p", "min_p", "typical_p"), ("float32", (int, float))),
    **dict.fromkeys(("repeat_penalty", "presence_penalty"), ("float32", (int, float))),
    "frequency_penalty": ("float32", (int, float)),
    "use_mmap": ("boolean", (bool,)),
    "stop": ("array", (list,)),
}


class Fault(Enum):
    """How one generation goes wrong; those in mid-stream do so after the first piece."""

    NO_DONE = auto()  # the stream ends, cleanly, without its last line
    ERROR_LINE = auto()
    HTTP_500 = auto()
    SILENT_START = auto()  # the request is taken, no header ever comes
    SILENT_MIDWAY = auto()  # the connection stays open, nothing more comes
    DROPPED = auto()  # the connection breaks
    GARBAGE = auto()  # a line that is not JSON
    HALF_LINE = auto()  # the stream ends, cleanly, inside a line


class Request(NamedTuple):
    """One request as it came."""

    path: str
    body: Json


@dataclass
class Generation:
    """One reply: what the model was shown and how far it came."""

    messages: list[Json]
    pieces: int = 0  # of the whole reply
    sent: int = 0
    ended: str = ""  # "stop", "length", "repetition", "fault" or "aborted"


@dataclass
class Runner:
    """A loaded model."""

    key: tuple[object, ...]  # what cannot change without loading it anew
    keep_s: float
    busy: int = 0
    expires_at_s: float = 0.0  # on the loop's clock


class Refused(Exception):  # noqa: N818  (an answer, not a failure)
    """An answer other than 200."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class FakeOllama:
    """Ollama on 127.0.0.1: `async with FakeOllama(reply=["Hi", " there."]) as fake: ... fake.url`.

    models: names that are pulled; thinking: those of them that can think; library: what can be pulled.
    reply: the pieces (tokens) of every reply, or a function of the messages that the model is shown.
    first_token_s, tokens_per_s: the pace; 0 means at once. load_s: what loading a model takes.
    parallel, queue_limit: OLLAMA_NUM_PARALLEL and OLLAMA_MAX_QUEUE.
    pull_bytes_per_s: 0 means at once. on_card: how much of a loaded model is on the graphics card, 0..1.
    """

    def __init__(
        self,
        *,
        models: Iterable[str] = ("kitsu:latest",),
        thinking: Iterable[str] = (),
        library: Iterable[str] = (),
        reply: Reply = ("Hello", " there", "."),
        first_token_s: float = 0.0,
        tokens_per_s: float = 0.0,
        load_s: float = 0.0,
        parallel: int = 1,
        queue_limit: int = 512,
        pull_bytes_per_s: float = 0.0,
        on_card: float = 1.0,
    ) -> None:
        self.models = {_tagged(name): _tagged(name) in map(_tagged, thinking) for name in models}
        self.library = {_tagged(name) for name in library}
        self.reply = reply
        self.first_token_s, self.tokens_per_s, self.load_s = first_token_s, tokens_per_s, load_s
        self.faults: deque[Fault | None] = deque()  # one is used up by each generation
        self.pull_faults: deque[PullFault | None] = deque()  # one is used up by each pull
        self.downloads, self.on_card = Library(pull_bytes_per_s), on_card
        self.requests: list[Request] = []
        self.generations: list[Generation] = []
        self.loads = 0
        self.reloads = 0  # loads that only changed options caused
        self.port = 0
        self._slots, self._parallel = asyncio.Semaphore(parallel), parallel
        self._queue_limit, self._pending = queue_limit, 0
        self._runners: dict[str, Runner] = {}
        self._site: web.AppRunner | None = None
        self._quiet = asyncio.Condition()

    # --- for the test ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def aborted(self) -> list[Generation]:
        """Generations that stopped because the client went away."""
        return [each for each in self.generations if each.ended == "aborted"]

    def asked(self, path: str) -> list[Json]:
        """Bodies of all requests to a path."""
        return [request.body for request in self.requests if request.path == path]

    async def idle(self) -> None:
        """Wait until no generation is under way or in the queue."""
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
        app.add_routes([web.get("/", _root), web.get("/api/version", _version)])
        app.add_routes([web.get("/api/tags", self._tags), web.get("/api/ps", self._ps)])
        app.add_routes([web.post("/api/show", self._show), web.post("/api/pull", self._pull)])
        app.add_routes([web.post("/api/chat", self._chat), web.post("/api/generate", self._generate)])
        # Handlers end when their client goes away, and do not outlive the server.
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._site.setup()
        site = web.TCPSite(self._site, "127.0.0.1", self.port)
        await site.start()
        self.port = self._site.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, break what is under way, forget what was loaded."""
        if self._site is not None:
            await self._site.cleanup()
            self._site = None
        self._runners.clear()

    # --- the server ---

    @web.middleware
    async def _edge(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        """Check the host as Ollama does, and give every error its JSON body."""
        if not _local(request.headers.get("Host", "")):
            return _json({"error": "forbidden"}, 403)
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            return _json({"error": f"{error.status} {error.reason}".lower()}, error.status)
        except Refused as error:
            return _json({"error": str(error)}, error.status)
        return response

    async def _body(self, request: web.Request) -> Json:
        text = await request.text()
        if not text:
            raise Refused(400, "missing request body")
        try:
            body = json.loads(text)
        except ValueError as error:
            raise Refused(400, f"invalid JSON: {error}") from error
        if not isinstance(body, dict):
            raise Refused(400, f"json: cannot unmarshal {_kind(body)} into Go value")
        self.requests.append(Request(request.path, body))
        body = {name: value for name, value in body.items() if value is not None}
        for name, value in body.items():
            if not _is(value, FIELDS.get(name, (object,))):
                raise Refused(400, f"json: cannot unmarshal {_kind(value)} into Go struct field .{name}")
        return body

    def _named(self, body: Json) -> str:
        name = str(body.get("model") or body.get("name") or "")
        if _tagged(name) not in self.models:
            raise Refused(404, f"model '{name}' not found")
        return _tagged(name)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        for message in body.setdefault("messages", []):
            if not (
                isinstance(message, dict)
                and all(_is(message.get(k, ""), (str,)) for k in ("role", "content"))
            ):
                raise Refused(400, f"json: cannot unmarshal {_kind(message)} into Go struct field .messages")
        if not body.get("model"):
            raise Refused(400, "model is required")
        return await self._answer(request, body, body["messages"])

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        if body.get("raw") and any(body.get(name) for name in ("template", "system", "context")):
            raise Refused(400, "raw mode does not support template, system, or context")
        prompt = body.get("prompt", "")
        return await self._answer(request, body, [{"role": "user", "content": prompt}] if prompt else [])

    async def _answer(self, request: web.Request, body: Json, messages: list[Json]) -> web.StreamResponse:
        """Load, generate, and send as a stream or in one piece."""
        model = self._named(body)
        think, keep_s = _think(body), _keep_s(body.get("keep_alive"))
        if think and "think" in body and not self.models[model]:
            raise Refused(400, f'"{body["model"]}" does not support thinking')
        generation = Generation(messages)
        envelope = Envelope(body["model"], generation, chat=request.path == "/api/chat")
        if not messages and keep_s == 0:
            self._runners.pop(model, None)
            return _json(envelope.last("unload"))
        options = _options(body)
        shown = [] if not messages else _fitted(messages, options["num_ctx"], body)
        async with self._slot():
            runner = await self._loaded(model, options, body, keep_s)
            if not shown:
                return _json(envelope.last("load"))
            generation.messages = shown
            self.generations.append(generation)
            runner.busy += 1
            try:
                return await self._send(request, body, envelope, options, thinks=think and self.models[model])
            except (asyncio.CancelledError, ConnectionError):
                generation.ended = generation.ended or "aborted"
                raise
            finally:
                runner.busy -= 1
                runner.expires_at_s = asyncio.get_running_loop().time() + runner.keep_s

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        """Wait in the queue, then hold one of the places at the model."""
        if self._pending >= self._parallel + self._queue_limit:
            raise Refused(503, "server busy, please try again.  maximum pending requests exceeded")
        self._pending += 1
        try:
            async with self._slots:
                yield
        finally:
            self._pending -= 1
            async with self._quiet:
                self._quiet.notify_all()

    async def _loaded(self, model: str, options: Json, body: Json, keep_s: float | None) -> Runner:
        key = (*(options.get(name) for name in RUNNER_OPTIONS), body.get("shift", True))
        runner = self._live().get(model)
        if runner is None or runner.key != key:
            self.loads += 1
            self.reloads += runner is not None
            await asyncio.sleep(self.load_s)
            runner = self._runners[model] = Runner(key, runner.keep_s if runner else 300.0)
        if keep_s is not None:
            runner.keep_s = keep_s
        runner.expires_at_s = asyncio.get_running_loop().time() + runner.keep_s
        return runner

    def _live(self) -> dict[str, Runner]:
        now_s = asyncio.get_running_loop().time()
        self._runners = {
            name: runner
            for name, runner in self._runners.items()
            if runner.busy or runner.expires_at_s > now_s
        }
        return self._runners

    async def _send(
        self, request: web.Request, body: Json, envelope: "Envelope", options: Json, *, thinks: bool
    ) -> web.StreamResponse:
        generation = envelope.generation
        fault = self.faults.popleft() if self.faults else None
        if fault is Fault.HTTP_500:
            generation.ended = "fault"
            raise Refused(500, "llama runner process has terminated: exit status 2")
        if fault is Fault.SILENT_START:
            await asyncio.Event().wait()
        async with aclosing(self._lines(envelope, options, thinks=thinks)) as lines:
            if body.get("stream") is False:
                return _json(envelope.joined([line async for line in lines]))
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            async for line in lines:
                if not response.prepared:  # no header goes out before there is something to say
                    await response.prepare(request)
                await response.write(_go_json(line) + b"\n")
                if fault is not None:
                    await self._break(request, response, fault)
                    generation.ended = "fault"
                    break
            return response

    async def _break(self, request: web.Request, response: web.StreamResponse, fault: Fault) -> None:
        match fault:
            case Fault.ERROR_LINE:
                await response.write(_go_json({"error": "an error was encountered: CUDA error"}) + b"\n")
            case Fault.GARBAGE:
                await response.write(b"<html>Bad gateway</html>\n")
            case Fault.HALF_LINE:
                await response.write(b'{"model":"kitsu","message":{"role":"assis')
            case Fault.SILENT_MIDWAY:
                await asyncio.Event().wait()
            case Fault.DROPPED:
                assert request.transport is not None
                request.transport.abort()

    async def _lines(
        self, envelope: "Envelope", options: Json, *, thinks: bool
    ) -> AsyncGenerator[Json, None]:
        """Make the reply at its pace, line by line."""
        generation = envelope.generation
        script = list(self.reply(generation.messages) if callable(self.reply) else self.reply)
        limit = int(options["num_predict"])
        pieces = script if limit < 0 else script[:limit]
        generation.pieces = len(pieces)
        await asyncio.sleep(self.first_token_s)
        if thinks:
            yield envelope.line("", thinking="Hmm.")
        before, repeats = None, 0
        for piece in _held_back(pieces, options.get("stop", [])):
            if generation.sent and self.tokens_per_s:
                await asyncio.sleep(1 / self.tokens_per_s)
            repeats = repeats + 1 if piece.strip() == before else 0
            before = piece.strip()
            if repeats >= REPEATS_LIMIT:
                generation.ended = "repetition"
                return
            yield envelope.line(piece)
            generation.sent += 1
        generation.ended = "stop" if len(pieces) == len(script) else "length"
        yield envelope.last(generation.ended)

    # --- what there is ---

    async def _tags(self, _request: web.Request) -> web.Response:
        return _json({"models": [_listed(name) for name in self.models]})

    async def _ps(self, _request: web.Request) -> web.Response:
        now_s = asyncio.get_running_loop().time()
        return _json(
            {
                "models": [
                    {
                        **_listed(name),
                        "expires_at": _rfc3339(min(runner.expires_at_s - now_s, FOREVER_S)),
                        "size_vram": int(facts(name).size * self.on_card),
                        "context_length": runner.key[0],
                    }
                    for name, runner in self._live().items()
                ]
            }
        )

    async def _show(self, request: web.Request) -> web.Response:
        name = self._named(await self._body(request))
        known = facts(name)
        talks = ["completion", *["thinking"] * self.models[name]] if known.talks else ["embedding"]
        told = {"license": known.license, "remote_host": known.remote_host}
        return _json(
            {
                "details": _listed(name)["details"],
                "model_info": known.model_info,
                "capabilities": talks,
                "modified_at": _rfc3339(),
                **{key: value for key, value in told.items() if value},  # Go leaves empty ones out
            }
        )

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request)
        wanted = str(body.get("model") or body.get("name") or "")
        if not MODEL_NAME.fullmatch(wanted):
            raise Refused(400, "invalid model name")
        if body.get("stream") is False:
            last = [line async for line in self._pulled(_tagged(wanted)) if isinstance(line, dict)][-1]
            return _json(last, 500 if "error" in last else 200)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async with aclosing(self._pulled(_tagged(wanted))) as stream:
            async for line in stream:
                await response.write(line if isinstance(line, bytes) else _go_json(line) + b"\n")
        return response

    async def _pulled(self, name: str) -> AsyncGenerator[Json | bytes, None]:
        """Fetch a model that is in the library; the lines are those of the real one."""
        if name not in self.library:
            yield {"status": "pulling manifest"}
            yield {"error": "pull model manifest: file does not exist"}
            return
        fault = self.pull_faults.popleft() if self.pull_faults else None
        async with aclosing(self.downloads.pull(name, fault)) as lines:
            async for line in lines:
                if line == {"status": "success"}:
                    self.models[name] = False
                yield line


@dataclass
class Envelope:
    """What Ollama puts around a piece of text."""

    model: str
    generation: Generation
    chat: bool
    started_ns: int = field(default_factory=time.monotonic_ns)

    def line(self, text: str, *, thinking: str = "", done: bool = False) -> Json:
        thought = {"thinking": thinking} if thinking else {}
        said: Json = (
            {"message": {"role": "assistant", "content": text, **thought}}
            if self.chat
            else {"response": text, **thought}
        )
        return {"model": self.model, "created_at": _rfc3339(), **said, "done": done}

    def last(self, reason: str) -> Json:
        metrics = {
            "total_duration": time.monotonic_ns() - self.started_ns,
            "prompt_eval_count": sum(map(_tokens, self.generation.messages)),
            "eval_count": self.generation.sent,
        }
        counted = {name: value for name, value in metrics.items() if value and reason in {"stop", "length"}}
        return {**self.line("", done=True), "done_reason": reason, **counted}

    def joined(self, lines: list[Json]) -> Json:
        """One object for all lines, as with `stream: false`."""
        if self.chat:
            text = "".join(line["message"]["content"] for line in lines)
            return {**lines[-1], "message": {"role": "assistant", "content": text}}
        return {**lines[-1], "response": "".join(line["response"] for line in lines)}


async def _root(_request: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")


async def _version(_request: web.Request) -> web.Response:
    return _json({"version": "0.33.0"})


# --- Ollama's rules, pure ---


def _tagged(name: str) -> str:
    return name if ":" in name or not name else f"{name}:latest"


def _local(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith((".localhost", ".local", ".internal"))
    return address.is_private or address.is_loopback


def _is(value: object, kinds: tuple[type, ...]) -> bool:
    """As in JSON: a boolean is no number."""
    if isinstance(value, bool):
        return bool in kinds or object in kinds
    return isinstance(value, kinds)


def _kind(value: object) -> str:
    kinds = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _think(body: Json) -> bool:
    """Models that can think do so by default."""
    think = body.get("think", True)
    if not isinstance(think, bool) and think not in {"high", "medium", "low", "max"}:
        raise Refused(400, f'invalid think value: {think!r} (must be "high", "medium", "low", "max" or bool)')
    return bool(think)


_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def _keep_s(value: object) -> float | None:
    """Read a keep_alive: seconds, or a duration as Go writes it ("1h30m"); negative is for ever."""
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return FOREVER_S if value < 0 else float(value)
    if not isinstance(value, str):
        raise Refused(400, f"Unsupported type: '{_kind(value)}'")
    digits = value.lstrip("+-")
    if digits == "0":
        return 0.0
    if not digits or _DURATION.sub("", digits) or len(value) - len(digits) > 1:
        raise Refused(400, f'time: invalid duration "{value}"')
    if value.startswith("-"):
        return FOREVER_S
    return sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION.findall(digits))


def _options(body: Json) -> Json:
    """Check the options; unknown ones are ignored."""
    options = {name: value for name, value in body.get("options", {}).items() if name in OPTIONS}
    for name, value in options.items():
        word, kinds = OPTIONS[name]
        if not _is(value, kinds):
            raise Refused(500, f'option "{name}" must be of type {word}')
    if not all(isinstance(word, str) for word in options.get("stop", [])):
        raise Refused(500, 'option "stop" must be of an array of strings')
    return {"num_ctx": CONTEXT_TOKENS, "num_predict": -1, **options}


def _tokens(message: Json) -> int:
    """About as many as a real tokenizer would find."""
    return 4 + len(message["content"].encode()) // 4


def _fitted(messages: list[Json], context_tokens: int, body: Json) -> list[Json]:
    """Drop the oldest messages but for the system's, or refuse with `truncate: false`."""
    count = sum(map(_tokens, messages))
    if count <= context_tokens:
        return messages
    if body.get("truncate") is False:
        raise Refused(400, f"the prompt ({count} tokens) is longer than the context length")
    system = [message for message in messages if message.get("role") == "system"]
    rest = [message for message in messages if message.get("role") != "system"]
    while len(rest) > 1 and sum(map(_tokens, system + rest)) > context_tokens:
        rest.pop(0)
    return system + rest


def _held_back(pieces: Iterable[str], stops: list[str]) -> Iterator[str]:
    """End before the first stop word; what may be the beginning of one waits for the next piece."""
    waiting = ""
    for piece in pieces:
        waiting += piece
        found = [at for stop in stops if (at := waiting.find(stop)) >= 0]
        if found:
            waiting = waiting[: min(found)]
            break
        held = max(
            (n for stop in stops for n in range(1, len(stop)) if waiting.endswith(stop[:n])), default=0
        )
        if len(waiting) > held:
            yield waiting[: len(waiting) - held]
            waiting = waiting[len(waiting) - held :]
    if waiting:
        yield waiting


def _listed(name: str) -> Json:
    known = facts(name)
    details = {
        "format": "gguf",
        "family": known.family,
        "parameter_size": known.parameter_size,
        "quantization_level": "Q4_K_M",
    }
    remote = {"remote_host": known.remote_host} if known.remote_host else {}
    return {
        "name": name,
        "model": name,
        "size": known.size,
        "digest": "0" * 64,
        "details": details,
        **remote,
    }


def _rfc3339(ahead_s: float = 0.0) -> str:
    """Write a time as Go's RFC3339Nano does: as many decimals as are needed."""
    seconds, rest_ns = divmod(time.time_ns() + int(ahead_s * 1e9), 1_000_000_000)
    decimals = f".{rest_ns:09d}".rstrip("0").rstrip(".")
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + decimals + "Z"


def _go_json(value: Json) -> bytes:
    """Encode as Go's json.Marshal does, which escapes what HTML and JavaScript would read."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode()


def _json(value: Json, status: int = 200) -> web.Response:
    return web.Response(body=_go_json(value), status=status, content_type="application/json")


async def _serve(options: argparse.Namespace) -> None:
    fake = FakeOllama(
        models=options.models.split(","),
        library=options.library.split(","),
        reply=lambda messages: re.findall(
            r"\s*\S+", f"You said {messages[-1]['content']!r}, and I heard it."
        ),
        first_token_s=0.3,
        tokens_per_s=30,
        pull_bytes_per_s=options.pull_mb_per_s * 1e6,
        on_card=options.on_card,
    )
    fake.port = options.port
    fake.pull_faults += [PullFault[name] for name in options.pull_faults]
    async with fake:
        print(f"a stand-in for Ollama at {fake.url}, with the models {', '.join(fake.models)}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for Ollama, to try AIVT with.")
    parser.add_argument("--port", type=int, default=11434)
    parser.add_argument("--models", default="llama3.2:3b", help="names that are pulled, comma-separated")
    parser.add_argument("--library", default="llama3.1:8b,gemma3:12b", help="names that can be pulled")
    parser.add_argument("--pull-mb-per-s", type=float, default=500.0)
    parser.add_argument("--pull-faults", nargs="*", default=[], choices=[each.name for each in PullFault])
    parser.add_argument("--on-card", type=float, default=1.0, help="share of a model on the graphics card")
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(parser.parse_args()))
