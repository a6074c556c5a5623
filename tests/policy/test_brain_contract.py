"""What every brain does, whatever its engine."""

import asyncio
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import pytest

from apps.policy.brains import KNOWN
from apps.policy.persona import load
from apps.policy.prompt import Exchange, Line, Prompt
from apps.shared.engines import engine_class
from apps.shared.settings import Settings
from tests.fakes.gguf import write_gguf
from tests.fakes.llama_server import llama_server
from tests.fakes.ollama import FakeOllama
from tests.fakes.openai import FakeOpenAI

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "Hello! How was your day?", "chat"))
TALK = [f"word{number} " for number in range(100)]


@pytest.fixture(params=[*sorted(KNOWN), "openai to llama.cpp"])
async def brain(request, tmp_path):
    """Every engine that AIVT knows, with the server or the model that it needs."""
    engine = request.param.split()[0]
    values: dict[str, Any] = {"_env_file": None, "aivt_data_dir": tmp_path, "policy_model": "kitsu"}
    async with AsyncExitStack() as stack:
        match request.param:
            case "ollama":
                fake = await stack.enter_async_context(FakeOllama(reply=TALK, tokens_per_s=1000))
                values["ollama_host"] = fake.url
            case "llamacpp":
                values["policy_gguf"] = str(write_gguf(tmp_path / "tiny.gguf", "".join(TALK)))
            case "openai":
                server = await stack.enter_async_context(FakeOpenAI(reply=TALK, tokens_per_s=1000))
                values["openai_base_url"] = server.url
            case "openai to llama.cpp":
                model = write_gguf(tmp_path / "tiny.gguf", "".join(TALK))
                values["openai_base_url"] = stack.enter_context(llama_server(model))
        brain = engine_class("POLICY_ENGINE", engine, KNOWN)(Settings(**values))
        stack.push_async_callback(brain.close)
        await brain.start(PROMPT)
        yield brain


async def whole(brain, prompt=PROMPT) -> str:
    async with aclosing(brain.reply(prompt)) as pieces:
        return "".join([piece async for piece in pieces])


async def test_it_says_who_it_is(brain):
    """Engine and model can be shown by the panel."""
    assert brain.engine in KNOWN
    assert isinstance(brain.model, str)


async def test_a_reply_is_text_in_pieces(brain):
    """Pieces are never empty, and together they have words."""
    async with aclosing(brain.reply(PROMPT)) as stream:
        pieces = [piece async for piece in stream]
    assert all(isinstance(piece, str) and piece for piece in pieces)
    assert "".join(pieces).strip()


async def test_it_can_be_stopped_after_any_piece(brain):
    """A closed stream gives nothing more, and the next reply is whole."""
    stream = brain.reply(PROMPT)
    assert await anext(stream)
    await stream.aclose()
    assert await anext(stream, None) is None
    assert (await whole(brain)).strip()


async def test_a_stream_may_be_closed_before_it_began(brain):
    """A reply that nobody starts to read costs nothing."""
    await brain.reply(PROMPT).aclose()
    assert (await whole(brain)).strip()


async def test_one_reply_after_another(brain):
    """Two turns in a row, the second with the first in its history."""
    first = await whole(brain)
    second = await whole(brain, replace(PROMPT, history=(Exchange(PROMPT.line, first),)))
    assert first.strip()
    assert second.strip()


async def test_a_cancelled_reader_leaves_it_usable(brain):
    """Cancelling the task that reads ends the reply, as a cancellation, and spoils nothing."""
    reading = asyncio.Event()

    async def read_on() -> None:
        async with aclosing(brain.reply(PROMPT)) as pieces:
            async for _ in pieces:
                reading.set()
                await asyncio.Event().wait()

    task = asyncio.create_task(read_on())
    await reading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await whole(brain)).strip()


async def test_warming_up_makes_no_text_and_spoils_nothing(brain):
    """Also when it is given up in the middle, as a turn that begins does."""
    await brain.warm(PROMPT)
    task = asyncio.create_task(brain.warm(replace(PROMPT, history=(Exchange(PROMPT.line, "Fine!"),))))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert (await whole(brain)).strip()


async def test_start_may_be_called_again(brain):
    """Starting twice is as good as once."""
    await brain.start(PROMPT)
    assert (await whole(brain)).strip()


async def test_close_may_be_called_again(brain):
    """Closing twice does no harm, and a closed brain can be started again."""
    await brain.close()
    await brain.close()
    await brain.start(PROMPT)
    assert (await whole(brain)).strip()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * 10_000, id="long"),
        pytest.param("語" * 10_000, id="long and wide"),
        pytest.param("🦊🦊🦊", id="only emoji"),
        pytest.param("مرحبا كيف حالك", id="right to left"),
        pytest.param("\x00\x07\x1b[31m", id="control characters"),
        pytest.param("<|im_start|>system", id="control token"),
        pytest.param("", id="empty"),
        pytest.param("\ud83d", id="half a surrogate pair"),
    ],
)
async def test_any_line_gets_a_reply(brain, text):
    """Whatever somebody writes, she has something to say."""
    assert (await whole(brain, replace(PROMPT, line=Line(text, text, "chat")))).strip()
