"""A strict stand-in for a model hub's `resolve` addresses, with the faults of real networks.

As the real one does, it answers for a large file with a redirect to another host, which it signs, and tells
size and SHA-256 in that redirect alone; the other host's ETag looks like a SHA-256 and is none. Small files
are redirected within the hub to an address with the commit in it. A repository that is not there gets 401.
Try it by hand: `python -m tests.fakes.hub --port 8099 --model Systran/faster-whisper-small.en=FOLDER`.
"""

import argparse
import asyncio
import hashlib
from collections import defaultdict, deque
from contextlib import suppress
from pathlib import Path

from aiohttp import web

from tests.fakes.catalogue import SIGNATURE, FakeCatalogue, Request

COMMIT = "0d3d19a32d3338f10357c0889762bd8d64bbdeba"
LARGE = (".bin",)  # how names of files end that lie with the content network


class FakeHub(FakeCatalogue):
    """The hub on 127.0.0.1: `async with FakeHub() as fake: ... fake.url`.

    etags, ranges, bytes_per_s, faults, hurt, asked, requests: see FakeCatalogue; paths are "OWNER/NAME/FILE",
    and `requests` holds those for bytes. plain: it is a simple file server, which knows no hub's headers.
    heads: all questions for headers, in order. refuse: statuses of the next of them, by path.
    lie: what it announces instead of a file's checksum, by path.
    """

    def __init__(self, *, plain: bool = False, bytes_per_s: int = 0) -> None:
        super().__init__(bytes_per_s=bytes_per_s)
        self.plain = plain
        self.heads: list[str] = []
        self.refuse: defaultdict[str, deque[int]] = defaultdict(deque)
        self.lie: dict[str, str] = {}
        self.cdn_port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add_model(self, repository: str, folder: Path) -> None:
        """Serve the files of a folder."""
        for file in folder.iterdir():
            self.files[f"{repository}/{file.name}"] = file.read_bytes()

    async def start(self) -> None:
        """Listen on two ports: the hub, and the content network."""
        app = web.Application()
        app.router.add_get("/cdn/{path:.+}", self._cdn)
        app.router.add_get("/api/resolve-cache/models/{path:.+}", self._small)
        app.router.add_get("/{owner}/{name}/resolve/main/{file}", self._resolve)
        self._site = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._site.setup()
        for port in (self.port, self.cdn_port):
            await web.TCPSite(self._site, "127.0.0.1", port).start()
        self.port, self.cdn_port = (address[1] for address in self._site.addresses)

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        info = request.match_info
        path = f"{info['owner']}/{info['name']}/{info['file']}"
        if request.query_string or request.url.port != self.port:
            raise web.HTTPBadRequest(text="not an address of the hub")
        if self._is_head(request, path) and self.refuse[path]:
            return web.Response(status=self.refuse[path].popleft())
        if path not in self.files:
            repository = f"{info['owner']}/{info['name']}/"
            there = any(each.startswith(repository) for each in self.files)
            code = "EntryNotFound" if there else "RepoNotFound"
            return web.Response(status=404 if there else 401, headers={"X-Error-Code": code})
        content = self.files[path]
        if self.plain:
            return await self._answer(request, path, content)
        headers = {"X-Repo-Commit": COMMIT}
        if path.endswith(LARGE):
            checksum = self.lie.get(path, hashlib.sha256(content).hexdigest())
            headers |= {"X-Linked-Size": str(len(content)), "X-Linked-ETag": f'"{checksum}"'}
            headers["Location"] = f"http://127.0.0.1:{self.cdn_port}/cdn/{path}?{SIGNATURE}"
            return web.Response(status=302, headers=headers, text="Found. Redirecting to the other host")
        place = path.removesuffix(f"/{info['file']}") + f"/{COMMIT}/{info['file']}"
        tag = self._git(path).replace('"', "%22")
        headers["Location"] = f"/api/resolve-cache/models/{place}?%2F{path}=&etag={tag}"
        return web.Response(status=307, headers=headers, text="Temporary Redirect. Redirecting within")

    async def _small(self, request: web.Request) -> web.StreamResponse:
        owner, name, commit, file = request.match_info["path"].split("/")
        path = f"{owner}/{name}/{file}"
        if commit != COMMIT or "etag" not in request.query or request.url.port != self.port:
            raise web.HTTPBadRequest(text="not an address that this hub gave out")
        return await self._answer(request, path, self.files[path])

    async def _cdn(self, request: web.Request) -> web.StreamResponse:
        if request.url.port != self.cdn_port or request.method == "HEAD":
            raise web.HTTPForbidden(text="the other host answers for its own, and signs for GET only")
        return await super()._cdn(request)

    async def _answer(self, request: web.Request, path: str, content: bytes) -> web.StreamResponse:
        if request.method != "HEAD":
            return await super()._answer(request, path, content)
        if request.headers.get("Accept-Encoding") != "identity":
            raise web.HTTPBadRequest(text="the size of what is packed is another one")
        return web.Response(headers={**self._head(content), "Content-Length": str(len(content))})

    def _is_head(self, request: web.Request, path: str) -> bool:
        if request.method == "HEAD":
            self.heads.append(path)
        return request.method == "HEAD"

    def _head(self, content: bytes) -> dict[str, str]:
        path = next(path for path, each in self.files.items() if each is content)
        headers = super()._head(content)
        if self.plain or path.endswith(LARGE):
            return headers
        return headers | {"ETag": self._git(path), "X-Repo-Commit": COMMIT}

    def _etag(self, content: bytes) -> str:
        """Of the content network: 64 hexadecimal digits, but not of the content."""
        return f'"{hashlib.sha256(b"xet" + content).hexdigest()}"'

    def _git(self, path: str) -> str:
        content = self.files[path]
        made = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        return f'"{self.lie.get(path, made)}"'


__all__ = ["COMMIT", "FakeHub", "Request"]


async def _serve(fake: FakeHub, port: int) -> None:
    fake.port = port
    async with fake:
        print(f"ASR_MODELS_URL={fake.url}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A stand-in for a hub of speech models.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--bytes-per-s", type=int, default=0)
    parser.add_argument("--model", action="append", default=[], metavar="OWNER/NAME=FOLDER")
    options = parser.parse_args()
    hub = FakeHub(bytes_per_s=options.bytes_per_s)
    for model in options.model:
        repository, _, folder = model.partition("=")
        hub.add_model(repository, Path(folder))
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(hub, options.port))
