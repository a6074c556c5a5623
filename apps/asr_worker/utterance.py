"""One utterance, from the first voice in it to its transcript."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import structlog

from apps.asr_worker.completeness import completeness
from apps.asr_worker.decoder import Decoder, Job, Result
from apps.asr_worker.echo import Echo
from apps.asr_worker.endpoint import GO_ON, START, Began, Ended, Endpointer
from apps.asr_worker.frames import Frame
from apps.asr_worker.hallucinations import refused
from apps.asr_worker.kept import Kept, seconds
from apps.asr_worker.recogniser import Hypothesis
from apps.asr_worker.sound import FRAME_S, Samples
from apps.asr_worker.stable import Agreement
from apps.shared.errors import AivtError
from apps.shared.messages import Message, NoWords, Partial, Transcript, UtteranceStarted, Word

PARTIAL_S = 0.24  # of new sound; measured: more often costs more and tells nothing sooner
REST = 1.5  # times a partial's own length before the next: a slow processor has others to serve, too
GUESS_LIMIT_S = 0.6  # a full decode that takes longer is not begun on a guess: who goes on would wait for it
TAIL_S = 0.2  # of silence after the last voice helps the recogniser to see that it was the last

_Code = Literal["no_words", "hallucination", "echo", "forgotten", "failed"]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Means:
    """What utterances are made out with; the same for all of them."""

    endpointer: Endpointer
    decoder: Decoder
    echo: Echo
    kept: Kept
    send: Callable[[Message], None]
    now_s: Callable[[], float]
    vocabulary: Callable[[], tuple[str, ...]]
    language: str


@dataclass(slots=True)
class _Window:
    """Sound that is given to the recogniser."""

    samples: Samples
    from_s: float  # when its first sample was captured

    @property
    def to_s(self) -> float:
        return self.from_s + seconds(self.samples)


@dataclass(slots=True)
class _Guess:
    """The full decode, begun in a pause in the hope that the utterance is over."""

    paused_s: float
    window: _Window
    job: Job | None = None
    result: Result | None = None

    def is_of(self, paused_s: float | None, end_s: float) -> bool:
        """Whether it came true: nothing was said since, and it did not fail."""
        same = self.paused_s == paused_s and end_s <= self.window.to_s
        return same and not isinstance(self.result, AivtError)


class Utterance:
    """Decodes again and again while it grows, and once in full at its end.

    Sends UtteranceStarted, Partial*, then one of Transcript and NoWords.
    """

    def __init__(self, began: Began, means: Means) -> None:
        self._means = means
        self._id = uuid.uuid4().hex[:12]
        self.start_s = began.start_s
        self._keep_from_s = means.endpointer.keep_from_s
        self._agreement = Agreement()
        self._shown = ("", 0, False)
        self._settled = True  # nothing is shown, or all of it was the same twice
        self._voiced = True
        self._voiced_s = began.at_s - began.start_s
        self._voice_since_look = False
        self._looked_to_s = float("-inf")
        self._paused_s: float | None = None  # since when the voice is gone; None: it is there
        self._guess: _Guess | None = None
        self._end: Ended | None = None
        self.over = False  # everything about it has been told
        means.send(UtteranceStarted(utterance_id=self._id, start_s=began.start_s, at_s=means.now_s()))
        self._look()

    def follow(self, frame: Frame, probability: float) -> None:
        """Take note of a frame that may belong to it."""
        self._voiced = probability >= (GO_ON if self._voiced else START)  # as the endpointer has it
        if self._voiced:
            self._voiced_s += FRAME_S
            self._voice_since_look = True
            self._paused_s = None
        pause_s = max(PARTIAL_S, REST * self._means.decoder.partial_s)
        unclear = self._voice_since_look or not (self._settled or self._guessed)
        if unclear and frame.end_s - self._looked_to_s >= pause_s - FRAME_S / 2:
            self._look()

    def paused(self, at_s: float) -> None:
        """Look at once: if nothing more comes, this is all."""
        self._paused_s = at_s
        self._look()

    def end(self, ended: Ended) -> None:
        """Tell what it said, as soon as that is known."""
        self._end = ended
        decoder, guess = self._means.decoder, self._guess
        if guess is not None and guess.is_of(self._paused_s, ended.end_s):
            decoder.drop()
            if guess.result is not None:
                self._conclude(guess.result, guess.window)
            return  # else it is being decoded, or comes next
        decoder.drop(guess.job if guess else None)
        self._guess = None
        tail_s = 0.0 if ended.cause == "limit" else TAIL_S  # there the next utterance begins at once
        window = self._window(ended.end_s + tail_s)
        if len(window.samples) == 0:
            self._nothing("no_words")
            return
        decoder.final(window.samples, self._means.vocabulary(), lambda result: self._conclude(result, window))

    def forget(self) -> None:
        """Nobody is to know what it said."""
        if not self.over:
            self._nothing("forgotten", "the ears were switched, or whoever listened to them is gone")

    def _window(self, to_s: float = float("inf")) -> _Window:
        return _Window(*self._means.kept.between(self._keep_from_s, to_s))

    def _look(self) -> None:
        window, paused_s = self._window(), self._paused_s
        if len(window.samples) == 0:
            return  # a key that was pressed just now
        self._looked_to_s = window.to_s
        self._voice_since_look = False
        self._means.decoder.partial(
            window.samples, self._means.vocabulary(), lambda result: self._seen(result, window, paused_s)
        )

    def _seen(self, result: Result, window: _Window, paused_s: float | None) -> None:
        if self._end is not None or self.over or self._guessed or isinstance(result, AivtError):
            return
        still = paused_s is not None and paused_s == self._paused_s
        if text := self._believed(result, window):
            shown = self._agreement.feed(text)
            self._show(shown.text, shown.stable, window.to_s, paused=still)
        if still and self._means.decoder.final_s <= GUESS_LIMIT_S:
            self._begin_guess()

    @property
    def _guessed(self) -> bool:
        """Whether the full decode has begun in this pause: it knows better than a later partial."""
        return self._guess is not None and self._guess.paused_s == self._paused_s

    def _begin_guess(self) -> None:
        assert self._paused_s is not None
        guess = self._guess = _Guess(self._paused_s, self._window())

        def guessed(result: Result) -> None:
            guess.result = result
            if self.over or guess is not self._guess:
                return
            if self._end is not None:
                self._conclude(result, guess.window)
            elif guess.paused_s == self._paused_s and not isinstance(result, AivtError):
                self._show_guess(result, guess.window)

        guess.job = self._means.decoder.final(guess.window.samples, self._means.vocabulary(), guessed)

    def _show_guess(self, result: Hypothesis, window: _Window) -> None:
        """Show the full decode: if no more voice comes, its text is the final one, whatever partials said."""
        if text := self._believed(result, window):
            self._agreement.feed(text)
            self._show(text, len(text), window.to_s, paused=True)

    def _believed(self, result: Hypothesis, window: _Window) -> str:
        """Return the text, or "" if it is better not shown."""
        if not result.text or refused(result, seconds(window.samples), self._voiced_s):
            return ""
        return "" if self._means.echo.matches(result.text, self.start_s, whole=False) else result.text

    def _show(self, text: str, stable: int, to_s: float, *, paused: bool) -> None:
        self._settled = stable >= len(text)
        self._means.endpointer.said(text, self._settled)
        complete = paused and self._settled and completeness(text, self._means.language) != "unfinished"
        shown = (text, stable, complete)
        if shown == self._shown:
            return
        self._shown = shown
        self._means.send(
            Partial(
                utterance_id=self._id,
                text=text,
                stable=stable,
                complete=complete,
                start_s=self.start_s,
                end_s=to_s,
                at_s=self._means.now_s(),
            )
        )

    def _conclude(self, result: Result, window: _Window) -> None:
        if self.over:
            return
        if isinstance(result, AivtError):
            self._nothing("failed", str(result))
        elif not result.text:
            self._nothing("no_words")
        elif code := refused(result, seconds(window.samples), self._voiced_s):
            self._nothing("hallucination", code)
        elif self._means.echo.matches(result.text, self.start_s):
            self._means.echo.learn(self.start_s)
            self._nothing("echo", "she has just said this herself")
        else:
            self._tell(result, window)

    def _tell(self, result: Hypothesis, window: _Window) -> None:
        assert self._end is not None
        self.over = True
        at_s = self._means.now_s()
        words = tuple(
            Word(
                text=word.text,
                start_s=window.from_s + word.start_s,
                end_s=window.from_s + word.end_s,
                probability=word.probability,
            )
            for word in result.words
        )
        self._means.send(
            Transcript(
                utterance_id=self._id,
                text=result.text,
                words=words,
                start_s=self.start_s,
                end_s=min(self._end.end_s, at_s),
                ended_s=min(self._end.at_s, at_s),
                at_s=at_s,
                avg_logprob=result.avg_logprob,
                no_speech_prob=result.no_speech_prob,
            )
        )

    def _nothing(self, code: _Code, reason: str = "") -> None:
        self.over = True
        at_s = self._means.now_s()
        log.info("nothing to answer was heard", code=code, reason=reason)
        self._means.send(
            NoWords(
                utterance_id=self._id,
                code=code,
                start_s=self.start_s,
                end_s=min(self._end.end_s, at_s) if self._end else at_s,
                at_s=at_s,
                reason=reason,
            )
        )
