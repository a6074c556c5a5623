"""The state of a show, and what can be asked for: what `turn.py` and `streamer.py` decide with."""

from dataclasses import dataclass, field
from typing import Literal

from apps.shared.messages import (
    Approved,
    Caption,
    Hearing,
    HerVoice,
    Lane,
    Message,
    Mouth,
    Outcome,
    Output,
    PieceHushed,
    PiecePlayed,
    PieceResumed,
    PieceStarted,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the workers may be silent before the turn is given up."""

    thinking_s: float  # from the question to the first piece, and between pieces


@dataclass(frozen=True, slots=True)
class Listening:
    """What the streamer's voice does."""

    barge_in: Literal["always", "streamer_only_when_addressed", "never"] = "always"
    answer: Literal["always", "addressed"] = "always"
    head_start: bool = True
    names: tuple[str, ...] = ()  # what people call her
    streamer: str = "streamer"  # what she calls the streamer
    mode: Literal["open", "push"] = "open"
    echo: bool = False  # her voice reaches the microphone
    hotwords: str = ""  # names and jargon, separated by commas


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
    marks: dict[str, float] = field(default_factory=dict)  # stage -> ms since received_s
    utterance_id: str = ""  # of the streamer's words that it answers
    guess: bool = False  # a head start: what it answers may not be all that is being said
    begun_s: float = 0.0  # when a head start began
    released_s: float | None = None  # when it turned out to be right
    mouths: tuple[Mouth, ...] = ()  # of a head start: shown once it is released

    @property
    def audible(self) -> bool:
        """Whether some of it has been heard."""
        return "first_audio" in self.marks

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

    @property
    def head_start_ms(self) -> float | None:
        """How much sooner its first sound could be played because of its head start; None without one."""
        ready_ms = self.marks.get("tts_first_chunk")
        if self.released_s is None or ready_ms is None:
            return None
        ready_s = self.received_s + ready_ms / 1000
        return round((min(self.released_s, ready_s) - self.begun_s) * 1000, 3)


@dataclass(frozen=True, slots=True)
class Utterance:
    """What the streamer is saying now."""

    id: str
    until_s: float  # when to stop waiting for its end
    words_until_s: float | None  # by then a word has to be heard in it; None: one was
    hushes: bool  # she is silent meanwhile
    believed: bool = True  # False: no word in all that time; music, a fan, a crowd
    guesses: int = 0  # head starts so far


@dataclass(frozen=True, slots=True)
class Show:
    """The state of the whole show, as far as turns go."""

    limits: Limits
    listening: Listening = Listening()
    turn: Turn | None = None
    utterance: Utterance | None = None
    panicked: bool = False  # silent until `Resume`; nothing is taken up
    paused: bool = False  # the piece under way is finished; nothing new begins
    muted: bool = False  # she goes on, unheard
    turn_until_s: float | None = None  # the turn's deadline

    @property
    def idle(self) -> bool:
        """Whether no turn is under way and one may be."""
        return self.turn is None and not (self.panicked or self.paused)

    @property
    def free(self) -> bool:
        """Whether the next line may be taken up: not while the streamer speaks, who may want an answer."""
        return self.idle and (self.utterance is None or not self.utterance.believed)

    @property
    def output(self) -> Output:
        """How the voice is to come out.

        When only her name interrupts her, she finishes her sentence and lets the streamer finish theirs.
        """
        speaks = self.utterance if self.utterance and self.utterance.believed else None
        waits = speaks is not None and self.listening.barge_in == "streamer_only_when_addressed"
        hushed = (speaks is not None and speaks.hushes) or (self.turn is not None and self.turn.guess)
        return Output(muted=self.muted, held=self.paused or (waits and not hushed), hushed=hushed)

    @property
    def deadline_s(self) -> float | None:
        """When to call step with `Late`."""
        limits = [self.turn_until_s]
        if self.utterance is not None:
            limits += [self.utterance.until_s, self.utterance.words_until_s]
        return min((limit for limit in limits if limit is not None), default=None)


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
class ToEars:
    """Send this to the ears."""

    message: HerVoice


@dataclass(frozen=True, slots=True)
class ToStream:
    """Show this on the panel and the overlays."""

    message: Caption | Mouth | Hearing | PieceStarted | PieceHushed | PieceResumed | PiecePlayed


@dataclass(frozen=True, slots=True)
class Begun:
    """The turn has moved to another phase."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over: write it down, answer whoever waits. A guess has never been a turn for anybody."""

    turn: Turn
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class HeadStart:
    """Take these words up now, as a guess; they are probably all that is being said."""

    utterance_id: str
    text: str
    end_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Take the streamer's words up next."""

    utterance_id: str
    text: str
    end_s: float  # when they were over
    marks: dict[str, float]  # ms since then


@dataclass(frozen=True, slots=True)
class PutBack:
    """This turn's line goes back to where it waited: nothing of its answer was heard."""

    turn: Turn


Action = ToPolicy | ToVoice | ToEars | ToStream | Begun | Ended | HeadStart | Answer | PutBack
Step = tuple[Show, list[Action]]
