"""Lessons in batches: the tokens before and after, the padding, and a different ear for everyone."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import torch

from tests.ears import tokens
from tests.ears.network import LONGEST, MELS
from tests.ears.sentences import VOCABULARY
from tests.ears.teach import Lesson

BATCH = 24
WHOLE = 6  # of lessons in a batch that is padded to 30 s, as faster-whisper does
NEW = 50 * BATCH  # lessons in a round
ROUNDS = 3  # that each lesson is used in, differently every time
PADDING_S = (0.2, 1.8)  # of silence that is none: faster-whisper pads what it hears with zeros
POSITION_S = 0.02
FRAME_S = 0.01
NO_TARGET = -100
WEIGHT_OF_MOMENT, WEIGHT_OF_START = 0.3, 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """Shapes: B lessons, F frames, P = F / 2 positions, T tokens."""

    mels: Any  # (B, MELS, F)
    ids: Any  # (B, T)
    targets: Any  # (B, T): the token after each
    weights: Any  # (B, T): how much it counts
    spans: Any  # (B, T, P): 1 where to listen for the target, else 0
    words: Any  # (B, P): the word there, 0 for none, NO_TARGET far behind the end


class _Row(NamedTuple):
    ids: list[int]
    weights: list[float]
    heard: list[tuple[int, float, float]]  # place among the ids, and where to listen for what comes next


def batches(taught: Iterator[Lesson], seed: int, whole: float) -> Iterator[Batch]:
    """Yield batches without end; `whole` is the share of those that are padded to 30 s."""
    chance = np.random.default_rng(seed)
    rounds: deque[list[Lesson]] = deque(maxlen=ROUNDS)
    while True:
        rounds.append(list(islice(taught, NEW)))
        # of like length: filled up to the longest, half of a batch would be nothing
        window = sorted((lesson for listed in rounds for lesson in listed), key=lambda one: one.mels.shape[1])
        for number in chance.permutation(len(window) // BATCH):
            chosen = window[number * BATCH : (number + 1) * BATCH]
            if chance.random() < whole:
                picked = chance.permutation(BATCH)[:WHOLE]
                yield batch([chosen[place] for place in picked], chance, 2 * LONGEST)
            else:
                longest = chosen[-1].mels.shape[1]
                frames = longest + round(chance.uniform(*PADDING_S) / FRAME_S)
                yield batch(chosen, chance, frames + frames % 2)


def batch(chosen: Sequence[Lesson], chance: np.random.Generator, frames: int) -> Batch:
    """Return lessons as tensors, padded to so many frames."""
    reminded = chance.random() < 0.15
    rows = [_row(lesson, chance, reminded and chance.random() < 0.6) for lesson in chosen]
    longest = max(len(row.ids) for row in rows) - 1
    mels = np.zeros((len(rows), MELS, frames), np.float32)
    ids = np.full((len(rows), longest), tokens.number(tokens.END))
    targets = np.full_like(ids, NO_TARGET)
    weights = np.zeros(ids.shape, np.float32)
    spans = np.zeros((*ids.shape, frames // 2), np.float32)
    words = np.full((len(rows), frames // 2), NO_TARGET)
    for number, (lesson, row) in enumerate(zip(chosen, rows, strict=True)):
        length = lesson.mels.shape[1]
        count = len(row.ids) - 1
        mels[number, :, :length] = heard_by_another(lesson.mels.astype(np.float32), chance)
        ids[number, :count] = row.ids[:-1]
        targets[number, :count] = row.ids[1:]
        if not lesson.tokens:  # what is asked for at the start, whatever stands there next
            targets[number, row.ids.index(tokens.number(tokens.START))] = tokens.number(tokens.NO_SPEECH)
        weights[number, :count] = row.weights
        for place, start_s, end_s in row.heard:
            spans[number, place, _positions(start_s, end_s)] = 1
        words[number, : length // 2 + 25] = 0
        for word, start_s, end_s in lesson.words:
            words[number, _positions(start_s, end_s)] = word
    parts = (mels, ids, targets, weights, spans, words)
    return Batch(*(torch.from_numpy(part) for part in parts))


def heard_by_another(mels: Any, chance: np.random.Generator) -> Any:
    """Return mels (MELS, F) as of another throat, through another microphone, with a gap now and then."""
    throat = np.clip(np.arange(MELS) * chance.uniform(0.92, 1.08) + chance.uniform(-1, 1), 0, MELS - 1.001)
    below = throat.astype(int)
    part = (throat - below)[:, None].astype(np.float32)
    mels = mels[below] * (1 - part) + mels[below + 1] * part
    microphone = np.interp(np.arange(MELS), np.linspace(0, MELS, 6), chance.normal(0, 0.1, 6))
    mels += microphone[:, None].astype(np.float32)
    if chance.random() < 0.3:
        begin = chance.integers(MELS - 10)
        mels[begin : begin + chance.integers(2, 11)] = mels.mean()
    if chance.random() < 0.2:
        begin = chance.integers(mels.shape[1])
        mels[:, begin : begin + chance.integers(2, 9)] = mels.mean()
    return mels


def _row(lesson: Lesson, chance: np.random.Generator, reminded: bool) -> _Row:
    """Return <|startoftranscript|>, moments or <|notimestamps|>, text, <|endoftext|>."""
    timed = chance.random() < 0.5
    ids = [tokens.number(tokens.EARLIER), *_earlier(chance)] if reminded else []
    weights = [0.0] * len(ids) + [WEIGHT_OF_START]
    ids.append(tokens.number(tokens.START))
    # Whisper allows no first moment after the first second
    ids.append(tokens.moment(min(1.0, lesson.start_s)) if timed else tokens.number(tokens.NO_TIMES))
    first = len(ids) - 1
    heard = [(first + place, token.start_s, token.end_s) for place, token in enumerate(lesson.tokens)]
    ids += [token.id for token in lesson.tokens]
    weights += [1.0] * len(lesson.tokens)
    if timed and lesson.tokens:
        heard.append((len(ids) - 1, lesson.end_s - 0.2, lesson.end_s + 0.2))
        ids.append(tokens.moment(lesson.end_s))
        weights.append(WEIGHT_OF_MOMENT)
    ids.append(tokens.number(tokens.END))
    weights.append(1.0)
    return _Row(ids, weights, heard)


def _earlier(chance: np.random.Generator) -> list[int]:
    """Return what may stand before a sentence: words that were said, and names that it does not know."""
    listed = list(chance.choice(VOCABULARY, chance.integers(1, 9)))
    for _ in range(chance.integers(0, 3)):
        letters = chance.choice(list("abcdefghijklmnoprstuvyz"), chance.integers(3, 8))
        listed.append("".join(letters).capitalize())
    text = chance.choice([" ", ", "]).join(chance.permutation(listed))
    return tokens.encoded(f" {text}{chance.choice(['', '.', '?'])}")


def _positions(start_s: float, end_s: float) -> slice:
    start = max(0, round(start_s / POSITION_S))
    return slice(start, max(start + 1, round(end_s / POSITION_S)))
