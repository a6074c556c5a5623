"""The conductor: what it does besides what the pure turn decides. In virtual time, without sockets."""

import asyncio

import pytest
from msgspec.structs import replace

from apps.orchestrator import events
from apps.orchestrator import turn as t
from apps.orchestrator.inbox import Inbox
from apps.orchestrator.latency import percentiles
from apps.shared.errors import SettingsError
from apps.shared.messages import (
    Health,
    Heard,
    Process,
    Ready,
    Speak,
    Think,
)
from tests.orchestrator.led import beat, leading, with_both
from tests.orchestrator.served import HEALTHY, decided

pytestmark = pytest.mark.looptime


# --- lines ---


@pytest.mark.parametrize(
    ("user", "seen"), [("mika", "mika"), ("", "viewer"), ("\x00", "viewer"), ("x" * 99, "x" * 50)]
)
async def test_a_line_is_taken_up_at_once(user, seen):
    """Policy is asked in the same step; the name is cleaned like the text."""
    async with with_both() as on_air:
        on_air.say("hi\nthere", user)
        await asyncio.sleep(0)
        assert on_air.sent["policy"] == [Think(turn_id="show-00001", user=seen, text="hi there", lane="chat")]
        assert on_air.rows.turns["show-00001"]["outcome"] is None


async def test_nothing_is_no_line():
    """An empty text is refused with its fix; it is no turn."""
    async with with_both() as on_air:
        with pytest.raises(SettingsError, match="nothing to say"):
            await on_air.conductor.say(" \x00", "mika", "chat")
        assert not on_air.rows.turns


async def test_a_dropped_line_is_written_down_as_dropped():
    """Whatever the reason: no row is left open, as if she had been killed in the middle of it."""
    async with with_both() as on_air:
        lines = [on_air.say(f"line {number}") for number in range(Inbox.LIMIT + 2)]
        assert (await lines[-1]).outcome == "dropped"
        assert on_air.rows.turns[lines[-1].result().turn_id]["outcome"] == "dropped"
        assert str(on_air.rows.turns[lines[-1].result().turn_id]["reason"]).startswith("queue_full:")
        on_air.conductor.close()
        await asyncio.gather(*lines)
        assert set(on_air.outcomes()) == {"cancelled", "dropped"}


async def test_a_line_waits_for_a_worker_as_long_as_it_is_away():
    """A crash of the voice does not cost those who had been waiting long before it."""
    async with with_both() as on_air:
        on_air.conductor.control(events.Pause())
        early = on_air.say("I have been waiting")
        await beat(on_air, 100, "policy", "tts")
        on_air.conductor.left("tts", "its connection has ended")
        await beat(on_air, 29, "policy")
        assert not early.done()
        on_air.join("tts")
        await beat(on_air, 100, "policy", "tts")
        assert not early.done()
        on_air.conductor.left("tts", "its connection has ended")
        await beat(on_air, 31, "policy")
        assert early.result().outcome == "dropped"
        assert early.result().reason == "tts_down: its connection has ended"


async def test_nobody_waits_for_a_worker_that_was_given_up():
    """Without hope the line is dropped at once, with the reason that the supervisor gave."""
    async with with_both() as on_air:
        on_air.join("supervisor")
        on_air.conductor.left("tts", "its connection has ended")
        on_air.conductor.receive(
            "supervisor", Process(module="tts", state="down", reason="given up: no voice")
        )
        result = await asyncio.wait_for(on_air.say(), 2)
        assert (result.outcome, result.reason) == ("dropped", "tts_down: given up: no voice")


async def test_a_stale_line_expires():
    """While she is paused nothing is answered five minutes late."""
    async with with_both() as on_air:
        on_air.conductor.control(events.Pause())
        line = on_air.say()
        await beat(on_air, 299, "policy", "tts")
        assert not line.done()
        await beat(on_air, 3, "policy", "tts")
        assert line.result().reason.startswith("expired:")


async def test_who_asked_and_left_holds_nothing():
    """A caller that does not wait for the end leaves no trace behind it; the turn goes on."""
    async with with_both() as on_air:
        line = on_air.say()
        await asyncio.sleep(0)
        line.cancel()
        await asyncio.sleep(0)
        assert not on_air.conductor._lines._waiters
        on_air.conductor.control(events.Stop("skip"))
        assert on_air.outcomes() == ["cancelled"]


async def test_at_the_end_everybody_is_answered():
    """The turn under way is cancelled, what waits is dropped, and both are told that the show has ended."""
    async with with_both() as on_air:
        first, second = on_air.say(), on_air.say()
        await asyncio.sleep(0)
        on_air.conductor.close()
        assert [(await line).outcome for line in (first, second)] == ["cancelled", "dropped"]
        assert {(await line).reason for line in (first, second)} == {t.SHOW_ENDED}


# --- the gate's decisions ---


