"""The speaker: approved pieces in, sound out, with marks of what was really played.

Synthesis runs on one thread of its own, a piece ahead of what is heard; the sound goes from there straight
into the playout. Everything else happens on the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from apps.shared.errors import AivtError
from apps.shared.messages import (
    Delivery,
    Message,
    Mouth,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
)
from apps.tts_worker.cache import AudioCache, Clip, key_of
from apps.tts_worker.outputs import Output
from apps.tts_worker.playout import Mark, Playout
from apps.tts_worker.visemes import timeline
from apps.tts_worker.voice import Chunk, Phoneme, Voice, suited
from apps.tts_worker.voices import crashed

log = structlog.get_logger()


class Speaking(Protocol):
    """Who speaks. Asked on the synthesis thread, before each piece."""

    @property
    def voice(self) -> Voice | None:
        """The voice for the next piece."""

    def failed(self, voice: Voice, error: AivtError) -> Voice | None:
        """Return who speaks instead of a voice that could not, from now on; None when nobody is left."""


@dataclass(slots=True)
class _Turn:
    """The turn that is being spoken."""

    id: str
    asked: int = 0  # pieces wanted
    played: int = 0
    finished: bool = False  # no more will be asked
    cancelled: bool = False  # read by the synthesis thread between chunks
    trouble: AivtError | None = None
    last_s: float = 0.0


@dataclass(slots=True)
class _Piece:
    """A piece of a turn, and what has been synthesised of it so far."""

    turn: _Turn
    index: int
    text: str
    delivery: Delivery
    pcm: bytearray = field(default_factory=bytearray)
    phonemes: list[Phoneme] = field(default_factory=list)


class Speaker:
    """Speaks one turn at a time."""

    def __init__(
        self,
        who: Speaking,
        cache: AudioCache,
        playout: Playout,
        send: Callable[[Message], None],
        now_s: Callable[[], float],
        thread: Executor,
    ) -> None:
        self._who = who
        self._cache = cache
        self._playout = playout
        self._send = send
        self._now_s = now_s
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._turn: _Turn | None = None
        self.output: Output | None = None

    def speak(self, speak: Speak, delivery: Delivery) -> None:
        """Say a piece in this manner after what was said before. Changed text is refused."""
        if not speak.approved.intact():
            log.error("text differs from what was approved; not spoken", turn_id=speak.turn_id)
            return
        if self._turn is None or self._turn.id != speak.turn_id:
            if self._turn:
                self.cancel(self._turn.id)
            self._turn = _Turn(speak.turn_id)
        turn = self._turn
        turn.asked += 1
        self._playout.begin(turn.id, speak.index)
        piece = _Piece(turn, speak.index, speak.approved.spoken, delivery)
        self._thread.submit(self._synthesise, piece)

    def finish(self, turn_id: str) -> None:
        """No more pieces come in this turn."""
        if self._turn and self._turn.id == turn_id:
            self._turn.finished = True
            self._end_if_played(self._turn)
        else:
            self._send(SpeechEnd(turn_id=turn_id, at_s=self._now_s()))

    def cancel(self, turn_id: str) -> None:
        """Be silent: nothing of this turn is in the next frame, nor ever after."""
        if self._turn and self._turn.id == turn_id:
            self._turn.cancelled = True
            self._turn = None
        cut = self._playout.drop(turn_id)
        if self.output:
            self.output.turn_over(turn_id)
        at_s = max(self._now_s(), cut.silent_at_s)
        self._send(Stopped(turn_id=turn_id, at_s=at_s, index=cut.index, played=cut.share))

    def stop(self) -> None:
        """Cancel whatever is being said."""
        if self._turn:
            self.cancel(self._turn.id)

    # --- on the synthesis thread ---

    def _synthesise(self, piece: _Piece) -> None:
        turn = piece.turn
        if turn.cancelled:
            return
        voice = self._who.voice
        assert voice
        trouble = self._say(piece, voice)
        if trouble:
            log.error(
                "voice failed", turn_id=turn.id, code=trouble.code, reason=str(trouble), fix=trouble.fix
            )
            other = self._who.failed(voice, trouble)
            if other and not piece.pcm and not turn.cancelled:  # else half of it would be heard twice
                trouble = self._say(piece, other)
            turn.trouble = trouble or turn.trouble
        if turn.cancelled:
            return
        self._playout.complete(turn.id, piece.index)
        self._on_loop(self._complete, piece)

    def _say(self, piece: _Piece, voice: Voice) -> AivtError | None:
        """Say a piece, from the cache if it was said before; return what went wrong."""
        delivery, _ = suited(voice, piece.delivery)
        key = key_of(voice, delivery, piece.text)
        known = self._cache.get(key)

        def give(chunk: Chunk) -> bool:
            if piece.turn.cancelled:
                return False
            self._playout.add(piece.turn.id, piece.index, chunk.pcm)
            if not piece.pcm:
                self._on_loop(self._ready, piece, known is not None)
            piece.pcm += chunk.pcm
            piece.phonemes += chunk.phonemes
            return True

        try:
            if known:
                give(Chunk(known.pcm, known.phonemes))
            else:
                voice.synthesize(piece.text, delivery, give)
        except AivtError as error:
            return error
        except Exception as error:  # the thread's edge: else the executor keeps it, and the turn hangs
            log.error("voice crashed", turn_id=piece.turn.id, exc_info=error)
            return crashed(voice.engine, error)
        if piece.pcm and not known and not piece.turn.cancelled:
            self._cache.put(key, Clip(bytes(piece.pcm), tuple(piece.phonemes)))
        return None

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(call, *arguments)

    # --- on the event loop ---

    def _ready(self, piece: _Piece, cached: bool) -> None:
        turn = piece.turn
        if not turn.cancelled:
            self._send(PieceReady(turn_id=turn.id, index=piece.index, at_s=self._now_s(), cached=cached))
            self._wake()

    def _complete(self, piece: _Piece) -> None:
        turn = piece.turn
        if turn.cancelled:
            return
        self._wake()  # also for a piece without sound: the output has to pass over it
        duration_s = len(piece.pcm) / 2 / self._playout.sample_rate_hz
        visemes = tuple(timeline(piece.phonemes, duration_s))
        self._send(Mouth(turn_id=turn.id, index=piece.index, visemes=visemes))

    def _wake(self) -> None:
        if self.output:
            self.output.wake()

    def marked(self, mark: Mark) -> None:
        """The output has begun or ended a piece, or stands still in it, or goes on with it."""
        turn, index, at_s = self._turn, mark.index, mark.at_s
        if turn is None or turn.id != mark.turn_id:
            return
        match mark.moment:
            case "started":
                self._send(PieceStarted(turn_id=turn.id, index=index, at_s=at_s))
            case "hushed":
                self._send(PieceHushed(turn_id=turn.id, index=index, at_s=at_s, played_s=mark.played_s))
            case "resumed":
                self._send(PieceResumed(turn_id=turn.id, index=index, at_s=at_s, played_s=mark.played_s))
            case "ended":
                audio_ms = round(mark.played_s * 1000, 1)
                self._send(PiecePlayed(turn_id=turn.id, index=index, at_s=at_s, audio_ms=audio_ms))
                turn.played += 1
                turn.last_s = at_s
                self._end_if_played(turn)

    def _end_if_played(self, turn: _Turn) -> None:
        if not turn.finished or turn.played < turn.asked:
            return
        self._turn = None
        if self.output:
            self.output.turn_over(turn.id)
        trouble = turn.trouble
        self._send(
            SpeechEnd(
                turn_id=turn.id,
                at_s=turn.last_s or self._now_s(),
                reason=f"{trouble.code}: {trouble}" if trouble else "",
                fix=trouble.fix if trouble else "",
            )
        )
