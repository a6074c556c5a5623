"""The turn, pure: every rule of who speaks when, and of what a skip, a panic or a late message does.

`step(show, event, now_s)` returns the next state and what is to be done about it. Nothing here waits or
sends; `conductor.py` does. A turn goes

    thinking -> speaking -> (stopping ->) spoken | blocked | cancelled | failed

and at most one is under way. Messages of any other turn are stale and change nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

from apps.orchestrator.events import (
    Close,
    Event,
    Gone,
    Late,
    Mute,
    Panic,
    Pause,
    Resume,
    Stop,
    Take,
    WorkerMessage,
)
from apps.shared.messages import (
    Approved,
    Cancel,
    Caption,
    Finish,
    FirstToken,
    Heard,
    Lane,
    Message,
    Mouth,
    Outcome,
    Output,
    Piece,
    PiecePlayed,
    PieceReady,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
    Think,
    Thought,
)

STOPPING_LIMIT_S = 0.5  # silence takes one audio frame; a voice that does not answer by then is hung
SHOW_ENDED = "show_ended: the show was stopped"
PLAYING_LIMIT_S = 45.0  # the longest piece lasts about 25 s


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the workers may be silent before the turn is given up."""

    thinking_s: float  # from the question to the first piece, and between pieces


@dataclass(frozen=True, slots=True)
class Turn:
    """One line being answered."""

    id: str
    user: str
    text: str
    lane: Lane
    received_s: float
    phase: Literal["thinking", "speaking", "stopping"] = "thinking"
    pieces: tuple[Approved, ...] = ()
    played: int = 0  # pieces heard to their end
    playing: bool = False  # a piece is being heard now
    part_heard: float = 0.0  # 0..1 of the piece that was cut off
    whole: bool = False  # policy has sent its last piece
    blocked: bool = False  # the gate refused some of it
    ending: Outcome = "spoken"  # how it will end when it stops
    reason: str = ""
    fix: str = ""
    audio_ms: float = 0.0
    marks: dict[str, float] = field(default_factory=dict)  # stage -> ms since the text was received

    @property
    def reply(self) -> str:
        """What she set out to say, as far as the gate let it through."""
        return " ".join(piece.text for piece in self.pieces)

    @property
    def heard(self) -> str:
        """What the audience really heard; of a piece that was cut off, the words before the cut."""
        texts = [piece.text for piece in self.pieces[: self.played]]
        if self.part_heard and self.played < len(self.pieces):
            words = self.pieces[self.played].text.split()
            texts.append(" ".join(words[: int(len(words) * self.part_heard)]))
        return " ".join(text for text in texts if text)


@dataclass(frozen=True, slots=True)
class Show:
    """The state of the whole show, as far as turns go."""

    limits: Limits
    turn: Turn | None = None
    panicked: bool = False  # silent until `Resume`; nothing is taken up
    paused: bool = False  # the piece under way is finished; nothing new begins
    muted: bool = False  # she goes on, unheard
    deadline_s: float | None = None  # when to call step with `Late`

    @property
    def free(self) -> bool:
        """Whether the next line may be taken up."""
        return self.turn is None and not (self.panicked or self.paused)

    @property
    def output(self) -> Output:
        """How the voice is to come out."""
        return Output(muted=self.muted, held=self.paused)


# --- actions ---


@dataclass(frozen=True, slots=True)
class ToPolicy:
    """Send this to policy."""

    message: Message


@dataclass(frozen=True, slots=True)
class ToVoice:
    """Send this to the voice."""

    message: Message


@dataclass(frozen=True, slots=True)
class ToStream:
    """Show this on the panel and the overlays."""

    message: Caption | Mouth | PieceStarted | PiecePlayed


@dataclass(frozen=True, slots=True)
class Begun:
    """The turn has moved to another phase."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over: write it down, answer whoever waits."""

    turn: Turn
    outcome: Outcome


Action = ToPolicy | ToVoice | ToStream | Begun | Ended
Step = tuple[Show, list[Action]]


