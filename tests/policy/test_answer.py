import asyncio
from typing import Any, cast

import pytest

from apps.policy.answer import RESERVE_S, Answer
from apps.policy.brain import Brain
from apps.policy.brains import Brains
from apps.policy.persona import load
from apps.policy.prompt import Line, Prompt
from apps.shared.errors import AivtError, EngineError
from apps.shared.messages import Decision, FirstToken, Piece, Thought
from apps.shared.settings import Settings
from tests.fakes.brain import FakeBrain

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "hi", "chat"))
HICCUP = "One moment, chat."
AGAIN = EngineError("http_500", "the server broke", fix="Restart it.", retryable=True)
NEVER = EngineError("context_too_small", "the prompt is too long", fix="Shorten it.")


class Chain:
    """Brains one after the other; the first answers until it fails."""

    def __init__(self, *brains: FakeBrain) -> None:
        self.brains = brains
        self.failures: list[AivtError] = []
        self.worked_well: list[Brain] = []
        self.ends_s = 0.0

    def worked(self, brain: Brain) -> None:
        self.worked_well.append(brain)

    def failed(self, _brain: Brain, trouble: AivtError) -> None:
        self.failures.append(trouble)

    async def after(self, brain: Brain, trouble: AivtError, ends_s: float) -> Brain | None:
        self.failed(brain, trouble)
        self.ends_s = ends_s
        following = self.brains[self.brains.index(cast(FakeBrain, brain)) + 1 :]
        return following[0] if following else None


def answer(chain, sent, **settings):
    """Give the answer of the chain's first brain; `sent` gets the messages."""
    answer = Answer("t1", Settings(_env_file=None, **settings), sent.append, lambda: 1.5)
    return answer.give(cast(Brains, chain), chain.brains[0], PROMPT, HICCUP)


async def given(*replies):
    """Let a brain with these replies answer; return the messages, the last failure and the brain."""
    brain = FakeBrain()
    sent: list[Any] = []
    brain.replies.extend(replies)
    chain = Chain(brain)
    await answer(chain, sent)
    return sent, chain.failures[-1] if chain.failures else None, brain


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
        pytest.param([["🦊 ", "*waves*"], ["Hello. "]], ["Hello."], "whole", "", id="no words, once"),
        pytest.param([["🦊 "], ["*waves*"]], [HICCUP], "whole", "nothing_sayable", id="no words"),
        pytest.param(
            [["<think>Hm. Who is it?</think>"]], [HICCUP], "whole", "thinks_aloud", id="only thoughts"
        ),
        pytest.param([[], []], [HICCUP], "whole", "nothing_sayable", id="empty"),
        pytest.param([[AGAIN], ["🦊"]], [HICCUP], "whole", "nothing_sayable", id="retried, no words"),
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
        assert bool(thought.fix) == bool(reason)
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
    brain.replies.append(["Hello there. ", 3.0, "Never said. "])
    task = asyncio.create_task(answer(Chain(brain), sent))
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
    await answer(Chain(brain), sent, tts_cut=cut)
    assert texts(sent) == pieces


# --- down the chain ---


def chain_of(*replies):
    """A brain for each reply."""
    brains = []
    for reply in replies:
        brains.append(FakeBrain())
        brains[-1].replies.append(reply)
    return Chain(*brains)


async def test_the_next_brain_answers_in_the_same_turn():
    """What a brain cannot answer, the next one does; nobody hears that anything was wrong."""
    chain = chain_of([NEVER], ["Well", NEVER], ["Hello. "])
    sent: list[Any] = []
    await answer(chain, sent)
    assert texts(sent) == ["Hello."]
    assert chain.failures == [NEVER, NEVER]
    assert chain.worked_well == [chain.brains[2]]
    thought = sent[-1]
    assert (thought.outcome, thought.reason, thought.fix) == (
        "whole",
        "context_too_small: the prompt is too long",
        "Shorten it.",
    )


@pytest.mark.looptime
async def test_all_brains_together_have_the_time_of_one():
    """Brains that say nothing use up the turn's time: then a safe line, not yet another brain's wait."""
    chain = chain_of([3600.0, "Late. "], [3600.0, "Later. "], ["Latest. "])
    sent: list[Any] = []
    loop = asyncio.get_running_loop()
    begun_s = loop.time()
    await answer(chain, sent, policy_first_token_s=6)
    assert loop.time() - begun_s == pytest.approx(6)
    assert texts(sent) == [HICCUP]
    assert sent[-1].reason.startswith("first_token_timeout")
    assert [error.code for error in chain.failures] == ["first_token_timeout"]
    assert chain.brains[2].prompts == []


@pytest.mark.looptime
async def test_a_silent_brain_is_followed_by_the_next():
    """The last of the time is kept for it, so that a viewer gets an answer in this very turn."""
    chain = chain_of([3600.0, "Late. "], ["Hello. "])
    sent: list[Any] = []
    begun_s = asyncio.get_running_loop().time()
    await answer(chain, sent, policy_first_token_s=6)
    assert asyncio.get_running_loop().time() - begun_s == pytest.approx(6 - RESERVE_S)
    assert texts(sent) == ["Hello."]
    assert (sent[-1].outcome, sent[-1].reason.split(":")[0]) == ("whole", "first_token_timeout")


