"""Engines of fixed cost, in a process of their own: a model, served as Ollama does, and a voice.

    GET  /api/tags   Ollama's list of models: one
    POST /api/chat   Ollama's stream of tokens; the next of the replies that were set, round and round
    POST /tts        text in, 16-bit mono PCM out; each sample is the request's number, so that a recording
                     tells which request it comes from, and where there was silence
    PUT  /setup      costs and replies from now on (Setup); forgets the requests so far
    GET  /requests   what was asked since the setup (list of Asked), by the machine's clock

Run as `python -m scripts.bench.engines`: prints its address and ends with its standard input.
"""

import asyncio
import itertools
from array import array

import msgspec
from aiohttp import web
from msgspec import Struct

from apps.shared.clock import now_s
from apps.shared.process import until_stopped

MODEL = "bench"
RATE_HZ = 22_050
NUMBERS = 30_000  # a sample is a number of 16 bits


class Costs(Struct, frozen=True):
    """What the engines take, in seconds; the default is that of facts/realtime.md."""

    first_token_s: float = 0.120
    token_s: float = 1 / 60
    voice_s: float = 0.050
    voice_character_s: float = 0.004
    sound_character_s: float = 0.067  # 15 characters a second, as a person speaks

    def sound_samples(self, text: str) -> int:
        """How long the speech of a text is."""
        return round(len(text) * self.sound_character_s * RATE_HZ)


FREE = Costs(first_token_s=0, token_s=0, voice_s=0, voice_character_s=0)


class Setup(Struct, frozen=True):
    """What `PUT /setup` takes."""

    costs: Costs
    replies: list[list[str]]  # tokens


class Asked(Struct):
    """One request."""

    engine: str  # "model" or "voice"
    number: int  # from 1, per engine
    text: str  # that was spoken; "" for the model
    begun_s: float
    ended_s: float = 0.0
    aborted: bool = False  # it ended because its connection was closed


class Engines:
    """The HTTP server's state."""

    def __init__(self) -> None:
        self._costs = Costs()
        self._replies: itertools.cycle[list[str]] = itertools.cycle([["Hm", "."]])
        self._asked: list[Asked] = []
        self._numbers = {"model": itertools.count(1), "voice": itertools.count(1)}

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(client_max_size=1_000_000)
        app.add_routes(
            [
                web.get("/api/tags", self._tags),
                web.post("/api/chat", self._chat),
                web.post("/tts", self._tts),
                web.put("/setup", self._setup),
                web.get("/requests", self._requests),
            ]
        )
        return app

    async def _tags(self, _request: web.Request) -> web.Response:
        return web.json_response({"models": [{"name": MODEL}]})

    async def _setup(self, request: web.Request) -> web.Response:
        setup = msgspec.json.decode(await request.read(), type=Setup)
        self._costs, self._replies = setup.costs, itertools.cycle(setup.replies)
        self._asked = []
        return web.Response()

    async def _requests(self, _request: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self._asked), content_type="application/json")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        """Stream one reply by an absolute schedule: what one token is late by, the next is not."""
        asked = self._begin("model")
        costs, reply = self._costs, next(self._replies)
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        try:
            for place, token in enumerate(reply):
                await _until(asked.begun_s + costs.first_token_s + place * costs.token_s)
                if not response.prepared:  # nor does Ollama send a header before the first token
                    await response.prepare(request)
                await response.write(_line(token, done=False))
            await response.write(_line("", done=True))
        except (asyncio.CancelledError, ConnectionError):
            asked.aborted = True
            raise
        finally:
            asked.ended_s = now_s()
        return response

    async def _tts(self, request: web.Request) -> web.Response:
        asked = self._begin("voice")
        costs, asked.text = self._costs, await request.text()
        try:
            await _until(asked.begun_s + costs.voice_s + len(asked.text) * costs.voice_character_s)
        except asyncio.CancelledError:
            asked.aborted = True
            raise
        finally:
            asked.ended_s = now_s()
        sound = array("h", [asked.number % NUMBERS]) * costs.sound_samples(asked.text)
        return web.Response(body=sound.tobytes(), content_type="application/octet-stream")

    def _begin(self, engine: str) -> Asked:
        asked = Asked(engine, next(self._numbers[engine]), "", now_s())
        self._asked.append(asked)
        return asked


async def _until(at_s: float) -> None:
    if (wait_s := at_s - now_s()) > 0:
        await asyncio.sleep(wait_s)


def _line(token: str, *, done: bool) -> bytes:
    message = {"role": "assistant", "content": token}
    return msgspec.json.encode({"model": MODEL, "message": message, "done": done}) + b"\n"


async def serve() -> None:
    """Serve for ever, on a port that the system chooses."""
    # Cancelled handlers tell at once that a connection was closed: that is when a model would stop.
    runner = web.AppRunner(Engines().app(), access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1)
    await site.start()
    try:
        print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(until_stopped(serve(), supervised=True))
