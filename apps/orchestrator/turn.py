"""The turn, pure: every rule of who speaks when, and of what a skip, a panic or a late message does.

`step(show, event, now_s)` returns the next state and what is to be done about it. Nothing here waits or
sends; `conductor.py` does. A turn goes

    thinking -> speaking -> (stopping ->) spoken | blocked | cancelled | failed

and at most one is under way. Messages of any other turn are stale and change nothing. What the streamer's
voice does to a turn is decided in `streamer.py`.
"""

from dataclasses import replace

from apps.orchestrator import streamer
from apps.orchestrator.events import (
    Called,
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
from apps.orchestrator.show import Action, Begun, Ended, Show, Step, ToEars, ToPolicy, ToStream, ToVoice, Turn
from apps.shared.messages import (
    Approved,
    Cancel,
    Caption,
    Finish,
    FirstToken,
    Heard,
    HerVoice,
    Mouth,
    NoWords,
    Outcome,
    Partial,
    Piece,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
    Think,
    Thought,
    Transcript,
    UtteranceStarted,
)

STOPPING_LIMIT_S = 0.5  # silence takes one audio frame; a voice that does not answer by then is hung
SHOW_ENDED = "show_ended: the show was stopped"
PLAYING_LIMIT_S = 45.0  # the longest piece lasts about 25 s


def step(show: Show, event: Event, now_s: float) -> Step:
    """Apply one event. Pure: the same arguments give the same result."""
    before = show.output
    show, actions = _apply(show, event, now_s)
    if show.output != before:
        actions.append(ToVoice(show.output))
        show = _rearmed(show, now_s)
    return show, actions


def _apply(show: Show, event: Event, now_s: float) -> Step:
    match event:
        case Take():
            return _take(show, event, now_s)
        case Stop():
            return _stop(show, "cancelled", event.reason, "", now_s)
        case Panic():
            return _stop(replace(show, panicked=True), "cancelled", "panic", "", now_s)
        case Resume() | Pause() | Mute() | Called():
            return _switched(show, event), []
        case UtteranceStarted() | Partial() | Transcript() | NoWords():
            return _follow(streamer.hears(show, event, now_s), now_s)
        case Gone(module="asr"):
            return _follow(streamer.lost(show), now_s)
        case Gone():
            return _gone(show, event, now_s)
        case Close():
            show = replace(show, panicked=True)
            turn = show.turn
            if turn is None:
                return show, []
            return _end(show, replace(turn, ending="cancelled", reason=SHOW_ENDED), now_s)
        case Late():
            return _late(show, now_s)
        case _:
            return _heard_from(show, event, now_s)


def _switched(show: Show, event: Resume | Pause | Mute | Called) -> Show:
    match event:
        case Resume():
            return replace(show, panicked=False, paused=False)
        case Pause():
            return replace(show, paused=True)
        case Mute():
            return replace(show, muted=event.muted)
        case Called():
            return replace(show, listening=replace(show.listening, names=event.names))


def _follow(decided: streamer.Decided, now_s: float) -> Step:
    """Do what the streamer's words mean for the turn under way."""
    show, actions, follows = decided
    for event in follows:
        show, more = _apply(show, event, now_s)
        actions = [*actions, *more]
    return show, actions


def _take(show: Show, line: Take, now_s: float) -> Step:
    assert show.idle, "the conductor takes a line only when no turn is under way"
    turn = Turn(
        line.id,
        line.user,
        line.text,
        line.lane,
        line.received_s,
        marks=dict(line.marks),
        utterance_id=line.utterance_id,
        guess=line.guess,
        begun_s=now_s,
    )
    think = Think(turn_id=line.id, user=line.user, text=line.text, lane=line.lane)
    show = _rearmed(replace(show, turn=turn), now_s)
    return show, [*([] if turn.guess else [Begun(turn)]), ToPolicy(think)]


def _heard_from(show: Show, event: WorkerMessage, now_s: float) -> Step:
    """A worker's message: stale unless it belongs to the turn under way."""
    turn = show.turn
    if turn is None or event.turn_id != turn.id:
        return show, []
    if turn.phase == "stopping":
        return _stopping(show, turn, event, now_s)
    turn, actions = _advance(turn, event)
    if actions and isinstance(actions[-1], Ended):
        return _end(show, actions[-1].turn, now_s, actions[-1].outcome)
    return _rearmed(replace(show, turn=turn), now_s), actions


def _stopping(show: Show, turn: Turn, event: WorkerMessage, now_s: float) -> Step:
    """A cancelled turn only learns how much of it was heard."""
    match event:
        case PiecePlayed():  # it ended while the cancel was on its way
            return replace(show, turn=replace(turn, played=turn.played + 1)), []
        case Stopped():
            cut = event.played if event.index == turn.played else 0.0
            return _end(show, replace(turn, part_heard=cut), now_s)
        case SpeechEnd():
            return _end(show, turn, now_s)
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
        case Mouth() if turn.guess:
            return replace(turn, mouths=(*turn.mouths, event)), []
        case Mouth():
            return turn, [ToStream(event)]
        case PieceHushed(at_s=at_s):
            return turn, [ToStream(event), _her(None, at_s)]
        case PieceResumed(at_s=at_s) if event.index < len(turn.pieces):
            return turn, [ToStream(event), _her(turn.pieces[event.index], at_s)]
        case PieceStarted() if event.index < len(turn.pieces):
            return _piece_started(turn, event)
        case PiecePlayed(at_s=at_s, audio_ms=audio_ms):
            turn = replace(turn, played=turn.played + 1, playing=False, audio_ms=turn.audio_ms + audio_ms)
            return _marked(turn, "last_audio", at_s, again=True), [ToStream(event), _her(None, at_s)]
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
        _her(approved, event.at_s),
    ]
    turn = _marked(replace(turn, playing=True), "first_audio", event.at_s)
    if turn.phase == "thinking":
        turn = replace(turn, phase="speaking")
        actions.append(Begun(turn))
    return turn, actions


