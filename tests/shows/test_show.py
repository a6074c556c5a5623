"""Whole shows in virtual time: minutes of talk in a fraction of a second."""

import asyncio
from typing import cast

import pytest

from apps.orchestrator.events import Panic, Pause, Resume, Stop
from apps.policy import brains
from apps.policy.brains import PROBE_S
from apps.policy.worker import Policy
from apps.shared.errors import EngineError
from apps.shared.messages import Cancel, PiecePlayed, PieceStarted, Speak, Stopped
from apps.tts_worker.playout import FRAME_S
from apps.tts_worker.switch import PROBE_S as VOICE_PROBE_S
from tests.fakes.brain import FakeBrain
from tests.shows.stage import FlakyVoice, PacedBrain, stage

pytestmark = pytest.mark.looptime

BROKE = EngineError("broke", "it broke", fix="Mend it.")


async def started(show, count=1):
    """Wait until so many pieces have begun to sound."""
    async with asyncio.timeout(30):
        while sum(isinstance(message, PieceStarted) for message in show.seen) < count:
            await asyncio.sleep(0.005)


async def test_a_line_becomes_sound(tmp_path):
    """A line is thought about, spoken in pieces, written down with every stage's time, and ends as spoken."""
    async with stage(tmp_path) as show:
        result = await show.say("good morning")
        assert result.outcome == "spoken"
        assert result.reply == PacedBrain.reply_text.format(text="good morning")
        marks = result.timings_ms
        assert marks["first_token"] == pytest.approx(120, abs=5)
        assert (
            marks["first_token"]
            < marks["first_sentence"]
            <= marks["tts_first_chunk"]
            <= marks["first_audio"]
            < marks["last_audio"]
        )
        assert show.heard_s(result.turn_id) * 1000 == pytest.approx(result.audio_ms, abs=FRAME_S * 2000)


async def test_she_speaks_while_she_still_thinks(tmp_path):
    """The first clause sounds before the model has written the last sentence."""
    async with stage(tmp_path) as show:
        result = await show.say("good morning")
        model_done_ms = 120 + len(PacedBrain.reply_text.split()) * 1000 / 60
        assert result.timings_ms["first_audio"] < model_done_ms


async def test_pieces_follow_each_other_without_a_gap(tmp_path):
    """Starting early is not paid for by stuttering: each piece begins where the last one ended."""
    async with stage(tmp_path) as show:
        await show.say("good morning")
        starts = [message.at_s for message in show.seen if isinstance(message, PieceStarted)]
        ends = [message.at_s for message in show.seen if isinstance(message, PiecePlayed)]
        assert len(starts) > 1
        assert starts[1:] == pytest.approx(ends[:-1], abs=0.001)


async def test_a_skip_while_thinking(tmp_path):
    """The model is aborted, nothing sounds, and the next line is answered."""
    async with stage(tmp_path) as show:
        first, second = show.say("one"), show.say("two")
        await asyncio.sleep(0.05)
        show.conductor.control(Stop("skip"))
        assert (await first).outcome == "cancelled"
        assert (await second).outcome == "spoken"
        assert PacedBrain.aborted == 1
        assert not any(isinstance(m, PieceStarted) and m.turn_id == first.result().turn_id for m in show.seen)


async def test_a_skip_while_speaking(tmp_path):
    """Sound ends within one frame, nothing of the old turn follows, the next line is answered."""
    async with stage(tmp_path) as show:
        first, second = show.say("one"), show.say("two")
        await started(show)
        await asyncio.sleep(0.3)
        asked_s = show.loop.time()
        show.conductor.control(Stop("skip"))
        result = await first
        assert result.outcome == "cancelled"
        silent = next(m for m in show.seen if isinstance(m, Stopped) and m.index == 0)
        assert silent.at_s - asked_s <= FRAME_S + 0.001
        assert (await second).outcome == "spoken"
        after = show.seen[show.seen.index(silent) :]
        assert not any(isinstance(m, PieceStarted | Speak) and m.turn_id == result.turn_id for m in after)
        assert show.heard_s(result.turn_id) == pytest.approx(0.3, abs=0.1)


