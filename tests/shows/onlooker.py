"""Somebody who looks at a real show: what `/stream` tells, in the order in which it came."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.shows.beside import LIMIT_S, Show

Event = dict[str, Any]
LEFT_OUT = {"snapshot", "level", "mouth"}  # what comes all the time, or is long


class Onlooker:
    """Keeps what has been told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = threading.Condition()

    def take(self, event: Event) -> None:
        """Keep one, if it is worth it."""
        if event["type"] not in LEFT_OUT:
            with self._more:
                self.events.append(event)
                self._more.notify_all()

    @property
    def now(self) -> int:
        """The place of the next event."""
        return len(self.events)

    def wait(self, since: int, kind: str, **fields: object) -> Event:
        """Return the first event of a kind from place `since` on, with these fields."""

        def found() -> Event | None:
            return next(iter(self.told(since, kind, **fields)), None)

        with self._more:
            if not self._more.wait_for(found, LIMIT_S):
                seen = "\n".join(map(str, self.events[since:]))
                raise AssertionError(f"no {kind} with {fields} came, but\n{seen}")
            event = found()
            assert event is not None
            return event

    def told(self, since: int, kind: str, **fields: object) -> list[Event]:
        """Return the events of a kind from place `since` on, with these fields."""
        wanted = {"type": kind, **fields}.items()
        return [event for event in self.events[since:] if wanted <= event.items()]


@contextlib.contextmanager
def looking_on(show: Show) -> Iterator[Onlooker]:
    """Look on until the end of the block, or of the show."""
    onlooker = Onlooker()
    url = show._url.replace("http", "ws", 1)
    with connect(f"{url}/stream", additional_headers=_token(show), proxy=None) as socket:

        def read() -> None:
            with contextlib.suppress(ConnectionClosed):
                for frame in socket:
                    onlooker.take(json.loads(frame))

        reader = threading.Thread(target=read, name="onlooker")
        reader.start()
        try:
            yield onlooker
        finally:
            socket.close()
            reader.join(LIMIT_S)


def _token(show: Show) -> dict[str, str]:
    return {"Authorization": f"Bearer {show._token}"}
