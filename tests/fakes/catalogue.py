"""A strict stand-in for the public repository of Piper's voices, with the faults of real networks.

It serves `voices.json`, models, their JSON and model cards as the real host does: large files by a redirect
to another address ("CDN") with a signature in the query, entity tags, ranges by RFC 9110. Try it by hand:
`python -m tests.fakes.catalogue --port 8099 --voice en_US-ljspeech-medium=FOLDER`.
"""

import argparse
import asyncio
import hashlib
import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiohttp import web

SIGNATURE = "Signature=abc&Expires=9"
BLOCK_BYTES = 16_384

CARD = """# Model card for {name} ({quality})

* Language: {code} (English, United States)
* Speakers: 1
* Quality: {quality}

## Dataset

* URL: https://example.org/recordings
* License: {licence}

## Training

{training}
"""


class Kind(Enum):
    """How one request for a file goes wrong."""

    DROP = auto()  # the connection breaks after `at_bytes`
    STALL = auto()  # nothing more comes after `at_bytes`, the connection stays
    SILENT = auto()  # not even a header
    WRONG_BYTES = auto()  # as long as it should be, but another content
    STATUS = auto()  # `status`, with `retry_after`
    OTHER_RANGE = auto()  # 206, but from the first byte
    SHORT = auto()  # Content-Length, and the body, end after `at_bytes`
    LONG = auto()  # `at_bytes` more than there should be
    CHUNKED = auto()  # without Content-Length; ends cleanly after `at_bytes`, 0: at the end
    NOWHERE = auto()  # a redirect to what is no address
    CIRCLE = auto()  # a redirect to itself


@dataclass(frozen=True)
class Fault:
    """One fault; used up by one request for its file."""

    kind: Kind
    at_bytes: int = 0
    status: int = 500
    retry_after: str = ""


class Request(NamedTuple):
    """One request for a file's bytes as it came, and what it was answered."""

    path: str
    range: str
    if_range: str
    status: int
    sent_bytes: int


