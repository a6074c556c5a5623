"""What waits to be answered, pure: the streamer, then first come, first served; bounded, nothing stale."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.shared.messages import Lane

TEXT_LIMIT = 1000  # characters; Twitch itself allows 500
USER_LIMIT = 50
JOINERS = "\u200d\u200c\u200e\u200f"  # emoji and right-to-left names need them


@dataclass(frozen=True, slots=True)
class Item:
    """One line that somebody said to her."""

    id: str  # becomes the turn's id
    user: str
    text: str
    lane: Lane
    received_s: float
    utterance_id: str = ""  # of the streamer's words
    marks: Mapping[str, float] = field(
        default_factory=dict
    )  # ms since received_s: stages that it has behind it


def cleaned(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return one printable line of at most `limit` characters; "" when nothing is left.

    Control characters and lone surrogates would break terminals, logs and JSON further on.
    """
    kept = "".join(char if char.isprintable() or char in JOINERS else " " for char in text[: 4 * limit])
    line = " ".join(kept.split())[:limit].strip()
    return line if line.strip(JOINERS) else ""


def joined(earlier: str, later: str) -> str:
    """Return both as one line; of what would be too long the end, which is what waits for an answer."""
    line = f"{earlier} {later}"
    if len(line) <= TEXT_LIMIT:
        return line
    return line[-TEXT_LIMIT - 1 :].partition(" ")[2] or line[-TEXT_LIMIT:]


class Inbox:
    """A queue with an end.

    Limit: 50 lines, some five minutes of her talking; a newcomer to a full queue is dropped, since those
    who wait longest have been promised most. A line older than 300 s is stale and expires. The streamer's
    own words go before all others, and are stale after 20 s: nobody talks with a delay.
    """

    LIMIT = 50
    EXPIRY_S = 300.0
    SPOKEN_EXPIRY_S = 20.0

    def __init__(self) -> None:
        self._spoken: deque[Item] = deque()
        self._waiting: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._spoken) + len(self._waiting)

    def add(self, item: Item) -> bool:
        """Queue a line; False when the queue is full."""
        queue = self._spoken if item.lane == "streamer" else self._waiting
        if len(queue) >= self.LIMIT:
            return False
        queue.append(item)
        return True

    def put_back(self, item: Item) -> None:
        """Queue a line that was taken, where it was: it has its place already."""
        (self._spoken if item.lane == "streamer" else self._waiting).appendleft(item)

    def take(self) -> Item | None:
        """Remove and return the line to answer now."""
        if self._spoken:
            return self._spoken.popleft()
        return self._waiting.popleft() if self._waiting else None

    def take_spoken(self) -> Item | None:
        """Remove and return what the streamer has said, if it waits."""
        return self._spoken.popleft() if self._spoken else None

    @property
    def spoken_waits(self) -> bool:
        """Whether the streamer has not been answered yet."""
        return bool(self._spoken)

    def expire(self, now_s: float, limit_s: float = EXPIRY_S) -> list[Item]:
        """Remove and return the lines that have waited longer than `limit_s`."""
        stale = []
        for queue, queue_limit_s in (
            (self._spoken, min(limit_s, self.SPOKEN_EXPIRY_S)),
            (self._waiting, limit_s),
        ):
            while queue and now_s - queue[0].received_s > queue_limit_s:
                stale.append(queue.popleft())
        return stale
