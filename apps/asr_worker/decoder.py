"""Who may use the recogniser: one decode at a time, finals first, stale partials never."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Literal

import structlog

from apps.asr_worker.recogniser import Hypothesis, Recogniser
from apps.asr_worker.sound import Samples
from apps.shared.errors import AivtError, EngineError

# Of a recogniser slower than speech; then the oldest fails: a late answer is no answer. With utterances of
# 1 s and decodes of 3 s the words come up to 14 s late; with 8 it was 25 s.
MOST_FINALS = 4
LIMIT_S = 30.0  # one decode

Result = Hypothesis | AivtError

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """One decode. `done` is called once with its result, on the event loop; of a dropped job never."""

    kind: Literal["partial", "final"]
    samples: Samples
    vocabulary: tuple[str, ...]
    done: Callable[[Result], None]


class Decoder:
    """Owns the recogniser's one thread. All methods are called on the event loop and return at once.

    thread: runs one job at a time. With one that runs jobs as they are submitted all is over on return.
    """

    def __init__(self, recogniser: Recogniser, thread: Executor, now_s: Callable[[], float]) -> None:
        self._recogniser = recogniser
        self._thread = thread
        self._now_s = now_s
        self._finals: deque[Job] = deque()
        self._partial: Job | None = None  # waits; a newer one takes its place
        self._running: tuple[Job, float] | None = None  # and since when
        self._overdue = False  # the running job has been given up, its thread has not come back
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.partial_s = self.final_s = 0.0  # how long the last one took
        self.trouble: AivtError | None = None  # why the last decode failed

    def partial(self, samples: Samples, vocabulary: tuple[str, ...], done: Callable[[Result], None]) -> None:
        """Decode a growing window, unless something newer is asked for before its turn comes."""
        self._partial = Job("partial", samples, vocabulary, done)
        self._next()

    def final(self, samples: Samples, vocabulary: tuple[str, ...], done: Callable[[Result], None]) -> Job:
        """Decode a whole utterance, before any partial that waits."""
        job = Job("final", samples, vocabulary, done)
        self._finals.append(job)
        if len(self._finals) > MOST_FINALS:
            self.trouble = _too_slow()
            self._finals.popleft().done(self.trouble)
        self._next()
        return job

    def drop(self, job: Job | None = None) -> None:
        """Forget the waiting partial, and this final if it has not begun."""
        self._partial = None
        if job is not None and job in self._finals:
            self._finals.remove(job)

    def drop_all(self) -> None:
        """Forget everything that waits."""
        self._partial = None
        self._finals.clear()

    def close(self) -> None:
        """Forget everything that waits, and begin nothing more."""
        self._closed = True
        self.drop_all()

    def watch(self) -> None:
        """Give up a decode that takes too long, and what waits for it. To be called now and then."""
        if self._running is None or self._overdue or self._now_s() - self._running[1] < LIMIT_S:
            return
        self._overdue = True
        job, waiting = self._running[0], list(self._finals)
        self.drop_all()
        self.trouble = _too_slow()
        for given_up in (job, *waiting):
            given_up.done(self.trouble)

    async def idle(self) -> None:
        """Wait until nothing is decoded and nothing waits."""
        await self._idle.wait()

    def _next(self) -> None:
        if self._running is not None or self._closed:
            return
        if self._finals:
            job = self._finals.popleft()
        elif self._partial is not None:
            job, self._partial = self._partial, None
        else:
            self._idle.set()
            return
        self._idle.clear()
        self._running = job, self._now_s()
        future = self._thread.submit(self._decode, job)
        if future.done():
            self._finished(future)
        else:
            loop = asyncio.get_running_loop()
            future.add_done_callback(lambda done: loop.call_soon_threadsafe(self._finished, done))

    def _decode(self, job: Job) -> Result:
        decode = self._recogniser.final if job.kind == "final" else self._recogniser.partial
        try:
            try:
                return decode(job.samples, job.vocabulary)
            except AivtError as error:
                if job.kind == "partial" or not error.retryable:  # the next partial is the other try
                    return error
                log.warning("decoding again", code=error.code, reason=str(error))
                return decode(job.samples, job.vocabulary)
        except AivtError as error:
            return error
        except Exception as error:  # the thread's edge: what an engine has not foreseen must not end the ears
            log.exception("recogniser failed", kind=job.kind)
            return EngineError("recogniser_failed", f"the recogniser failed: {error}", fix="See the log.")

    def _finished(self, future: Future[Result]) -> None:
        assert self._running is not None
        (job, since_s), overdue = self._running, self._overdue
        self._running, self._overdue = None, False
        if job.kind == "final":
            self.final_s = self._now_s() - since_s
        else:
            self.partial_s = self._now_s() - since_s
        if not overdue and not future.cancelled():
            result = future.result()
            self.trouble = result if isinstance(result, AivtError) else None
            job.done(result)
        self._next()


def _too_slow() -> AivtError:
    return EngineError(
        "recogniser_slow",
        "the recogniser is slower than speech",
        fix="Choose a smaller ASR_MODEL, or end other programs.",
    )
