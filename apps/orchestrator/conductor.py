"""The conductor: applies events to the pure turn machine and does what it says.

Everything here runs on the event loop and returns at once, so that a message from policy is on its way to
the voice in the same step in which it came in.
"""

import asyncio
from collections.abc import Callable

import structlog

from apps.orchestrator import events
from apps.orchestrator import show as state
from apps.orchestrator.ears import EarsControl, vocabulary
from apps.orchestrator.inbox import Inbox, Item
from apps.orchestrator.journal import Journal
from apps.orchestrator.latency import Latency
from apps.orchestrator.lights import Lights
from apps.orchestrator.lines import QUEUE_FULL, Lines, Result
from apps.orchestrator.manner import AwayError, Manner
from apps.orchestrator.record import Record
from apps.orchestrator.stream import Stream
from apps.orchestrator.turn import SHOW_ENDED, step
from apps.shared.errors import SettingsError
from apps.shared.messages import (
    Decision,
    Health,
    Lane,
    Level,
    Message,
    NoWords,
    Outcome,
    Partial,
    Persona,
    Piece,
    PlayFile,
    Process,
    Ready,
    Stopped,
    Transcript,
    UtteranceStarted,
    Voices,
)

WATCH_S = 0.5  # how often lights and the queue are looked over
WORKER_AWAY_LIMIT_S = 30.0  # how long a line waits for a worker that is being restarted
JOURNAL_FIX = "Look at the disk of AIVT_DATA_DIR; the show goes on, what it misses is not written down."

log = structlog.get_logger()
Send = Callable[[Message], None]
ControlEvent = events.Stop | events.Panic | events.Resume | events.Pause | events.Mute


