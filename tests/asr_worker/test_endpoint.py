"""Where utterances begin and end, by rule. How well that works in noise is tested beside this."""

import pytest

from apps.asr_worker.endpoint import (
    GO_ON,
    PRE_ROLL_S,
    RELEASE_S,
    START,
    Began,
    Ended,
    Endpointer,
    Event,
    Patience,
    Paused,
)
from apps.asr_worker.sound import FRAME_S

VOICE, MURMUR, SILENCE = 0.9, 0.4, 0.02


def near(seconds):
    """Within one frame."""
    return pytest.approx(seconds, abs=FRAME_S + 1e-6)


class Stream:
    """Frames, one after the other, from second 100 on; what happens is collected."""

    def __init__(self, patience: Patience | None = None) -> None:
        self.endpointer = Endpointer(patience or Patience())
        self.events: list[Event] = []
        self.frames = 0

    @property
    def now_s(self) -> float:
        return self.frames * FRAME_S

    def give(self, probability: float, duration_s: float) -> "Stream":
        for _ in range(round(duration_s / FRAME_S)):
            self.events += [
                _shifted(event) for event in self.endpointer.feed(probability, 100 + self.frames * FRAME_S)
            ]
            self.frames += 1
        return self

    def press(self) -> "Stream":
        self.events += map(_shifted, self.endpointer.press(100 + self.now_s))
        return self

    def release(self) -> "Stream":
        self.events += map(_shifted, self.endpointer.release(100 + self.now_s))
        return self

    @property
    def keep_from_s(self) -> float:
        return self.endpointer.keep_from_s - 100

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def _shifted(event):
    times = {name: getattr(event, name) - 100 for name in event.__slots__ if name.endswith("_s")}
    cause = {"cause": event.cause} if isinstance(event, Ended) else {}
    return type(event)(**times, **cause)


# --- the beginning


@pytest.mark.parametrize(
    "sounds",
    [
        [(VOICE, 0.2)],
        [(VOICE, 0.13), (SILENCE, 0.6), (VOICE, 0.2)],
        [(VOICE, 0.1), (SILENCE, 0.4), (VOICE, 0.1), (SILENCE, 0.4), (VOICE, 0.1)],
        [(0.49, 3.0)],
        [(SILENCE, 3.0)],
    ],
    ids=["a bump", "two coughs", "keys", "never quite a voice", "silence"],
)
def test_too_little_voice_is_no_utterance(sounds):
    """A cough, a key press and a bump of 200 ms begin nothing."""
    stream = Stream().give(SILENCE, 1.0)
    for probability, duration_s in sounds:
        stream.give(probability, duration_s)
    stream.give(SILENCE, 2.0)
    assert stream.events == []
    assert not stream.endpointer.speaking
    assert stream.keep_from_s == near(stream.now_s - PRE_ROLL_S)


def test_enough_voice_is_an_utterance():
    """It is certain after 0.22 s, and began with the first of it."""
    stream = Stream().give(SILENCE, 1.0).give(VOICE, 0.5)
    assert stream.events == [Began(start_s=near(1.0), at_s=near(1.22))]
    assert stream.endpointer.speaking


def test_a_stuttered_beginning_counts_together():
    """Voice in two pieces within half a second began with the first."""
    stream = Stream().give(SILENCE, 1.0).give(VOICE, 0.1).give(SILENCE, 0.1).give(VOICE, 0.2)
    assert stream.events == [Began(start_s=near(1.0), at_s=near(1.33))]


def test_the_sound_before_the_voice_is_kept():
    """A detector is late, so the pre-roll is at least 0.3 s, from before anything was certain."""
    stream = Stream().give(SILENCE, 1.0).give(VOICE, 0.2)
    assert stream.keep_from_s == near(1.0 - PRE_ROLL_S)
    stream.give(VOICE, 2.0)
    assert stream.keep_from_s == near(1.0 - PRE_ROLL_S)
    assert PRE_ROLL_S >= 0.3


