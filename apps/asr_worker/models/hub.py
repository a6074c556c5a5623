"""What a model hub tells of a file before it is fetched: its size and its checksum.

Large files lie with a content network: the hub redirects to it, and says size and SHA-256 in the redirect
itself (X-Linked-Size, X-Linked-ETag). What the network tells as its ETag looks like a SHA-256 and is none.
Small files are redirected within the hub; their ETag is git's name for the content. A plain file server
tells the size, and no checksum.
"""

import re
from dataclasses import dataclass

import aiohttp
from yarl import URL

from apps.shared.errors import MissingError
from apps.shared.web import DEFAULT, Limits, persist, place, refusal, told_network_errors

MOST_REDIRECTS = 8
REDIRECTS = {301, 302, 303, 307, 308}
GONE = {404, 410}

_ALGORITHMS = {64: "sha256", 40: "git"}  # by the number of hexadecimal digits


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a file."""

    size_bytes: int | None  # None: not told
    checksum: str  # "sha256:HEX", "git:HEX"; "": not told


async def ask(session: aiohttp.ClientSession, url: str, limits: Limits = DEFAULT) -> Told | None:
    """Ask for a file's size and checksum; None when it is not there.

    Raises MissingError when the server cannot be reached or refuses ("download_failed").
    """

    async def attempt() -> Told | None:
        at = URL(url)
        for _ in range(MOST_REDIRECTS):
            with told_network_errors(limits):
                headers = {"Accept-Encoding": "identity"}  # else the size may be that of a packed one
                head = session.head(at, headers=headers, timeout=limits.timeouts, allow_redirects=False)
                async with head as response:
                    if response.status in GONE:
                        return None
                    if response.status == 200 or "X-Linked-ETag" in response.headers:
                        return _told(response)
                    if response.status not in REDIRECTS:
                        raise refusal(response, url)
                    at = _next(response, url)
        raise _lost(url)

    return await persist(attempt, url, limits)


def _told(response: aiohttp.ClientResponse) -> Told:
    headers = response.headers
    linked = headers.get("X-Linked-Size", "")
    length = response.content_length if response.status == 200 else None  # else it is the redirect's own
    size_bytes = int(linked) if linked.isdecimal() else length
    # Another server's ETag may be anything; the hub's is known by what stands beside it.
    own = headers.get("ETag", "") if "X-Repo-Commit" in headers else ""
    tag: str = headers.get("X-Linked-ETag", own)
    digest = tag.removeprefix("W/").strip('"').lower()
    algorithm = _ALGORITHMS.get(len(digest)) if re.fullmatch("[0-9a-f]+", digest) else None
    return Told(size_bytes, f"{algorithm}:{digest}" if algorithm else "")


def _next(response: aiohttp.ClientResponse, url: str) -> URL:
    try:
        target = response.url.join(URL(response.headers.get("Location", ""), encoded=True))
    except ValueError:
        raise _lost(url) from None
    if target.scheme not in {"http", "https"}:
        raise _lost(url)
    return target


def _lost(url: str) -> MissingError:
    return MissingError(
        "download_failed",
        f"{place(url)} leads nowhere: its redirects do not end at a file",
        fix="Check the address.",
    )
