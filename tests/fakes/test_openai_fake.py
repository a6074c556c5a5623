"""The stand-in refuses what the documentation says is refused: the facts that the engine is built on."""

import asyncio
import json
import sys

import aiohttp
import pytest

from tests.fakes.openai import FakeOpenAI, Fault, Json

HI = [{"role": "user", "content": "hi"}]
SYSTEM = {"role": "system", "content": "be kind"}
HELLO = {"role": "assistant", "content": "Hello."}


@pytest.fixture
async def fake():
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
def post(fake, session):
    """POST to the stand-in; returns status and text."""

    async def post(body: object, **more) -> tuple[int, str]:
        data = body if isinstance(body, str) else json.dumps(body)
        headers = {"Content-Type": "application/json", **more.pop("headers", {})}
        async with session.post(f"{fake.url}/chat/completions", data=data, headers=headers) as response:
            return response.status, await response.text()

    return post


@pytest.fixture
def chat(post):
    """Chat with the model; the arguments go into the body; returns the events, or the error."""

    async def chat(**body) -> list[Json]:
        status, text = await post({"model": "kitsu", "messages": HI, "stream": True, **body})
        if status != 200:
            return [json.loads(text)["error"]]
        events = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
        return [{"done": True} if event == "[DONE]" else json.loads(event) for event in events]

    return chat


def deltas(events: list[Json]) -> list[Json]:
    return [each["choices"][0]["delta"] for each in events if each.get("choices")]


def finish(events: list[Json]) -> list[str]:
    return [each["choices"][0]["finish_reason"] for each in events if each.get("choices")]


async def test_a_reply_streams_by_the_book(chat, fake):
    """A role, the pieces, a finish_reason, [DONE]; every chunk of one id, with a sign of life before them."""
    events = await chat()
    assert deltas(events) == [
        {"role": "assistant", "content": None},
        {"content": "Hello"},
        {"content": " there"},
        {"content": "."},
        {},
    ]
    assert finish(events) == [None, None, None, None, "stop"]
    assert events[-1] == {"done": True}
    assert len({each["id"] for each in events[:-1]}) == 1
    assert {each["object"] for each in events[:-1]} == {"chat.completion.chunk"}
    assert fake.generations[0].ended == "stop"


async def test_usage_comes_last_and_only_when_asked_for(chat):
    """In a chunk without choices."""
    events = await chat(stream_options={"include_usage": True})
    assert events[-2]["choices"] == []
    assert events[-2]["usage"]["completion_tokens"] == 3
    assert not any("usage" in each for each in await chat())


async def test_stream_false_gives_one_object(post):
    """The same reply in one piece, which is the default."""
    status, text = await post({"model": "kitsu", "messages": HI})
    assert status == 200
    assert json.loads(text)["choices"][0]["message"]["content"] == "Hello there."


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_ends_a_reply(chat, limit):
    """With finish_reason length."""
    events = await chat(**{limit: 2})
    assert deltas(events)[1:-1] == [{"content": "Hello"}, {"content": " there"}]
    assert finish(events)[-1] == "length"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": ""}, "must provide a model"),
        ({"messages": None}, "Missing required parameter: 'messages'"),
        ({"messages": []}, "empty array"),
        ({"messages": "hi"}, "Invalid type for 'messages'"),
        ({"messages": [{"role": "cat", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [*HI, SYSTEM]}, "must alternate"),
        ({"messages": [*HI, *HI]}, "must alternate"),
        ({"messages": [*HI, HELLO]}, "must alternate"),
        ({"messages": [SYSTEM]}, "must alternate"),
        ({"temperature": "hot"}, "expected decimal, but got string"),
        ({"temperature": True}, "expected decimal, but got boolean"),
        ({"temperature": 2.1}, "expected a value <= 2"),
        ({"top_p": -0.1}, "expected a value >= 0"),
        ({"max_tokens": 0}, "expected a value >= 1"),
        ({"max_tokens": 1.5}, "expected integer"),
        ({"top_k": 0.5}, "expected integer"),
        ({"chat_template_kwargs": 1}, "expected object"),
        ({"stream": "yes"}, "expected boolean"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "at the same time"),
        ({"stream": False, "stream_options": {}, "n": 2}, "<= 1"),
        ({"messages": [{"role": "user", "content": "x" * 20_000}]}, "maximum context length"),
        ({"max_tokens": 5000}, "maximum context length"),
    ],
)
async def test_what_is_wrong_is_refused(post, body, words):
    """400 with an error object that says what."""
    status, text = await post({"model": "kitsu", "messages": HI, "stream": True, **body})
    assert status == 400
    error = json.loads(text)["error"]
    assert words in error["message"]
    assert error.keys() == {"message", "type", "param", "code"}


