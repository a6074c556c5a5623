import asyncio
from typing import Any

import pytest

from apps.policy.answer import Answer
from apps.policy.persona import load
from apps.policy.prompt import Line, Prompt
from apps.shared.errors import EngineError
from apps.shared.messages import Decision, FirstToken, Piece, Thought
from tests.fakes.brain import FakeBrain

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "hi", "chat"))
HICCUP = "One moment, chat."
AGAIN = EngineError("http_500", "the server broke", fix="Restart it.", retryable=True)
NEVER = EngineError("context_too_small", "the prompt is too long", fix="Shorten it.")


async def given(*replies):
    """Let a brain with these replies answer; return the messages, the failure and the brain."""
    brain = FakeBrain()
    sent: list[Any] = []
    brain.replies.extend(replies)
    answer = Answer("t1", "clause", sent.append, lambda: 1.5)
    return sent, await answer.give(brain, PROMPT, HICCUP), brain


def texts(sent):
    return [message.approved.text for message in sent if isinstance(message, Piece)]


async def test_a_whole_reply():
    """First token, then each piece behind its decision, then the end of the thought."""
    sent, trouble, brain = await given(["Oh, hel", "lo there. ", "How are", " you?"])
    assert trouble is None
    assert [type(message) for message in sent] == [FirstToken, Decision, Piece, Decision, Piece, Thought]
    assert texts(sent) == ["Oh, hello there.", "How are you?"]
    assert [message.index for message in sent if isinstance(message, Piece)] == [0, 1]
    for decision, piece in zip(sent[1:5:2], sent[2:5:2], strict=True):
        assert (decision.decision_id, decision.sha256) == (piece.approved.decision_id, piece.approved.sha256)
        assert piece.approved.intact()
    assert sent[-1] == Thought(turn_id="t1", pieces=2, outcome="whole", at_s=1.5)
    assert brain.closed_replies == 1


@pytest.mark.parametrize(
    ("replies", "pieces", "outcome", "reason"),
    [
        pytest.param([[AGAIN], ["Hello. "]], ["Hello."], "whole", "", id="retried"),
        pytest.param([["Well", AGAIN], ["Hello. "]], ["Hello."], "whole", "", id="retried, nothing was said"),
        pytest.param([[AGAIN], [AGAIN], ["Late. "]], [HICCUP], "whole", "http_500", id="twice is enough"),
        pytest.param(
            [[AGAIN], [NEVER]], [HICCUP], "whole", "context_too_small", id="the last failure counts"
        ),
        pytest.param([[NEVER], ["Late. "]], [HICCUP], "whole", "context_too_small", id="not retryable"),
        pytest.param(
            [["Hello there. And the", AGAIN], ["Late. "]], ["Hello there."], "whole", "http_500", id="broken"
        ),
        pytest.param([["🦊 ", "*waves*"]], [], "failed", "nothing_sayable", id="no words"),
        pytest.param(
            [["<think>Hm. Who is it?</think>"]], [], "failed", "nothing_sayable", id="only thoughts"
        ),
        pytest.param([[]], [], "failed", "nothing_sayable", id="empty"),
        pytest.param([[AGAIN], ["🦊"]], [], "failed", "nothing_sayable", id="retried, no words"),
    ],
)
async def test_what_comes_of_a_reply(replies, pieces, outcome, reason):
    """Whole sentences are kept, half ones dropped, and only when nothing was said it tries again, once."""
    sent, trouble, brain = await given(*replies)
    assert texts(sent) == pieces
    thought = sent[-1]
    assert (thought.pieces, thought.outcome) == (len(pieces), outcome)
    assert thought.reason.split(":")[0] == reason
    assert [type(message) for message in sent].count(FirstToken) <= 1
    assert brain.closed_replies == len(brain.prompts) <= 2
    if trouble is None:
        assert thought.fix == ""
    else:
        assert (trouble.code, trouble.fix) == (reason, thought.fix)


async def test_a_success_at_the_second_attempt_is_no_failure():
    """The light stays green: a hiccup of the server that nobody heard is only logged."""
    _, trouble, _ = await given([AGAIN], ["Hello. "])
    assert trouble is None


async def test_a_model_that_goes_on_as_the_viewer_is_stopped():
    """Her reply ends where the viewer's next line would begin, and the generation is aborted there."""
    sent, trouble, brain = await given(["Sure!", "\n", "Bob", ": thanks. ", "Kitsu: any time."])
    assert trouble is None
    assert texts(sent) == ["Sure!"]
    assert brain.closed_replies == 1


async def test_the_first_token_is_told_once():
    """A failed attempt's token was the first; a second one would count the wait anew."""
    sent, _, _ = await given(["Well", AGAIN], ["Hello. "])
    assert [type(message) for message in sent] == [FirstToken, Decision, Piece, Thought]


@pytest.mark.looptime
async def test_a_cancel_aborts_the_generation():
    """The brain's stream is closed at once, and nothing more is sent."""
    brain = FakeBrain()
    sent: list[Any] = []
    brain.replies.append(["Hello there. ", 3600.0, "Never said. "])
    answer = Answer("t1", "clause", sent.append, lambda: 0.0)
    task = asyncio.create_task(answer.give(brain, PROMPT, HICCUP))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert brain.closed_replies == 1
    assert texts(sent) == ["Hello there."]
    assert not any(isinstance(message, Thought) for message in sent)


@pytest.mark.parametrize(
    ("cut", "pieces"),
    [
        ("clause", ["Well hello there my friend,", "how are you?"]),
        ("sentence", ["Well hello there my friend, how are you?"]),
    ],
)
async def test_where_she_is_cut(cut, pieces):
    """TTS_CUT decides whether she may begin with a clause."""
    brain = FakeBrain()
    sent: list[Any] = []
    brain.replies.append(["Well hello there my friend,", " how are you?"])
    await Answer("t1", cut, sent.append, lambda: 0.0).give(brain, PROMPT, HICCUP)
    assert texts(sent) == pieces
