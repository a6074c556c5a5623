"""Asking a server on the web: how long to wait, when to ask again, and what to tell of a refusal."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.parse import urlsplit

import aiohttp

from apps.shared.errors import AivtError, MissingError

PASSES = {408, 425, 429, 500, 502, 503, 504}  # answers that the same question may not get again

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait for a server, and how often to ask it again."""

    connect_s: float = 10.0
    stall_s: float = 20.0  # without a byte, the answer's head included
    tries: int = 5  # in a row, none of which got `worth_bytes` further than any before it
    worth_bytes: int = 1 << 20
    first_pause_s: float = 1.0  # doubled from one failure to the next
    longest_pause_s: float = 60.0  # also when the server asks for a longer one

    @property
    def timeouts(self) -> aiohttp.ClientTimeout:
        """For a request. There is none for the whole: a slow line takes as long as it takes."""
        return aiohttp.ClientTimeout(
            total=None, connect=self.connect_s, sock_connect=self.connect_s, sock_read=self.stall_s
        )


DEFAULT = Limits()


class TryAgainError(Exception):
    """One request failed in a way that the next may not. Never leaves `persist`."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s  # what the server asked for


async def fetch(
    session: aiohttp.ClientSession, url: str, *, longest_bytes: int, limits: Limits = DEFAULT
) -> bytes:
    """Return a small file.

    Raises MissingError when the server cannot be reached or refuses ("download_failed", "not_found"),
    AivtError for more than `longest_bytes` ("wrong_size").
    """

    async def attempt() -> bytes:
        body = bytearray()
        with told_network_errors(limits):
            async with session.get(url, timeout=limits.timeouts) as response:
                if response.status != 200:
                    raise refusal(response, url)
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > longest_bytes:
                        raise wrong_size(url, f"more than {longest_bytes} bytes")
        return bytes(body)

    return await persist(attempt, url, limits)


async def persist(
    attempt: Callable[[], Awaitable[T]],
    url: str,
    limits: Limits,
    have: Callable[[], int] = lambda: 0,
    waits: Callable[[str], None] = lambda _: None,
) -> T:
    """Repeat `attempt` while it raises TryAgainError.

    have: how many bytes there are; getting further than ever counts as a fresh start.
    waits: hears the reason before each wait.
    Raises MissingError "download_failed" after `limits.tries`, and what else `attempt` raises.
    """
    failures, furthest_bytes = 0, have()
    while True:
        try:
            return await attempt()
        except TryAgainError as again:
            have_bytes = have()
            failures = 1 if have_bytes >= furthest_bytes + limits.worth_bytes else failures + 1
            furthest_bytes = max(furthest_bytes, have_bytes)
            if failures >= limits.tries:
                raise MissingError(
                    "download_failed",
                    f"{place(url)} could not be fetched in {limits.tries} tries: {again}",
                    fix="Check the internet connection and run the command again: it then goes on.",
                    retryable=True,
                ) from again
            waits(str(again))
            await asyncio.sleep(pause_s(failures, again.after_s, limits))


def pause_s(failures: int, asked_s: float | None, limits: Limits) -> float:
    """Return how long to wait after this many failures in a row; what the server asks for goes first."""
    wished_s = limits.first_pause_s * 2 ** (failures - 1) if asked_s is None else max(asked_s, 0)
    return min(wished_s, limits.longest_pause_s)


def retry_after_s(header: str, now: datetime) -> float | None:
    """Read a Retry-After header: seconds, or a date; None where it is neither."""
    if header.strip().isdecimal():
        return float(header)
    try:
        at = parsedate_to_datetime(header)
    except ValueError:
        return None
    return (at - now).total_seconds() if at.tzinfo else None


@contextlib.contextmanager
def told_network_errors(limits: Limits) -> Iterator[None]:
    """Turn what aiohttp raises into TryAgainError, or MissingError where no try will help."""
    try:
        yield
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, aiohttp.TooManyRedirects) as error:
        raise MissingError(
            "download_failed",
            "the server leads to an address that cannot be used",
            fix="Check the address that you gave, or try again later.",
        ) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise TryAgainError(_reason(error, limits)) from error


def _reason(error: Exception, limits: Limits) -> str:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {limits.connect_s:g} s"
        case TimeoutError():
            return f"nothing came for {limits.stall_s:g} s"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not known; is there an internet connection?"
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of {error.host} is not valid; is this computer's clock right?"
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}"
        case _:
            return "the connection broke"


def refusal(response: aiohttp.ClientResponse, url: str) -> Exception:
    """Return what to raise for an answer that is not the file."""
    status = response.status
    if status in PASSES:
        after_s = retry_after_s(response.headers.get("Retry-After", ""), datetime.now(UTC))
        words = "asks for patience" if status == 429 else "has trouble"
        return TryAgainError(f"the server {words} ({status})", after_s)
    code, words = ("not_found", "is not there") if status in {404, 410} else ("download_failed", "is refused")
    return MissingError(
        code, f"{place(url)} {words} (the server answers {status})", fix="Check the address and the name."
    )


def wrong_size(url: str, size: str) -> AivtError:
    """Return what to raise for a file that is not the announced one."""
    return AivtError(
        "wrong_size",
        f"{place(url)} is not the announced file: it has {size}",
        fix="Try again later: the file at its source is broken, or is being replaced.",
    )


def place(url: str) -> str:
    """Return an address as it may be shown: without the password or the signature that it may carry."""
    parts = urlsplit(url)
    return f"{parts.hostname or ''}{parts.path}"
