"""What stands still in mid-piece and goes on: apps/tts_worker/playout.py, `hushed`."""

import re
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.tts_worker.playout import FADE_S, Mark, Playout

RATE_HZ = 1000  # one sample is a millisecond
FRAME = 20
FADE = 5


class Reel:
    """A playout and what came of it; sample number n of a turn is 2000 + n, so that each can be told."""

    def __init__(self, *, muting=True):
        self.muting = muting
        self.at_s = 10.0
        self.marks: list[Mark] = []
        self.frames: list[list[int] | None] = []
        self.turn, self.index = 0, 0
        self.added = defaultdict(int)  # samples, of each turn
        self.sizes = defaultdict(int)  # and of each piece
        self.heard = defaultdict(list)  # (sample, whether it was faded), of each turn
        self.playout = Playout(RATE_HZ, self.marks.append)
        self.playout.begin("0", 0)

    @property
    def turn_id(self):
        return str(self.turn)

    def add(self, count):
        """Give the piece more sound."""
        first = 2000 + self.added[self.turn_id]
        self.playout.add(self.turn_id, self.index, np.arange(first, first + count, dtype="<i2").tobytes())
        self.added[self.turn_id] += count
        self.sizes[self.turn_id, self.index] += count

    def end(self):
        """The piece is whole; begin another one."""
        self.playout.complete(self.turn_id, self.index)
        self.index += 1
        self.playout.begin(self.turn_id, self.index)

    def cancel(self):
        """Drop the turn, check where it was, begin another one."""
        cut = self.playout.drop(self.turn_id)
        under_way = [mark.index for mark in self.of(self.turn_id) if mark.moment == "started"][-1:]
        if under_way and self.moments(self.turn_id, under_way[0])[-1] != "ended":
            before = sum(self.sizes[self.turn_id, index] for index in range(cut.index))
            played = len(self.heard[self.turn_id]) - before
            assert cut.index == under_way[0]
            if not self.muting:
                assert cut.share == played / max(1, self.sizes[self.turn_id, cut.index])
        else:
            assert (cut.index, cut.share) == (-1, 0.0)
        self.turn, self.index = self.turn + 1, 0
        self.playout.begin(self.turn_id, 0)

    def set(self, name, value):
        if name != "gain" or self.muting:
            setattr(self.playout, name, value)

    def draw(self, count=FRAME):
        """Draw a frame and keep what is heard of it."""
        marks, turn_id = len(self.marks), self.playout.turn_id
        frame = self.playout.frame(count, self.at_s)
        self.at_s += count / RATE_HZ
        self.frames.append(None if frame is None else frame.tolist())
        sound = [] if frame is None else frame[frame != 0].tolist()
        resumed = any(mark.moment == "resumed" for mark in self.marks[marks:])
        faded = FADE if self.playout.hushed or resumed else 0
        self.heard[turn_id] += [(value, n < faded) for n, value in enumerate(sound)]
        return self.frames[-1]

    def of(self, turn_id):
        return [mark for mark in self.marks if mark.turn_id == turn_id]

    def moments(self, turn_id, index):
        return [mark.moment for mark in self.of(turn_id) if mark.index == index]

    def seen(self):
        """Marks of the first turn as (index, moment, time, seconds played), to a tenth of a sample."""
        return [(m.index, m.moment, round(m.at_s, 4), round(m.played_s, 4)) for m in self.of("0")]


@pytest.fixture
def reel():
    return Reel()


def sizes(frame):
    """How many samples of a frame sound, and that they are its first ones."""
    sounding = np.count_nonzero(frame)
    assert all(frame[:sounding])
    return sounding


def test_she_stands_still_and_goes_on(reel):
    """She falls silent within the fade and goes on from the very next sample; the marks say when."""
    reel.add(80)
    reel.end()
    assert reel.draw() == list(range(2000, 2020))
    reel.playout.hushed = True
    assert sizes(reel.draw()) == FADE
    assert [reel.draw(), reel.draw()] == [None, None]
    reel.playout.hushed = False
    frame = reel.draw()
    assert frame[FADE:] == list(range(2030, 2045))
    while reel.playout.turn_id and reel.draw():
        pass
    assert reel.seen() == [
        (0, "started", 10.0, 0),
        (0, "hushed", 10.025, 0.025),
        (0, "resumed", 10.08, 0.025),
        (0, "ended", 10.135, 0.08),
    ]


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 48_000])
def test_no_click(rate_hz):
    """From one sample to the next the loudest sound changes no faster than the fade, 5 ms at any rate."""
    playout = Playout(rate_hz, lambda _mark: None)
    playout.begin("a", 0)
    playout.add("a", 0, np.full(rate_hz, 32767, "<i2").tobytes())
    heard = []
    for hushed in (False, True, False):
        playout.hushed = hushed
        frame = playout.frame(playout.frame_samples, 10.0)
        assert frame is not None
        heard += frame.tolist()
    steepest = np.abs(np.diff(heard)).max()
    assert steepest < 32767 * np.pi / 2 / (FADE_S * rate_hz)
    assert sum(value == 0 for value in heard) == playout.frame_samples - round(FADE_S * rate_hz)


