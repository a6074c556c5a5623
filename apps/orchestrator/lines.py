"""The lines that people have said to her: from where they come in to the word on what became of each."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace

import structlog

from apps.orchestrator.inbox import USER_LIMIT, Inbox, Item, cleaned, joined
from apps.orchestrator.record import Record
from apps.orchestrator.show import Turn
from apps.orchestrator.stream import Stream
from apps.shared.errors import SettingsError
from apps.shared.messages import Lane, Outcome, TurnState

QUEUE_FULL = f"queue_full: {Inbox.LIMIT} lines are waiting already"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line."""

    turn_id: str
    outcome: Outcome
    reply: str
    reason: str
    timings_ms: Mapping[str, float]
    audio_ms: float


class Lines:
    """Queues lines, tells the panel and the journal of them, answers whoever waits for one."""

    def __init__(self, show_id: str, record: Record, stream: Stream) -> None:
        self._show_id = show_id
        self._record = record
        self._stream = stream
        self._inbox = Inbox()
        self._numbers = itertools.count(1)
        self._waiters: dict[str, asyncio.Future[Result]] = {}

    def __len__(self) -> int:
        return len(self._inbox)

    def new(
        self,
        text: str,
        user: str,
        lane: Lane,
        received_s: float,
        utterance_id: str = "",
        marks: Mapping[str, float] | None = None,
    ) -> Item:
        """Return a line under an id of its own. Raises SettingsError for an empty one."""
        if not (line := cleaned(text)):
            raise SettingsError("empty_text", "there is nothing to say in this text", fix="Give some words.")
        name = cleaned(user, USER_LIMIT) or "viewer"
        return Item(self._next_id(), name, line, lane, received_s, utterance_id, marks or {})

    def _next_id(self) -> str:
        return f"{self._show_id}-{next(self._numbers):05d}"

    def promise(self, item: Item) -> "asyncio.Future[Result]":
        """Return what will hold the line's end; `forget` it when nobody waits any more."""
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiters[item.id] = waiter
        return waiter

    def forget(self, waiter: "asyncio.Future[Result]") -> None:
        """Nobody waits for this any more; a line that was put back does so under another id."""
        self._waiters = {key: other for key, other in self._waiters.items() if other is not waiter}

    def queue(self, item: Item) -> bool:
        """Let a line wait for its turn; the streamer's words that wait already become a part of it.

        False: the queue is full, and the line is dropped.
        """
        earlier = self._inbox.take_spoken() if item.lane == "streamer" else None
        if earlier is not None:
            self.tell(earlier, "cancelled", "continued: it is answered with what was said after it")
            item = replace(item, text=joined(earlier.text, item.text))
        taken = self._inbox.add(item)
        if taken:
            self.tell(item, "queued")
        else:
            self.drop(item, QUEUE_FULL)
        return taken

    def put_back(self, turn: Turn) -> None:
        """Queue a line again, under another id: what is still on its way for the old one stays stale."""
        item = Item(self._next_id(), turn.user, turn.text, turn.lane, turn.received_s)
        if waiter := self._waiters.pop(turn.id, None):
            self._waiters[item.id] = waiter
        self._inbox.put_back(item)
        self.tell(item, "queued")

    @property
    def streamer_waits(self) -> bool:
        """Whether words of the streamer's wait."""
        return self._inbox.spoken_waits

    def take(self) -> Item | None:
        """Return the line to answer now."""
        return self._inbox.take()

    def drop(self, item: Item, reason: str) -> None:
        """Give a line up that she has not begun to answer."""
        log.info("line dropped", turn_id=item.id, reason=reason)
        turn = Turn(item.id, item.user, item.text, item.lane, item.received_s, reason=reason)
        self._record.begun(turn)
        self._record.ended(turn, "dropped")
        self.answer(turn, "dropped")

    def expire(self, now_s: float) -> None:
        """Drop the lines that have become stale."""
        for item in self._inbox.expire(now_s):
            self.drop(item, "expired: it waited for too long")

    def drop_older(self, now_s: float, limit_s: float, reason: str) -> None:
        """Drop the lines that have waited longer than `limit_s`."""
        for item in self._inbox.expire(now_s, limit_s):
            self.drop(item, reason)

    def answer(self, turn: Turn, outcome: Outcome) -> None:
        """Tell whoever waits what became of a line."""
        self.tell(turn, outcome, turn.reason)
        waiter = self._waiters.get(turn.id)
        if waiter is not None and not waiter.done():
            reason = f"{turn.reason} Fix: {turn.fix}" if turn.fix else turn.reason
            waiter.set_result(
                Result(turn.id, outcome, turn.reply, reason, turn.marks, round(turn.audio_ms, 1))
            )

    def tell(self, line: Item | Turn, state: str, reason: str = "") -> None:
        """Show where a line stands."""
        self._stream.send(
            TurnState(turn_id=line.id, state=state, lane=line.lane, user=line.user, reason=reason)  # type: ignore[arg-type]
        )
