"""The stand-in refuses what Ollama refuses: the facts that the engine is built on."""

import asyncio
import json
import re

import aiohttp
import pytest

from tests.fakes.ollama import FakeOllama, Fault, Json
from tests.fakes.ollama_library import PullFault

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
async def fake():
    async with FakeOllama(models=["kitsu:latest", "deep:8b"], thinking=["deep:8b"], library=["new"]) as fake:
        yield fake


@pytest.fixture
async def session():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
def post(fake, session):
    """POST to the stand-in; returns the status and the parsed lines."""

    async def post(path: str, body: object, **more):
        data = body if isinstance(body, str) else json.dumps(body)
        async with session.post(f"{fake.url}{path}", data=data, **more) as response:
            return response.status, [json.loads(line) for line in (await response.text()).splitlines()]

    return post


@pytest.fixture
def chat(post):
    """Chat with the model `kitsu`; the arguments go into the body."""
    return lambda **body: post("/api/chat", {"model": "kitsu", "messages": HI, **body})


def contents(lines: list[Json]) -> list[str]:
    return [line["message"]["content"] for line in lines]


async def test_a_chat_streams_a_line_per_piece_and_one_with_the_numbers(chat, fake):
    """Every line names model and time; the last says done, why, and what it took."""
    status, lines = await chat()
    assert status == 200
    assert contents(lines) == ["Hello", " there", ".", ""]
    assert [line["done"] for line in lines] == [False, False, False, True]
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d*[1-9])?Z", each["created_at"]) for each in lines
    )
    assert lines[-1]["done_reason"] == "stop"
    assert lines[-1]["eval_count"] == 3
    assert "eval_count" not in lines[0]
    assert fake.generations[0].ended == "stop"


async def test_stream_false_gives_one_object(chat):
    """The same reply in one piece."""
    _, [line] = await chat(stream=False)
    assert line["message"]["content"] == "Hello there."
    assert line["done"] is True


async def test_lines_are_escaped_as_go_does(fake, session):
    """Angle brackets and ampersands come as \\u003c and the like; other scripts come as they are."""
    fake.reply = ["<b> & ü\u2028"]
    async with session.post(
        f"{fake.url}/api/chat", data=json.dumps({"model": "kitsu", "messages": HI})
    ) as response:
        assert response.content_type == "application/x-ndjson"
        first = await response.content.readline()
    assert '"content":"\\u003cb\\u003e \\u0026 ü\\u2028"'.encode() in first


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/api/chat", "", 400, "missing request body"),
        ("/api/chat", "{", 400, "invalid JSON"),
        ("/api/chat", "[]", 400, "cannot unmarshal array"),
        ("/api/chat", {"messages": HI}, 400, "model is required"),
        ("/api/chat", {"model": 7, "messages": HI}, 400, "cannot unmarshal number"),
        ("/api/chat", {"model": "kitsu", "messages": "hi"}, 400, "cannot unmarshal string"),
        ("/api/chat", {"model": "kitsu", "messages": [{"role": 1}]}, 400, "cannot unmarshal"),
        ("/api/chat", {"model": "kitsu", "stream": 1}, 400, "cannot unmarshal number"),
        ("/api/chat", {"model": "nobody", "messages": HI}, 404, "model 'nobody' not found"),
        ("/api/generate", {"prompt": "hi"}, 404, "model '' not found"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "think": "very"}, 400, "invalid think value"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "think": 1}, 400, "invalid think value"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "think": True}, 400, "does not support thinking"),
        ("/api/chat", {"model": "kitsu", "keep_alive": "30"}, 400, "invalid duration"),
        ("/api/chat", {"model": "kitsu", "keep_alive": True}, 400, "Unsupported type"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "options": {"num_ctx": ""}}, 500, "of type integer"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "options": {"top_k": True}}, 500, "of type integer"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "options": {"stop": "\n"}}, 500, "of type array"),
        ("/api/chat", {"model": "kitsu", "messages": HI, "options": {"stop": [1]}}, 500, "array of strings"),
        ("/api/generate", {"model": "kitsu", "raw": True, "system": "s", "prompt": "p"}, 400, "raw mode"),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_refused(post, path, body, status, words):
    """Every wrong request gets Ollama's status and an error in Ollama's words."""
    got, [answer] = await post(path, body)
    assert got == status
    assert words in answer["error"]


async def test_wrong_method_host_and_path_are_refused(fake, session):
    """405, 403 for a host that is not this machine's, 404: each with a JSON body."""
    for method, path, host, status in [
        ("GET", "/api/chat", "localhost", 405),
        ("GET", "/api/tags", "evil.example", 403),
        ("GET", "/api/nothing", "127.0.0.1", 404),
    ]:
        async with session.request(method, fake.url + path, headers={"Host": host}) as response:
            assert response.status == status
            assert (await response.json())["error"]


