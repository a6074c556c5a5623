"""What can happen to a show: the workers' messages, and what is listed here."""

from dataclasses import dataclass

from apps.shared.messages import (
    FirstToken,
    Lane,
    Mouth,
    Piece,
    PiecePlayed,
    PieceReady,
    PieceStarted,
    SpeechEnd,
    Stopped,
    Thought,
)


@dataclass(frozen=True, slots=True)
class Take:
    """The inbox has chosen a line, and the show is free."""

    id: str
    user: str
    text: str
    lane: Lane
    received_s: float


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
    FirstToken | Piece | Thought | PieceReady | Mouth | PieceStarted | PiecePlayed | SpeechEnd | Stopped
)
Event = WorkerMessage | Take | Stop | Panic | Resume | Pause | Mute | Gone | Close | Late