MID, ALL = ["ended"], ["ended", "started", "ended"]


@pytest.mark.parametrize(
    ("muted", "held", "hushed", "moments", "then"),
    [
        (False, False, False, ALL, []),
        (True, False, False, ALL, []),
        (False, True, False, MID, ALL[1:]),
        (True, True, False, MID, ALL[1:]),
        (False, False, True, ["hushed"], ["resumed", *ALL]),
        (True, False, True, ["hushed"], ["resumed", *ALL]),
        (False, True, True, ["hushed"], ["resumed", *ALL]),
        (True, True, True, ["hushed"], ["resumed", *ALL]),
    ],
)
def test_muted_held_hushed(reel, muted, held, hushed, moments, then):
    """Each does what it does alone; hushed goes before held, and muted changes what is heard and no more."""
    reel.add(60)
    reel.end()
    reel.add(30)
    reel.end()
    reel.draw()
    del reel.marks[:], reel.frames[:]
    reel.playout.gain, reel.playout.held, reel.playout.hushed = 1.0 - muted, held, hushed
    for _ in range(6):
        reel.draw()
    assert [mark.moment for mark in reel.marks] == moments
    assert any(map(any, filter(None, reel.frames))) is not muted
    reel.playout.gain, reel.playout.held, reel.playout.hushed = 1.0, False, False
    for _ in range(6):
        reel.draw()
    assert [mark.moment for mark in reel.marks] == moments + then


def test_hushed_and_then_held(reel):
    """A piece that stands still when the hold comes goes on to its end, and the next one waits."""
    reel.add(60)
    reel.end()
    reel.add(30)
    reel.draw()
    for hushed in (True, False):
        reel.playout.hushed, reel.playout.held = hushed, True
        for _ in range(4):
            reel.draw()
    assert reel.moments("0", 0) == ["started", "hushed", "resumed", "ended"]
    assert reel.moments("0", 1) == []


def test_nothing_begins_while_hushed(reel):
    """What was synthesised meanwhile sounds in the first frame afterwards, in full from its first sample."""
    reel.playout.hushed = True
    reel.add(30)
    assert [reel.draw() for _ in range(3)] == [None] * 3
    reel.add(30)
    reel.end()
    assert reel.marks == []
    reel.playout.hushed = False
    assert reel.draw() == list(range(2000, 2020))


@pytest.mark.parametrize("left", [FADE - 1, FADE])
def test_a_piece_may_end_in_the_fade(reel, left):
    """When no more of it is left than the fade, it ends there, nothing stands still, the next one waits."""
    reel.add(FRAME + left)
    reel.end()
    reel.add(30)
    reel.draw()
    reel.playout.hushed = True
    assert sizes(reel.draw()) == left
    assert reel.draw() is None
    assert reel.moments("0", 0) == ["started", "ended"]
    reel.playout.hushed = False
    assert reel.draw()[0] == 2000 + FRAME + left


def test_hushed_while_the_synthesis_is_behind(reel):
    """Silent already, she stands still since her last sample, and goes on once there is more."""
    reel.add(10)
    reel.draw()
    reel.playout.hushed = True
    assert reel.draw() is None
    reel.playout.hushed = False
    assert reel.draw() is None
    reel.add(10)
    reel.end()
    assert sizes(reel.draw()) == 10
    assert reel.seen() == [
        (0, "started", 10.0, 0),
        (0, "hushed", 10.01, 0.01),
        (0, "resumed", 10.06, 0.01),
        (0, "ended", 10.07, 0.02),
    ]


def test_a_piece_that_turns_out_to_be_over(reel):
    """When no more of a hushed piece comes, it ends where it would have gone on."""
    reel.add(10)
    reel.draw()
    reel.playout.hushed = True
    reel.draw()
    reel.end()
    assert reel.draw() is None
    reel.playout.hushed = False
    reel.draw()
    assert reel.seen()[1:] == [
        (0, "hushed", 10.01, 0.01),
        (0, "resumed", 10.06, 0.01),
        (0, "ended", 10.06, 0.01),
    ]