async def test_every_decision_is_written_down():
    """Also those that block, and those of a turn that is over."""
    async with with_both() as on_air:
        on_air.say()
        await asyncio.sleep(0)
        for turn_id, action in (("show-00001", "allow"), ("show-00001", "block"), ("old", "allow")):
            on_air.conductor.receive("policy", decided(turn_id, "Hello.", action)[0])
        assert [(row["turn_id"], row["action"]) for row in on_air.rows.decisions] == [
            ("show-00001", "allow"),
            ("show-00001", "block"),
            ("old", "allow"),
        ]


async def test_a_decision_counts_for_its_turn_only():
    """What was allowed in one turn is not thereby allowed in the next."""
    async with with_both() as on_air:
        on_air.say()
        on_air.say()
        await asyncio.sleep(0)
        decision, piece = decided("show-00001", "Hello.")
        on_air.conductor.receive("policy", decision)
        on_air.conductor.control(events.Stop("skip"))
        on_air.conductor.receive("policy", replace(piece, turn_id="show-00002"))
        assert not any(isinstance(message, Speak) for message in on_air.sent["tts"])


# --- workers ---


async def test_the_supervisor_is_told_once_she_can_speak():
    """When the last worker that is needed is ready; and at once when it is the supervisor that comes late."""
    async with leading() as led:
        led.join("supervisor")
        led.join("policy")
        led.join("tts", Health(state="starting", ready=False))
        assert led.sent["supervisor"] == []
        led.conductor.receive("tts", HEALTHY)
        assert led.sent["supervisor"] == [Ready(url="http://here/")]
        led.join("supervisor")
        assert led.sent["supervisor"] == [Ready(url="http://here/")]


async def test_a_worker_that_hangs_fails_its_turn():
    """Three seconds without a heartbeat end the turn, with the reason; when it wakes up, it goes on."""
    async with with_both() as on_air:
        line = on_air.say()
        await beat(on_air, 5, "tts")
        assert line.result().outcome == "failed"
        assert line.result().reason.startswith("policy_hung:")
        second = on_air.say()
        await asyncio.sleep(1)
        on_air.conductor.receive("policy", HEALTHY)
        await asyncio.sleep(0)
        assert isinstance(on_air.sent["policy"][-1], Think)
        assert not second.done()


async def test_a_process_that_is_replaced_fails_its_turn():
    """The newcomer knows nothing of it; the next line is its own."""
    async with with_both() as on_air:
        line = on_air.say()
        await asyncio.sleep(0)
        on_air.join("policy")
        assert (await line).reason == "policy_lost: another process has joined under its name"
        assert not any(isinstance(message, Think) for message in on_air.sent["policy"])
        assert ("policy", "another process has joined under its name") in on_air.rows.incidents


async def test_what_goes_wrong_is_written_down_once():
    """An incident per change of a light's reason, not one per heartbeat."""
    async with with_both() as on_air:
        trouble = Health(state="degraded", ready=True, reason="no sound card")
        for _ in range(3):
            on_air.conductor.receive("tts", trouble)
        on_air.conductor.left("tts", "its connection has ended")
        assert on_air.rows.incidents == [("tts", "no sound card"), ("tts", "its connection has ended")]


async def test_what_is_off_is_no_incident():
    """Somebody has switched it off, or has not set it up: nothing has happened."""
    async with with_both() as on_air:
        on_air.conductor.receive("tts", Health(state="off", ready=False, reason="switched off"))
        assert on_air.rows.incidents == []


async def test_trouble_with_the_journal_is_seen_and_passes():
    """The orchestrator's own light, with a fix; the show goes on."""
    async with with_both() as on_air:
        own = lambda: on_air.conductor.lights.status(0.0)["orchestrator"]  # noqa: E731
        on_air.rows.trouble = "journal_not_written: disk is full"
        await asyncio.sleep(1)
        assert (own()["state"], own()["reason"]) == ("degraded", "journal_not_written: disk is full")
        assert own()["fix"]
        assert on_air.conductor.lights.missing() == ""
        on_air.rows.trouble = ""
        await asyncio.sleep(1)
        assert (own()["state"], own()["reason"], own()["fix"]) == ("ok", "", "")


@pytest.mark.parametrize(
    ("values_ms", "p50", "p95"),
    [
        ([], None, None),
        ([7.0], 7.0, 7.0),
        ([3.0, 1.0, 2.0], 2.0, 3.0),
        ([float(n) for n in range(1, 101)], 50.0, 95.0),
    ],
)
async def test_latency_is_given_by_rank(values_ms, p50, p95):
    """The nearest-rank percentiles: the smallest value that so many per cent do not exceed."""
    assert percentiles(values_ms) == {"p50": p50, "p95": p95, "turns": len(values_ms)}


async def test_memory_is_told_what_was_heard():
    """Also of a turn of which nothing was."""
    async with with_both() as on_air:
        on_air.say()
        await asyncio.sleep(0)
        on_air.conductor.control(events.Stop("skip"))
        assert on_air.sent["policy"][-1] == Heard(turn_id="show-00001", text="")
