"""How long the last turns took to their first sound."""

import pytest

from apps.orchestrator.latency import TURNS, Latency

NONE = {"p50": None, "p95": None, "turns": 0}


def test_nothing_is_known_before_the_first_turn():
    """And a turn without a sound is none: it would count as infinitely fast."""
    latency = Latency()
    latency.add("chat", None)
    latency.add("streamer", None)
    assert latency.status() == {"first_audio_ms": NONE, "microphone_first_audio_ms": NONE}


@pytest.mark.parametrize("lane", ["chat", "mention", "redeem", "operator"])
def test_chat_and_microphone_are_told_apart(lane):
    """A microphone's times hold an endpoint's wait, and would spoil those of chat."""
    latency = Latency()
    latency.add(lane, 900.0)
    latency.add("streamer", 1600.0)
    assert latency.status() == {
        "first_audio_ms": {"p50": 900.0, "p95": 900.0, "turns": 1},
        "microphone_first_audio_ms": {"p50": 1600.0, "p95": 1600.0, "turns": 1},
    }


def test_only_the_last_turns_count():
    """A bad start of the show is forgotten."""
    latency = Latency()
    for ms in range(2 * TURNS):
        latency.add("chat", float(ms))
    assert latency.status()["first_audio_ms"] == {
        "p50": TURNS + TURNS / 2 - 1,
        "p95": TURNS + TURNS * 0.95 - 1,
        "turns": TURNS,
    }
