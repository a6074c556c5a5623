"""The lines, from where they come in to the word on what became of each."""

import asyncio
from typing import cast

import pytest

from apps.orchestrator.inbox import TEXT_LIMIT, Inbox
from apps.orchestrator.journal import Journal
from apps.orchestrator.lines import Lines
from apps.orchestrator.record import Record
from apps.orchestrator.show import Turn
from apps.orchestrator.stream import Stream
from apps.shared.errors import SettingsError
from apps.shared.messages import Message, TurnState
from tests.orchestrator.led import Rows


class Kept:
    """Lines, what was written down of them and what was shown."""

    def __init__(self) -> None:
        self.rows = Rows()
        self.shown: list[Message] = []
        stream = Stream()
        stream.send = self.shown.append  # type: ignore[method-assign,assignment]
        self.lines = Lines("show", Record(cast(Journal, self.rows)), stream)

    def line(self, text: str = "hi", lane="chat", received_s: float = 0.0):
        return self.lines.new(text, "mika", lane, received_s)

    def states(self) -> list[tuple[str, str]]:
        return [(told.turn_id, told.state) for told in self.shown if isinstance(told, TurnState)]

    def waiting(self) -> list[str]:
        """The texts that wait, in the order in which they will be taken; none waits afterwards."""
        texts = []
        while (item := self.lines.take()) is not None:
            texts.append(item.text)
        return texts


def turn(item) -> Turn:
    return Turn(item.id, item.user, item.text, item.lane, item.received_s)


def test_each_line_has_an_id_of_its_own():
    """Also one that is refused later; an empty one is none."""
    kept = Kept()
    assert [kept.line().id for _ in range(2)] == ["show-00001", "show-00002"]
    with pytest.raises(SettingsError):
        kept.line(" \x00")
    assert kept.line().id == "show-00003"


def test_the_streamer_goes_first():
    """However long the others have waited."""
    kept = Kept()
    for text in ("one", "two"):
        kept.lines.queue(kept.line(text))
    kept.lines.queue(kept.line("hey", "streamer"))
    assert kept.lines.streamer_waits
    assert kept.waiting() == ["hey", "one", "two"]
    assert not kept.lines.streamer_waits


def test_what_the_streamer_says_before_the_answer_is_one_line():
    """In the order in which it was said; the parts that went into it are over, and no row is left open."""
    kept = Kept()
    for number, text in enumerate(("one", "two", "three")):
        kept.lines.queue(kept.line(text, "streamer", received_s=float(number)))
    assert len(kept.lines) == 1
    item = kept.lines.take()
    assert item is not None
    assert (item.id, item.text, item.received_s) == ("show-00003", "one two three", 2.0)
    assert kept.states() == [
        ("show-00001", "queued"),
        ("show-00001", "cancelled"),
        ("show-00002", "queued"),
        ("show-00002", "cancelled"),
        ("show-00003", "queued"),
    ]
    assert kept.rows.turns == {}


def test_one_line_has_its_limit():
    """Of very much that was said the last words are answered."""
    kept = Kept()
    for number in range(400):
        kept.lines.queue(kept.line(f"word{number}", "streamer"))
    (text,) = kept.waiting()
    assert len(text) <= TEXT_LIMIT
    assert text.split() == [f"word{number}" for number in range(400 - len(text.split()), 400)]


async def test_a_line_that_is_put_back_waits_at_its_old_place():
    """Under a new id, before all that came after it; whoever waits gets the answer to the new one."""
    kept = Kept()
    first = kept.line("one")
    waiter = kept.lines.promise(first)
    for item in (first, kept.line("two")):
        kept.lines.queue(item)
    taken = kept.lines.take()
    assert taken == first
    kept.lines.put_back(turn(taken))
    kept.lines.answer(turn(taken), "cancelled")
    assert not waiter.done()
    again = kept.lines.take()
    assert again is not None
    assert (again.id, again.text, again.received_s) == ("show-00003", "one", first.received_s)
    kept.lines.answer(turn(again), "spoken")
    assert (waiter.result().turn_id, waiter.result().outcome) == ("show-00003", "spoken")
    assert kept.waiting() == ["two"]


async def test_nothing_is_kept_of_who_is_gone():
    """A waiter is forgotten by itself, not by an id that may have changed."""
    kept = Kept()
    item = kept.line()
    waiter = kept.lines.promise(item)
    other = kept.lines.promise(kept.line())
    kept.lines.put_back(turn(item))
    kept.lines.forget(waiter)
    assert list(kept.lines._waiters.values()) == [other]


async def test_an_answer_after_the_caller_left_harms_nobody():
    """A cancelled waiter is not answered."""
    kept = Kept()
    item = kept.line()
    waiter = kept.lines.promise(item)
    waiter.cancel()
    await asyncio.sleep(0)
    kept.lines.answer(turn(item), "spoken")
    assert kept.states() == [("show-00001", "spoken")]


def test_a_full_queue_turns_newcomers_away_and_takes_back_its_own():
    """Who is turned away is told why, in the journal and on the panel."""
    kept = Kept()
    first = kept.line("first")
    kept.lines.queue(first)
    for number in range(Inbox.LIMIT):
        kept.lines.queue(kept.line(f"line {number}"))
    late = f"show-{Inbox.LIMIT + 1:05d}"
    assert kept.states()[-1] == (late, "dropped")
    assert str(kept.rows.turns[late]["reason"]).startswith("queue_full:")
    kept.lines.take()
    kept.lines.queue(kept.line("newcomer"))
    kept.lines.put_back(turn(first))
    assert len(kept.lines) == Inbox.LIMIT + 1
    assert kept.waiting()[0] == "first"


def test_the_streamers_words_become_stale_sooner():
    """Nobody talks with a delay of half a minute; chat waits for minutes."""
    kept = Kept()
    kept.lines.queue(kept.line("chat"))
    kept.lines.queue(kept.line("hey", "streamer"))
    kept.lines.expire(Inbox.SPOKEN_EXPIRY_S)
    assert len(kept.lines) == 2
    kept.lines.expire(Inbox.SPOKEN_EXPIRY_S + 1)
    assert [row["outcome"] for row in kept.rows.turns.values()] == ["dropped"]
    assert kept.waiting() == ["chat"]


def test_all_that_wait_for_a_lost_worker_are_told():
    """Also the streamer."""
    kept = Kept()
    kept.lines.queue(kept.line("chat"))
    kept.lines.queue(kept.line("hey", "streamer"))
    kept.lines.drop_older(1.0, 0.0, "tts_down: killed")
    assert {row["reason"] for row in kept.rows.turns.values()} == {"tts_down: killed"}
    assert len(kept.lines) == 0
