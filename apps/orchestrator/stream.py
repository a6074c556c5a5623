"""Live events for the panel and the overlays: everybody who looks gets the same."""

from collections.abc import Callable

from apps.shared.messages import Message, Snapshot
from apps.shared.wire import Outbox


class Stream:
    """Fans events out to the viewers of `WS /stream`."""

    def __init__(self) -> None:
        self._outboxes: set[Outbox] = set()

    def join(self, snapshot: Snapshot) -> Outbox:
        """Add a viewer; its outbox begins with the whole state."""
        outbox = Outbox()
        outbox.put(snapshot)
        self._outboxes.add(outbox)
        return outbox

    def leave(self, outbox: Outbox) -> None:
        """Remove a viewer."""
        self._outboxes.discard(outbox)

    def send(self, message: Message) -> None:
        """Show an event to all. A viewer that is too far behind is let go: it reconnects to a snapshot."""
        for outbox in [one for one in self._outboxes if not one.put(message)]:
            outbox.close()
            self._outboxes.discard(outbox)

    def changed(self, status: Callable[[], dict[str, object]]) -> None:
        """Show the whole state to all, if anybody looks."""
        if self._outboxes:
            self.send(Snapshot(status=status()))
