import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.tts_worker.playout import Cut, Mark, Playout

RATE_HZ = 1000  # one sample is a millisecond
FRAME = 20


@pytest.fixture
def marks():
    return []


@pytest.fixture
def playout(marks):
    return Playout(RATE_HZ, marks.append)


def put(playout, turn_id, index, samples=(), *, whole=True):
    """Announce a piece and give it sound."""
    playout.begin(turn_id, index)
    give(playout, turn_id, index, samples, whole=whole)


def give(playout, turn_id, index, samples, *, whole=True):
    if len(samples):
        playout.add(turn_id, index, np.array(samples, "<i2").tobytes())
    if whole:
        playout.complete(turn_id, index)


def drawn(playout, at_s=10.0, count=FRAME):
    frame = playout.frame(count, at_s)
    return None if frame is None else frame.tolist()


def seen(marks):
    """Marks as (index, moment, time, seconds played), to a tenth of a sample."""
    return [(m.index, m.moment, round(m.at_s, 4), round(m.played_s, 4)) for m in marks if m.turn_id == "a"]


def test_a_frame_is_20_ms():
    """An output draws a fiftieth of a second at a time, at whatever rate the voice has."""
    assert [Playout(rate, print).frame_samples for rate in (16_000, 22_050, 48_000)] == [320, 441, 960]


def test_nothing_to_play(playout, marks):
    """Without any piece there is no frame, and no mark."""
    assert drawn(playout) is None
    assert playout.turn_id == ""
    assert marks == []


def test_pieces_sound_in_the_order_in_which_they_began(playout):
    """Sound of a later piece waits for that of an earlier one, however early it is there."""
    playout.begin("a", 0)
    put(playout, "a", 1, [2] * 5)
    assert drawn(playout) is None
    give(playout, "a", 0, [1] * 5)
    assert drawn(playout) == [1] * 5 + [2] * 5 + [0] * 10
    assert drawn(playout) is None


def test_pieces_join_inside_a_frame_without_a_gap(playout, marks):
    """The next piece begins on the very sample after the last one, and the marks say so."""
    put(playout, "a", 0, [1] * 5)
    put(playout, "a", 1, [2] * 30)
    assert drawn(playout, 10.0) == [1] * 5 + [2] * 15
    assert drawn(playout, 10.02) == [2] * 15 + [0] * 5
    assert seen(marks) == [
        (0, "started", 10.0, 0),
        (0, "ended", 10.005, 0.005),
        (1, "started", 10.005, 0),
        (1, "ended", 10.035, 0.03),
    ]


def test_an_underrun_is_silence(playout, marks):
    """When the synthesis is behind, silence fills the frame; the piece goes on later and starts only once."""
    put(playout, "a", 0, [1] * 5, whole=False)
    assert drawn(playout, 10.0) == [1] * 5 + [0] * 15
    assert drawn(playout, 10.02) is None
    assert playout.turn_id == "a"
    give(playout, "a", 0, [2] * 5)
    assert drawn(playout, 10.04) == [2] * 5 + [0] * 15
    assert seen(marks) == [(0, "started", 10.0, 0), (0, "ended", 10.045, 0.01)]


def test_a_piece_has_ended_when_its_last_sample_has(playout, marks):
    """That nothing more of a piece comes may be known late; its end is when its sound ended all the same."""
    put(playout, "a", 0, [1] * 5, whole=False)
    drawn(playout, 10.0)
    playout.complete("a", 0)
    drawn(playout, 10.02)
    assert seen(marks)[-1] == (0, "ended", 10.005, 0.005)


def test_a_piece_without_sound_is_passed_over(playout, marks):
    """It ends where it would have begun, and takes no time."""
    put(playout, "a", 0, [1] * 5)
    put(playout, "a", 1)
    put(playout, "a", 2, [3] * 5)
    assert drawn(playout) == [1] * 5 + [3] * 5 + [0] * 10
    assert seen(marks)[2:4] == [(1, "ended", 10.005, 0), (2, "started", 10.005, 0)]


def test_a_dropped_turn_is_gone_from_the_next_frame(playout, marks):
    """A drop in mid-piece leaves the other turn's sound, from its first sample, and nothing of its own."""
    put(playout, "a", 0, [1] * 25)
    put(playout, "a", 1, [2] * 25, whole=False)
    put(playout, "b", 0, [7] * 5)
    drawn(playout)
    playout.drop("a")
    give(playout, "a", 1, [2] * 25)
    assert drawn(playout) == [7] * 5 + [0] * 15
    assert drawn(playout) is None
    assert seen(marks) == [(0, "started", 10.0, 0)]


