"""The engine against a real server of its kind, llama.cpp's own, whose model says what is written down."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from apps.policy.engines import openai
from apps.policy.engines.openai import OpenAI
from apps.policy.persona import Reply, load
from apps.policy.prompt import Exchange, Line, Prompt
from apps.policy.serving.dialect import Dialect
from apps.shared.errors import AivtError, EngineError
from apps.shared.settings import Settings
from tests.fakes.gguf import REPLY, write_gguf
from tests.fakes.llama_server import CONTEXT_TOKENS, llama_server, slot

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "hi", "chat"))
KEY = "sk-llama-0123456789"
# Shows llama.cpp how thoughts are marked; they come unless `enable_thinking` is false.
THINKING_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<|quiet|>{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def server(folder):
    """One that talks."""
    with llama_server(write_gguf(folder / "talks.gguf")) as url:
        yield url


@pytest.fixture(scope="module")
def endless(folder):
    """One that never comes to an end by itself."""
    with llama_server(write_gguf(folder / "endless.gguf", loop=True)) as url:
        yield url


@pytest.fixture(scope="module")
def thinker(folder):
    """One that thinks first, unless told not to."""
    path = folder / "thinks.gguf"
    model = write_gguf(path, thoughts="what would foxes say", template=THINKING_TEMPLATE)
    with llama_server(model) as url:
        yield url


@pytest.fixture
async def make_brain():
    """Brains for a server, closed at the end."""
    brains = []

    def make(url: str, **settings) -> OpenAI:
        values: dict[str, Any] = {
            "_env_file": None,
            "openai_base_url": url,
            "policy_model": "",
            **settings,
        }
        brains.append(OpenAI(Settings(**values)))
        return brains[-1]

    yield make
    for brain in brains:
        await brain.close()


async def said(brain, prompt=PROMPT) -> list[str]:
    async with aclosing(brain.reply(prompt)) as pieces:
        return [piece async for piece in pieces]


async def test_she_talks(make_brain, server, monkeypatch):
    """Model found, prompt evaluated, the reply word by word, turn after turn, and every parameter taken."""
    monkeypatch.setattr(openai, "log", log := CapturingLogger())
    brain = make_brain(server)
    await brain.start(PROMPT)
    assert brain.model.endswith("talks.gguf")
    first = await said(brain)
    assert "".join(first) == REPLY
    assert len(first) > 5
    history = (Exchange(PROMPT.line, REPLY),)
    await brain.warm(replace(PROMPT, history=history))
    assert "".join(await said(brain, replace(PROMPT, history=history))) == REPLY
    assert log.calls == []


async def test_her_limit_ends_a_reply(make_brain, endless):
    """The persona's tokens are the model's."""
    prompt = replace(PROMPT, persona=replace(PROMPT.persona, reply=Reply(tokens=16)))
    assert 1 < len(await said(make_brain(endless, policy_model="any"), prompt)) <= 16


@pytest.mark.parametrize("way", ["aclose", "cancel"])
async def test_leaving_stops_the_model(make_brain, endless, way):
    """The real model is idle soon after, long before its reply would have ended."""
    brain = make_brain(endless, policy_model="any")
    prompt = replace(PROMPT, persona=replace(PROMPT.persona, reply=Reply(tokens=1_000_000)))
    reading = asyncio.Event()

    async def read() -> None:
        async with aclosing(brain.reply(prompt)) as pieces:
            async for _ in pieces:
                reading.set()
                if way == "aclose":
                    return

    task = asyncio.create_task(read())
    await reading.wait()
    if way == "cancel":
        task.cancel()
    await asyncio.wait({task})
    while (doing := await asyncio.to_thread(slot, endless))["is_processing"]:
        await asyncio.sleep(0.01)
    # Prompt and reply. Without an abort it would have filled the context.
    assert 0 < doing["n_prompt_tokens"] < CONTEXT_TOKENS - 1000


@pytest.mark.parametrize(("without", "thinks"), [((), False), (("chat_template_kwargs",), True)])
async def test_a_model_that_can_think_is_told_not_to(make_brain, thinker, monkeypatch, without, thinks):
    """Its template knows the parameter that the engine sends; without that it thinks, and nobody hears it."""
    monkeypatch.setattr(openai, "log", log := CapturingLogger())
    brain = make_brain(thinker)
    brain._dialect = Dialect(without=frozenset(without))
    await brain.start(PROMPT)
    assert "".join(await said(brain)) == REPLY
    assert [call.args[0] for call in log.calls] == ["the model thinks before it answers"] * thinks


async def test_a_context_too_small_is_named(make_brain, folder):
    """With the fix, at the start already."""
    model = write_gguf(folder / "small.gguf")
    with llama_server(model, context_tokens=256) as url, pytest.raises(EngineError) as caught:
        await make_brain(url).start(PROMPT)
    assert caught.value.code == "context_too_small"
    assert "256" in str(caught.value)


async def test_its_key_is_wanted(make_brain, folder):
    """Without it there is a line that says so; with it she talks."""
    with llama_server(write_gguf(folder / "locked.gguf"), key=KEY) as url:
        for key in ("", "sk-wrong-0123456789"):
            with pytest.raises(AivtError) as caught:
                await make_brain(url, openai_api_key=key).start(PROMPT)
            assert caught.value.code == "key_refused"
        brain = make_brain(url, openai_api_key=KEY)
        await brain.start(PROMPT)
        assert "".join(await said(brain)) == REPLY


async def test_an_address_of_something_else_is_named(make_brain, server):
    """A path that it does not have."""
    brain = make_brain(server, openai_base_url=f"{server}/nothing")
    with pytest.raises(AivtError) as caught:
        await brain.start(PROMPT)
    assert caught.value.code == "wrong_path"
