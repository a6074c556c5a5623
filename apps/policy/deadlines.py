"""How long she waits for a brain: for its first word, between words, and for the whole reply."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from apps.shared.errors import EngineError

REPLY_LIMIT_S = 60.0  # for a whole reply, however steadily it comes

SLOW_FIX = "Choose a smaller model, or close what else uses the graphics card."


class TooSlowError(EngineError):
    """A deadline has passed."""


async def in_time(
    pieces: AsyncGenerator[str, None], *, first_s: float, stall_s: float
) -> AsyncGenerator[str, None]:
    """Pass the pieces on, with a deadline on every wait for one; it stands still while the caller has one.

    Raises TooSlowError: "first_token_timeout" (retryable), "stalled", "reply_too_long". Closes `pieces`.
    """
    loop = asyncio.get_running_loop()
    ends_at_s = loop.time() + first_s + REPLY_LIMIT_S
    begun = False
    try:
        async with asyncio.timeout(first_s) as deadline, aclosing(pieces):
            async for piece in pieces:
                begun = True
                deadline.reschedule(None)
                yield piece
                deadline.reschedule(min(loop.time() + stall_s, ends_at_s))
    except TimeoutError as error:
        if not deadline.expired():
            raise
        if deadline.when() == ends_at_s:  # not by the clock: a timer may fire a little early
            raise _too_long() from error
        raise (_stalled(stall_s) if begun else _too_slow(first_s)) from error


def _too_slow(limit_s: float) -> TooSlowError:
    reason = f"no word from the model within {round(limit_s, 1):g} s"  # what is left of a turn is 7.99994
    return TooSlowError("first_token_timeout", reason, fix=SLOW_FIX, retryable=True)


def _stalled(limit_s: float) -> TooSlowError:
    return TooSlowError("stalled", f"the model fell silent for {limit_s:g} s in mid-reply", fix=SLOW_FIX)


def _too_long() -> TooSlowError:
    return TooSlowError("reply_too_long", f"the reply took more than {REPLY_LIMIT_S:g} s", fix=SLOW_FIX)