async def test_memory_holds_what_was_heard(tmp_path):
    """After a skip the model's history has the words that were out, not those that were planned."""
    async with stage(tmp_path) as show:
        first = show.say("one")
        await started(show)
        await asyncio.sleep(0.5)
        show.conductor.control(Stop("skip"))
        await first
        await show.say("two")
        policy = show.worker("policy")
        assert isinstance(policy, Policy)
        assert policy._history[0].line.text == "one"
        assert 0 < len(policy._history[0].reply) < len(PacedBrain.reply_text) / 2
        assert PacedBrain.reply_text.startswith(policy._history[0].reply[:8])


@pytest.mark.parametrize("module", ["policy", "tts"])
@pytest.mark.parametrize("moment_s", [0.05, 0.6], ids=["thinking", "speaking"])
async def test_a_killed_worker_fails_its_turn_and_the_show_goes_on(tmp_path, module, moment_s):
    """kill -9 of a worker in mid-turn: that turn fails with the reason, the next one is spoken."""
    async with stage(tmp_path) as show:
        thinking_s = 0.12 + len(PacedBrain.reply_text.split()) / 60
        first, second = show.say("one"), show.say("two")
        await asyncio.sleep(moment_s)
        await show.kill(module)
        if module == "policy" and moment_s > thinking_s:
            assert (await first).outcome == "spoken"
        else:
            assert (await first).outcome == "failed"
            assert f"{module}_lost" in first.result().reason
        await asyncio.sleep(1)
        show.start(module)
        assert (await second).outcome == "spoken"


async def test_ten_queued_lines(tmp_path):
    """Ten lines at once are answered one after the other, in their order, and never two at a time."""
    async with stage(tmp_path) as show:
        results = await asyncio.gather(*(show.say(f"line {number}") for number in range(10)))
        assert [result.outcome for result in results] == ["spoken"] * 10
        assert all(f"line {number}" in result.reply for number, result in enumerate(results))
        spoken = [message.turn_id for message in show.seen if isinstance(message, PieceStarted)]
        assert spoken == sorted(spoken)


async def test_a_full_queue_drops_the_newcomer(tmp_path):
    """The queue is bounded, and who is dropped is told so."""
    async with stage(tmp_path) as show:
        lines = [show.say(f"line {number}") for number in range(60)]
        await asyncio.sleep(0.01)
        dropped = [line.result() for line in lines if line.done()]
        assert {result.outcome for result in dropped} == {"dropped"}
        assert len(dropped) == 60 - 1 - 50
        show.conductor.close()
        await asyncio.gather(*lines)


async def test_panic_silences_and_holds(tmp_path):
    """After a panic nothing is heard, and queued lines wait until Resume."""
    async with stage(tmp_path) as show:
        first, second = show.say("one"), show.say("two")
        await started(show)
        show.conductor.control(Panic())
        assert (await first).outcome == "cancelled"
        await asyncio.sleep(60)
        assert not second.done()
        show.conductor.control(Resume())
        assert (await second).outcome == "spoken"


async def test_a_pause_finishes_the_piece_and_goes_on_after_resume(tmp_path):
    """She does not stop in mid-word, waits as long as it takes, and says the rest."""
    async with stage(tmp_path) as show:
        first = show.say("one")
        await started(show)
        show.conductor.control(Pause())
        await asyncio.sleep(100)
        assert sum(isinstance(message, PiecePlayed) for message in show.seen) == 1
        assert not first.done()
        show.conductor.control(Resume())
        result = await first
        assert result.outcome == "spoken"


async def test_a_line_waits_for_a_worker_but_not_for_ever(tmp_path):
    """While the voice is away lines wait; one that has waited too long is dropped with the reason."""
    async with stage(tmp_path) as show:
        await show.kill("tts")
        waiting = show.say("anybody there?")
        await asyncio.sleep(20)
        assert not waiting.done()
        result = await waiting
        assert result.outcome == "dropped"
        assert "tts_down" in result.reason