@pytest.mark.looptime
async def test_what_is_left_of_the_time_goes_to_the_next_brain():
    """Less a reserve for the lines that need no model."""
    chain = chain_of([2.0, NEVER], ["Hello. "])
    begun_s = asyncio.get_running_loop().time()
    await answer(chain, [], policy_first_token_s=6)
    assert chain.ends_s - begun_s == pytest.approx(6 - RESERVE_S)


async def test_what_was_said_stays_said():
    """A brain that breaks off after a sentence is not followed by another one's answer."""
    chain = chain_of(["Hello there. And", NEVER], ["Something else. "])
    sent: list[Any] = []
    await answer(chain, sent)
    assert texts(sent) == ["Hello there."]
    assert chain.failures == [NEVER]


async def test_a_timer_that_fires_a_little_early():
    """On Windows by up to 16 ms: no time is left for another try of it, only for the next brain."""
    early = EngineError("first_token_timeout", "no word in time", fix="Wait.", retryable=True)
    chain = chain_of([early], ["Hello. "])
    sent: list[Any] = []
    await answer(chain, sent)
    assert texts(sent) == ["Hello."]
    assert [len(brain.prompts) for brain in chain.brains] == [1, 1]


@pytest.mark.looptime
async def test_a_retry_that_runs_out_of_time():
    """What the brain broke with is told, not that the rest of the time was too short for another try."""
    brain = FakeBrain()
    brain.replies.extend([[4.0, AGAIN], [3600.0, "Late. "]])
    chain = Chain(brain)
    sent: list[Any] = []
    await answer(chain, sent, policy_first_token_s=6)
    assert texts(sent) == [HICCUP]
    assert (sent[-1].reason, chain.failures) == ("http_500: the server broke", [AGAIN])


@pytest.mark.looptime
async def test_a_spare_is_not_blamed_for_what_others_took():
    """One that had a second for its first word stays in use: the next turn gives it all of the time."""
    chain = chain_of([4.5, NEVER], [3600.0, "Late. "])
    sent: list[Any] = []
    await answer(chain, sent, policy_first_token_s=6)
    assert texts(sent) == [HICCUP]
    assert chain.failures == [NEVER]


@pytest.mark.looptime
async def test_a_spare_that_breaks_is_blamed():
    """Its own fault is told of, although the time was over before it came out."""
    chain = chain_of([4.0, NEVER], ["Hm", 1.5, "so", NEVER])
    await answer(chain, [], policy_first_token_s=5.4)
    assert chain.failures == [NEVER, NEVER]


# --- what is not said ---


async def test_thoughts_are_not_said():
    """What a model thinks aloud is neither spoken nor counted as its first word."""
    sent, trouble, _ = await given(["<thi", "nk>They greet", " me.</think>\n\n", "Hello!"])
    assert trouble is None
    assert texts(sent) == ["Hello!"]


@pytest.mark.looptime
async def test_a_model_that_thinks_too_long():
    """Thinking is no word: the time for the first one goes on, and the fix names the cause."""
    brain = FakeBrain()
    thought: list[str | float] = [1.0, "hm "]
    brain.replies.append(["<think>", *thought * 60, "</think>Hello! "])
    sent: list[Any] = []
    chain = Chain(brain)
    await answer(chain, sent, policy_first_token_s=6)
    assert texts(sent) == [HICCUP]
    assert chain.failures[-1].code == "thinks_aloud"
    assert not any(isinstance(message, FirstToken) for message in sent)


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("trouble", "code"), [(AGAIN, "http_500"), (3600.0, "thinks_aloud")], ids=["breaks", "goes on"]
)
async def test_a_thought_that_does_not_end(trouble, code):
    """A model that thinks for too long is one thing, a server that breaks meanwhile is another."""
    sent, failure, brain = await given(["<think>They greet", trouble], ["<think>They greet", trouble])
    assert texts(sent) == [HICCUP]
    assert failure is not None
    assert failure.code == sent[-1].reason.split(":")[0] == code
    assert len(brain.prompts) == (2 if trouble is AGAIN else 1)


async def test_a_thought_that_had_no_beginning():
    """A template may open the thought in the prompt: while nothing was said of it, the rest is the reply."""
    sent, trouble, _ = await given(["They greet me", "</think>", "Hello!"])
    assert trouble is None
    assert texts(sent) == ["Hello!"]


async def test_a_thought_that_slipped_out():
    """Too late to take back: she says no more, and the light names the model's fault."""
    sent, trouble, _ = await given(["They greet me. Say hello.", "</think>", "Hello!"])
    assert trouble
    assert trouble.code == "thinks_aloud"
    assert "Hello!" not in texts(sent)


async def test_a_loop_is_ended():
    """A model that repeats itself is stopped, and its generation aborted."""
    sent, trouble, brain = await given(["That was fun. ", *["LUL "] * 500])
    assert trouble is None
    assert texts(sent)[0] == "That was fun."
    assert " ".join(texts(sent)).count("LUL") < 10
    assert brain.closed_replies == 1


async def test_a_reply_without_end_is_ended():
    """So many sentences as the persona allows, and no more; the generation is aborted."""
    sentences = [f"This is sentence number {number}. " for number in range(50)]
    sent, trouble, brain = await given(sentences)
    assert trouble is None
    assert len(texts(sent)) == PROMPT.persona.reply.sentences
    assert brain.closed_replies == 1
