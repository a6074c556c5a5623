"""`WS /stream`, watched from a thread."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from apps.shared.clock import now_s
from apps.shared.errors import AivtError
from apps.shared.messages import Message, StreamMessage

SEEN_LIMIT_S = 30.0
Kind = TypeVar("Kind", bound=Message)


class Seen(NamedTuple):
    """A message and when it was seen here."""

    at_s: float
    message: StreamMessage


class Watcher:
    """Keeps all that is shown."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._news = threading.Condition()
        self._seen: list[Seen] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        decoder = msgspec.json.Decoder(StreamMessage)
        with contextlib.suppress(ConnectionClosed):
            for frame in self._socket:
                seen = Seen(now_s(), decoder.decode(frame))
                with self._news:
                    self._seen.append(seen)
                    self._news.notify_all()

    def mark(self) -> int:
        """Return the place after the last message so far, for `since`."""
        with self._news:
            return len(self._seen)

    def wait(self, kind: type[Kind], fits: Callable[[Kind], bool], since: int = 0) -> tuple[float, Kind]:
        """Wait for a message of this kind that fits; return when it was seen, and it. Raises AivtError."""
        found: list[tuple[float, Kind]] = []

        def look() -> bool:
            found.extend(one for one in _of(kind, self._seen[since:]) if fits(one[1]))
            return bool(found)

        with self._news:
            if not self._news.wait_for(look, SEEN_LIMIT_S):
                raise AivtError("bench_failed", f"the stream showed no such {kind.__name__}")
        return found[0]

    def all(self, kind: type[Kind], since: int = 0) -> list[tuple[float, Kind]]:
        """All messages of this kind, with the times at which they were seen."""
        with self._news:
            return list(_of(kind, self._seen[since:]))

    def join(self) -> None:
        """Wait for the thread's end, after the socket's."""
        self._thread.join(SEEN_LIMIT_S)


def _of(kind: type[Kind], seen: list[Seen]) -> Iterator[tuple[float, Kind]]:
    return ((at_s, message) for at_s, message in seen if isinstance(message, kind))


@contextlib.contextmanager
def watching(url: str, token: str) -> Iterator[Watcher]:
    """Watch the stream at this address."""
    headers = {"Authorization": f"Bearer {token}"}
    with connect(url, additional_headers=headers, compression=None, proxy=None, max_size=None) as socket:
        watcher = Watcher(socket)
        yield watcher
    watcher.join()
