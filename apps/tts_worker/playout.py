"""What is being played: pieces of sound in order, drawn from frame by frame, without any I/O.

The synthesis thread puts sound in; an output draws frames out, on the event loop or on PortAudio's thread.
One lock guards both sides, held for microseconds.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Moment = Literal["started", "hushed", "resumed", "ended"]
FRAME_S = 0.02  # an output draws this much at a time: a cancelled turn is silent within it
FADE_S = 0.005  # a sound that is cut in mid-wave clicks


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment of a piece: started (hushed resumed)* ended. One without sound has but an end."""

    turn_id: str
    index: int
    moment: Moment
    at_s: float  # when the next sample leaves the output; hushed, ended: when the last one has
    played_s: float  # how much of the piece has been played by then


@dataclass(slots=True)
class _Piece:
    turn_id: str
    index: int
    sound: deque[Samples] = field(default_factory=deque)
    whole: bool = False  # all of its sound is here
    played: int = 0  # samples
    size: int = 0  # samples so far
    started: bool = False
    sounding: bool = False  # started, and not standing still
    until_s: float = 0.0  # when the last sample drawn so far is out


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a cancelled turn was: the piece under way and how much of it was out."""

    index: int = -1
    share: float = 0.0  # 0..1
    silent_at_s: float = 0.0  # when the last frame that was drawn with sound in it is out


class Playout:
    """The queue of sound. Its rate is the voice's; `mark` is called on the thread that draws.

    Hushed, the next frame has the next FADE_S of the piece under way, faded out, and then silence; the first
    frame afterwards goes on with the very next sample, its first FADE_S faded in. So every sample is played
    once, and all but these at their full loudness. A fade is shorter where less sound is there: a piece that
    has no more than that ends in it, and nothing stands still.

    `gain`, `held` and `hushed` are independent of each other: muted sound stands still like any other, and
    a piece that is hushed and held goes on to its end once it is no longer hushed.

    Limit: what one turn may hold, some 20 pieces of at most 25 s: 20 MB. `Speaker` keeps to one turn.
    """

    def __init__(self, sample_rate_hz: int, mark: Callable[[Mark], None]) -> None:
        self.sample_rate_hz = sample_rate_hz
        self.held = False  # finish the piece that is playing, then wait
        self.hushed = False  # stand still, in mid-piece; begin nothing
        self.gain = 1.0
        self._mark = mark
        self._fade_samples = max(1, round(sample_rate_hz * FADE_S))
        self._pieces: deque[_Piece] = deque()
        self._lock = threading.Lock()
        self._sound_until_s = 0.0

    @property
    def frame_samples(self) -> int:
        """How many samples a frame has."""
        return round(self.sample_rate_hz * FRAME_S)

    @property
    def turn_id(self) -> str:
        """The turn whose sound comes next, else ""."""
        return self._pieces[0].turn_id if self._pieces else ""

    def begin(self, turn_id: str, index: int) -> None:
        """Announce a piece; pieces are played in the order in which they begin."""
        with self._lock:
            self._pieces.append(_Piece(turn_id, index))

    def add(self, turn_id: str, index: int, pcm: bytes) -> None:
        """Add sound to a piece: 16-bit little-endian mono. A piece that was dropped ignores it."""
        samples = np.frombuffer(pcm, dtype="<i2")
        with self._lock:
            if piece := self._find(turn_id, index):
                piece.sound.append(samples)
                piece.size += len(samples)

    def complete(self, turn_id: str, index: int) -> None:
        """All sound of this piece has been added."""
        with self._lock:
            if piece := self._find(turn_id, index):
                piece.whole = True

    def drop(self, turn_id: str) -> Cut:
        """Forget a turn at once: the next frame has nothing of it."""
        with self._lock:
            mine = [piece for piece in self._pieces if piece.turn_id == turn_id]
            self._pieces = deque(piece for piece in self._pieces if piece.turn_id != turn_id)
        if mine and mine[0].started:
            share = mine[0].played / max(1, mine[0].size)
            return Cut(mine[0].index, share, self._sound_until_s)
        return Cut(silent_at_s=self._sound_until_s)

    def frame(self, count: int, at_s: float) -> Samples | None:
        """Draw the next `count` samples, the first of which leaves the output at `at_s`.

        A gap, or the end, is filled with zeros. None when nothing at all is playing.
        """
        with self._lock:
            marks: list[Mark] = []
            frame = self._draw(count, at_s, marks)
            if frame is not None:
                self._sound_until_s = at_s + count / self.sample_rate_hz
        for mark in marks:
            self._mark(mark)
        return frame

    def _find(self, turn_id: str, index: int) -> _Piece | None:
        return next((p for p in self._pieces if p.turn_id == turn_id and p.index == index), None)

    def _draw(self, count: int, at_s: float, marks: list[Mark]) -> Samples | None:
        if self.hushed:
            return self._stand_still(count, at_s, marks)
        frame: Samples | None = None
        filled = 0
        if self._pieces and (inside := self._inside(self._pieces[0], count, at_s)) is not None:
            return inside
        while self._pieces and filled < count:
            piece = self._pieces[0]
            if self.held and not piece.started:
                break
            if not piece.sound and not piece.whole:
                break  # the synthesis is behind: silence until it has caught up
            if frame is None:
                frame = np.zeros(count, np.int16)
            filled += self._fill(frame[filled:], piece, at_s + filled / self.sample_rate_hz, marks)
            self._end_if_over(piece, at_s + filled / self.sample_rate_hz, marks)
        return frame

    def _inside(self, piece: _Piece, count: int, at_s: float) -> Samples | None:
        """A frame from the middle of a chunk, as nearly all are: no copy, no marks."""
        if not piece.sounding or self.gain != 1.0 or not piece.sound or len(piece.sound[0]) <= count:
            return None
        frame = piece.sound[0][:count]
        piece.sound[0] = piece.sound[0][count:]
        piece.played += count
        piece.until_s = at_s + count / self.sample_rate_hz
        return frame

    def _stand_still(self, count: int, at_s: float, marks: list[Mark]) -> Samples | None:
        """Fade out the piece under way; None when nothing sounds any more."""
        if not self._pieces or not self._pieces[0].sounding:
            return None
        piece = self._pieces[0]
        frame = np.zeros(count, np.int16)
        filled = self._fill(frame[: self._fade_samples], piece, at_s, marks)
        _fade(frame[:filled], rising=False)
        if not self._end_if_over(piece, at_s + filled / self.sample_rate_hz, marks):
            piece.sounding = False
            marks.append(self._marked(piece, "hushed", piece.until_s))
        return frame if filled else None

    def _fill(self, room: Samples, piece: _Piece, at_s: float, marks: list[Mark]) -> int:
        """Move sound of one piece into `room`; return how many samples it was."""
        resumed = piece.started and not piece.sounding
        if resumed or (piece.sound and not piece.started):
            piece.started = piece.sounding = True
            piece.until_s = at_s
            marks.append(self._marked(piece, "resumed" if resumed else "started", at_s))
        filled = 0
        while piece.sound and filled < len(room):
            samples = piece.sound[0]
            part = samples[: len(room) - filled]
            room[filled : filled + len(part)] = part if self.gain == 1.0 else self._louder(part)
            filled += len(part)
            if len(part) == len(samples):
                piece.sound.popleft()
            else:
                piece.sound[0] = samples[len(part) :]
        if resumed:
            _fade(room[: min(filled, self._fade_samples)], rising=True)
        if filled:
            piece.played += filled
            piece.until_s = at_s + filled / self.sample_rate_hz
        return filled

    def _end_if_over(self, piece: _Piece, at_s: float, marks: list[Mark]) -> bool:
        """Take the first piece out if all of it has been played; `at_s`: its end when it had no sound."""
        if piece.sound or not piece.whole:
            return False
        self._pieces.popleft()
        marks.append(self._marked(piece, "ended", piece.until_s or at_s))
        return True

    def _louder(self, samples: Samples) -> Samples:
        scaled: Samples = np.clip(samples * np.float32(self.gain), -32768, 32767).astype(np.int16)
        return scaled

    def _marked(self, piece: _Piece, moment: Moment, at_s: float) -> Mark:
        return Mark(piece.turn_id, piece.index, moment, at_s, piece.played / self.sample_rate_hz)


def _fade(samples: Samples, *, rising: bool) -> None:
    """Let them rise from silence, or sink into it, along a half of a cosine."""
    places = np.arange(1, len(samples) + 1) / (len(samples) + 1)
    rise = np.sin(np.pi / 2 * places) ** 2
    samples[:] = np.rint(samples * (rise if rising else rise[::-1]))
