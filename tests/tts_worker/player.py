"""Something to play and an output that plays it, for the tests of outputs and of sound cards."""

import asyncio

import numpy as np

from apps.tts_worker.playout import Playout

RATE_HZ = 22_050
FRAME = 441


class Player:
    """A playout and its output; a turn is over when its last piece has ended."""

    def __init__(self, make):
        self.loop = asyncio.get_running_loop()
        self.held_up_s = 0.0
        self.clock_reads = 0
        self.marks = []
        self.drawn = []  # (when by the loop's clock, turn, frame)
        self.last = 0  # the index of the turn's last piece
        self.playout = Playout(RATE_HZ, self.mark)
        self.output = make(self)
        self.task = asyncio.create_task(self.output.run())

    def now_s(self):
        self.clock_reads += 1
        return self.loop.time() + self.held_up_s

    def write(self, turn_id, frame):
        self.drawn.append((self.loop.time(), turn_id, frame.tolist()))

    def mark(self, mark):
        self.marks.append(mark)
        if mark.moment == "ended" and mark.index == self.last:
            self.loop.call_soon_threadsafe(self.output.turn_over, mark.turn_id)

    def say(self, samples, turn_id="a", index=0, *, whole=True):
        """Put a piece in, or more of it."""
        if self.playout._find(turn_id, index) is None:
            self.playout.begin(turn_id, index)
        self.playout.add(turn_id, index, np.array(samples, "<i2").tobytes())
        if whole:
            self.playout.complete(turn_id, index)
        self.output.wake()
