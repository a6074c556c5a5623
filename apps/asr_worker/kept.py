"""The sound of the last seconds, from which utterances are decoded."""

from collections import deque

import numpy as np

from apps.asr_worker.frames import Frame
from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ, Samples

KEPT_S = 34.0  # the longest utterance and what is kept before it; what is older is dropped first


class Kept:
    """A bounded memory of frames."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque(maxlen=round(KEPT_S / FRAME_S))

    def add(self, frame: Frame) -> None:
        """Keep a frame. A gap before it is filled with silence, so that times within stay right."""
        missing = round(frame.gap_s / FRAME_S) if self._frames else 0
        for back in range(min(missing, self._frames.maxlen or 0), 0, -1):
            self._frames.append(Frame(np.zeros(FRAME_SAMPLES, np.float32), frame.at_s - back * FRAME_S))
        self._frames.append(frame)

    def forget_before(self, at_s: float) -> None:
        """Drop the frames that end before a moment."""
        while self._frames and self._frames[0].end_s <= at_s:
            self._frames.popleft()

    def clear(self) -> None:
        """Drop everything."""
        self._frames.clear()

    def between(self, from_s: float, to_s: float) -> tuple[Samples, float]:
        """Return what is kept of that time, in whole frames, and when its first sample was captured."""
        chosen = [frame for frame in self._frames if frame.end_s > from_s and frame.at_s < to_s]
        if not chosen:
            return np.zeros(0, np.float32), from_s
        return np.concatenate([frame.samples for frame in chosen]), chosen[0].at_s


def seconds(samples: Samples) -> float:
    """How long it lasts."""
    return len(samples) / RATE_HZ
