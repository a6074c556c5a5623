"""What waits to be answered, pure: first come, first served, bounded, nothing stale."""

from collections import deque
from dataclasses import dataclass

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


def cleaned(text: str, limit: int = TEXT_LIMIT) -> str:
    """Return one printable line of at most `limit` characters; "" when nothing is left.

    Control characters and lone surrogates would break terminals, logs and JSON further on.
    """
    kept = "".join(char if char.isprintable() or char in JOINERS else " " for char in text[: 4 * limit])
    line = " ".join(kept.split())[:limit].strip()
    return line if line.strip(JOINERS) else ""


class Inbox:
    """A queue with an end.

    Limit: 50 lines, some five minutes of her talking; a newcomer to a full queue is dropped, since those
    who wait longest have been promised most. A line older than 300 s is stale and expires.
    """

    LIMIT = 50
    EXPIRY_S = 300.0

    def __init__(self) -> None:
        self._waiting: deque[Item] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Item) -> bool:
        """Queue a line; False when the queue is full."""
        if len(self._waiting) >= self.LIMIT:
            return False
        self._waiting.append(item)
        return True

    def take(self) -> Item | None:
        """Remove and return the line to answer now."""
        return self._waiting.popleft() if self._waiting else None

    def expire(self, now_s: float, limit_s: float = EXPIRY_S) -> list[Item]:
        """Remove and return the lines that have waited longer than `limit_s`."""
        stale = []
        while self._waiting and now_s - self._waiting[0].received_s > limit_s:
            stale.append(self._waiting.popleft())
        return stale