class Conductor:
    """Leads the show."""

    def __init__(
        self,
        show_id: str,
        journal: Journal,
        limits: state.Limits,
        lights: Lights,
        now_s: Callable[[], float],
        *,
        listening: state.Listening = state.Listening(),  # noqa: B008 - frozen
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
        self._lines = Lines(show_id, self._record, self.stream)
        self._now_s = now_s
        self._show = state.Show(limits, listening)
        self._peers: dict[str, Send] = {}
        self._decided: dict[str, str] = {}  # decision id -> fingerprint, of the turn under way
        self.manner = Manner(self._send)
        self.ears = EarsControl(self._send, listening.mode, echo=listening.echo)
        self.ears.expect(vocabulary(listening.hotwords, listening.streamer))
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0  # when it fires
        self._missing_since_s: float | None = None  # when she became unable to answer
        self._latency = Latency()

    # --- lines in ---

    async def say(self, text: str, user: str, lane: Lane) -> Result:
        """Put a line into the show and wait for its end. Raises SettingsError for an empty line."""
        item = self._lines.new(text, user, lane, self._now_s())
        waiter = self._lines.promise(item)
        try:
            self._queue(item)
            return await waiter
        finally:
            self._lines.forget(waiter)

    def put(self, text: str, user: str, lane: Lane) -> str:
        """Put a line into the show and return its turn's id.

        Raises SettingsError for an empty line, AwayError when no more can wait.
        """
        item = self._lines.new(text, user, lane, self._now_s())
        if not self._queue(item):
            code, _, reason = QUEUE_FULL.partition(": ")
            raise AwayError(code, reason, fix="Wait a little, then send it again.", retryable=True)
        return item.id

    def _queue(self, item: Item) -> bool:
        taken = self._lines.queue(item)
        self._take_next()
        return taken

    def _take_next(self) -> None:
        if self._show.free and not self.lights.missing() and (item := self._lines.take()) is not None:
            self._take(item)

    def _take(self, item: Item, *, guess: bool = False) -> None:
        self._decided.clear()
        self.apply(
            events.Take(
                item.id,
                item.user,
                item.text,
                item.lane,
                item.received_s,
                utterance_id=item.utterance_id,
                guess=guess,
                marks=item.marks,
            )
        )

    def _spoken(self, words: state.HeadStart | state.Answer) -> None:
        """Take up what the streamer has said: as the next line, or at once as a guess."""
        name, marks = self._show.listening.streamer, {}
        if isinstance(words, state.Answer):
            marks = words.marks
        try:
            item = self._lines.new(words.text, name, "streamer", words.end_s, words.utterance_id, marks)
        except SettingsError:  # signs without a single printable one
            return
        if isinstance(words, state.Answer):
            self._lines.queue(item)
        elif not self.lights.missing() and not self._lines.streamer_waits:  # else those are answered first
            self._take(item, guess=True)

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
        elif module == "asr":
            self.ears.joined()
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
        if self.lights.seen(module, self._now_s()):
            self._lit()
        match message:
            case Health():
                self._take_health(module, message)
            case Process():
                self._take_process(message)
            case Persona() | Voices():
                self._take_manner(message)
            case Decision():
                self._take_decision(message)
            case Piece() if not self._may_pass(message):
                log.error("text without the gate's decision refused", turn_id=message.turn_id)
            case UtteranceStarted() | Partial() | Transcript() | NoWords():
                self.stream.send(self.ears.take(message))
                self.apply(message)
            case Stopped() if module == "policy":
                pass  # a turn is over when the voice is silent, who alone knows how much of it was heard
            case Level():
                self.ears.level(message)
                self.stream.send(message)
            case _:
                self.apply(message)  # type: ignore[arg-type]  # the bus lets through what the module may send

    def _take_health(self, module: str, health: Health) -> None:
        if self.lights.health(module, health, self._now_s()):
            if health.reason and health.state in {"degraded", "down"}:  # else nothing has happened
                self._record.incident(module, health.reason)
            self._lit()

    def _lit(self) -> None:
        """A light has changed, by what a worker told."""
        self._changed()
        self._tell_ready()
        self._take_next()

    def _take_manner(self, message: Persona | Voices) -> None:
        self.manner.take(message)
        if isinstance(message, Persona) and message.name:
            listening = self._show.listening
            self.apply(events.Called((message.name,)))
            self.ears.expect(vocabulary(listening.hotwords, message.name, listening.streamer))
        self._changed()

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

    def talk(self, pressed: bool) -> None:
        """The talk key. Raises AivtError when it means nothing now."""
        self.ears.talk(pressed, self._now_s())

    def control(self, event: ControlEvent) -> None:
        """Do what a button of the panel says."""
        log.info("control", action=type(event).__name__.lower())
        self.apply(event)
        self._changed()

    def hear(self, file: PlayFile) -> None:
        """Let her hear a recording. Raises SettingsError in a live show, AwayError without ears."""
        if not self._rehearsal:
            reason = "recordings are heard in rehearsals only"
            raise SettingsError("not_a_rehearsal", reason, fix="Start the show with: up --rehearsal")
        self.ears.play(file)

    # --- the machine ---

    def apply(self, event: events.Event) -> None:
        """Apply an event and do everything that follows from it."""
        self._show, actions = step(self._show, event, self._now_s())
        for action in actions:
            self._do(action)
        self._set_timer()
        self._take_next()

    def _do(self, action: state.Action) -> None:
        match action:
            case state.ToPolicy(message):
                self._send("policy", message)
            case state.ToVoice(message):
                self._send("tts", message)
            case state.ToEars(message):
                self.ears.her_voice(message)
            case state.ToStream(message):
                self.stream.send(message)
            case state.Begun(turn):
                self._lines.tell(turn, "speaking" if turn.phase == "speaking" else "thinking")
                if turn.phase == "thinking":
                    self._record.begun(turn)
            case state.Ended(turn, outcome):
                self._end(turn, outcome)
            case state.HeadStart() | state.Answer():
                self._spoken(action)
            case state.PutBack(turn):
                self._lines.put_back(turn)

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

    def _end(self, turn: state.Turn, outcome: Outcome) -> None:
        if turn.guess or turn.released_s is not None:
            self._record.head_start(turn)
        if turn.guess:  # nobody has heard or seen anything of it
            return
        log.info("turn ended", turn_id=turn.id, outcome=outcome, reason=turn.reason, **turn.marks)
        self._latency.add(turn.lane, turn.marks.get("first_audio"))
        self._record.ended(turn, outcome)
        self._lines.answer(turn, outcome)

    # --- what is told ---

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
                "waiting": len(self._lines),
                "limit": Inbox.LIMIT,
                "paused": show.paused,
                "panicked": show.panicked,
                "muted": show.muted,
                "turn_id": show.turn.id if show.turn and not show.turn.guess else None,
            },
            "ears": self.ears.status(speaking=show.utterance is not None),
            "latency": self._latency.status(),
        }

    def close(self) -> None:
        """The show ends: tell whoever still waits."""
        self.apply(events.Close())
        while (item := self._lines.take()) is not None:
            self._lines.drop(item, SHOW_ENDED)

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
            changed = self.ears.let_go(self._now_s()) or changed
            if changed:
                self._changed()
            await asyncio.sleep(WATCH_S)

    def _expire(self) -> None:
        now_s = self._now_s()
        self._lines.expire(now_s)
        if not (missing := self.lights.missing()):
            self._missing_since_s = None
            return
        if self._missing_since_s is None:
            self._missing_since_s = now_s
        limit_s = 0.0 if self.lights.hopeless() else WORKER_AWAY_LIMIT_S
        if now_s - self._missing_since_s >= limit_s:
            self._lines.drop_older(now_s, limit_s, missing)
