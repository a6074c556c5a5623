import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from apps.policy import models
from apps.policy.engines import ollama
from apps.policy.engines.ollama import Ollama
from apps.policy.persona import load
from apps.policy.prompt import Exchange, Line, Prompt, messages
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings
from tests.fakes.ollama import FakeOllama, Fault

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "hi", "chat"))


@pytest.fixture
async def fake():
    async with FakeOllama() as fake:
        yield fake


@pytest.fixture
async def make_brain(fake):
    """Brains for the stand-in, closed at the end; the arguments are settings."""
    brains = []

    def make(**settings) -> Ollama:
        values: dict[str, Any] = {
            "_env_file": None,
            "ollama_host": fake.url,
            "policy_model": "kitsu",
            **settings,
        }
        brains.append(Ollama(Settings(**values)))
        return brains[-1]

    yield make
    for brain in brains:
        await brain.close()


@pytest.fixture
def brain(make_brain):
    return make_brain()


@asynccontextmanager
async def answering(*packets: bytes) -> AsyncIterator[str]:
    """A server that answers whatever it is asked with these packets; gives its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        # What is left unread when the connection is closed would reset it.
        if length := re.search(rb"Content-Length: (\d+)", head):
            await reader.readexactly(int(length[1]))
        for packet in packets:
            writer.write(packet)
            await writer.drain()
            await asyncio.sleep(0)  # each in a packet of its own
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def said(brain, prompt=PROMPT) -> list[str]:
    async with aclosing(brain.reply(prompt)) as pieces:
        return [piece async for piece in pieces]


async def failure(brain, prompt=PROMPT) -> tuple[list[str], EngineError]:
    """What was said before the reply failed, and how it did."""
    pieces: list[str] = []

    async def listen() -> None:
        async for piece in brain.reply(prompt):
            pieces.append(piece)  # noqa: PERF401  (a comprehension would lose what came before the failure)

    with pytest.raises(EngineError) as caught:
        await listen()
    assert caught.value.fix
    return pieces, caught.value


async def test_a_reply_comes_piece_by_piece(brain, fake):
    """Text arrives as the model makes it, for the messages that the prompt renders to."""
    assert await said(brain) == ["Hello", " there", "."]
    assert fake.generations[0].messages == messages(PROMPT)


async def test_every_request_keeps_the_model_loaded_as_it_is(brain, fake):
    """Warm-up and replies of whatever persona differ in nothing that would load the model anew."""
    await brain.start(PROMPT)
    calm = replace(PROMPT, persona=replace(PROMPT.persona, chaos=0.0))
    await said(brain, replace(calm, line=Line("Eve", "yo", "redeem")))
    assert (fake.loads, fake.reloads) == (1, 0)
    assert fake._runners["kitsu:latest"].keep_s == 30 * 60
    for body in fake.asked("/api/chat"):
        assert body["think"] is False
        assert body["truncate"] is False
        assert body["shift"] is False
        assert body["options"]["num_ctx"] == ollama.CONTEXT_TOKENS
        assert body["options"]["num_predict"] == ollama.REPLY_LIMIT_TOKENS


async def test_the_warm_up_has_the_options_of_a_reply(brain, fake):
    """Whoever speaks, with the same persona all requests have the very same options."""
    await brain.start(PROMPT)
    await said(brain, replace(PROMPT, line=Line("Eve", "yo", "redeem")))
    warm_up, reply = fake.asked("/api/chat")
    assert warm_up["options"] == reply["options"]


async def test_chaos_is_temperature(brain, fake):
    """A persona that strays further is sampled hotter."""
    for chaos in (0.0, 0.5, 1.0):
        await said(brain, replace(PROMPT, persona=replace(PROMPT.persona, chaos=chaos)))
    assert [body["options"]["temperature"] for body in fake.asked("/api/chat")] == [0.6, 0.9, 1.2]


async def test_start_evaluates_the_prompt_and_leaves(brain, fake):
    """The warm-up is a real request with the sample prompt, aborted at its first piece."""
    fake.reply, fake.tokens_per_s = ["word "] * 500, 100
    await brain.start(PROMPT)
    await fake.idle()
    [warm_up] = fake.aborted
    assert warm_up.messages == messages(PROMPT)
    assert warm_up.sent < 500


async def test_loading_may_take_longer_than_a_first_token(make_brain, fake):
    """The warm-up waits for the model to load, however short a reply's own deadline is."""
    fake.load_s = 0.05
    brain = make_brain(policy_first_token_s=0.01)
    await brain.start(PROMPT)
    assert fake.loads == 1


