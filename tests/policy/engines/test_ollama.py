import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from structlog.testing import CapturingLogger

from apps.policy.engines import ollama
from apps.policy.engines.ollama import Ollama
from apps.policy.models import choices
from apps.policy.persona import Reply, Sampling, load
from apps.policy.prompt import CONTEXT_TOKENS, Exchange, Line, Prompt, messages
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings
from tests.fakes.ollama import FakeOllama, Fault
from tests.fakes.raw_http import answering, chunked

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


OTHER = Sampling(temperature=0.0, top_p=0.5, top_k=1, min_p=0.0, repeat_penalty=1.0)
LOADED_WITH = ("num_ctx", "num_batch", "num_gpu", "num_thread", "use_mmap", "main_gpu")


async def test_every_request_keeps_the_model_loaded_as_it_is(brain, fake):
    """Warm-ups and replies of whatever persona differ in nothing that would load the model anew."""
    await brain.start(PROMPT)
    calm = replace(PROMPT, persona=replace(PROMPT.persona, sampling=OTHER, reply=Reply(tokens=99)))
    await brain.warm(calm)
    await said(brain, replace(calm, line=Line("Eve", "yo", "redeem")))
    assert (fake.loads, fake.reloads) == (1, 0)
    assert fake._runners["kitsu:latest"].keep_s == 30 * 60
    for body in fake.asked("/api/chat"):
        assert body["think"] is False
        assert body["truncate"] is False
        assert body["shift"] is False
        assert {name: body["options"].get(name) for name in LOADED_WITH} == {
            **dict.fromkeys(LOADED_WITH),
            "num_ctx": CONTEXT_TOKENS,
        }


async def test_the_warm_up_has_the_options_of_a_reply(brain, fake):
    """Whoever speaks, with the same persona requests differ in their length alone."""
    await brain.start(PROMPT)
    await said(brain, replace(PROMPT, line=Line("Eve", "yo", "redeem")))
    warm_up, reply = (body["options"] for body in fake.asked("/api/chat"))
    assert warm_up.pop("num_predict") == 1
    assert reply.pop("num_predict") == PROMPT.persona.reply.tokens
    assert warm_up == reply


async def test_the_persona_says_how_words_are_picked(brain, fake):
    """Her sampling and the length of her replies are what the model gets."""
    persona = replace(PROMPT.persona, sampling=OTHER, reply=Reply(tokens=99))
    await said(brain, replace(PROMPT, persona=persona))
    [body] = fake.asked("/api/chat")
    for name, value in msgspec.to_builtins(OTHER).items():
        assert body["options"][name] == value
    assert body["options"]["num_predict"] == 99


@pytest.mark.parametrize("evaluate", ["start", "warm"])
async def test_an_evaluated_prompt_makes_no_text(brain, fake, evaluate):
    """Start and warm-up are real requests with the prompt, which end with the first token."""
    fake.reply = ["word "] * 500
    await getattr(brain, evaluate)(PROMPT)
    [generation] = fake.generations
    assert generation.messages == messages(PROMPT)
    assert (generation.sent, generation.ended) == (1, "length")


async def test_a_cancelled_warm_up_frees_the_model(brain, fake):
    """A line that comes in meanwhile need not wait for it."""
    fake.faults.append(Fault.SILENT_START)
    warming = asyncio.create_task(brain.warm(PROMPT))
    while not fake.generations:
        await asyncio.sleep(0)
    warming.cancel()
    await asyncio.wait({warming})
    await fake.idle()
    assert len(fake.aborted) == 1
    assert "".join(await said(brain)) == "Hello there."


async def test_a_warm_up_fails_as_a_reply_does(brain, fake):
    """Its error has the same code and fix."""
    fake.faults.append(Fault.HTTP_500)
    with pytest.raises(EngineError) as caught:
        await brain.warm(PROMPT)
    assert caught.value.code == "http_500"


@pytest.mark.parametrize("name", ["kitsu", "kitsu:latest"])
async def test_a_name_without_tag_means_latest(make_brain, name):
    """Both ways to write a model's name find it."""
    await make_brain(policy_model=name).start(PROMPT)


async def test_without_a_wish_the_card_decides(make_brain, fake, monkeypatch):
    """An empty POLICY_MODEL becomes the model that fits the graphics card."""
    monkeypatch.setattr(choices, "vram_gb", lambda: 12.0)
    brain = make_brain(policy_model="")
    fake.models[choices.default_model(12.0).name] = False
    await brain.start(PROMPT)
    assert brain.model == fake.asked("/api/chat")[0]["model"] == choices.default_model(12.0).name


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
    ("fault", "before", "code", "retryable"),
    [
        (Fault.ERROR_LINE, ["Hello"], "stream_error", True),
        (Fault.HTTP_500, [], "http_500", True),
        (Fault.DROPPED, ["Hello"], "stream_error", True),
        (Fault.GARBAGE, ["Hello"], "garbage", False),
        (Fault.HALF_LINE, ["Hello"], "garbage", False),
    ],
)
async def test_every_failure_has_its_code_and_the_next_reply_works(
    brain, fake, fault, before, code, retryable
):
    """What came before a failure was said; the failure is named; the brain is not spoiled by it."""
    fake.faults.append(fault)
    pieces, error = await failure(brain)
    assert (pieces, error.code, error.retryable) == (before, code, retryable)
    assert "".join(await said(brain)) == "Hello there."


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
    assert str(CONTEXT_TOKENS) in error.fix


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


async def test_thoughts_are_never_spoken(make_brain, fake, monkeypatch):
    """Should a model think all the same, nobody hears it, and only words count as the first token."""
    fake.models["kitsu:latest"] = True
    monkeypatch.setitem(ollama.ALWAYS, "think", True)
    assert "".join(await said(make_brain())) == "Hello there."


async def test_a_reply_of_thoughts_alone_is_a_failure(brain, fake, monkeypatch):
    """A model that thinks its whole reply away is named as such, with the way out."""
    fake.models["kitsu:latest"], fake.reply = True, []
    monkeypatch.setitem(ollama.ALWAYS, "think", True)
    error = (await failure(brain))[1]
    assert (error.code, error.retryable) == ("thinks_aloud", False)


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
    packets = chunked(*(bytes([byte]) for byte in whole), kind="application/x-ndjson")
    async with answering(*packets) as url:
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
