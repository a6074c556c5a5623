"""`aivt bench interrupt`: how soon she is silent and the model stops, and whether anything follows.

The engines write into every sample which request it comes from, and the show records what it plays
(`TTS_OUTPUT=dir:`), so that a recording tells when the last sample of a turn was out, and whose it was.
"""

import argparse
import random
import time
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from apps.shared.clock import now_s
from apps.shared.messages import Caption, PieceStarted, TurnState
from scripts.bench import replies, rig
from scripts.bench.engines import NUMBERS, RATE_HZ, Asked, Costs
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.stream import Watcher

TURNS = 200
LINE = "tell me a story"
FRAME_MS = 20.0
# Short sounds, so that pieces are played, and end, while model and voice are still at work.
COSTS = Costs(sound_character_s=0.010)
AFTER_S = 0.1  # how long each turn is watched after its end
SEED = 1
STALE = ("stale_piece_starts", "stale_voice_requests", "stale_recordings", "foreign_sounds")

Moment = Literal["thinking", "speaking", "between"]
MOMENTS: tuple[Moment, ...] = ("thinking", "speaking", "between")
Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """One turn that was cut off; times are of the machine's clock."""

    turn_id: str
    moment: Moment
    begun_s: float
    asked_s: float
    over_s: float  # when the stream said so
    watched_s: float
    started_s: dict[int, float]  # piece -> its first sample was out
    heard: Samples  # empty: nothing

    @property
    def silent_s(self) -> float | None:
        """When the last sample was out; None when nothing was heard."""
        sounding = np.flatnonzero(self.heard)
        if not len(sounding) or not self.started_s:
            return None
        requests, firsts = np.unique(self.heard[sounding], return_index=True)
        piece = min(max(self.started_s), len(requests) - 1)
        first = sounding[np.sort(firsts)[piece]]
        return self.started_s[piece] + float(sounding[-1] + 1 - first) / RATE_HZ


def main(options: argparse.Namespace) -> int:
    """Measure and print; 0 whether or not the bars are reached."""
    turns = options.turns or TURNS
    progress(f"interrupt: {turns} turns")
    report = Report("interrupt")
    with rig.engines() as engines, rig.on(engines, rig.RECORDED, TTS_CUT="clause") as show:
        engines.set_up(COSTS, [replies.FIXED])
        with show.watch() as stream:
            interrupter = Interrupter(show, stream)
            cut_off = [interrupter.play(MOMENTS[turn % len(MOMENTS)]) for turn in range(turns)]
            stale_starts = sum(_started_late(stream, each) for each in cut_off)
        requests = engines.requests()
        stale_sounds = sum(_differs(show, each) for each in cut_off)
    _write(report, cut_off, requests)
    report.figures |= {"stale_piece_starts": stale_starts, "stale_recordings": stale_sounds}
    report.bar("stale sentences", sum(report.figures[name] or 0 for name in STALE), 0, "")
    return report.show(as_json=options.json)


class Interrupter:
    """Begins turns and cuts them off."""

    def __init__(self, show: rig.Show, stream: Watcher) -> None:
        self._show = show
        self._stream = stream
        self._choose = random.Random(SEED)  # noqa: S311 - no secret: the same moments in every run

    def play(self, moment: Moment) -> Interrupted:
        """One turn, cut off at such a moment, and watched for a while after."""
        before, begun_s = self._stream.mark(), now_s()
        with ThreadPoolExecutor(1) as thread:
            saying = thread.submit(self._show.answer, LINE)
            began_s, state = self._stream.wait(TurnState, lambda seen: seen.state == "thinking", before)
            _sleep_until(self._moment_s(moment, began_s, before))
            asked_s = self._show.skip()
            turn_id = saying.result()["turn_id"]
        assert turn_id == state.turn_id
        over_s, _ = self._stream.wait(
            TurnState, lambda seen: (seen.turn_id, seen.state) == (turn_id, "cancelled"), before
        )
        heard = _samples(self._show.recording(turn_id))
        _sleep_until(over_s + AFTER_S)
        started_s = {
            seen.index: seen.at_s
            for _, seen in self._stream.all(PieceStarted, before)
            if seen.turn_id == turn_id
        }
        return Interrupted(turn_id, moment, begun_s, asked_s, over_s, now_s(), started_s, heard)

    def _moment_s(self, moment: Moment, began_s: float, before: int) -> float:
        """When to interrupt: model and voice are at work in all three cases."""
        if moment == "thinking":
            return began_s + self._choose.uniform(0.0, 0.25)
        _, started = self._stream.wait(PieceStarted, lambda seen: seen.index == 0, before)
        if moment == "speaking":
            return started.at_s + self._choose.uniform(0.0, 0.8)
        _, caption = self._stream.wait(Caption, lambda seen: seen.index == 0, before)
        sound_s = COSTS.sound_samples(caption.approved.spoken) / RATE_HZ
        return started.at_s + sound_s + self._choose.uniform(-0.005, 0.04)


def _sleep_until(at_s: float) -> None:
    time.sleep(max(0.0, at_s - now_s()))


def _samples(recording: Path) -> Samples:
    if not recording.exists():
        return np.zeros(0, np.int16)
    with wave.open(str(recording)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def _started_late(stream: Watcher, cut_off: Interrupted) -> int:
    """How many of its pieces the stream showed to start after the turn's end."""
    starts = (at_s for at_s, seen in stream.all(PieceStarted) if seen.turn_id == cut_off.turn_id)
    return sum(at_s > cut_off.over_s for at_s in starts)


def _differs(show: rig.Show, cut_off: Interrupted) -> bool:
    """Whether sound of the turn came after its end: the recording is another one now."""
    return not np.array_equal(_samples(show.recording(cut_off.turn_id)), cut_off.heard)


def _foreign(cut_off: Interrupted, requests: list[Asked]) -> bool:
    """Whether the recording has sound in it that was not asked for in this turn."""
    own = {
        asked.number % NUMBERS
        for asked in requests
        if asked.engine == "voice" and cut_off.begun_s <= asked.begun_s <= cut_off.over_s
    }
    return not set(np.unique(cut_off.heard).tolist()) <= {0, *own}


def _write(report: Report, cut_off: list[Interrupted], requests: list[Asked]) -> None:
    silent_ms = [1000 * (each.silent_s - each.asked_s) for each in cut_off if each.silent_s is not None]
    model_ms = [
        1000 * (asked.ended_s - each.asked_s)
        for each in cut_off
        for asked in requests
        if asked.engine == "model" and asked.aborted and each.begun_s <= asked.begun_s <= each.over_s
    ]
    report.spread("last_sample_out_ms", silent_ms)
    report.spread("model_aborted_ms", model_ms)
    report.spread("turn_over_ms", [1000 * (each.over_s - each.asked_s) for each in cut_off])
    for moment in MOMENTS:
        report.figures[f"interrupted_{moment}"] = sum(each.moment == moment for each in cut_off)
    report.figures["stale_voice_requests"] = sum(
        each.over_s < asked.begun_s < each.watched_s
        for each in cut_off
        for asked in requests
        if asked.engine == "voice"
    )
    report.figures["foreign_sounds"] = sum(_foreign(each, requests) for each in cut_off)
    report.bar("last sample out p95 (a frame + 10 ms)", percentile(silent_ms, 0.95), FRAME_MS + 10, "ms")
    report.bar("model aborted p95", percentile(model_ms, 0.95), 10, "ms")
