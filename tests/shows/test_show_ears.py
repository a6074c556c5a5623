"""Whole shows in which the streamer speaks, in virtual time: who is silent when, and who is answered."""

import asyncio
import sqlite3

import pytest

from apps.policy.worker import Policy
from apps.shared.messages import Output, PieceHushed, PiecePlayed, PieceResumed, PieceStarted, Speak, Think
from apps.tts_worker.playout import FRAME_S
from tests.shows.mouth import ENDPOINT_S, Mouth
from tests.shows.stage import PacedBrain, Stage, stage
from tests.shows.test_show import started

pytestmark = pytest.mark.looptime


async def idle(show: Stage) -> None:
    """Wait until nothing is being said and nothing waits."""
    async with asyncio.timeout(60):
        while show.conductor.status()["queue"]["turn_id"] or show.conductor.status()["queue"]["waiting"]:  # type: ignore[index]
            await asyncio.sleep(0.01)


def asked(show: Stage) -> list[str]:
    """The lines that policy was asked to answer, in order."""
    return [message.text for message in show.seen if isinstance(message, Think)]


def rows(show: Stage, query: str) -> list[tuple[object, ...]]:
    """What the journal has, once the show is over."""
    with sqlite3.connect(show.settings.aivt_data_dir / "journal.db") as db:
        return db.execute(query).fetchall()


async def test_barge_in_in_mid_sentence(tmp_path):
    """She is silent within one audio frame, her turn is over, and the streamer is answered next."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        chat, later = show.say("one"), show.say("two")
        await started(show)
        await asyncio.sleep(0.3)
        spoke_s = show.loop.time()
        mouth.begins()
        await asyncio.sleep(1.0)
        hushed = next(message for message in show.seen if isinstance(message, PieceHushed))
        assert hushed.at_s - spoke_s <= FRAME_S + 0.006  # the end of a frame, and a fade of 5 ms
        mouth.has_said("wait, stop for a moment")
        assert (await chat).outcome == "cancelled"
        assert chat.result().reason.startswith("barge_in")
        assert (await later).outcome == "spoken"
        assert asked(show) == ["one", "wait, stop for a moment", "two"]


async def test_a_cough_in_mid_sentence(tmp_path):
    """She pauses, goes on from where she stopped, and every word is heard once."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        chat = show.say("one")
        await started(show)
        await asyncio.sleep(0.3)
        mouth.begins()
        await asyncio.sleep(0.9)
        mouth.coughed()
        result = await chat
        assert result.outcome == "spoken"
        hushed, resumed = (
            next(m for m in show.seen if isinstance(m, kind)) for kind in (PieceHushed, PieceResumed)
        )
        assert resumed.played_s == hushed.played_s
        assert resumed.at_s - hushed.at_s == pytest.approx(0.9, abs=2 * FRAME_S)
        played_ms = sum(m.audio_ms for m in show.seen if isinstance(m, PiecePlayed))
        assert played_ms == pytest.approx(result.audio_ms)
        assert show.heard_s(result.turn_id) == pytest.approx(played_ms / 1000 + 0.9, abs=4 * FRAME_S)
        assert asked(show) == ["one"]


async def test_a_head_start_that_is_kept(tmp_path):
    """Her reply is ready when the words are final, and sounds at once; the journal tells what that saved."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        mouth.begins()
        await asyncio.sleep(1)
        mouth.seems_to_say("What do you think about the boss")
        await asyncio.sleep(0.4)
        assert not any(isinstance(message, PieceStarted) for message in show.seen)
        said_s = show.loop.time()
        mouth.has_said("What do you think about the boss?")
        await started(show)
        first = next(message for message in show.seen if isinstance(message, PieceStarted))
        assert first.at_s - said_s <= 2 * FRAME_S
        await idle(show)
        policy = show.worker("policy")
        assert isinstance(policy, Policy)
        assert policy._history[-1].line.text == "What do you think about the boss?"
        assert asked(show) == ["What do you think about the boss"]
    ((lane, text, outcome, endpoint_ms, first_ms),) = rows(
        show, "SELECT lane, text, outcome, endpoint_ms, first_audio_ms FROM turns"
    )
    assert (lane, text, outcome) == ("streamer", "What do you think about the boss?", "spoken")
    assert endpoint_ms == pytest.approx(1000 * ENDPOINT_S)
    assert first_ms == pytest.approx(1000 * (first.at_s - said_s + ENDPOINT_S), abs=1)
    ((kept, saved_ms),) = rows(show, "SELECT kept, saved_ms FROM head_starts")
    assert kept == 1
    assert saved_ms == pytest.approx(120 + 1000 * 2 / 60, abs=2)  # all of the time to her first sound


async def test_a_head_start_that_is_thrown_away(tmp_path):
    """The streamer went on: the first guess is neither heard nor written down, the rest is answered."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        mouth.begins()
        mouth.seems_to_say("Tell me a joke")
        await asyncio.sleep(0.3)
        mouth.seems_to_say("Tell me a joke about the boss and the fox", complete=False)
        await asyncio.sleep(0.3)
        mouth.has_said("Tell me a joke about the boss and the fox.")
        await started(show)
        await idle(show)
        wrong, right = (message for message in show.seen if isinstance(message, Think))
        assert (wrong.text, right.text) == ("Tell me a joke", "Tell me a joke about the boss and the fox.")
        assert not any(isinstance(m, PieceStarted) and m.turn_id == wrong.turn_id for m in show.seen)
        assert PacedBrain.aborted == 1
        policy = show.worker("policy")
        assert isinstance(policy, Policy)
        assert [exchange.line.text for exchange in policy._history] == [right.text]
    assert rows(show, "SELECT text FROM turns") == [(right.text,)]
    assert rows(show, "SELECT kept, saved_ms FROM head_starts") == [(0, None)]


