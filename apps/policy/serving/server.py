"""A model server: one connection for each request, and one clear error for each way it can break."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError

from apps.shared.errors import AivtError, EngineError, MissingError

CONNECT_LIMIT_S = 3.0  # Windows takes 2 s to find out that nobody listens on a loopback port
LOOK_LIMIT_S = 5.0  # for a list of models
BODY_LIMIT_BYTES = 2_000_000  # of an answer that is no stream; the longest known list of models has a quarter


@dataclass(frozen=True, slots=True)
class Service:
    """How a server is spoken of in errors."""

    name: str  # "Ollama"
    setting: str  # where its address is set: "OLLAMA_HOST"
    unreachable_code: str
    unreachable_fix: str
    broken_fix: str


class Answer(NamedTuple):
    """An answer that is no stream."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Server:
    """Speaks HTTP to one address. Redirects are never followed: they could lead anywhere."""

    def __init__(
        self, service: Service, url: str, *, shown: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Take the address that all paths begin with, and how to show it (an address may hold a password)."""
        self.shown = shown or url
        self._service = service
        self._url = url
        self._headers = headers
        self._session: aiohttp.ClientSession | None = None

    async def look(self, path: str) -> Answer:
        """GET. Raises MissingError when nobody answers within a few seconds."""
        limit = aiohttp.ClientTimeout(total=LOOK_LIMIT_S, sock_connect=CONNECT_LIMIT_S)
        get = self._connected().get(f"{self._url}{path}", timeout=limit, allow_redirects=False)
        try:
            async with get as response:
                return await answer(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(MissingError, error) from None

    @asynccontextmanager
    async def post(self, path: str, body: dict[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        """POST. Leaving the context closes the connection, which is how a model server is told to stop.

        Raises EngineError for whatever goes wrong with the connection, inside the context too.
        """
        post = self._connected().post(f"{self._url}{path}", json=body, allow_redirects=False)
        try:
            async with post as response:
                yield response
        # "from None": what is raised here may hold the request, and with it the key.
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise self._unreachable(EngineError, error) from None
        except aiohttp.ClientError as error:
            raise self.failure(f"the connection broke ({type(error).__name__})") from None
        except HttpProcessingError:  # a line longer than half a megabyte
            raise self.garbage() from None

    def failure(self, words: str, status: int | None = None) -> EngineError:
        """Pass on what the server says, in mid-stream (no status) or instead of a stream."""
        code = f"http_{status}" if status else "stream_error"
        passing = status is None or status >= 500
        service = self._service
        return EngineError(code, f"{service.name}: {words}", fix=service.broken_fix, retryable=passing)

    def garbage(self) -> EngineError:
        """Say that something else than the server answers."""
        name, setting = self._service.name, self._service.setting
        fix = f"Check that {setting} leads to {name} and to nothing else."
        return EngineError("garbage", f"what came from {self.shown} is not {name}'s format", fix=fix)

    async def close(self) -> None:
        """Close all connections. The next request opens a new session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A fresh connection costs 0.2 ms on loopback; a kept one may have died with the server.
                connector=aiohttp.TCPConnector(force_close=True),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S),
                headers=self._headers,
            )
        return self._session

    def _unreachable(self, kind: type[AivtError], error: Exception) -> AivtError:
        service = self._service
        if isinstance(error, aiohttp.ClientSSLError):
            fix = f"Correct {service.setting}: servers of your own network are mostly http://, not https://."
            return kind(service.unreachable_code, f"no secure connection to {self.shown}", fix=fix)
        return kind(service.unreachable_code, f"no answer from {self.shown}", fix=service.unreachable_fix)


async def answer(response: aiohttp.ClientResponse) -> Answer:
    """Read an answer that is no stream, up to a limit."""
    body = b""
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > BODY_LIMIT_BYTES:
            break
    return Answer(response.status, response.headers, body)