@pytest.mark.parametrize("name", ["kitsu", "kitsu:latest"])
async def test_a_name_without_tag_means_latest(make_brain, name):
    """Both ways to write a model's name find it."""
    await make_brain(policy_model=name).start(PROMPT)


async def test_without_a_wish_the_card_decides(make_brain, fake, monkeypatch):
    """An empty POLICY_MODEL becomes the model that fits the graphics card."""
    monkeypatch.setattr(models, "vram_gb", lambda: 12.0)
    brain = make_brain(policy_model="")
    fake.models[models.default_model(12.0).name] = False
    await brain.start(PROMPT)
    assert brain.model == fake.asked("/api/chat")[0]["model"] == models.default_model(12.0).name


async def test_a_model_that_is_not_there_names_its_command(make_brain):
    """Before the show starts, a missing model is said with the line that gets it and what is there."""
    with pytest.raises(MissingError) as caught:
        await make_brain(policy_model="qwen3:8b").start(PROMPT)
    assert caught.value.code == "model_missing"
    assert caught.value.fix == "ollama pull qwen3:8b"
    assert "kitsu:latest" in str(caught.value)


async def test_a_server_that_is_not_there_is_missing(brain, fake):
    """Ollama not running is said at the start, with two ways out."""
    await fake.stop()
    with pytest.raises(MissingError) as caught:
        await brain.start(PROMPT)
    assert caught.value.code == "ollama_unreachable"
    assert "ollama serve" in caught.value.fix
    assert "POLICY_ENGINE=scripted" in caught.value.fix