def test_hushed_between_two_frames_only(reel):
    """A hush that is over before the next frame leaves no trace, in sound or in silence."""
    reel.add(90)
    for silent in (False, True):
        reel.draw()
        reel.playout.hushed = silent
    reel.draw()
    for hushed in (False, True):
        reel.playout.hushed = hushed
    assert reel.draw() is None
    reel.playout.hushed = False
    reel.draw()
    assert reel.moments("0", 0) == ["started", "hushed", "resumed"]


def test_cancelled_while_hushed(reel):
    """Where she was is told by what was heard, of all that was synthesised until then; nothing is left."""
    reel.add(60)
    reel.draw()
    reel.playout.hushed = True
    reel.draw()
    reel.draw()
    reel.add(40)
    cut = reel.playout.drop("0")
    assert (cut.index, cut.share) == (0, 0.25)
    assert cut.silent_at_s == pytest.approx(10.04)
    reel.playout.hushed = False
    assert reel.draw() is None
    assert reel.moments("0", 0) == ["started", "hushed"]


# --- any interleaving ---

STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(0, 40)),
    st.tuples(st.just("draw"), st.integers(1, 50)),
    st.tuples(st.sampled_from(["end", "cancel"])),
    st.tuples(st.just("set"), st.sampled_from(["hushed", "held"]), st.booleans()),
    st.tuples(st.just("set"), st.just("gain"), st.sampled_from([0.0, 1.0])),
)
GRAMMAR = re.compile(r"e|s(hr)*[he]?")  # by their first letters; a cancel may come anywhere


def play(steps, *, muting):
    reel = Reel(muting=muting)
    for name, *values in steps:
        getattr(reel, name)(*values)
    for name, value in (("hushed", False), ("held", False), ("gain", 1.0)):
        reel.set(name, value)
    reel.playout.complete(reel.turn_id, reel.index)
    while reel.playout.turn_id:
        assert reel.draw() is not None or not reel.playout.turn_id
    return reel


@given(st.lists(STEPS, max_size=40))
def test_nothing_is_lost_and_the_order_is_kept(steps):
    """Every sample is heard once and in order, at full loudness but in a fade; a cancel drops the rest."""
    reel = play(steps, muting=False)
    for turn in range(reel.turn + 1):
        heard = reel.heard[str(turn)]
        if turn == reel.turn:
            assert len(heard) == reel.added[str(turn)]
        for number, (value, faded) in enumerate(heard):
            assert value == 2000 + number or (faded and value < 2000 + number)


@given(st.lists(STEPS, max_size=40))
def test_marks_tell_what_was_heard(steps):
    """They follow their grammar, in time's order, and stand still for as long as she does."""
    reel = play(steps, muting=False)
    for turn_id, index in {(mark.turn_id, mark.index) for mark in reel.marks}:
        moments = reel.moments(turn_id, index)
        assert GRAMMAR.fullmatch("".join(moment[0] for moment in moments))
        marks = [mark for mark in reel.of(turn_id) if mark.index == index]
        for before, after in pairwise(marks):
            lasted_s, played_s = after.at_s - before.at_s, after.played_s - before.played_s
            if before.moment == "hushed":
                assert played_s == 0
            assert lasted_s >= played_s - 1e-9
        if moments[-1] == "ended":
            assert round(marks[-1].played_s * RATE_HZ) == reel.sizes[turn_id, index]
    for before, after in pairwise(reel.marks):
        assert before.at_s <= after.at_s + 1e-9


@given(st.lists(STEPS, max_size=40))
def test_hushed_is_silent(steps):
    """From the hush on there is sound for a fade at most, and no piece starts, goes on or is passed over."""
    reel = Reel()
    heard = 0
    for name, *values in steps:
        marks = len(reel.marks)
        getattr(reel, name)(*values)
        if (name, *values) == ("set", "hushed", False):
            heard = 0
        if name == "draw" and reel.playout.hushed:
            heard += sum(map(bool, reel.frames[-1] or ()))
            assert heard <= FADE
            assert {mark.moment for mark in reel.marks[marks:]} <= {"hushed", "ended"}


@given(st.lists(STEPS, max_size=40))
def test_muting_changes_nothing_else(steps):
    """The same steps with and without it: the same marks, the same sound but where it was muted."""
    loud, muted = play(steps, muting=False), play(steps, muting=True)
    assert loud.marks == muted.marks
    assert [frame and len(frame) for frame in loud.frames] == [frame and len(frame) for frame in muted.frames]
    for full, heard in zip(loud.frames, muted.frames, strict=True):
        assert heard == full or not any(heard)
