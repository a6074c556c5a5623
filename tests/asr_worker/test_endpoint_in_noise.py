"""How utterances are found in recorded scenes: twenty lines by ten voices, in quiet and in noise.

The traces are made by tests/data/traces/record.py, which also prints the whole table.
"""

import pytest

from apps.asr_worker.endpoint import PRE_ROLL_S, Ended, Patience
from apps.asr_worker.sound import FRAME_S
from tests.asr_worker.traces import Trace, follow, score

WAIT_S = Patience().pause_s
NOISY = [f"{noise}-{snr_db}" for noise in ("white", "pink", "music", "keyboard") for snr_db in (20, 10, 5)]
WEBRTC_COPES = ("clean", "white-20", "white-10", "pink-20", "music-20")


@pytest.mark.parametrize("scene", ["clean", *NOISY])
def test_silero_finds_every_line(scene):
    """In hiss, rumble, music and typing down to 5 dB: each line is one utterance, and nothing else is one."""
    trace = Trace.load(scene)
    found = score(follow(trace.silero), trace.spoken)
    assert (found.found, found.false, found.merged, found.split) == (20, 0, 0, 0)
    assert found.start_late_s < PRE_ROLL_S / 2
    assert found.began_late_s < 0.4
    assert -FRAME_S < found.end_late_s < 0.2
    assert WAIT_S <= found.ended_late_s < WAIT_S + 0.25


@pytest.mark.parametrize("scene", WEBRTC_COPES)
def test_webrtc_copes_with_a_quiet_room(scene):
    """Whoever chooses it may have a fan, or soft music."""
    trace = Trace.load(scene)
    found = score(follow(trace.webrtc), trace.spoken)
    assert (found.found, found.false, found.merged, found.split) == (20, 0, 0, 0)
    assert found.ended_late_s < WAIT_S + 0.25


@pytest.mark.parametrize("scene", sorted(set(NOISY) - set(WEBRTC_COPES)))
def test_webrtc_never_lets_go_in_noise(scene):
    """Which is why it does not decide unless it is chosen: line after line becomes one utterance."""
    trace = Trace.load(scene)
    assert score(follow(trace.webrtc), trace.spoken).merged > 10


@pytest.mark.parametrize("scene", ["coughs", "coughing-fit", "bumps", "keyboard", "music"])
def test_what_is_no_voice_begins_nothing(scene):
    """Not even a fit of coughing, or music as loud as a voice."""
    assert follow(Trace.load(scene).silero) == []


@pytest.mark.parametrize("scene", ["coughing-fit", "keyboard", "music"])
def test_webrtc_takes_a_long_noise_for_an_utterance(scene):
    """It begins and, within the limit, ends: the recogniser finds no words in it."""
    ends = [event for event in follow(Trace.load(scene).webrtc) if isinstance(event, Ended)]
    assert len(ends) == 1
    assert ends[0].end_s - ends[0].start_s <= Patience().limit_s


def test_short_answers_are_utterances():
    """Nine of "yes", "no", "stop", "hi" and the like, said fast; 0.3 s of "what?" is too little."""
    trace = Trace.load("answers")
    found = score(follow(trace.silero), trace.spoken)
    assert (found.found, found.false, found.merged, found.split) == (9, 0, 0, 0)


def test_a_hesitation_ends_nothing():
    """Two pauses of 0.4 s within a line, and nobody read what was said so far."""
    trace = Trace.load("hesitation")
    found = score(follow(trace.silero), trace.spoken)
    assert (found.found, found.merged, found.split) == (6, 0, 0)


def test_forty_seconds_without_a_rest_are_cut_between_two_sentences():
    """Nothing of what was said lies outside of the two utterances."""
    trace = Trace.load("monologue")
    ends = [event for event in follow(trace.silero) if isinstance(event, Ended)]
    assert [event.cause for event in ends] == ["limit", "pause"]
    first, second = ends
    assert all(
        start_s > first.start_s - 0.15 and (end_s < first.end_s + 0.1 or start_s > second.start_s - 0.15)
        for start_s, end_s in trace.spoken
    )


def test_her_own_voice_is_a_voice():
    """Even dull and far below somebody at the microphone it begins utterances: see echo.py for what helps."""
    trace = Trace.load("her-echo")
    assert score(follow(trace.silero), trace.spoken).found == 6


@pytest.mark.parametrize("scene", ["clean", "keyboard-5", "monologue", "her-echo"])
def test_a_trace_is_whole(scene):
    """Every frame has both probabilities and a level, and every line lies within the scene."""
    trace = Trace.load(scene)
    assert len(trace.silero) == len(trace.webrtc) == len(trace.level_db)
    assert all(0 <= value <= 1 for value in [*trace.silero, *trace.webrtc])
    assert trace.spoken[-1][1] < len(trace.silero) * FRAME_S