def step(show: Show, event: Event, now_s: float) -> Step:
    """Apply one event. Pure: the same arguments give the same result."""
    match event:
        case Take():
            return _take(show, event, now_s)
        case Stop():
            return _stop(show, "cancelled", event.reason, "", now_s)
        case Panic():
            return _stop(replace(show, panicked=True), "cancelled", "panic", "", now_s)
        case Resume():
            calm = replace(show, panicked=False, paused=False)
            return _rearmed(calm, now_s), [ToVoice(calm.output)]
        case Pause():
            held = replace(show, paused=True)
            return _rearmed(held, now_s), [ToVoice(held.output)]
        case Mute():
            show = replace(show, muted=event.muted)
            return show, [ToVoice(show.output)]
        case Gone():
            return _gone(show, event, now_s)
        case Close():
            show = replace(show, panicked=True)
            turn = show.turn
            return _end(show, replace(turn, ending="cancelled", reason=SHOW_ENDED)) if turn else (show, [])
        case Late():
            return _late(show, now_s)
        case _:
            return _heard_from(show, event, now_s)


def _take(show: Show, line: Take, now_s: float) -> Step:
    assert show.free, "the conductor takes a line only when the show is free"
    turn = Turn(line.id, line.user, line.text, line.lane, line.received_s)
    think = Think(turn_id=line.id, user=line.user, text=line.text, lane=line.lane)
    show = replace(show, turn=turn, deadline_s=now_s + show.limits.thinking_s)
    return show, [Begun(turn), ToPolicy(think)]


def _heard_from(show: Show, event: WorkerMessage, now_s: float) -> Step:
    """A worker's message: stale unless it belongs to the turn under way."""
    turn = show.turn
    if turn is None or event.turn_id != turn.id:
        return show, []
    if turn.phase == "stopping":
        return _stopping(show, turn, event)
    turn, actions = _advance(turn, event)
    if actions and isinstance(actions[-1], Ended):
        return _end(show, actions[-1].turn, actions[-1].outcome)
    return _rearmed(replace(show, turn=turn), now_s), actions


def _stopping(show: Show, turn: Turn, event: WorkerMessage) -> Step:
    """A cancelled turn only learns how much of it was heard."""
    match event:
        case PiecePlayed():  # it ended while the cancel was on its way
            return replace(show, turn=replace(turn, played=turn.played + 1)), []
        case Stopped():
            cut = event.played if event.index == turn.played else 0.0
            return _end(show, replace(turn, part_heard=cut))
        case SpeechEnd():
            return _end(show, turn)
    return show, []


def _advance(turn: Turn, event: WorkerMessage) -> tuple[Turn, list[Action]]:
    """What a message does to a turn that is thinking or speaking."""
    match event:
        case FirstToken(at_s=at_s):
            return _marked(turn, "first_token", at_s), []
        case Piece(approved=approved, at_s=at_s):
            speak = Speak(turn_id=turn.id, index=len(turn.pieces), approved=approved)
            turn = replace(turn, pieces=(*turn.pieces, approved))
            return _marked(turn, "first_sentence", at_s), [ToVoice(speak)]
        case Thought():
            return _thought(turn, event)
        case PieceReady(at_s=at_s):
            return _marked(turn, "tts_first_chunk", at_s), []
        case Mouth():
            return turn, [ToStream(event)]
        case PieceStarted() if event.index < len(turn.pieces):
            return _piece_started(turn, event)
        case PiecePlayed(at_s=at_s, audio_ms=audio_ms):
            turn = replace(turn, played=turn.played + 1, playing=False, audio_ms=turn.audio_ms + audio_ms)
            return _marked(turn, "last_audio", at_s, again=True), [ToStream(event)]
        case SpeechEnd():
            return turn, [Ended(_voiceless(turn, event), _outcome(turn, event))]
    return turn, []


def _thought(turn: Turn, thought: Thought) -> tuple[Turn, list[Action]]:
    turn = replace(
        turn,
        whole=True,
        blocked=thought.outcome == "blocked",
        reason=thought.reason,
        fix=thought.fix,
    )
    if turn.pieces:
        return turn, [ToVoice(Finish(turn_id=turn.id))]
    outcome: Outcome = "blocked" if turn.blocked else "failed"
    return turn, [Ended(turn, outcome)]


