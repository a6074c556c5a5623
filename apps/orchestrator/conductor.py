"""The conductor: applies events to the pure turn machine and does what it says.

Everything here runs on the event loop and returns at once, so that a message from policy is on its way to
the voice in the same step in which it came in.
"""

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from apps.orchestrator import events
from apps.orchestrator import turn as t
from apps.orchestrator.inbox import USER_LIMIT, Inbox, Item, cleaned
from apps.orchestrator.journal import Journal
from apps.orchestrator.lights import Lights
from apps.orchestrator.manner import Manner
from apps.orchestrator.record import Record
from apps.orchestrator.stream import Stream
from apps.shared.errors import SettingsError
from apps.shared.messages import (
    Decision,
    Health,
    Lane,
    Message,
    Outcome,
    Persona,
    Piece,
    Process,
    Ready,
    TurnState,
    Voices,
)

WATCH_S = 0.5  # how often lights and the queue are looked over
WORKER_AWAY_LIMIT_S = 30.0  # how long a line waits for a worker that is being restarted
JOURNAL_FIX = "Look at the disk of AIVT_DATA_DIR; the show goes on, what it misses is not written down."
LATENCY_TURNS = 200  # the window of the percentiles in /status

log = structlog.get_logger()
Send = Callable[[Message], None]
ControlEvent = events.Stop | events.Panic | events.Resume | events.Pause | events.Mute


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a line."""

    turn_id: str
    outcome: Outcome
    reply: str
    reason: str
    timings_ms: dict[str, float]
    audio_ms: float


class Conductor:
    """Leads the show."""

    def __init__(
        self,
        show_id: str,
        journal: Journal,
        limits: t.Limits,
        lights: Lights,
        now_s: Callable[[], float],
        *,
        url: str = "",
        rehearsal: bool = False,
    ) -> None:
        self.show_id = show_id
        self.url = url
        self._rehearsal = rehearsal
        self.stream = Stream()
        self.lights = lights
        self._journal = journal
        self._record = Record(journal)
        self._now_s = now_s
        self._show = t.Show(limits)
        self._inbox = Inbox()
        self._peers: dict[str, Send] = {}
        self._waiters: dict[str, asyncio.Future[Result]] = {}
        self._decided: dict[str, str] = {}  # decision id -> fingerprint, of the turn under way
        self.manner = Manner(self._send)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0  # when it fires
        self._numbers = itertools.count(1)
        self._missing_since_s: float | None = None  # when she became unable to answer
        self._first_audio_ms: deque[float] = deque(maxlen=LATENCY_TURNS)

    # --- lines in ---

    async def say(self, text: str, user: str, lane: Lane) -> Result:
        """Put a line into the show and wait for its end. Raises SettingsError for an empty line."""
        received_s = self._now_s()
        if not (line := cleaned(text)):
            raise SettingsError("empty_text", "there is nothing to say in this text", fix="Give some words.")
        turn_id = f"{self.show_id}-{next(self._numbers):05d}"
        item = Item(turn_id, cleaned(user, USER_LIMIT) or "viewer", line, lane, received_s)
        waiter: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiters[turn_id] = waiter
        try:
            self._queue(item)
            return await waiter
        finally:
            del self._waiters[turn_id]

    def _queue(self, item: Item) -> None:
        if not self._inbox.add(item):
            self._drop(item, f"queue_full: {Inbox.LIMIT} lines are waiting already")
            return
        self._tell(item, "queued")
        self._take_next()

    def _take_next(self) -> None:
        if not self._show.free or self.lights.missing() or (item := self._inbox.take()) is None:
            return
        self._decided.clear()
        self.apply(events.Take(item.id, item.user, item.text, item.lane, item.received_s))

    def _drop(self, item: Item, reason: str) -> None:
        log.info("line dropped", turn_id=item.id, reason=reason)
        turn = t.Turn(item.id, item.user, item.text, item.lane, item.received_s, reason=reason)
        self._record.begun(turn)
        self._record.ended(turn, "dropped")
        self._answer(turn, "dropped")

    # --- workers ---

    def joined(self, module: str, pid: int, send: Send) -> None:
        """Take a worker on; what another process of this name had begun is over."""
        if module in self._peers:
            self.left(module, "another process has joined under its name")
        self._peers[module] = send
        if module == "supervisor":
            self._tell_ready()
            return
        self.lights.joined(module, pid, self._now_s())
        if module == "tts":
            send(self._show.output)
            self.manner.voice_joined()
        self._changed()

    def left(self, module: str, reason: str) -> None:
        """A worker has gone: its part of the turn is over."""
        self._peers.pop(module, None)
        if module == "supervisor":
            return
        self.manner.left(module)
        self.lights.left(module, reason)
        self._record.incident(module, reason)
        self.apply(events.Gone(module, f"{module}_lost: {reason}"))
        self._changed()

    def receive(self, module: str, message: Message) -> None:
        """Take a message that this module may send; each is a sign of life."""
        self.lights.seen(module, self._now_s())
        match message:
            case Health():
                self._take_health(module, message)
            case Process():
                self._take_process(message)
            case Persona() | Voices():
                self.manner.take(message)
                self._changed()
            case Decision():
                self._take_decision(message)
            case Piece() if not self._may_pass(message):
                log.error("text without the gate's decision refused", turn_id=message.turn_id)
            case _:
                self.apply(message)  # type: ignore[arg-type]  # the bus lets through what the module may send

    def _take_health(self, module: str, health: Health) -> None:
        if self.lights.health(module, health, self._now_s()):
            if health.reason and health.state != "starting":
                self._record.incident(module, health.reason)
            self._changed()
            self._tell_ready()
            self._take_next()

    def _take_process(self, report: Process) -> None:
        self.lights.process(report)
        if report.reason:
            self._record.incident(report.module, report.reason)
        self._changed()

    def _take_decision(self, decision: Decision) -> None:
        if self._show.turn is not None and decision.turn_id == self._show.turn.id:
            self._decided[decision.decision_id] = decision.sha256 if decision.action != "block" else ""
        self._record.decision(decision)

    def _may_pass(self, piece: Piece) -> bool:
        """Whether this very text has a decision on record that lets it through."""
        approved = piece.approved
        return approved.intact() and self._decided.get(approved.decision_id) == approved.sha256

    def _tell_ready(self) -> None:
        if (send := self._peers.get("supervisor")) and not self.lights.missing():
            send(Ready(url=self.url))

    # --- control ---

    def control(self, event: ControlEvent) -> None:
        """Do what a button of the panel says."""
        log.info("control", action=type(event).__name__.lower())
        self.apply(event)
        self._changed()

    # --- the machine ---

    def apply(self, event: events.Event) -> None:
        """Apply an event and do everything that follows from it."""
        self._show, actions = t.step(self._show, event, self._now_s())
        for action in actions:
            self._do(action)
        self._set_timer()
        self._take_next()

    def _do(self, action: t.Action) -> None:
        match action:
            case t.ToPolicy(message):
                self._send("policy", message)
            case t.ToVoice(message):
                self._send("tts", message)
            case t.ToStream(message):
                self.stream.send(message)
            case t.Begun(turn):
                self._tell(turn, "speaking" if turn.phase == "speaking" else "thinking")
                if turn.phase == "thinking":
                    self._record.begun(turn)
            case t.Ended(turn, outcome):
                self._end(turn, outcome)

    def _send(self, module: str, message: Message) -> bool:
        if send := self._peers.get(module):
            send(message)
        return send is not None

    def _set_timer(self) -> None:
        """See that `Late` comes at the deadline. A deadline mostly moves back: then the timer that runs looks
        again when it fires, which is cheaper than a new one for every message.
        """
        deadline_s = self._show.deadline_s
        if deadline_s is None or (self._timer and self._timer_s <= deadline_s):
            return
        if self._timer:
            self._timer.cancel()
        delay_s = max(0.0, deadline_s - self._now_s()) + 0.001  # the loop may wake a hair early
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._look_at_the_clock)
        self._timer_s = deadline_s

    def _look_at_the_clock(self) -> None:
        self._timer = None
        self.apply(events.Late())

    def _end(self, turn: t.Turn, outcome: Outcome) -> None:
        log.info("turn ended", turn_id=turn.id, outcome=outcome, reason=turn.reason, **turn.marks)
        if (first_audio_ms := turn.marks.get("first_audio")) is not None:
            self._first_audio_ms.append(first_audio_ms)
        self._record.ended(turn, outcome)
        self._answer(turn, outcome)

    def _answer(self, turn: t.Turn, outcome: Outcome) -> None:
        """Tell whoever waits what became of a line."""
        self._tell(turn, outcome, turn.reason)
        waiter = self._waiters.get(turn.id)
        if waiter is not None and not waiter.done():
            reason = f"{turn.reason} Fix: {turn.fix}" if turn.fix else turn.reason
            waiter.set_result(
                Result(turn.id, outcome, turn.reply, reason, turn.marks, round(turn.audio_ms, 1))
            )

    # --- what is told ---

    def _tell(self, line: Item | t.Turn, state: str, reason: str = "") -> None:
        self.stream.send(
            TurnState(turn_id=line.id, state=state, lane=line.lane, user=line.user, reason=reason)  # type: ignore[arg-type]
        )

    def _changed(self) -> None:
        self.stream.changed(self.status)

    def status(self) -> dict[str, object]:
        """What `GET /status` returns."""
        show = self._show
        return {
            "modules": self.lights.status(self._now_s()),
            "show": {"id": self.show_id, "rehearsal": self._rehearsal},
            **self.manner.status(),
            "scene": None,
            "mood": None,
            "memory": None,
            "queue": {
                "waiting": len(self._inbox),
                "limit": Inbox.LIMIT,
                "paused": show.paused,
                "panicked": show.panicked,
                "muted": show.muted,
                "turn_id": show.turn.id if show.turn else None,
            },
            "latency": {"first_audio_ms": _percentiles(self._first_audio_ms)},
        }

    def close(self) -> None:
        """The show ends: tell whoever still waits."""
        self.apply(events.Close())
        while (item := self._inbox.take()) is not None:
            self._drop(item, t.SHOW_ENDED)

    async def watch(self, pid: int) -> None:
        """Look over lights and queue, for ever."""
        while True:
            trouble = self._journal.trouble
            changed = self.lights.itself(pid, self._now_s(), trouble, JOURNAL_FIX if trouble else "")
            for module in self.lights.hung(self._now_s()):
                self._record.incident(module, "hangs: no heartbeat")
                self.apply(events.Gone(module, f"{module}_hung: no heartbeat from the {module} worker"))
                changed = True
            self._expire()
            if changed:
                self._changed()
            await asyncio.sleep(WATCH_S)

    def _expire(self) -> None:
        now_s = self._now_s()
        for item in self._inbox.expire(now_s):
            self._drop(item, f"expired: it waited longer than {Inbox.EXPIRY_S:.0f} s")
        if not (missing := self.lights.missing()):
            self._missing_since_s = None
            return
        if self._missing_since_s is None:
            self._missing_since_s = now_s
        limit_s = 0.0 if self.lights.hopeless() else WORKER_AWAY_LIMIT_S
        if now_s - self._missing_since_s >= limit_s:
            for item in self._inbox.expire(now_s, limit_s):
                self._drop(item, missing)


def _percentiles(values_ms: deque[float]) -> dict[str, float | int | None]:
    """p50 and p95 by the nearest-rank method."""
    ranked = sorted(values_ms)
    if not ranked:
        return {"p50": None, "p95": None, "turns": 0}
    rank = {name: ranked[math.ceil(len(ranked) * share) - 1] for name, share in (("p50", 0.5), ("p95", 0.95))}
    return {**rank, "turns": len(ranked)}
