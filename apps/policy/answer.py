"""One reply, from the question to the last approved piece."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Literal

import structlog

from apps.policy.brain import Brain
from apps.policy.moderation.gate import Gate
from apps.policy.prompt import Prompt, speaker
from apps.policy.sentences import Cutter
from apps.policy.stopword import StopWord
from apps.shared.errors import EngineError
from apps.shared.messages import FirstToken, Message, Piece, Thought

log = structlog.get_logger()


class Answer:
    """Streams one reply through cutter and gate to the orchestrator."""

    def __init__(
        self,
        turn_id: str,
        cut: Literal["clause", "sentence"],
        send: Callable[[Message], None],
        now_s: Callable[[], float],
    ) -> None:
        self._turn_id = turn_id
        self._cut = cut
        self._send = send
        self._now_s = now_s
        self._gate = Gate(turn_id)
        self._pieces = 0
        self._begun = False

    async def give(self, brain: Brain, prompt: Prompt, hiccup: str) -> EngineError | None:
        """Reply to the prompt; when the brain fails before a word was said, twice, say `hiccup` instead.

        Returns the failure that remains, for the light. Cancelling aborts the generation at once.
        """
        trouble = await self._attempt(brain, prompt)
        if trouble and trouble.retryable and not self._pieces:
            trouble = await self._attempt(brain, prompt)
        if trouble and not self._pieces:
            self._release(hiccup)
        self._end(trouble)
        return trouble

    async def _attempt(self, brain: Brain, prompt: Prompt) -> EngineError | None:
        """Say a reply as far as it comes; return what it broke with."""
        try:
            await self._stream(brain, prompt)
        except EngineError as error:
            log.warning("brain failed", code=error.code, reason=str(error), spoken=self._pieces)
            return error
        return None

    async def _stream(self, brain: Brain, prompt: Prompt) -> None:
        """A broken stream's unfinished sentence is not said: half of one can mean anything."""
        cutter = Cutter(cut=self._cut)
        stop = StopWord(f"\n{speaker(prompt.line)}:")  # small models like to go on as the other side
        async with contextlib.aclosing(brain.reply(prompt)) as tokens:
            async for token in tokens:
                if not self._begun:
                    self._begun = True
                    self._send(FirstToken(turn_id=self._turn_id, at_s=self._now_s()))
                for piece in cutter.feed(stop.before(token)):
                    self._release(piece)
                    await asyncio.sleep(0)  # a model that writes in bursts must not keep it from leaving
                if stop.reached:
                    break
        for piece in [*cutter.feed(stop.rest()), *cutter.close()]:
            self._release(piece)

    def _release(self, text: str) -> None:
        if (decided := self._gate.decide(text)) is None:
            return
        decision, approved = decided
        self._send(decision)
        self._send(Piece(turn_id=self._turn_id, index=self._pieces, approved=approved, at_s=self._now_s()))
        self._pieces += 1

    def _end(self, trouble: EngineError | None) -> None:
        reason = f"{trouble.code}: {trouble}" if trouble else ""
        if not self._pieces and not reason:
            reason = "nothing_sayable: the reply had no words in it"
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