def _her(approved: Approved | None, at_s: float) -> ToEars:
    """What the ears have to know of her own voice."""
    return ToEars(
        HerVoice(sounding=approved is not None, text=approved.spoken if approved else "", at_s=at_s)
    )


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
        ended, actions = _end(show, turn, now_s)
        return ended, [ToPolicy(cancel), *actions]
    turn = replace(turn, phase="stopping")
    show = replace(show, turn=turn, turn_until_s=now_s + STOPPING_LIMIT_S)
    return show, [ToVoice(cancel), ToPolicy(cancel)]


def _gone(show: Show, gone: Gone, now_s: float) -> Step:
    """A worker that leaves takes the turn with it, unless its part in it was done."""
    turn = show.turn
    if turn is None or (gone.module == "policy" and turn.whole):
        return show, []
    if gone.module == "tts" and (turn.phase == "stopping" or turn.pieces):
        ending = turn.ending if turn.phase == "stopping" else "failed"
        turn = replace(turn, ending=ending, reason=turn.reason or gone.reason)
        ended, actions = _end(show, turn, now_s)
        return ended, [ToPolicy(Cancel(turn_id=turn.id)), *actions]
    if gone.module in {"policy", "tts"}:
        return _stop(show, "failed", gone.reason, "", now_s)
    return show, []


def _late(show: Show, now_s: float) -> Step:
    show, actions = _follow(streamer.late(show, now_s), now_s)
    turn = show.turn
    if turn is None or show.turn_until_s is None or now_s < show.turn_until_s:
        return show, actions
    if turn.phase == "stopping":
        ended, more = _end(show, turn, now_s)
        return ended, [*actions, *more]
    silent = "voice" if turn.whole or turn.playing else "policy"
    reason = f"{silent}_silent: no word from the {silent} worker within its deadline"
    fix = "Look at its light and its log; the next turn goes on."
    stopped, more = _stop(show, "failed", reason, fix, now_s)
    return stopped, [*actions, *more]


def _end(show: Show, turn: Turn, now_s: float, outcome: Outcome | None = None) -> Step:
    heard = Heard(turn_id=turn.id, text=turn.heard, line=turn.text if turn.utterance_id else "")
    actions: list[Action] = [Ended(turn, outcome or turn.ending), ToPolicy(heard)]
    if turn.playing:
        actions.append(_her(None, now_s))
    return replace(show, turn=None, turn_until_s=None), actions


def _rearmed(show: Show, now_s: float) -> Show:
    """Give the workers their time anew after each sign of life; while held, time stands still."""
    if show.turn is None or show.turn.phase == "stopping":
        return show
    if show.output.held or show.output.hushed:
        return replace(show, turn_until_s=None)
    speaking = show.turn.whole or show.turn.playing
    limit_s = PLAYING_LIMIT_S if speaking else show.limits.thinking_s
    return replace(show, turn_until_s=now_s + limit_s)


def _marked(turn: Turn, stage: str, at_s: float, *, again: bool = False) -> Turn:
    """Note when a stage was reached; the first time counts, or with `again` the last."""
    if stage in turn.marks and not again:
        return turn
    ms = round((at_s - turn.received_s) * 1000, 3)
    return replace(turn, marks={**turn.marks, stage: ms})