@pytest.mark.parametrize(
    ("frames", "cut"),
    [
        (0, Cut(-1, 0.0, 0.0)),
        (1, Cut(0, 0.5, 10.02)),
        (2, Cut(-1, 0.0, 10.04)),
        (3, Cut(1, 0.4, 10.06)),
    ],
    ids=["before the first piece", "in a piece", "between two pieces", "in a later piece"],
)
def test_where_a_dropped_turn_was(playout, frames, cut):
    """A drop tells the piece under way, the share of it that was out, and when the last drawn frame is."""
    put(playout, "a", 0, [1] * 40)
    put(playout, "a", 1, [2] * 50)
    for number in range(frames):
        drawn(playout, 10 + number * 0.02)
    found = playout.drop("a")
    assert (found.index, found.share, round(found.silent_at_s, 4)) == (cut.index, cut.share, cut.silent_at_s)


def test_held_she_finishes_her_piece(playout):
    """The piece under way is played to its end, in mid-frame; the next one waits until it may."""
    put(playout, "a", 0, [1] * 25)
    put(playout, "a", 1, [2] * 5)
    drawn(playout)
    playout.held = True
    assert drawn(playout) == [1] * 5 + [0] * 15
    assert drawn(playout) is None
    playout.held = False
    assert drawn(playout) == [2] * 5 + [0] * 15


@pytest.mark.parametrize(
    ("gain", "heard"),
    [
        (1.0, [1000, -1000, 32767, -32768]),
        (0.5, [500, -500, 16383, -16384]),
        (2.0, [2000, -2000, 32767, -32768]),
        (0.0, [0, 0, 0, 0]),
    ],
)
def test_volume(playout, marks, gain, heard):
    """Loud samples are clipped and never wrap around; muted sound takes its time, silently."""
    playout.gain = gain
    put(playout, "a", 0, [1000, -1000, 32767, -32768])
    assert drawn(playout, count=4) == heard
    assert seen(marks)[-1] == (0, "ended", 10.004, 0.004)


def test_volume_changes_at_once(playout):
    """Mute and unmute act on the next frame, in mid-piece."""
    put(playout, "a", 0, [9] * 60)
    for gain in (1.0, 0.0, 1.0):
        playout.gain = gain
        assert drawn(playout) == [round(9 * gain)] * 20


@given(
    pieces=st.lists(st.lists(st.integers(0, 50), max_size=5), max_size=5),
    counts=st.lists(st.integers(1, 70), min_size=1, max_size=8),
    frames_between=st.integers(0, 3),
)
def test_what_is_added_is_drawn(pieces, counts, frames_between):
    """Whatever the chunks and the frames, and whoever is ahead: every sample comes out once, in order."""
    marks: list[Mark] = []
    playout = Playout(RATE_HZ, marks.append)
    total = sum(map(sum, pieces))
    added = iter(range(1, total + 1))
    heard: list[int] = []
    draws = 0

    def draw() -> None:
        nonlocal draws
        frame = playout.frame(counts[draws % len(counts)], draws)
        heard.extend([] if frame is None else frame[frame != 0].tolist())
        draws += 1

    for index, chunks in enumerate(pieces):
        playout.begin("a", index)
        for size in chunks:
            playout.add("a", index, np.array([next(added) for _ in range(size)], "<i2").tobytes())
            for _ in range(frames_between):
                draw()
        playout.complete("a", index)
    while playout.turn_id:
        draw()
    assert heard == list(range(1, total + 1))
    ends = [(mark.index, round(mark.played_s * RATE_HZ)) for mark in marks if mark.moment == "ended"]
    assert ends == [(index, sum(chunks)) for index, chunks in enumerate(pieces)]
    assert all(a.at_s < b.at_s + 1e-9 for a, b in pairwise(marks))


def test_two_threads(marks):
    """One thread puts sound in while another draws: nothing is lost, doubled or out of order."""
    playout = Playout(RATE_HZ, marks.append)
    pieces, samples = 300, 97
    late = threading.Event()
    heard: list[int] = []

    def synthesise() -> None:
        for index in range(pieces):
            playout.begin("a", index)
            for start in range(0, samples, 10):
                size = min(10, samples - start)
                playout.add("a", index, np.full(size, index + 1, "<i2").tobytes())
            playout.complete("a", index)

    def draw() -> None:
        while len(heard) < pieces * samples and not late.is_set():
            frame = playout.frame(FRAME, 0.0)
            if frame is not None:
                heard.extend(frame[frame != 0].tolist())

    threads = [threading.Thread(target=synthesise), threading.Thread(target=draw)]
    for thread in threads:
        thread.start()
    deadline = threading.Timer(10, late.set)
    deadline.start()
    for thread in threads:
        thread.join()
    deadline.cancel()
    assert heard == [index + 1 for index in range(pieces) for _ in range(samples)]
    assert [mark.index for mark in marks if mark.moment == "ended"] == list(range(pieces))