def test_the_pre_roll_does_not_reach_into_the_utterance_before():
    """Nothing is transcribed twice."""
    stream = Stream(Patience(pause_s=0.2)).give(SILENCE, 1.0).give(VOICE, 1.0).give(SILENCE, 0.25)
    stream.give(VOICE, 0.5)
    [ended] = stream.of(Ended)
    assert ended.end_s == near(2.0)
    assert stream.keep_from_s == near(2.0)


# --- the end


def test_a_short_answer_ends_as_everything_does():
    """ "Yes" is an utterance of a quarter of a second."""
    stream = Stream().give(SILENCE, 1.0).give(VOICE, 0.25).give(SILENCE, 1.0)
    assert stream.events == [
        Began(near(1.0), near(1.22)),
        Paused(near(1.38)),
        Ended(near(1.0), near(1.25), near(1.8), "pause"),
    ]
    assert not stream.endpointer.speaking


def test_a_falling_voice_is_still_a_voice():
    """What has begun goes on at less than it takes to begin, and does not come back at that."""
    stream = Stream().give(VOICE, 1.0).give(MURMUR, 1.0).give(SILENCE, 0.3).give(MURMUR, 1.0)
    [ended] = stream.of(Ended)
    assert ended.end_s == near(2.0)
    assert GO_ON < MURMUR < START


def test_a_voice_that_returns_within_the_wait_says_the_same_utterance():
    """Each of its pauses is told once, as soon as it is one."""
    stream = Stream()
    for _ in range(3):
        stream.give(VOICE, 1.0).give(SILENCE, 0.5)
    stream.give(SILENCE, 0.2)
    assert [type(event) for event in stream.events] == [Began, Paused, Paused, Paused, Ended]
    assert [event.at_s for event in stream.of(Paused)] == [near(1.13), near(2.63), near(4.13)]
    assert stream.events[-1] == Ended(near(0), near(4.0), near(4.55), "pause")


def test_a_voice_that_returns_after_the_wait_says_another():
    """Two utterances, each with its own times."""
    stream = Stream().give(VOICE, 1.0).give(SILENCE, 0.7).give(VOICE, 1.0).give(SILENCE, 0.7)
    assert [(event.start_s, event.end_s) for event in stream.of(Ended)] == [
        (near(0), near(1.0)),
        (near(1.7), near(2.7)),
    ]


def test_a_cough_after_a_short_answer_is_a_cough():
    """The voice of an utterance that is over does not count for the next."""
    stream = Stream(Patience(pause_s=0.2)).give(VOICE, 0.25).give(SILENCE, 0.22).give(VOICE, 0.06)
    stream.give(SILENCE, 1.0)
    assert [type(event) for event in stream.events] == [Began, Paused, Ended]


# --- what was said


@pytest.mark.parametrize(
    ("told", "wait_s"),
    [
        ([], 0.55),
        ([("what do you think?", True)], 0.33),
        ([("what do you think?", False), ("what do you think?", False)], 0.33),
        ([("what do you think", False), ("what do you think?", True)], 0.33),
        ([("what do you think", False), ("what do you think?", False)], 0.55),
        ([("what do you", False), ("what do you think?", False)], 1.1),
        ([("my health is low", True)], 0.55),
        ([("my health is low and", True)], 1.1),
        ([("um", True)], 1.1),
        ([("go left.", True), ("go left. and then, um", True)], 1.1),
        ([("go left and", True), ("go left.", True)], 0.33),
    ],
)
def test_the_wait_follows_what_was_said(told, wait_s):
    """Shorter after a sentence that is surely over, longer after "and", "um" or a text that still grows."""
    stream = Stream().give(VOICE, 1.0)
    for text, stable in told:
        stream.endpointer.said(text, stable)
    assert stream.endpointer.wait_s == pytest.approx(wait_s)
    stream.give(SILENCE, 0.2)
    for text, stable in told:
        stream.endpointer.said(text, stable)
    stream.give(SILENCE, 2.0)
    waited_s = 0.6 if (told and wait_s == 1.1 and not told[-1][1]) else wait_s
    assert stream.of(Ended) == [Ended(near(0), near(1.0), near(1.0 + waited_s), "pause")]


