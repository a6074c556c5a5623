"""From the teacher's speech to what the network learns: ids, frames for each of them, and the sound."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
import numpy.typing as npt
import soxr
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from tests.voices.sentences import remarks
from tests.voices.sizes import Size
from tests.voices.teach import END, PAD, SILENT, STRESS, TEACHERS, Group, groups, say, symbols

LEAD_S = 0.048  # silence before the first sound
PAUSE_S = 0.16  # and after the last one
PEAK = 0.8

Sound = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One sentence by one speaker."""

    ids: npt.NDArray[np.int64]
    frames: npt.NDArray[np.int64]  # for each id, at least one
    sound: Sound  # sum(frames) * size.frame_samples samples
    speaker: int


def lessons(size: Size, seed: int) -> Iterator[Lesson]:
    """Yield lessons without end, the speakers in turn, the same ones for the same seed."""
    for number, text in enumerate(remarks(seed)):
        speaker = number % len(size.speakers)
        if lesson := _lesson(size, text, speaker):
            yield lesson


def _lesson(size: Size, text: str, speaker: int) -> Lesson | None:
    speech = say(text, TEACHERS[size.speakers[speaker]])
    shared = groups(symbols(text), speech.sounds)
    if shared is None or any(
        symbol not in DEFAULT_PHONEME_ID_MAP for part in shared for symbol in part.symbols
    ):
        return None
    first, last = shared[1].start, shared[-1].start
    lead, pause = (round(seconds * speech.sample_rate_hz) for seconds in (LEAD_S, PAUSE_S))
    frame = size.frame_samples * speech.sample_rate_hz / size.sample_rate_hz
    count = round((lead + last - first + pause) / frame)
    starts = [0, *((part.start - first + lead) / frame for part in shared[1:]), count]
    ids, frames = _shared_out(shared, _room(starts, [_ids_of(part) for part in shared]))
    if frames.sum() != count:
        return None  # said too fast for so many symbols
    spoken = np.concatenate([np.zeros(lead), speech.samples[first:last], np.zeros(pause)])
    sound = soxr.resample(spoken.astype(np.float32), speech.sample_rate_hz, size.sample_rate_hz)
    sound = _of_length(sound, count * size.frame_samples)
    sound *= PEAK / np.abs(sound).max()
    return Lesson(ids, frames, sound, speaker)


def _ids_of(part: Group) -> int:
    """Every symbol is followed by a blank, but for the last one."""
    return 2 * len(part.symbols) - (part.symbols[-1] == END)


def _room(starts: Sequence[float], least: Sequence[int]) -> list[int]:
    """Return `starts` in whole frames, moved as little as can be so that each part has its least length.

    Moving parts only to later times would do, and so would only to earlier ones; the middle of the two has
    the smallest error. Without room for all of them the last one is not where it was.
    """
    later, earlier = [starts[0]], [starts[-1]]
    for start, length in zip(starts[1:], least, strict=True):
        later.append(max(start, later[-1] + length))
    for start, length in zip(starts[-2::-1], least[::-1], strict=True):
        earlier.append(min(start, earlier[-1] - length))
    middle = [(a + b) / 2 for a, b in zip(later, earlier[::-1], strict=True)]
    return [floor(start + 0.5) for start in middle]  # round() goes to even numbers: 1.5 and 2.5 are both 2


def _shared_out(
    shared: Sequence[Group], starts: Sequence[int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the ids and their frames: one for a blank or a stress mark, the rest to the letters."""
    ids: list[int] = []
    frames: list[int] = []
    for part, start, end in zip(shared, starts[:-1], starts[1:], strict=True):
        letters = [symbol for symbol in part.symbols if symbol not in SILENT and symbol not in STRESS + END]
        takers = letters or [part.symbols[0]]
        spare = end - start - _ids_of(part)
        for symbol in part.symbols:
            extra = 0
            if takers and symbol == takers[0]:
                extra = spare // len(takers)
                spare -= extra
                takers = takers[1:]
            ids += [*DEFAULT_PHONEME_ID_MAP[symbol], *DEFAULT_PHONEME_ID_MAP[PAD]]
            frames += [1 + extra, 1]
    return np.array(ids[:-1]), np.array(frames[:-1])


def _of_length(sound: Sound, length: int) -> Sound:
    return np.pad(sound[:length], (0, max(0, length - len(sound))))
