"""Sound that a fake recogniser can read: every word is a steady level of its own."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np

from apps.asr_worker.recogniser import HeardWord, Hypothesis
from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ, Block, Samples
from apps.shared.errors import AivtError

WORDS = ["hello", "kitsu", "what", "do", "you", "think", "yes", "go", "on", "and", "tell", "me", "more"]
WORDS += ["about", "the", "castle"]
WORD_S = 10 * FRAME_S
LOUD, STEP = 0.2, 0.02


def spoken(text: str) -> Samples:
    """The words, one straight after the other; "_" is a word's length of silence, "~" half of one."""
    return np.concatenate([_sound(word) for word in text.split()])


def _sound(word: str) -> Samples:
    if word in "_~":
        return np.zeros(round((WORD_S if word == "_" else WORD_S / 2) * RATE_HZ), np.float32)
    return np.full(round(WORD_S * RATE_HZ), LOUD + STEP * WORDS.index(word), np.float32)


class SteadyVad:
    """A voice is whatever is not silence."""

    name = "steady"
    trouble: AivtError | None = None
    resets = 0

    def probability(self, frame: Samples) -> float:
        return float(np.abs(frame).max() > LOUD / 2)

    def reset(self) -> None:
        self.resets += 1


class Reader:
    """Reads the words of which at least half has been said."""

    engine, model = "reader", "steady"
    trouble: AivtError | None = None

    def __init__(self) -> None:
        self.calls: list[tuple[str, float]] = []  # kind, seconds of sound
        self.vocabulary: tuple[str, ...] = ()
        self.fails: Exception | None = None
        self.sure = Hypothesis("", avg_logprob=-0.1, no_speech_prob=0.01)
        self.says: str | None = None  # this instead of what it reads
        self.closed = False

    def partial(self, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        return self._read("partial", samples, vocabulary)

    def final(self, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        return self._read("final", samples, vocabulary)

    def close(self) -> None:
        self.closed = True

    def _read(self, kind: str, samples: Samples, vocabulary: tuple[str, ...]) -> Hypothesis:
        self.calls.append((kind, len(samples) / RATE_HZ))
        self.vocabulary = vocabulary
        if self.fails is not None:
            raise self.fails
        levels = (
            samples[: len(samples) // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES).mean(axis=1)
        )
        words, start = [], 0
        for end in range(1, len(levels) + 1):
            if end < len(levels) and abs(levels[end] - levels[start]) < STEP / 4:
                continue
            if levels[start] > LOUD / 2 and end - start >= 5:
                word = WORDS[round((float(levels[start]) - LOUD) / STEP)]
                words.append(HeardWord(word, start * FRAME_S, end * FRAME_S, 0.9))
            start = end
        text = " ".join(word.text for word in words) if self.says is None else self.says
        timed = tuple(words) if kind == "final" else ()
        return Hypothesis(text, timed, self.sure.avg_logprob, self.sure.no_speech_prob)


class Paced(Executor):
    """Takes its time, by the event loop's clock, and tells when two jobs overlap."""

    def __init__(self, **takes_s: float) -> None:
        self.takes_s = takes_s  # partial, final
        self.running = self.most = 0

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.running += 1
        self.most = max(self.most, self.running)

        def finish() -> None:
            self.running -= 1
            future.set_result(call(*args, **kwargs))

        asyncio.get_running_loop().call_later(self.takes_s[args[0].kind], finish)
        return future


async def play(hear: Callable[[Block], None], samples: Samples, at_s: float | None = None) -> None:
    """Give sound as a microphone does: a block is there when its last sample is."""
    loop = asyncio.get_running_loop()
    at_s = loop.time() if at_s is None else at_s
    for start in range(0, len(samples), FRAME_SAMPLES):
        await asyncio.sleep(FRAME_S)
        hear(Block(samples[start : start + FRAME_SAMPLES], at_s + start / RATE_HZ))