async def test_a_stranger_on_the_port_is_named(make_brain):
    """Another program that answers at OLLAMA_HOST is not taken for Ollama."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as url:
        with pytest.raises(MissingError, match="is not Ollama") as caught:
            await make_brain(ollama_host=url).start(PROMPT)
    assert "OLLAMA_HOST" in caught.value.fix


async def test_a_page_instead_of_an_error_keeps_its_status(make_brain):
    """A proxy's error page is no model that is missing."""
    async with answering(b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\n<p>not found") as url:
        error = (await failure(make_brain(ollama_host=url)))[1]
    assert error.code == "http_404"


async def test_a_host_that_ollama_refuses_fails_the_start(brain, fake, monkeypatch):
    """A refusal of the very first question keeps its status."""
    monkeypatch.setattr("tests.fakes.ollama._local", lambda _: False)
    with pytest.raises(EngineError) as caught:
        await brain.start(PROMPT)
    assert caught.value.code == "http_403"


@pytest.mark.parametrize(
    ("fault", "limit", "before", "code", "retryable"),
    [
        (Fault.ERROR_LINE, {}, ["Hello"], "stream_error", True),
        (Fault.HTTP_500, {}, [], "http_500", True),
        (Fault.SILENT_START, {"policy_first_token_s": 0.05}, [], "first_token_timeout", True),
        (Fault.SILENT_MIDWAY, {"policy_stall_s": 0.05}, ["Hello"], "stalled", False),
        (Fault.DROPPED, {}, ["Hello"], "stream_error", True),
        (Fault.GARBAGE, {}, ["Hello"], "garbage", False),
        (Fault.HALF_LINE, {}, ["Hello"], "garbage", False),
    ],
)
async def test_every_failure_has_its_code_and_the_next_reply_works(
    make_brain, fake, fault, limit, before, code, retryable
):
    """What came before a failure was said; the failure is named; the brain is not spoiled by it."""
    fake.faults.append(fault)
    pieces, error = await failure(make_brain(**limit))
    assert (pieces, error.code, error.retryable) == (before, code, retryable)
    assert "".join(await said(make_brain())) == "Hello there."


async def test_the_servers_own_words_are_passed_on(brain, fake):
    """An error in mid-stream and one before it both carry what Ollama said."""
    fake.faults += [Fault.ERROR_LINE, Fault.HTTP_500]
    assert "CUDA error" in str((await failure(brain))[1])
    assert "exit status 2" in str((await failure(brain))[1])


async def test_a_server_that_leaves_between_replies_is_unreachable(brain, fake):
    """A reply without a server fails as such, and works again once the server is back."""
    await said(brain)
    await fake.stop()
    assert (await failure(brain))[1].code == "ollama_unreachable"
    await fake.start()
    assert await said(brain)


async def test_a_model_deleted_in_mid_show_names_its_command(brain, fake):
    """Ollama's 404 becomes the line that gets the model back."""
    fake.models.clear()
    error = (await failure(brain))[1]
    assert (error.code, error.fix) == ("model_missing", "ollama pull kitsu")


async def test_a_prompt_too_long_is_refused_not_cut(brain):
    """She is never run without her persona's text because it did not fit."""
    long = replace(PROMPT, persona=replace(PROMPT.persona, system="x" * 20_000))
    error = (await failure(brain, long))[1]
    assert (error.code, error.retryable) == ("context_too_small", False)
    assert str(ollama.CONTEXT_TOKENS) in error.fix


async def test_a_full_queue_may_be_tried_again(make_brain):
    """503 is a passing failure."""
    async with FakeOllama(parallel=0, queue_limit=0) as full:
        error = (await failure(make_brain(ollama_host=full.url)))[1]
    assert (error.code, error.retryable) == ("http_503", True)


async def test_a_stream_that_just_ends_is_a_whole_reply(brain, fake, monkeypatch):
    """Ollama drops the last line when a model repeats itself; what was said stands, and is logged."""
    fake.faults.append(Fault.NO_DONE)
    monkeypatch.setattr(ollama, "log", log := CapturingLogger())
    assert await said(brain) == ["Hello"]
    assert [call.method_name for call in log.calls] == ["debug"]


async def test_repetition_ends_quietly(brain, fake):
    """A chat that makes her say LUL for ever gets thirty of them."""
    fake.reply = [" LUL"] * 500
    assert len(await said(brain)) == 30


async def test_a_steady_reply_has_an_end_too(brain, fake, monkeypatch):
    """A model that never falls silent is stopped by the limit for a whole reply."""
    monkeypatch.setattr(ollama, "REPLY_LIMIT_S", -7.9)  # of the 8 s for the first token, 0.1 s are left
    fake.reply, fake.tokens_per_s = ["a ", "b "] * 5000, 500
    monkeypatch.setattr(ollama, "REPLY_LIMIT_TOKENS", -1)
    assert (await failure(brain))[1].code == "reply_too_long"


async def test_thoughts_are_never_spoken(make_brain, fake, monkeypatch):
    """Should a model think all the same, nobody hears it, and only words count as the first token."""
    fake.models["kitsu:latest"] = True
    monkeypatch.setitem(ollama.ALWAYS, "think", True)
    assert "".join(await said(make_brain())) == "Hello there."


@pytest.mark.parametrize("way", ["aclose", "cancel"])
async def test_leaving_stops_the_generation(brain, fake, way):
    """Closing the stream, or cancelling who reads it, closes the connection: the model stops at once."""
    fake.reply, fake.tokens_per_s = ["word "] * 500, 100
    reading = asyncio.Event()

    async def read() -> None:
        async with aclosing(brain.reply(PROMPT)) as pieces:
            async for _ in pieces:
                reading.set()
                if way == "aclose":
                    return

    task = asyncio.create_task(read())
    await reading.wait()
    if way == "cancel":
        task.cancel()
    await asyncio.wait({task})
    await fake.idle()
    [generation] = fake.aborted
    assert 1 <= generation.sent < 500


async def test_a_line_may_come_in_many_packets(make_brain):
    """Lines are put together wherever the network cut them, inside a character too."""
    whole = '{"message":{"content":"né\\u003c3 👋"}}\n{"message":{"content":"!"},"done":true}\n'.encode()
    packets = [b"1\r\n" + bytes([byte]) + b"\r\n" for byte in whole]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with answering(head, *packets, b"0\r\n\r\n") as url:
        assert await said(make_brain(ollama_host=url)) == ["né<3 👋", "!"]


async def test_an_endless_line_is_garbage(brain, fake):
    """A line that never ends does not fill the memory."""
    fake.reply = ["x" * 1_000_000]
    pieces, error = await failure(brain)
    assert (pieces, error.code) == ([], "garbage")


async def test_the_next_prompt_begins_with_the_last(brain, fake):
    """What Ollama has evaluated for one reply is what the next request begins with."""
    await brain.start(PROMPT)
    await said(brain)
    await said(brain, replace(PROMPT, history=(Exchange(PROMPT.line, "Hello there."),)))
    first, second, third = (body["messages"] for body in fake.asked("/api/chat"))
    assert first == second == third[: len(second)]