async def test_no_head_start_when_it_is_switched_off(tmp_path):
    """ASR_HEAD_START=0: nothing is thought about before the words are final."""
    async with stage(tmp_path, asr_head_start=False) as show:
        mouth = Mouth(show)
        mouth.begins()
        mouth.seems_to_say("Tell me a joke")
        await asyncio.sleep(0.5)
        assert asked(show) == []
        mouth.has_said("Tell me a joke")
        await idle(show)
        assert asked(show) == ["Tell me a joke"]


async def test_she_lets_the_streamer_finish(tmp_path):
    """While somebody speaks no line of chat is taken up, and none is lost."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        mouth.begins()
        chat = show.say("one")
        await asyncio.sleep(3)
        assert asked(show) == []
        mouth.coughed()
        assert (await chat).outcome == "spoken"


async def test_words_while_she_thinks(tmp_path):
    """The streamer is answered first, and the line of chat after that: it was not heard to be answered."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        chat = show.say("one")
        await asyncio.sleep(0.05)
        mouth.begins()
        await asyncio.sleep(0.6)
        mouth.has_said("look at this")
        assert (await chat).outcome == "spoken"
        assert asked(show) == ["one", "look at this", "one"]


async def test_a_sentence_that_went_on_after_its_end(tmp_path):
    """Both halves of what the streamer said are answered together."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        mouth.begins()
        mouth.has_said("I think")
        await asyncio.sleep(0.05)
        mouth.begins()
        await asyncio.sleep(0.8)
        mouth.has_said("we should go left")
        await idle(show)
        assert asked(show)[-1] == "I think we should go left"
        assert len({m.turn_id for m in show.seen if isinstance(m, PieceStarted)}) == 1


async def test_ears_that_die_while_she_is_hushed(tmp_path):
    """kill -9 of the ears: nobody will say how the utterance ended, so she goes on."""
    async with stage(tmp_path) as show:
        mouth = Mouth(show)
        chat = show.say("one")
        await started(show)
        mouth.begins()
        await asyncio.sleep(0.5)
        show.conductor.left("asr", "its connection has ended")
        assert (await chat).outcome == "spoken"


async def test_only_her_name_interrupts(tmp_path):
    """streamer_only_when_addressed: she finishes her sentence and waits; her name silences her at once."""
    async with stage(tmp_path, asr_barge_in="streamer_only_when_addressed") as show:
        mouth = Mouth(show)
        chat = show.say("one")
        await started(show)
        mouth.begins()
        await asyncio.sleep(6)
        pieces = sum(isinstance(message, PieceStarted) for message in show.seen)
        assert pieces < sum(isinstance(message, Speak) for message in show.seen)
        assert not any(isinstance(message, PieceHushed) for message in show.seen)
        mouth.has_said("come on, go left")
        assert (await chat).outcome == "spoken"
        await idle(show)
        so_far = sum(isinstance(message, PieceStarted) for message in show.seen)
        again = show.say("two")
        await started(show, so_far + 1)
        mouth.begins()
        await asyncio.sleep(0.1)
        mouth.seems_to_say("hey kit sue", complete=False)
        await asyncio.sleep(0.1)
        assert any(isinstance(message, PieceHushed) for message in show.seen)
        mouth.has_said("hey kitsu stop")
        assert (await again).outcome == "cancelled"


async def test_nothing_interrupts(tmp_path):
    """never: she speaks on, and answers what was said afterwards."""
    async with stage(tmp_path, asr_barge_in="never") as show:
        mouth = Mouth(show)
        chat = show.say("one")
        await started(show)
        mouth.begins()
        await asyncio.sleep(0.5)
        mouth.has_said("hey kitsu stop")
        assert (await chat).outcome == "spoken"
        await idle(show)
        assert asked(show) == ["one", "hey kitsu stop"]
        assert not any(isinstance(m, Output) and (m.hushed or m.held) for m in show.seen)


async def test_only_what_is_meant_for_her_is_answered(tmp_path):
    """ASR_ANSWER=addressed: the streamer may talk to chat, and she is silent unless called by her name."""
    async with stage(tmp_path, asr_answer="addressed") as show:
        mouth = Mouth(show)
        for text in ("so chat, what do we do", "Kitsu, what do you think?"):
            mouth.begins()
            mouth.has_said(text)
            await idle(show)
        assert asked(show) == ["Kitsu, what do you think?"]
