"""Utterances, whatever is heard and whatever the recogniser makes of it."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.asr_worker.endpoint import GO_ON, START, Began, Ended, Endpointer, Event, Patience, Paused
from apps.asr_worker.sound import FRAME_S

VOICE, SILENCE = 0.95, 0.0
RUNS = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.5, 0.95]), st.integers(1, 40)), min_size=1, max_size=30
)
TEXTS = st.sampled_from(["", "and", "go left.", "what do you think", "what do you think about the boss?"])
SHORT = Patience(limit_s=3.0)


class Told:
    """What the endpointer told, with what it kept before each frame, and which frames were voiced."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.voiced: list[float] = []
        self.kept: list[float] = []


def told_of(runs, texts) -> Told:
    endpointer, told, texts = Endpointer(SHORT), Told(), list(texts)
    frames = [value for value, count in runs for _ in range(count)] + [0.0] * 60
    voiced = False
    for place, value in enumerate(frames):
        at_s = place * FRAME_S
        voiced = value >= (GO_ON if voiced else START)
        if voiced:
            told.voiced.append(at_s)
        before_s = endpointer.keep_from_s
        events = endpointer.feed(value, at_s)
        assert all(event.start_s >= before_s - 1e-9 for event in events if isinstance(event, Began))
        told.events += events
        told.kept.append(endpointer.keep_from_s)
        if texts and place % 8 == 0:
            endpointer.said(texts.pop(), stable=place % 16 == 0)
    return told


@given(RUNS, st.lists(TEXTS, max_size=40))
@settings(max_examples=200, deadline=None)
def test_utterances_follow_each_other(runs, texts):
    """Whatever is heard: begun, paused, ended, in the order of time, none into the next, none too long."""
    told = told_of(runs, texts)
    under_way: Began | None = None
    last: Ended | None = None
    at_s, paused = 0.0, 0
    for event in told.events:
        assert event.at_s >= at_s
        at_s = event.at_s
        match event:
            case Began():
                assert under_way is None
                assert last is None or event.start_s >= last.end_s
                under_way = event
            case Paused():
                assert under_way is not None
                paused += 1
            case Ended():
                assert under_way is not None
                assert event.start_s == under_way.start_s
                assert event.start_s < event.end_s <= event.at_s
                assert event.end_s - event.start_s <= SHORT.limit_s + FRAME_S
                under_way, last = None, event
    assert under_way is None
    assert paused >= sum(event.cause == "pause" for event in told.events if isinstance(event, Ended))
    assert told.kept == sorted(told.kept)


@given(RUNS, st.lists(TEXTS, max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_voice_is_lost(runs, texts):
    """Every voiced frame is part of an utterance, or of so little voice that it could begin none."""
    told = told_of(runs, texts)
    spans = [(event.start_s, event.end_s) for event in told.events if isinstance(event, Ended)]
    lost = [
        at_s
        for at_s in told.voiced
        if not any(start_s - 1e-9 <= at_s and at_s + FRAME_S <= end_s + 1e-9 for start_s, end_s in spans)
    ]
    for first in lost:
        together = [at_s for at_s in lost if first <= at_s and at_s + FRAME_S <= first + SHORT.start_within_s]
        assert len(together) * FRAME_S < SHORT.start_voiced_s


@given(st.lists(st.tuples(st.sampled_from([VOICE, SILENCE]), st.integers(1, 30)), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_cut_loses_only_silence(runs):
    """Between a cut and what follows it there is no voiced frame."""
    told = told_of([(VOICE, 90), *runs], [])
    utterances = [event for event in told.events if isinstance(event, Ended)]
    for cut, after in pairwise(utterances):
        if cut.cause == "limit" and after.start_s - cut.end_s < SHORT.pause_s:
            between = [at_s for at_s in told.voiced if cut.end_s - 1e-9 <= at_s < after.start_s - 1e-9]
            assert between == []