async def test_unknown_options_nulls_and_floats_are_taken(chat):
    """What Go's decoder lets through is let through."""
    status, _ = await chat(options={"num_ctx": 4096.0, "no_such_option": {}}, keep_alive=None, extra=1)
    assert status == 200


async def test_a_thinking_model_thinks_unless_told_not_to(post):
    """Without `think: false` the stream begins with thoughts."""
    _, lines = await post("/api/chat", {"model": "deep:8b", "messages": HI})
    assert lines[0]["message"] == {"role": "assistant", "content": "", "thinking": "Hmm."}
    _, lines = await post("/api/chat", {"model": "deep:8b", "messages": HI, "think": False})
    assert not any("thinking" in line["message"] for line in lines)


async def test_generate_answers_in_its_own_field(post):
    """/api/generate says `response` where chat says `message`."""
    _, lines = await post("/api/generate", {"model": "kitsu", "prompt": "hi", "raw": True})
    assert "".join(line["response"] for line in lines) == "Hello there."


async def test_no_messages_load_and_a_zero_keep_alive_unloads(chat, fake, session):
    """An empty request only loads; with keep_alive 0 it frees the memory; /api/ps shows it."""

    async def running() -> list[str]:
        async with session.get(f"{fake.url}/api/ps") as response:
            return [model["name"] for model in (await response.json())["models"]]

    _, [line] = await chat(messages=[])
    assert line["done_reason"] == "load"
    assert await running() == ["kitsu:latest"]
    _, [line] = await chat(messages=[], keep_alive=0)
    assert line["done_reason"] == "unload"
    assert await running() == []
    await chat(keep_alive="0s")
    assert await running() == []
    await chat(keep_alive="1h30m")
    await chat()
    assert fake._runners["kitsu:latest"].keep_s == 5400, "a request without keep_alive keeps the earlier one"


async def test_only_some_options_load_the_model_anew(chat, fake):
    """The context and `shift` are the runner's; sampling options are the request's."""
    await chat(options={"temperature": 0.5})
    await chat(options={"temperature": 0.9, "num_predict": 5, "stop": ["x"]})
    assert (fake.loads, fake.reloads) == (1, 0)
    await chat(options={"num_ctx": 2048})
    assert (fake.loads, fake.reloads) == (2, 1)
    await chat(options={"num_ctx": 2048}, shift=False)
    assert (fake.loads, fake.reloads) == (3, 2)


async def test_a_long_prompt_is_cut_in_silence_or_refused(chat, fake):
    """By default the oldest messages vanish; with `truncate: false` the request is refused."""
    long = [{"role": "system", "content": "be kind"}, *({"role": "user", "content": "x" * 9000},) * 3]
    await chat(messages=long)
    assert fake.generations[0].messages == [long[0], long[-1]]
    status, [line] = await chat(messages=long, truncate=False)
    assert status == 400
    assert "longer than the context length" in line["error"]


async def test_limits_end_a_reply(chat, fake):
    """num_predict ends it with `length`, a stop word without being said, even in two pieces."""
    _, lines = await chat(options={"num_predict": 2})
    assert contents(lines) == ["Hello", " there", ""]
    assert lines[-1]["done_reason"] == "length"
    fake.reply = ["Hi", " a\n", "Bo", "b: no"]
    _, lines = await chat(options={"stop": ["\nBob:"]})
    assert "".join(contents(lines)) == "Hi a"
    assert lines[-1]["done_reason"] == "stop"


async def test_thirty_repetitions_end_the_stream_without_a_word(chat, fake):
    """A model that says LUL for ever is cut off; the stream just ends."""
    fake.reply = [" LUL"] * 40
    _, lines = await chat()
    assert len(lines) == 30
    assert not any(line["done"] for line in lines)


async def test_one_at_a_time_and_a_full_queue_is_refused(session):
    """With one place at the model the second waits; beyond the queue's limit it is 503."""
    async with FakeOllama(queue_limit=1) as fake:
        fake.faults.append(Fault.SILENT_START)
        body = json.dumps({"model": "kitsu", "messages": HI})

        async def ask() -> tuple[int, str]:
            async with session.post(f"{fake.url}/api/chat", data=body) as response:
                return response.status, await response.text()

        asking = [asyncio.create_task(ask()) for _ in range(3)]
        refused, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        status, text = refused.pop().result()
        assert status == 503
        assert "maximum pending requests exceeded" in text
        silent, waiting = [task for task in asking if not task.done()]
        silent.cancel()
        status, _ = await waiting
        assert status == 200, "the place of one who has gone is the next one's"


async def test_a_client_that_leaves_stops_the_generation(fake, session):
    """Closing the connection ends the work at once, not when the reply is complete."""
    fake.reply, fake.tokens_per_s = ["word "] * 500, 100
    response = await session.post(f"{fake.url}/api/chat", data=json.dumps({"model": "kitsu", "messages": HI}))
    await response.content.readline()
    response.close()
    await fake.idle()
    [generation] = fake.aborted
    assert 1 <= generation.sent < 500


