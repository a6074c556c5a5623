"""Frames and queues of the bus, without any I/O."""

import asyncio
from collections import deque
from typing import Annotated

import msgspec

from apps.shared.errors import BadMessageError
from apps.shared.messages import BusMessage, Cancel, Message

FRAME_LIMIT_BYTES = 1_000_000
FRAME_MESSAGES = 32  # of 20 kB at most: the mouth shapes of the longest piece
REPLACED = 4409  # close code: another process has joined under this one's name

_encoder = msgspec.json.Encoder()
_Together = Annotated[list[BusMessage], msgspec.Meta(min_length=1)]
_decoder: msgspec.json.Decoder[BusMessage | _Together] = msgspec.json.Decoder(BusMessage | _Together)


def encode(*messages: Message) -> str:
    """The text of a frame: a message, or several as an array.

    Writing a frame costs more than all that is in it, so what waits together travels together.
    """
    return _encoder.encode(messages[0] if len(messages) == 1 else messages).decode()


def decode(frame: str | bytes) -> list[BusMessage]:
    """Read one text frame. Raises BadMessageError with a code: not JSON, unknown type, wrong fields."""
    try:
        read = _decoder.decode(frame)
        return read if isinstance(read, list) else [read]
    except msgspec.ValidationError as error:
        code = "unknown_type" if ".type`" in str(error) else "bad_fields"
        raise BadMessageError(code, str(error)) from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:  # the last: nested too deeply
        raise BadMessageError("not_json", str(error)) from error


class Outbox:
    """What waits to be written to one peer: urgent messages first, otherwise in order.

    Limit: 1,000 messages, minutes of a busy show. A peer that is so far behind will not catch up, and what
    waits for it is stale: `put` then returns False and the connection is to be closed.
    """

    LIMIT = 1000

    def __init__(self) -> None:
        self._urgent: deque[Message] = deque()
        self._data: deque[Message] = deque()
        self._filled = asyncio.Event()  # something waits that is not merely patient; or it is closed
        self._closed = False

    def put(self, message: Message) -> bool:
        """Queue a message; False when the peer is hopelessly behind."""
        if len(self._urgent) + len(self._data) >= self.LIMIT:
            return False
        if isinstance(message, Cancel):  # which overtakes data: what waits of its turn must not come after it
            kept = (other for other in self._data if getattr(other, "turn_id", "") != message.turn_id)
            self._data = deque(kept)
        (self._urgent if message.urgent else self._data).append(message)
        if not message.patient:
            self._filled.set()
        return True

    def close(self) -> None:
        """Give up on the peer: `get` raises ConnectionAbortedError."""
        self._closed = True
        self._filled.set()

    async def get(self, most: int = 1) -> list[Message]:
        """Wait for messages, and return up to `most` of those that are there."""
        await self._filled.wait()
        if self._closed:
            raise ConnectionAbortedError("the peer does not read")
        waiting = [*self._urgent, *self._data]
        if len(waiting) > most:
            return [(self._urgent or self._data).popleft() for _ in range(most)]
        self._urgent.clear()
        self._data.clear()
        self._filled.clear()
        return waiting
