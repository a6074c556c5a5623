"""The speaker: approved pieces in, sound out, with marks of what was really played.

Synthesis runs on one thread of its own, a piece ahead of what is heard; the sound goes from there straight
into the playout. Everything else happens on the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field

import structlog

from apps.shared.errors import EngineError
from apps.shared.messages import (
    Message,
    Mouth,
    PiecePlayed,
    PieceReady,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
)
from apps.tts_worker.cache import AudioCache, Clip, key_of
from apps.tts_worker.outputs import Output
from apps.tts_worker.playout import Mark, Playout
from apps.tts_worker.visemes import timeline
from apps.tts_worker.voice import Chunk, Phoneme, Voice

log = structlog.get_logger()


@dataclass(slots=True)
class _Turn:
    """The turn that is being spoken."""

    id: str
    asked: int = 0  # pieces wanted
    played: int = 0
    finished: bool = False  # no more will be asked
    cancelled: bool = False  # read by the synthesis thread between chunks
    trouble: EngineError | None = None
    last_s: float = 0.0


@dataclass(slots=True)
class _Clip:
    """What has been synthesised of a piece so far."""

    pcm: bytearray = field(default_factory=bytearray)
    phonemes: list[Phoneme] = field(default_factory=list)


class Speaker:
    """Speaks one turn at a time."""

    def __init__(
        self,
        voice: Voice,
        cache: AudioCache,
        playout: Playout,
        send: Callable[[Message], None],
        now_s: Callable[[], float],
        thread: Executor,
    ) -> None:
        self._voice = voice
        self._cache = cache
        self._playout = playout
        self._send = send
        self._now_s = now_s
        self._thread = thread
        self._loop = asyncio.get_running_loop()
        self._turn: _Turn | None = None
        self.output: Output | None = None

    def speak(self, speak: Speak) -> None:
        """Say a piece after what was said before. Text that was changed after its approval is refused."""
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
        self._thread.submit(self._synthesise, turn, speak.index, speak.approved.spoken)

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

    def _synthesise(self, turn: _Turn, index: int, text: str) -> None:
        if turn.cancelled:
            return
        key = key_of(self._voice, text)
        known = self._cache.get(key)
        clip = _Clip()

        def give(chunk: Chunk) -> bool:
            if turn.cancelled:
                return False
            self._playout.add(turn.id, index, chunk.pcm)
            if not clip.pcm:
                self._on_loop(self._ready, turn, index, known is not None)
            clip.pcm += chunk.pcm
            clip.phonemes += chunk.phonemes
            return True

        try:
            if known:
                give(Chunk(known.pcm, known.phonemes))
            else:
                self._voice.synthesize(text, give)
        except Exception as error:  # the thread's edge: else the executor keeps it, and the turn hangs
            turn.trouble = error if isinstance(error, EngineError) else _crashed(self._voice, error)
            log.error("voice failed", turn_id=turn.id, code=turn.trouble.code, exc_info=error)
        if turn.cancelled:
            return
        self._playout.complete(turn.id, index)
        self._on_loop(self._complete, turn, index, clip)
        if clip.pcm and not known and not turn.trouble:
            self._cache.put(key, Clip(bytes(clip.pcm), tuple(clip.phonemes)))

    def _on_loop(self, call: Callable[..., None], *arguments: object) -> None:
        self._loop.call_soon_threadsafe(call, *arguments)

    # --- on the event loop ---

    def _ready(self, turn: _Turn, index: int, cached: bool) -> None:
        if not turn.cancelled:
            self._send(PieceReady(turn_id=turn.id, index=index, at_s=self._now_s(), cached=cached))
            self._wake()

    def _complete(self, turn: _Turn, index: int, clip: _Clip) -> None:
        if turn.cancelled:
            return
        self._wake()  # also for a piece without sound: the output has to pass over it
        duration_s = len(clip.pcm) / 2 / self._voice.sample_rate_hz
        visemes = tuple(timeline(clip.phonemes, duration_s))
        self._send(Mouth(turn_id=turn.id, index=index, visemes=visemes))

    def _wake(self) -> None:
        if self.output:
            self.output.wake()

    def marked(self, mark: Mark) -> None:
        """The output has begun or ended a piece."""
        turn = self._turn
        if turn is None or turn.id != mark.turn_id:
            return
        if not mark.ended:
            self._send(PieceStarted(turn_id=turn.id, index=mark.index, at_s=mark.at_s))
            return
        audio_ms = round(mark.audio_s * 1000, 1)
        self._send(PiecePlayed(turn_id=turn.id, index=mark.index, at_s=mark.at_s, audio_ms=audio_ms))
        turn.played += 1
        turn.last_s = mark.at_s
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


def _crashed(voice: Voice, error: Exception) -> EngineError:
    return EngineError(
        "voice_crashed",
        f"{voice.engine} failed: {type(error).__name__}: {error}",
        fix="Choose another TTS_ENGINE, and report this with the log of the voice.",
    )