async def test_codes_are_those_of_the_documentation(chat, fake):
    """For what programs look at them for."""
    assert (await chat(model="fox"))[0]["code"] == "model_not_found"
    assert (await chat(max_tokens=5000))[0]["code"] == "context_length_exceeded"
    fake.limit = "max_completion_tokens"
    error = (await chat(max_tokens=5))[0]
    assert (error["code"], error["param"]) == ("unsupported_parameter", "max_tokens")
    assert "Use 'max_completion_tokens' instead" in error["message"]


async def test_unknown_parameters_are_refused_by_the_strict(chat, fake):
    """By name, all of them; others ignore what they do not know."""
    assert finish(await chat(top_k=1, min_p=0.1, what=1))[-1] == "stop"
    fake.strict = True
    assert (await chat(top_k=1, min_p=0.1))[0]["message"].endswith("arguments supplied: min_p, top_k")
    assert (await chat(what=1))[0]["message"].endswith("argument supplied: what")
    assert finish(await chat(temperature=1, top_p=1))[-1] == "stop"


async def test_what_is_no_request_is_refused(post, fake, session):
    """No JSON, no object, another media type, method or path."""
    assert (await post("{"))[0] == 400
    assert (await post("[]"))[0] == 400
    assert (await post("{}", headers={"Content-Type": "text/plain"}))[0] == 415
    for method, path, status in [
        ("GET", "/chat/completions", 405),
        ("POST", "/models", 405),
        ("GET", "/nothing", 404),
    ]:
        async with session.request(method, fake.url + path) as response:
            assert response.status == status
            assert (await response.json())["error"]["message"]


@pytest.mark.parametrize("path", ["/models", "/chat/completions", "/nothing"])
async def test_without_its_key_nothing_is_answered(fake, session, path):
    """401 before anything else, for none, a wrong one and a wrong scheme."""
    fake.key = "sk-123456"
    for header in ({}, {"Authorization": "Bearer sk-654321"}, {"Authorization": "Basic sk-123456"}):
        async with session.get(fake.url + path, headers=header) as response:
            assert response.status == 401
            assert (await response.json())["error"]["code"] == "invalid_api_key"
    async with session.get(f"{fake.url}/models", headers={"Authorization": "Bearer sk-123456"}) as response:
        assert (await response.json())["data"][0]["id"] == "kitsu"


async def test_loading_is_told_as_often_as_wished(chat, fake):
    """503 in llama.cpp's words, then a reply."""
    fake.loading = 2
    answers = [await chat() for _ in range(3)]
    assert [each[0].get("message") for each in answers[:2]] == ["Loading model"] * 2
    assert finish(answers[2])[-1] == "stop"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thoughts_come_in_their_field_unless_told_not_to(chat, fake, field):
    """The stubborn think all the same."""
    fake.thinks = field
    told = {"chat_template_kwargs": {"enable_thinking": False}}
    assert [field in delta for delta in deltas(await chat())][1:4] == [True, True, False]
    assert not any(field in delta for delta in deltas(await chat(**told)))
    fake.stubborn = True
    assert any(field in delta for delta in deltas(await chat(**told)))


async def test_thoughts_may_stand_in_the_text(chat, fake):
    """Between their marks."""
    fake.thinks = "inline"
    text = "".join(delta.get("content") or "" for delta in deltas(await chat()))
    assert text == "<think>Hmm, a fox.</think>Hello there."


async def test_faults_happen_once_and_in_order(chat, fake):
    """Each generation uses up one fault; None is a healthy one."""
    fake.faults += [Fault.BUSY, None, Fault.ERROR_EVENT, Fault.NO_DONE, Fault.NO_END, Fault.QUOTA]
    assert (await chat())[0]["code"] == "rate_limit_exceeded"
    assert (await chat())[-1] == {"done": True}
    assert "CUDA" in (await chat())[-1]["error"]["message"]
    assert finish(await chat())[-1] == "stop"
    assert deltas(await chat())[-1] == {"content": "Hello"}
    assert (await chat())[0]["code"] == "insufficient_quota"
    assert (await chat())[-1] == {"done": True}


async def test_a_client_that_leaves_stops_the_generation(fake, session):
    """Closing the connection ends the work at once, not when the reply is complete."""
    fake.reply, fake.tokens_per_s = ["word "] * 500, 100
    body = {"model": "kitsu", "messages": HI, "stream": True}
    response = await session.post(f"{fake.url}/chat/completions", json=body)
    await response.content.readline()
    response.close()
    await fake.idle()
    [generation] = fake.aborted
    assert generation.sent < 500


async def test_it_comes_back_on_the_same_port(chat, fake):
    """Stopped it refuses connections; started again it is at the same address."""
    await chat()
    await fake.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await chat()
    await fake.start()
    assert (await chat())[-1] == {"done": True}


async def test_it_can_be_run_by_hand():
    """As its first lines say, on a port of one's choice; it tells its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-u", "-m", "tests.fakes.openai", "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert b"http://127.0.0.1:" in await process.stdout.readline()
    finally:
        process.terminate()
        await process.wait()
