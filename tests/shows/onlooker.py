"""Somebody who looks at a real show: everything that `/stream` tells, in the order in which it came."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.shows.beside import LIMIT_S, Show

Event = dict[str, Any]
LEFT_OUT = {"snapshot", "level", "mouth"}  # what comes all the time, or is long


class Onlooker:
    """What has been told so far. What comes all the time is not kept."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = threading.Condition()

    def take(self, event: Event) -> None:
        """Keep one, if it is worth it."""
        if event["type"] not in LEFT_OUT:
            with self._more:
                self.events.append(event)
                self._more.notify_all()

    def wait(self, wanted: Callable[[Event], object], since: int = 0, why: str = "") -> int:
        """Return the place of the first event that is wanted, of those from place `since` on."""
        place = since

        def come() -> bool:
            nonlocal place
            while place < len(self.events) and not wanted(self.events[place]):
                place += 1
            return place < len(self.events)

        with self._more:
            assert self._more.wait_for(come, LIMIT_S), f"{why or 'it'} did not come: {self.events[since:]}"
        return place


def is_(kind: str, **fields: object) -> Callable[[Event], bool]:
    """Tell events of a type by their fields."""
    wanted = {"type": kind, **fields}
    return lambda event: wanted.items() <= event.items()


@contextlib.contextmanager
def looking_on(show: Show) -> Iterator[Onlooker]:
    """Look on until the end; the connection is refused by nobody and ends with the show or with us."""
    onlooker = Onlooker()
    with connect(
        f"{show.url.replace('http', 'ws', 1)}/stream",
        additional_headers={"Authorization": f"Bearer {show.token}"},
        proxy=None,
    ) as socket:

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