async def test_a_hung_voice_does_not_hold_the_show(tmp_path):
    """A voice that answers nothing, not even a cancel, fails its turn at the deadline."""
    async with stage(tmp_path) as show:
        show.hang("tts")
        result = await show.say("one")
        assert result.outcome == "failed"
        assert "tts" in result.reason or "voice" in result.reason
        assert any(isinstance(message, Cancel) for message in show.seen)


async def test_down_the_chain_of_brains_and_up_again(tmp_path, monkeypatch):
    """A failing brain is replaced within its turn, one that comes back takes over; the light tells which."""
    monkeypatch.setitem(brains.KNOWN, "llamacpp", "tests.fakes.brain:SpareBrain")
    engines = {"policy_engine": "tests.fakes.brain:FakeBrain", "policy_gguf": "kitsu.gguf"}
    async with stage(tmp_path, **engines) as show:
        links = cast(Policy, show.worker("policy"))._brains._links
        first, second = (cast(FakeBrain, link.brain) for link in links[:2])

        async def answered():
            result = await show.say("hi")
            light = show.conductor.lights.status(show.loop.time())["policy"]
            return result.outcome, result.reply, light["engine"], light["state"]

        first.replies.append(["I am the first. "])
        assert await answered() == ("spoken", "I am the first.", "fake", "ok")

        first.replies.append([BROKE])
        first.missing = BROKE
        second.replies.append(["I am the second. "])
        assert await answered() == ("spoken", "I am the second.", "spare", "degraded")

        second.replies.append(["I am", BROKE])
        second.missing = BROKE
        outcome, reply, *light = await answered()
        assert (outcome, light) == ("spoken", ["scripted", "degraded"])
        assert reply
        assert "I am" not in reply

        second.missing = None
        await asyncio.sleep(2 * PROBE_S)
        second.replies.append(["I am back. "])
        assert await answered() == ("spoken", "I am back.", "spare", "degraded")

        first.missing = None
        await asyncio.sleep(2 * PROBE_S)
        first.replies.append(["So am I. "])
        assert await answered() == ("spoken", "So am I.", "fake", "ok")
        assert second.closed


async def test_down_to_espeak_and_up_again(tmp_path):
    """What her voice cannot say, espeak says in the same turn; the voice takes over when it works again."""
    async with stage(tmp_path, tts_engine="tests.shows.stage:FlakyVoice", tts_cache_mb=0) as show:

        async def heard():
            result = await show.say("hi")
            light = show.conductor.lights.status(show.loop.time())["tts"]
            return result.outcome, result.reply, result.audio_ms > 1000, light["engine"], light["state"]

        reply = PacedBrain.reply_text.format(text="hi")
        assert await heard() == ("spoken", reply, True, "flaky", "ok")
        FlakyVoice.trouble_now = BROKE
        assert await heard() == ("spoken", reply, True, "espeak", "degraded")
        assert await heard() == ("spoken", reply, True, "espeak", "degraded")
        FlakyVoice.trouble_now = None
        await asyncio.sleep(2 * VOICE_PROBE_S)
        assert await heard() == ("spoken", reply, True, "flaky", "ok")


async def test_no_piece_is_lost_when_the_voice_changes(tmp_path):
    """Another voice in the middle of a reply: each of its pieces is heard, once, and the next one is hers."""
    async with stage(tmp_path, tts_engine="tests.shows.stage:FlakyVoice") as show:
        line = show.say("hi")
        await started(show)
        await show.conductor.manner.set_voice("espeak")
        result = await line
        assert (result.outcome, result.reply) == ("spoken", PacedBrain.reply_text.format(text="hi"))
        asked, played = ([m.index for m in show.seen if isinstance(m, kind)] for kind in (Speak, PiecePlayed))
        assert asked == played == list(range(len(played)))
        assert show.conductor.lights.status(show.loop.time())["tts"]["engine"] == "espeak"