async def test_faults_happen_once_and_in_order(chat, fake):
    """Each generation uses up one fault; None is a healthy one."""
    fake.faults += [Fault.NO_DONE, None, Fault.ERROR_LINE, Fault.HTTP_500]
    assert contents((await chat())[1]) == ["Hello"]
    assert len((await chat())[1]) == 4
    assert "error" in (await chat())[1][-1]
    assert (await chat())[0] == 500
    assert len((await chat())[1]) == 4


async def test_it_comes_back_on_the_same_port(chat, fake):
    """Stopped it refuses connections; started again it is at the same address and has nothing loaded."""
    await chat()
    await fake.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await chat()
    await fake.start()
    assert (await chat())[0] == 200
    assert (fake.loads, fake.reloads) == (2, 0)


async def test_models_are_listed_shown_and_pulled(post, fake, session):
    """Tags carry `:latest`; a pull that fails says so in its stream."""
    async with session.get(f"{fake.url}/api/tags") as response:
        names = [model["name"] for model in (await response.json())["models"]]
    assert names == ["kitsu:latest", "deep:8b"]
    assert (await post("/api/show", {"model": "deep:8b"}))[1][0]["capabilities"] == ["completion", "thinking"]
    _, lines = await post("/api/pull", {"model": "nobody"})
    assert lines[-1] == {"error": "pull model manifest: file does not exist"}
    _, lines = await post("/api/pull", {"model": "new"})
    assert lines[-1] == {"status": "success"}
    assert "new:latest" in fake.models
    async with session.get(f"{fake.url}/api/version") as response:
        assert await response.json() == {"version": "0.33.0"}


async def test_a_pull_streams_every_layer(post, fake):
    """Layer by layer with digest, total and, once there is one, completed; then the states in order."""
    status, lines = await post("/api/pull", {"model": "new"})
    assert status == 200
    assert lines[0] == {"status": "pulling manifest"}
    assert [line["status"] for line in lines[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    layers = lines[1:-3]
    assert all(line["status"] == f"pulling {line['digest'][7:19]}" for line in layers)
    assert "completed" not in layers[0]
    assert len({line["digest"] for line in layers}) == 2
    last = {line["digest"]: line for line in layers}.values()
    assert all(line["completed"] == line["total"] for line in last)
    _, again = await post("/api/pull", {"model": "new"})
    assert len(again) == 1 + 2 + 3, "what is there is not fetched again"


async def test_a_pull_without_a_stream_is_one_object(post):
    """The last line; an error has its status."""
    assert await post("/api/pull", {"model": "new", "stream": False}) == (200, [{"status": "success"}])
    status, [line] = await post("/api/pull", {"model": "nobody", "stream": False})
    assert status == 500
    assert "file does not exist" in line["error"]


@pytest.mark.parametrize("name", ["", "a b", "https://x/y"])
async def test_a_pull_wants_a_name(post, name):
    """Before anything is fetched."""
    status, [line] = await post("/api/pull", {"model": name})
    assert (status, line["error"]) == (400, "invalid model name")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (PullFault.DISK_FULL, "no space left on device"),
        (PullFault.OFFLINE, "no such host"),
        (PullFault.TOO_OLD, "requires a newer version"),
        (PullFault.DIGEST, "digest mismatch"),
    ],
)
async def test_a_pull_fails_within_its_stream(post, fake, fault, words):
    """With status 200, for it has begun; the next pull is a healthy one."""
    fake.pull_faults.append(fault)
    status, lines = await post("/api/pull", {"model": "new"})
    assert status == 200
    assert words in lines[-1]["error"]
    assert "new:latest" not in fake.models
    assert (await post("/api/pull", {"model": "new"}))[1][-1] == {"status": "success"}


async def test_a_client_that_leaves_stops_the_pull(fake, session):
    """What has come is kept."""
    fake.downloads.bytes_per_s = 1e9
    async with session.post(f"{fake.url}/api/pull", data=json.dumps({"model": "new"})) as response:
        async for line in response.content:
            if b"completed" in line:
                break
    assert 0 < sum(fake.downloads.partial.values()) < 2e9
    assert "new:latest" not in fake.models


async def test_a_model_is_shown_with_metadata_and_licence(post, fake, session):
    """Long lists are emptied, and what is empty is left out."""
    fake.models["llama3.1:8b"] = False
    _, [shown] = await post("/api/show", {"model": "llama3.1:8b"})
    assert shown["model_info"]["llama.block_count"] == 32
    assert shown["model_info"]["tokenizer.ggml.tokens"] == []
    assert shown["license"].startswith("LLAMA 3.1")
    assert shown["details"]["quantization_level"] == "Q4_K_M"
    _, [shown] = await post("/api/show", {"model": "kitsu"})
    assert "license" not in shown
    assert "remote_host" not in shown