def test_a_text_that_grew_and_is_not_told_again_does_not_hold_up_the_end():
    """On a slow computer the next decode may never come: 0.4 s after the last one it counts as settled."""
    stream = Stream().give(VOICE, 1.0).give(SILENCE, 0.3)
    stream.endpointer.said("my health is low", stable=False)
    stream.give(SILENCE, 1.0)
    assert stream.of(Ended) == [Ended(near(0), near(1.0), near(1.7), "pause")]


def test_a_text_is_no_guide_once_the_voice_went_on():
    """What was finished before the last words says nothing about them."""
    stream = Stream().give(VOICE, 1.0)
    stream.endpointer.said("what do you think?", stable=True)
    stream.give(VOICE, 0.3).give(SILENCE, 1.0)
    assert stream.of(Ended) == [Ended(near(0), near(1.3), near(1.85), "pause")]


def test_a_text_that_comes_too_late_changes_nothing():
    """The next utterance does not wait for the words of the one before."""
    stream = Stream().give(VOICE, 1.0).give(SILENCE, 0.7)
    stream.endpointer.said("and um", stable=True)
    stream.give(VOICE, 1.0)
    assert stream.endpointer.wait_s == Patience().pause_s


@pytest.mark.parametrize(
    ("pause_s", "short_s", "long_s"), [(0.55, 0.33, 1.1), (0.3, 0.25, 0.6), (0.2, 0.2, 0.4), (3.0, 1.8, 6.0)]
)
def test_all_waits_follow_from_the_ordinary_one(pause_s, short_s, long_s):
    """There is one setting, ASR_PAUSE_S; the short wait is longer than a breath, unless that is shorter."""
    patience = Patience(pause_s=pause_s)
    assert [patience.short_s, patience.long_s] == pytest.approx([short_s, long_s])


# --- very long speech


def test_very_long_speech_is_cut_in_its_latest_pause():
    """Nothing between the two utterances but the pause, and the second is already under way."""
    stream = Stream(Patience(limit_s=10.0)).give(VOICE, 5.0).give(SILENCE, 0.2).give(VOICE, 2.8)
    stream.give(SILENCE, 0.15).give(VOICE, 3.0)
    assert stream.events[-2:] == [
        Ended(near(0), near(8.0), near(10.0), "limit"),
        Began(near(8.15), near(10.0)),
    ]
    assert stream.endpointer.speaking
    assert near(8.0) == stream.keep_from_s


def test_very_long_speech_without_a_recent_pause_is_cut_where_it_is():
    """The next utterance begins with the very next frame."""
    stream = Stream(Patience(limit_s=10.0)).give(VOICE, 2.0).give(SILENCE, 0.2).give(VOICE, 12.0)
    [ended] = stream.of(Ended)
    assert ended == Ended(near(0), near(10.0), near(10.0), "limit")
    assert stream.of(Began)[1].start_s == pytest.approx(ended.end_s)
    assert stream.keep_from_s == pytest.approx(ended.end_s)


def test_very_long_speech_that_pauses_at_the_limit_goes_on_without_a_minimum():
    """A last short word after the cut is not lost as a cough."""
    stream = Stream(Patience(limit_s=10.0)).give(VOICE, 9.95).give(SILENCE, 0.4).give(VOICE, 0.1)
    stream.give(SILENCE, 1.0)
    assert [type(event) for event in stream.events] == [Began, Ended, Began, Paused, Ended]
    assert stream.events[1] == Ended(near(0), near(9.95), near(10.0), "limit")
    assert stream.events[-1] == Ended(near(10.35), near(10.45), near(11.0), "pause")


def test_a_cough_long_after_a_cut_is_a_cough():
    """What comes after the wait has to be an utterance of its own."""
    stream = Stream(Patience(limit_s=10.0)).give(VOICE, 9.95).give(SILENCE, 1.0).give(VOICE, 0.1)
    stream.give(SILENCE, 1.0)
    assert [type(event) for event in stream.events] == [Began, Ended]