def _piece_started(turn: Turn, event: PieceStarted) -> tuple[Turn, list[Action]]:
    approved = turn.pieces[event.index]
    actions: list[Action] = [
        ToStream(event),
        ToStream(Caption(turn_id=turn.id, index=event.index, approved=approved)),
    ]
    turn = _marked(replace(turn, playing=True), "first_audio", event.at_s)
    if turn.phase == "thinking":
        turn = replace(turn, phase="speaking")
        actions.append(Begun(turn))
    return turn, actions


def _voiceless(turn: Turn, end: SpeechEnd) -> Turn:
    return replace(turn, reason=end.reason or turn.reason, fix=end.fix or turn.fix)


def _outcome(turn: Turn, end: SpeechEnd) -> Outcome:
    """A voice that failed fails the turn; a blocked reply was spoken as its friendly replacement."""
    if end.reason:
        return "failed"
    return "blocked" if turn.blocked else "spoken"


def _stop(show: Show, outcome: Outcome, reason: str, fix: str, now_s: float) -> Step:
    """End the turn under way before its time. It ends when the voice says that it is silent."""
    turn = show.turn
    if turn is None or turn.phase == "stopping":
        return show, []
    turn = replace(turn, ending=outcome, reason=reason, fix=fix)
    cancel = Cancel(turn_id=turn.id)
    if not turn.pieces:
        ended, actions = _end(show, turn)
        return ended, [ToPolicy(cancel), *actions]
    turn = replace(turn, phase="stopping")
    show = replace(show, turn=turn, deadline_s=now_s + STOPPING_LIMIT_S)
    return show, [ToVoice(cancel), ToPolicy(cancel)]


def _gone(show: Show, gone: Gone, now_s: float) -> Step:
    """A worker that leaves takes the turn with it, unless its part in it was done."""
    turn = show.turn
    if turn is None or (gone.module == "policy" and turn.whole):
        return show, []
    if gone.module == "tts" and (turn.phase == "stopping" or turn.pieces):
        ending = turn.ending if turn.phase == "stopping" else "failed"
        ended, actions = _end(show, replace(turn, ending=ending, reason=turn.reason or gone.reason))
        return ended, [ToPolicy(Cancel(turn_id=turn.id)), *actions]
    if gone.module in {"policy", "tts"}:
        return _stop(show, "failed", gone.reason, "", now_s)
    return show, []


def _late(show: Show, now_s: float) -> Step:
    turn = show.turn
    if turn is None or show.deadline_s is None or now_s < show.deadline_s:
        return show, []
    if turn.phase == "stopping":
        return _end(show, turn)
    silent = "voice" if turn.whole or turn.playing else "policy"
    reason = f"{silent}_silent: no word from the {silent} worker within its deadline"
    return _stop(show, "failed", reason, "Look at its light and its log; the next turn goes on.", now_s)


def _end(show: Show, turn: Turn, outcome: Outcome | None = None) -> Step:
    heard = Heard(turn_id=turn.id, text=turn.heard)
    actions: list[Action] = [Ended(turn, outcome or turn.ending), ToPolicy(heard)]
    return replace(show, turn=None, deadline_s=None), actions


def _rearmed(show: Show, now_s: float) -> Show:
    """Give the workers their time anew after each sign of life; while held, time stands still."""
    if show.turn is None or show.turn.phase == "stopping":
        return show
    if show.paused:
        return replace(show, deadline_s=None)
    speaking = show.turn.whole or show.turn.playing
    limit_s = PLAYING_LIMIT_S if speaking else show.limits.thinking_s
    return replace(show, deadline_s=now_s + limit_s)


def _marked(turn: Turn, stage: str, at_s: float, *, again: bool = False) -> Turn:
    """Note when a stage was reached; the first time counts, or with `again` the last."""
    if stage in turn.marks and not again:
        return turn
    ms = round((at_s - turn.received_s) * 1000, 3)
    return replace(turn, marks={**turn.marks, stage: ms})
