"""The pure show, event by event, and the messages that happen to it."""

from typing import TypeVar

from apps.orchestrator import events
from apps.orchestrator import show as s
from apps.orchestrator.turn import step
from apps.shared.messages import (
    Approved,
    Message,
    NoWords,
    Output,
    Partial,
    Piece,
    PiecePlayed,
    PieceReady,
    PieceStarted,
    SpeechEnd,
    Stopped,
    Thought,
    Transcript,
    UtteranceStarted,
    fingerprint,
)

THINKING_S = 20.0
BEGIN_S = 100.0


class Scene:
    """A show and its clock; what follows from each event is kept."""

    def __init__(self, **listening: object) -> None:
        said = {"names": ("Kitsu",), "streamer": "Robin", **listening}
        self.show = s.Show(s.Limits(thinking_s=THINKING_S), s.Listening(**said))  # type: ignore[arg-type]
        self.now_s = BEGIN_S
        self.all: list[s.Action] = []

    def do(self, *happens: events.Event, after_s: float = 0.0) -> list[s.Action]:
        """Apply events; return what is to be done because of them."""
        self.now_s += after_s
        done: list[s.Action] = []
        for event in happens:
            self.show, actions = step(self.show, event, self.now_s)
            done += actions
        self.all += done
        return done

    def late(self) -> list[s.Action]:
        """Let time pass to the next deadline."""
        assert self.show.deadline_s is not None
        self.now_s = self.show.deadline_s
        return self.do(events.Late())

    @property
    def turn(self) -> s.Turn:
        """The one under way."""
        assert self.show.turn is not None
        return self.show.turn

    @property
    def hushed(self) -> bool:
        """Whether the voice stands still now."""
        return self.show.output.hushed


Kind = TypeVar("Kind")


def of(kind: type[Kind], actions: list[s.Action]) -> list[Kind]:
    """The actions of a kind."""
    return [action for action in actions if isinstance(action, kind)]


def sent(actions: list[s.Action]) -> list[Message]:
    """What goes to policy and to the voice."""
    return [action.message for action in actions if isinstance(action, s.ToPolicy | s.ToVoice)]


def outputs(actions: list[s.Action]) -> list[Output]:
    """How the voice is told to come out."""
    return [message for message in sent(actions) if isinstance(message, Output)]


def take(turn_id: str = "t1", text: str = "hi", lane="chat") -> events.Take:
    return events.Take(turn_id, "mika", text, lane, received_s=BEGIN_S)


def guess(
    text: str = "how are you", turn_id: str = "g1", utterance_id: str = "u1", end_s=100.0
) -> events.Take:
    return events.Take(turn_id, "Robin", text, "streamer", end_s, utterance_id=utterance_id, guess=True)


def approved(text: str) -> Approved:
    return Approved(text=text, spoken=text, decision_id="d", sha256=fingerprint(text, text))


def piece(turn_id: str = "t1", index: int = 0, text: str = "Hello there Mika.", at_s: float = 100.3) -> Piece:
    return Piece(turn_id=turn_id, index=index, approved=approved(text), at_s=at_s)


def ready(turn_id: str = "t1", index: int = 0, at_s: float = 100.4) -> PieceReady:
    return PieceReady(turn_id=turn_id, index=index, at_s=at_s, cached=False)


def started(turn_id: str = "t1", index: int = 0, at_s: float = 100.5) -> PieceStarted:
    return PieceStarted(turn_id=turn_id, index=index, at_s=at_s)


def played(turn_id: str = "t1", index: int = 0, at_s: float = 101.5) -> PiecePlayed:
    return PiecePlayed(turn_id=turn_id, index=index, at_s=at_s, audio_ms=1000.0)


def thought(turn_id: str = "t1", pieces: int = 1) -> Thought:
    return Thought(turn_id=turn_id, pieces=pieces, outcome="whole", at_s=100.5)


def stopped(turn_id: str = "t1", index: int = 0, share: float = 0.0) -> Stopped:
    return Stopped(turn_id=turn_id, at_s=101.0, index=index, played=share)


def speech_end(turn_id: str = "t1") -> SpeechEnd:
    return SpeechEnd(turn_id=turn_id, at_s=103.0)


def voice(utterance_id: str = "u1") -> UtteranceStarted:
    return UtteranceStarted(utterance_id=utterance_id, start_s=99.8, at_s=100.0)


def partial(
    text: str = "how are you", utterance_id: str = "u1", *, complete: bool = True, end_s: float = 100.0
) -> Partial:
    return Partial(
        utterance_id=utterance_id,
        text=text,
        stable=len(text) if complete else 0,
        complete=complete,
        start_s=99.0,
        end_s=end_s,
        at_s=end_s + 0.1,
    )


def final(
    text: str = "how are you", utterance_id: str = "u1", *, end_s: float = 100.0, at_s: float = 100.7
) -> Transcript:
    return Transcript(
        utterance_id=utterance_id,
        text=text,
        words=(),
        start_s=99.0,
        end_s=end_s,
        ended_s=end_s + 0.55,
        at_s=at_s,
        avg_logprob=-0.2,
        no_speech_prob=0.01,
    )


def cough(utterance_id: str = "u1") -> NoWords:
    return NoWords(utterance_id=utterance_id, code="no_words", start_s=99.8, end_s=100.0, at_s=100.6)


SPEAKING = (take(), piece(), piece(index=1, text="How are you?"), started())
