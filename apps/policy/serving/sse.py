"""Server-sent events, pure: bytes in, events out.

As https://html.spec.whatwg.org/multipage/server-sent-events.html has it, but for two things. Servers of
llama.cpp before 2026 name a line `error:` where `event: error` and `data:` belong; that is taken as meant.
And white space around the data, JSON here, is dropped.
"""

from typing import NamedTuple

EVENT_LIMIT_BYTES = 1 << 17  # a token takes 300
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name ("" for most) and its data, whose lines are joined by newlines."""

    name: str
    data: bytes


class Events:
    """Puts one stream's events together, however the network has cut it."""

    def __init__(self) -> None:
        self._begun = b""  # a line without its end
        self._after_return = False  # the last line ended with a carriage return: a newline belongs to it
        self._name = ""
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that are complete now. Raises ValueError for one that has no end.

        The specification drops what a stream ends in the middle of. Two newlines fed at its end bring it
        out, which tells a stream that was cut from one that only lacks its last newline.
        """
        if self._after_return and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_return = False
        lines = (self._begun + chunk).splitlines(keepends=True)
        self._begun = b""
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._begun = lines.pop()
        elif lines:
            self._after_return = lines[-1].endswith(b"\r")
        events = [event for line in lines if (event := self._take(line.rstrip(b"\r\n")))]
        if len(self._begun) + self._data_bytes > EVENT_LIMIT_BYTES:
            raise ValueError("an event without an end")
        return events

    def _take(self, line: bytes) -> Event | None:
        """Take a line; the empty one ends an event."""
        if not line:
            return self._event()
        field, _, value = line.removeprefix(BYTE_ORDER_MARK).partition(b":")
        value = value.removeprefix(b" ")
        if field == b"error":
            field, self._name = b"data", "error"
        if field == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
        elif field == b"event":
            self._name = value.decode(errors="replace")
        return None  # a comment, `id`, `retry`, or what nobody knows

    def _event(self) -> Event | None:
        """End an event; one without data is none, or a sign of life."""
        name, data = self._name, b"\n".join(self._data).strip()
        self._name, self._data, self._data_bytes = "", [], 0
        return Event(name, data) if data else None
