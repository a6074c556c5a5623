"""What can happen to a show: the workers' messages, and what is listed here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from apps.shared.messages import (
    FirstToken,
    Lane,
    Mouth,
    NoWords,
    Partial,
    Piece,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    SpeechEnd,
    Stopped,
    Thought,
    Transcript,
    UtteranceStarted,
)


@dataclass(frozen=True, slots=True)
class Take:
    """The inbox has chosen a line, and the show is free; or the streamer's words may be complete: a guess."""

    id: str
    user: str
    text: str
    lane: Lane
    received_s: float  # of the streamer's words: when they ended
    utterance_id: str = ""
    guess: bool = False
    marks: Mapping[str, float] = field(default_factory=dict)  # ms since received_s


@dataclass(frozen=True, slots=True)
class Stop:
    """End the turn under way: a skip, or another reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Panic:
    """Silence now, and until Resume."""


@dataclass(frozen=True, slots=True)
class Resume:
    """End a panic or a pause."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Finish the piece that is playing, then hold."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Switch her sound off or on; the turn goes on."""

    muted: bool


@dataclass(frozen=True, slots=True)
class Called:
    """What people call her."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """A worker has left the bus."""

    module: str
    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """The show ends, with whatever is under way."""


@dataclass(frozen=True, slots=True)
class Late:
    """The deadline has passed."""


WorkerMessage = (
    FirstToken
    | Piece
    | Thought
    | PieceReady
    | Mouth
    | PieceStarted
    | PieceHushed
    | PieceResumed
    | PiecePlayed
    | SpeechEnd
    | Stopped
)
EarsMessage = UtteranceStarted | Partial | Transcript | NoWords
Event = (
    WorkerMessage | EarsMessage | Take | Stop | Panic | Resume | Pause | Mute | Called | Gone | Close | Late
)