# --- push to talk


def test_a_held_key_begins_at_once_and_ends_after_its_release():
    """No voice is needed, no pause ends it, and the last word has 0.2 s to be over."""
    stream = Stream().give(SILENCE, 1.0).press()
    assert stream.events == [Began(near(1.0), near(1.0))]
    assert stream.keep_from_s == near(1.0 - PRE_ROLL_S)
    assert stream.endpointer.wait_s == RELEASE_S
    stream.give(SILENCE, 2.0).give(VOICE, 0.1).give(SILENCE, 2.0).give(VOICE, 0.5).release()
    assert stream.endpointer.speaking
    stream.give(VOICE, 1.0)
    assert stream.events[1:3] == [Paused(near(3.22)), Ended(near(1.0), near(5.8), near(5.8), "released")]
    assert stream.events[3] == Began(near(5.8), near(6.02))  # in a mode without a key, they speak on


def test_a_key_pressed_again_before_the_end_goes_on():
    """A slip of the finger does not cut a sentence in two."""
    stream = Stream().press().give(VOICE, 1.0).release().give(SILENCE, 0.1).press().give(SILENCE, 2.0)
    assert stream.of(Ended) == []
    stream.release().give(SILENCE, 1.0)
    assert stream.of(Ended) == [Ended(near(0), near(3.3), near(3.3), "released")]


def test_a_key_is_compared_with_the_sound_and_not_with_its_arrival():
    """Frames that were captured before the release arrive after it."""
    stream = Stream().press().give(VOICE, 1.0)
    stream.endpointer.release(100 + stream.now_s + 0.5)
    stream.give(VOICE, 0.6)
    assert stream.of(Ended) == []
    stream.give(VOICE, 0.2)
    assert stream.of(Ended) == [Ended(near(0), near(1.7), near(1.7), "released")]


def test_a_key_held_for_ever_is_cut_like_any_long_speech():
    """Each part begins where the one before ended."""
    stream = Stream(Patience(limit_s=10.0)).press().give(SILENCE, 21.0)
    assert [(event.start_s, event.end_s, event.cause) for event in stream.of(Ended)] == [
        (near(0), near(10.0), "limit"),
        (near(10.0), near(20.0), "limit"),
    ]
    assert stream.of(Paused) == []
    stream.release().give(SILENCE, 0.3)
    assert stream.events[-1] == Ended(near(20.0), near(21.2), near(21.2), "released")


def test_a_key_released_just_before_the_cut_still_ends_it():
    """The part after the cut knows of the release."""
    stream = Stream(Patience(limit_s=10.0)).press().give(VOICE, 9.9).release().give(VOICE, 0.4)
    assert [event.cause for event in stream.of(Ended)] == ["limit", "released"]
    assert stream.of(Ended)[1].end_s == near(10.1)


def test_a_key_pressed_in_an_utterance_holds_it():
    """There is no second beginning."""
    stream = Stream().give(VOICE, 1.0).press().give(SILENCE, 2.0).release().give(SILENCE, 0.3)
    assert [type(event) for event in stream.events] == [Began, Paused, Ended]
    assert stream.events[-1] == Ended(near(0), near(3.2), near(3.2), "released")


def test_a_key_released_after_all_was_over_does_nothing():
    """Such as one that was held when the ears were switched off."""
    stream = Stream().release().give(SILENCE, 1.0)
    assert stream.events == []


# --- gaps in the sound


def test_a_gap_in_the_sound_forgets_everything():
    """Half an utterance, a held key and half a beginning are nothing."""
    stream = Stream().give(VOICE, 1.0)
    stream.endpointer.reset()
    stream.give(VOICE, 0.15)
    stream.endpointer.reset()
    stream.give(VOICE, 0.15).give(SILENCE, 1.0).press()
    stream.endpointer.reset()
    stream.give(SILENCE, 2.0)
    assert [type(event) for event in stream.events] == [Began, Began]
    assert not stream.endpointer.speaking