class FakeCatalogue:
    """The repository on 127.0.0.1: `async with FakeCatalogue() as fake: ... fake.url`.

    etags: "strong", "weak", "" for none. redirects: .onnx files lie behind one. ranges: False sends
    the whole file, whatever part was asked for. bytes_per_s: 0 for at once.
    faults: by path, used up one by one; None is a healthy answer. `hurt(path, ...)` adds some.
    """

    def __init__(
        self, *, etags: str = "strong", redirects: bool = True, ranges: bool = True, bytes_per_s: int = 0
    ) -> None:
        self.etags, self.redirects, self.ranges, self.bytes_per_s = etags, redirects, ranges, bytes_per_s
        self.files: dict[str, bytes] = {}
        self.voices: dict[str, Any] = {}  # what voices.json says
        self.raw: bytes | None = None  # says that instead
        self.faults: defaultdict[str, deque[Fault | None]] = defaultdict(deque)
        self.requests: list[Request] = []
        self.port = 0
        self._site: web.AppRunner | None = None

    # --- for the test ---

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/voices"

    def hurt(self, path: str, *faults: Fault | None) -> None:
        """Let the next requests for a file go wrong like this."""
        self.faults[path].extend(faults)

    def asked(self, ending: str) -> list[Request]:
        """All requests for files whose path ends like this."""
        return [request for request in self.requests if request.path.endswith(ending)]

    def add(
        self,
        key: str,
        model: bytes,
        config: bytes,
        *,
        licence: str = "public domain",
        training: str = "Trained from scratch.",
        **more: Any,
    ) -> str:
        """Put a voice into the repository; return its folder. `more` changes its entry."""
        code, name, quality = key.split("-", 2)
        family = code.split("_")[0]
        folder = f"{family}/{code}/{name}/{quality}"
        card = CARD.format(code=code, name=name, quality=quality, licence=licence, training=training)
        contents = {f"{key}.onnx": model, f"{key}.onnx.json": config, "MODEL_CARD": card.encode()}
        files = {f"{folder}/{file}": content for file, content in contents.items()}
        self.files |= files
        self.voices[key] = {
            "key": key,
            "name": name,
            "language": {
                "code": code,
                "family": family,
                "region": code.split("_")[1],
                "name_native": "English",
                "name_english": {"en": "English", "de": "German"}.get(family, family),
                "country_english": {"US": "United States", "DE": "Germany"}.get(code[-2:], code[-2:]),
            },
            "quality": quality,
            "num_speakers": 1,
            "speaker_id_map": {},
            "files": {path: described(content) for path, content in files.items()},
            "aliases": [],
            **more,
        }
        return folder

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after `stop` on the same port again."""
        app = web.Application()
        app.router.add_get("/voices/{path:.+}", self._origin, allow_head=False)
        app.router.add_get("/cdn/{path:.+}", self._cdn, allow_head=False)
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._site.setup()
        await web.TCPSite(self._site, "127.0.0.1", self.port).start()
        self.port = self._site.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening, break what is under way."""
        if self._site is not None:
            await self._site.cleanup()
            self._site = None

    # --- the server ---

    async def _origin(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if request.query_string:
            raise web.HTTPBadRequest(text="no query belongs here")
        if path == "voices.json":
            return await self._answer(request, path, self.raw or json.dumps(self.voices).encode())
        if path not in self.files:
            self.requests.append(Request(path, "", "", 404, 0))
            raise web.HTTPNotFound(text="Entry not found")
        if self.redirects and path.endswith(".onnx"):
            raise web.HTTPFound(f"/cdn/{path}?{SIGNATURE}")
        return await self._answer(request, path, self.files[path])

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        if request.query_string != SIGNATURE:
            raise web.HTTPForbidden(text="the signature is missing")
        return await self._answer(request, path, self.files[path])

    async def _answer(self, request: web.Request, path: str, content: bytes) -> web.StreamResponse:
        asked, if_range = request.headers.get("Range", ""), request.headers.get("If-Range", "")
        if asked and request.headers.get("Accept-Encoding") != "identity":
            raise web.HTTPBadRequest(text="a range of an encoded body is another range")
        fault = self.faults[path].popleft() if self.faults[path] else None
        begin = self._begin(content, asked, if_range)
        kind = fault.kind if fault else None
        status = 200 if begin is None else 206
        begin = 0 if begin is None or kind is Kind.OTHER_RANGE else begin
        if begin >= len(content) > 0:
            self.requests.append(Request(path, asked, if_range, 416, 0))
            raise web.HTTPRequestRangeNotSatisfiable(headers={"Content-Range": f"bytes */{len(content)}"})
        if fault and kind in {Kind.STATUS, Kind.NOWHERE, Kind.CIRCLE, Kind.SILENT}:
            self.requests.append(Request(path, asked, if_range, fault.status, 0))
            return await self._refuse(request, fault)
        body = content[begin:]
        if kind is Kind.WRONG_BYTES:
            body = bytes(byte ^ 0xFF for byte in body)
        response = web.StreamResponse(status=status, headers=self._head(content))
        if status == 206:
            response.headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return await self._send(request, response, body, fault, Request(path, asked, if_range, status, 0))

    async def _refuse(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        match fault.kind:
            case Kind.SILENT:
                await asyncio.Event().wait()
            case Kind.NOWHERE:
                return web.Response(status=302, headers={"Location": "file:///etc/hostname"})
            case Kind.CIRCLE:
                return web.Response(status=302, headers={"Location": str(request.rel_url)})
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        return web.Response(status=fault.status, headers=headers, text="no")

    def _begin(self, content: bytes, asked: str, if_range: str) -> int | None:
        """Return the byte that a valid range begins with; None where the whole file is the answer."""
        said = re.fullmatch(r"bytes=(\d+)-", asked)
        if said is None or not self.ranges:
            return None  # a server may ignore them, and most ignore other forms
        if if_range and (self.etags != "strong" or if_range != self._etag(content)):
            return None
        return int(said[1])

    def _etag(self, content: bytes) -> str:
        return f'"{hashlib.sha256(content).hexdigest()[:32]}"'

    def _head(self, content: bytes) -> dict[str, str]:
        etag = self._etag(content)
        tag = {"strong": {"ETag": etag}, "weak": {"ETag": f"W/{etag}"}}.get(self.etags, {})
        return {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **tag}

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        body: bytes,
        fault: Fault | None,
        log: Request,
    ) -> web.StreamResponse:
        kind = fault.kind if fault else None
        stops_at = len(body)
        if (
            fault
            and kind in {Kind.DROP, Kind.STALL, Kind.SHORT, Kind.CHUNKED}
            and (fault.at_bytes or kind is not Kind.CHUNKED)
        ):
            stops_at = min(fault.at_bytes, len(body))
        if fault and kind is Kind.LONG:
            body += bytes(fault.at_bytes)
            stops_at = len(body)
        if kind is Kind.CHUNKED:
            response.enable_chunked_encoding()
        else:
            response.content_length = stops_at if kind is Kind.SHORT else len(body)
        await response.prepare(request)
        entry = len(self.requests)
        self.requests.append(log)
        for at in range(0, stops_at, BLOCK_BYTES):
            block = body[at : min(at + BLOCK_BYTES, stops_at)]
            # Written down first: whoever has read the last byte finds it here.
            self.requests[entry] = log._replace(sent_bytes=at + len(block))
            await response.write(block)
            if self.bytes_per_s:
                await asyncio.sleep(len(block) / self.bytes_per_s)
        if kind is Kind.STALL:
            await asyncio.Event().wait()
        if kind is Kind.DROP:
            assert request.transport is not None
            request.transport.close()  # what was written still goes out; the rest never does
        return response


def described(content: bytes) -> dict[str, Any]:
    """A file as voices.json describes it."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {"size_bytes": len(content), "md5_digest": digest}


@contextmanager
def in_thread(fake: FakeCatalogue) -> Iterator[FakeCatalogue]:
    """Serve from a thread, for what runs an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="catalogue")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result(10)
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _serve(fake: FakeCatalogue, port: int) -> None:
    fake.port = port
    async with fake:
        print(f"VOICES_URL={fake.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for the repository of Piper's voices.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bytes-per-s", type=int, default=0)
    parser.add_argument("--voice", action="append", default=[], metavar="NAME=FILE.onnx")
    options = parser.parse_args()
    catalogue = FakeCatalogue(bytes_per_s=options.bytes_per_s)
    for voice in options.voice:
        name, _, file = voice.partition("=")
        catalogue.add(name, Path(file).read_bytes(), Path(f"{file}.json").read_bytes())
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(catalogue, options.port))
