"""One reply, from the question to the last approved piece."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing

import structlog

from apps.policy.brain import Brain
from apps.policy.brains import Brains
from apps.policy.deadlines import TooSlowError, in_time
from apps.policy.length import Length
from apps.policy.moderation.gate import Gate
from apps.policy.prompt import Prompt, speaker
from apps.policy.repetition import Repetition
from apps.policy.sentences import Cutter
from apps.policy.stopword import StopWord
from apps.policy.thinking import Thoughts, thinks_aloud
from apps.shared.errors import EngineError
from apps.shared.messages import FirstToken, Message, Piece, Thought
from apps.shared.settings import Settings

RESERVE_S = 1.0  # of the time for the first word: enough for scripted lines, should nothing else come up
WORDLESS = "nothing_sayable"

log = structlog.get_logger()


class Answer:
    """Streams one reply through cutter and gate to the orchestrator."""

    def __init__(
        self,
        turn_id: str,
        settings: Settings,
        send: Callable[[Message], None],
        now_s: Callable[[], float],
    ) -> None:
        self._turn_id = turn_id
        self._settings = settings
        self._send = send
        self._now_s = now_s
        self._gate = Gate(turn_id)
        self._pieces = 0
        self._begun = False

    async def give(self, brains: Brains, brain: Brain, prompt: Prompt, hiccup: str) -> None:
        """Reply to the prompt, with the next brain of the chain when one fails before a word was said.

        All of them together have POLICY_FIRST_TOKEN_S, the last of it for the next brain; when that is over,
        `hiccup` is what she says. Cancelling aborts the generation at once.
        """
        limit_s = self._settings.policy_first_token_s
        ends_s = asyncio.get_running_loop().time() + limit_s
        early_s = ends_s - min(RESERVE_S, limit_s / 4)
        trouble = await self._attempt(brain, prompt, early_s)
        if trouble and trouble.retryable and not _time_is_over(trouble) and self._may_go_on(early_s):
            again = await self._attempt(brain, prompt, early_s)
            trouble = trouble if _time_is_over(again) else again
        told = trouble  # of the brain that was to answer, whoever does instead
        heard: tuple[Brain, EngineError] | None = None  # what the chain knows of already
        while trouble and trouble.code != WORDLESS and self._may_go_on(ends_s):
            heard = brain, trouble
            if (spare := await brains.after(brain, trouble, early_s)) is None:
                break
            brain = spare
            if _time_is_over(trouble := await self._attempt(brain, prompt, ends_s)):
                break
        if trouble:
            # A spare had only what was left of the time; and who has no words for one line may for the next.
            excused = trouble.code == WORDLESS or (trouble is not told and _time_is_over(trouble))
            if (brain, trouble) != heard and not excused:
                brains.failed(brain, trouble)
            if not self._pieces:
                self._release(hiccup)
        else:
            brains.worked(brain)
        self._end(told)

    def _may_go_on(self, ends_s: float) -> bool:
        """Whether another attempt can be made: nothing was said yet, and there is time for a first word."""
        return not self._pieces and asyncio.get_running_loop().time() < ends_s

    async def _attempt(self, brain: Brain, prompt: Prompt, ends_s: float) -> EngineError | None:
        """Say a reply as far as it comes; return what it broke with."""
        try:
            await self._stream(brain, prompt, ends_s)
        except EngineError as error:
            log.warning(
                "brain failed", engine=brain.engine, code=error.code, reason=str(error), spoken=self._pieces
            )
            return error
        return None

    async def _stream(self, brain: Brain, prompt: Prompt, ends_s: float) -> None:
        """A broken stream's unfinished sentence is not said: half of one can mean anything."""
        thoughts = Thoughts()
        astray = False  # what came so far was a thought, as its end told
        cut = _Cut(prompt, self._settings)
        words = in_time(
            _visible(brain.reply(prompt), thoughts),
            first_s=max(0.0, ends_s - asyncio.get_running_loop().time()),
            stall_s=self._settings.policy_stall_s,
        )
        try:
            async with aclosing(words):
                async for text in words:
                    if not self._begun:
                        self._begun = True
                        self._send(FirstToken(turn_id=self._turn_id, at_s=self._now_s()))
                    if thoughts.orphan and not astray:
                        if self._pieces:
                            raise thinks_aloud()
                        astray, cut = True, _Cut(prompt, self._settings)
                    for piece in cut.feed(text):
                        self._release(piece)
                        await asyncio.sleep(0)  # a model that writes in bursts must not keep it from leaving
                    if cut.done:
                        break
        except TooSlowError as error:
            raise (thinks_aloud() if thoughts.inside else error) from error
        for piece in cut.close():
            self._release(piece)
        if not self._pieces:
            raise _wordless()

    def _release(self, text: str) -> None:
        if (decided := self._gate.decide(text)) is None:
            return
        decision, approved = decided
        self._send(decision)
        self._send(Piece(turn_id=self._turn_id, index=self._pieces, approved=approved, at_s=self._now_s()))
        self._pieces += 1

    def _end(self, trouble: EngineError | None) -> None:
        reason = f"{trouble.code}: {trouble}" if trouble else ""
        self._send(
            Thought(
                turn_id=self._turn_id,
                pieces=self._pieces,
                outcome="whole" if self._pieces else "failed",
                at_s=self._now_s(),
                reason=reason,
                fix=trouble.fix if trouble else "",
            )
        )


class _Cut:
    """A stream of words cut into pieces, up to where the reply ends."""

    def __init__(self, prompt: Prompt, settings: Settings) -> None:
        self._stop = StopWord(f"\n{speaker(prompt.line)}:")  # small models like to go on as the other side
        self._again = Repetition()
        self._cutter = Cutter(cut=settings.tts_cut)
        self._length = Length(prompt.persona.reply.sentences)
        self._enough = False

    @property
    def done(self) -> bool:
        """Whether the model may stop writing."""
        return self._enough or self._stop.reached or self._again.reached

    def feed(self, text: str) -> Iterator[str]:
        """Give the pieces that are complete now."""
        return self._up_to_enough(self._cutter.feed(self._again.before(self._stop.before(text))))

    def close(self) -> Iterator[str]:
        """Give what is left at the end of the stream."""
        rest = self._again.before(self._stop.rest()) + self._again.rest()
        return self._up_to_enough([*self._cutter.feed(rest), *self._cutter.close()])

    def _up_to_enough(self, pieces: Iterable[str]) -> Iterator[str]:
        for piece in pieces:
            if self._enough:
                return
            self._enough = self._length.ends(piece)
            yield piece


async def _visible(tokens: AsyncGenerator[str, None], thoughts: Thoughts) -> AsyncGenerator[str, None]:
    """Pass on what is meant to be said. Raises EngineError when there is nothing but thoughts."""
    said = False
    async with aclosing(tokens):
        async for token in tokens:
            if text := thoughts.outside(token):
                said = True
                yield text
    if text := thoughts.rest():
        yield text
    elif thoughts.dropped and not said:
        raise thinks_aloud()


def _time_is_over(trouble: EngineError | None) -> bool:
    """Whether an attempt ended with the time for a first word (a timer may fire before the clock says so)."""
    return trouble is not None and trouble.code == "first_token_timeout"


def _wordless() -> EngineError:
    fix = "If this happens often, choose another model."
    return EngineError(WORDLESS, "the reply had no words in it", fix=fix, retryable=True)
