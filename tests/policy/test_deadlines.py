import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from apps.policy import deadlines
from apps.policy.deadlines import in_time
from apps.shared.errors import EngineError

pytestmark = pytest.mark.looptime


class Stream:
    """Pieces of text, each after a wait; tells whether it was closed."""

    def __init__(self, *script: float | str | EngineError) -> None:
        self._script = script
        self.closed = False

    async def pieces(self) -> AsyncGenerator[str, None]:
        try:
            for each in self._script:
                if isinstance(each, EngineError):
                    raise each
                if isinstance(each, str):
                    yield each
                else:
                    await asyncio.sleep(each)
        finally:
            self.closed = True


def limited(stream: Stream) -> AsyncGenerator[str, None]:
    return in_time(stream.pieces(), first_s=8, stall_s=5)


async def read(stream: Stream) -> tuple[list[str], EngineError | None]:
    """What was passed on, and how it failed."""
    passed: list[str] = []
    try:
        async with aclosing(limited(stream)) as pieces:
            async for piece in pieces:
                passed.append(piece)  # noqa: PERF401  (a comprehension would lose what came before a failure)
    except EngineError as error:
        return passed, error
    return passed, None


async def test_what_comes_in_time_is_passed_on():
    """Waits that are just short enough cost nothing."""
    stream = Stream(7.9, "a", 4.9, "b", 4.9, "c")
    assert await read(stream) == (["a", "b", "c"], None)
    assert stream.closed


@pytest.mark.parametrize(
    ("script", "passed", "code", "retryable", "ends_s"),
    [
        pytest.param([9.0, "a"], [], "first_token_timeout", True, 8, id="no first word"),
        pytest.param(["a", 6.0, "b"], ["a"], "stalled", False, 5, id="silence in mid-reply"),
        pytest.param(["a", 4.0, "b", 6.0, "c"], ["a", "b"], "stalled", False, 9, id="silence later on"),
        pytest.param(["a", 6.0], ["a"], "stalled", False, 5, id="an end that does not come"),
        pytest.param(["a", 2.0] * 50, ["a"] * 34, "reply_too_long", False, 68, id="no end"),
    ],
)
async def test_each_wait_has_its_own_deadline(looptime, script, passed, code, retryable, ends_s):
    """What came in time was said; the failure tells which wait was too long; the model is stopped."""
    stream = Stream(*script)
    got, error = await read(stream)
    assert error is not None
    assert (got, error.code, error.retryable) == (passed, code, retryable)
    assert error.fix == deadlines.SLOW_FIX
    assert looptime == ends_s
    assert stream.closed


async def test_a_limit_is_told_in_round_numbers():
    """What a turn has left for a first word is no number that a streamer wants to read."""
    with pytest.raises(EngineError, match=r"within 3 s$"):
        async for _ in in_time(Stream(9.0, "a").pieces(), first_s=2.99994, stall_s=5):
            pass


async def test_the_readers_own_time_does_not_count():
    """A reader that speaks for a minute between two pieces has not made the model slow."""
    stream = Stream("a", 1.0, "b", 1.0)
    heard = []
    async with aclosing(limited(stream)) as pieces:
        async for piece in pieces:
            heard.append(piece)
            await asyncio.sleep(30)
    assert heard == ["a", "b"]


async def test_a_failure_of_the_brain_stays_what_it_is():
    """The deadline hides no error."""
    trouble = EngineError("http_500", "it broke", fix="Mend it.")
    assert await read(Stream("a", trouble)) == (["a"], trouble)


@pytest.mark.parametrize("way", ["aclose", "cancel"])
async def test_leaving_closes_the_stream_at_once(looptime, way):
    """A reader that goes away, or is cancelled in a wait, stops the model."""
    stream = Stream("a", 4.0, "b")

    async def read_on() -> None:
        async with aclosing(limited(stream)) as pieces:
            async for _ in pieces:
                if way == "aclose":
                    return

    task = asyncio.create_task(read_on())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() == (way == "cancel")
    assert stream.closed
    assert looptime == 1


async def test_a_stream_may_be_closed_before_it_began():
    """Nothing has been asked of the model then, and nothing is left behind."""
    stream = Stream("a")
    await limited(stream).aclose()
    assert not stream.closed, "it never began"
