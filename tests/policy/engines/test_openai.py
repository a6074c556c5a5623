import asyncio
import traceback
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from apps.policy.engines import openai
from apps.policy.engines.openai import OpenAI
from apps.policy.persona import Reply, load
from apps.policy.prompt import Exchange, Line, Prompt, messages
from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError
from apps.shared.settings import Settings
from tests.fakes.openai import FakeOpenAI, Fault
from tests.fakes.raw_http import answering, chunked, whole

PROMPT = Prompt(load("kitsu"), (), Line("Bob", "hi", "chat"))
KEY = "sk-very-secret-0123456789"
MODELS = b'{"object":"list","data":[{"id":"kitsu","object":"model"}]}'


@pytest.fixture
async def fake():
    async with FakeOpenAI() as fake:
        yield fake


@pytest.fixture
async def make_brain(fake):
    """Brains for the stand-in, closed at the end; the arguments are settings."""
    brains = []

    def make(**settings) -> OpenAI:
        values: dict[str, Any] = {
            "_env_file": None,
            "openai_base_url": fake.url,
            "policy_model": "",
            **settings,
        }
        brains.append(OpenAI(Settings(**values)))
        return brains[-1]

    yield make
    for brain in brains:
        await brain.close()


@pytest.fixture
async def brain(make_brain):
    """A brain that has been started, with nothing recorded yet."""
    return make_brain(policy_model="kitsu")


@pytest.fixture
def log(monkeypatch):
    monkeypatch.setattr(openai, "log", log := CapturingLogger())
    return log


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


async def start_failure(brain) -> AivtError:
    with pytest.raises(AivtError) as caught:
        await brain.start(PROMPT)
    assert caught.value.fix
    return caught.value


async def test_a_reply_comes_piece_by_piece(brain, fake):
    """Text arrives as the model makes it, for the messages that the prompt renders to."""
    assert await said(brain) == ["Hello", " there", "."]
    assert fake.generations[0].messages == messages(PROMPT)
    assert fake.asked[0]["max_tokens"] == PROMPT.persona.reply.tokens


async def test_without_a_wish_the_servers_first_model_answers(make_brain, fake):
    """An empty POLICY_MODEL is the first model that can talk, looked up at each start."""
    fake.models = ["nomic-embed-text", "fox-8b", "kitsu"]
    brain = make_brain()
    await brain.start(PROMPT)
    assert brain.model == fake.asked[-1]["model"] == "fox-8b"
    fake.models = ["kitsu"]
    await brain.start(PROMPT)
    assert brain.model == "kitsu"


async def test_the_wanted_model_is_asked_for(make_brain, fake):
    """POLICY_MODEL wins over the order of the list."""
    fake.models = ["fox-8b", "kitsu"]
    brain = make_brain(policy_model="kitsu")
    await brain.start(PROMPT)
    assert fake.asked[-1]["model"] == "kitsu"


async def test_a_model_that_is_not_there_names_those_that_are(make_brain, fake):
    """Before the show starts, a missing model is said with the choice there is."""
    error = await start_failure(make_brain(policy_model="fox-70b"))
    assert isinstance(error, MissingError)
    assert error.code == "model_missing"
    assert "fox-70b (it has: kitsu)" in str(error)
    assert "POLICY_MODEL" in error.fix


async def test_a_server_without_a_model_is_missing_one(make_brain, fake):
    """A server that has nothing to run says what to do in it."""
    fake.models = []
    error = await start_failure(make_brain())
    assert isinstance(error, MissingError)
    assert "Load a model" in error.fix


@pytest.mark.parametrize(("evaluate", "tokens"), [("start", openai.START_TOKENS), ("warm", 1)])
async def test_an_evaluated_prompt_makes_no_text(brain, fake, evaluate, tokens):
    """Start and warm-up are real requests with the prompt, which end with the first tokens."""
    fake.reply = ["word "] * 500
    await getattr(brain, evaluate)(PROMPT)
    [generation] = fake.generations
    assert generation.messages == messages(PROMPT)
    assert (generation.sent, generation.ended) == (tokens, "length")


async def test_the_warm_up_differs_from_a_reply_in_its_length_alone(brain, fake):
    """So that what the server has evaluated serves the reply too."""
    await brain.warm(PROMPT)
    await said(brain)
    warm_up, reply = fake.asked
    assert warm_up.pop("max_tokens") == 1
    assert reply.pop("max_tokens") == PROMPT.persona.reply.tokens
    assert warm_up == reply


async def test_the_next_prompt_begins_with_the_last(brain, fake):
    """What the server has evaluated for one reply is what the next request begins with."""
    await brain.start(PROMPT)
    await said(brain)
    await said(brain, replace(PROMPT, history=(Exchange(PROMPT.line, "Hello there."),)))
    first, second, third = (body["messages"] for body in fake.asked)
    assert first == second == third[: len(second)]


# --- what the server takes ---


async def test_a_strict_server_gets_what_it_knows(make_brain, fake, log):
    """Parameters that it refuses are left out from then on, which is logged once."""
    fake.strict = True
    brain = make_brain()
    await brain.start(PROMPT)
    await said(brain)
    await said(brain)
    assert len(fake.generations) == 3
    refused, *taken = fake.asked
    assert "top_k" in refused
    assert len(taken) == 3
    for body in taken:
        assert body.keys() == {"model", "messages", "stream", "max_tokens", "temperature", "top_p"}
    assert [call.method_name for call in log.calls] == ["info"]


async def test_a_server_of_the_newer_sort_gets_its_own_limit(make_brain, fake, log):
    """max_completion_tokens, beside whatever else it refuses."""
    fake.strict, fake.limit = True, "max_completion_tokens"
    brain = make_brain()
    await brain.start(PROMPT)
    await said(brain, replace(PROMPT, persona=replace(PROMPT.persona, reply=Reply(tokens=77))))
    assert fake.asked[-1]["max_completion_tokens"] == 77
    assert len(fake.generations) == 2
    assert len(log.calls) == 1


async def test_what_did_not_help_is_not_learnt(brain, fake, log):
    """A request that is refused for another reason costs no parameter later."""
    fake.faults += [Fault.BAD_REQUEST, Fault.BAD_REQUEST]
    assert (await failure(brain))[1].code == "http_400"
    await said(brain)
    assert ["top_k" in body for body in fake.asked] == [True, False, True]
    assert log.calls == []


async def test_a_request_refused_whatever_is_left_out_is_refused(make_brain):
    """The server's own words are the reason then."""
    body = b'{"error":{"message":"I do not like you","type":"x","code":null}}'
    async with answering(whole(body, "400 Bad Request")) as url:
        error = (await failure(make_brain(openai_base_url=f"{url}/v1", policy_model="x")))[1]
    assert (error.code, error.retryable) == ("http_400", False)
    assert "I do not like you" in str(error)


# --- failures ---


@pytest.mark.parametrize(
    ("fault", "before", "code", "retryable"),
    [
        (Fault.BUSY, [], "busy", True),
        (Fault.QUOTA, [], "quota_used_up", False),
        (Fault.HTTP_500, [], "http_500", True),
        (Fault.LOADING, [], "loading", True),
        (Fault.HTML, [], "wrong_path", False),
        (Fault.DROPPED, ["Hello"], "stream_error", True),
        (Fault.GARBAGE, ["Hello"], "garbage", False),
        (Fault.HALF_EVENT, ["Hello"], "garbage", False),
        (Fault.ERROR_EVENT, ["Hello"], "stream_error", True),
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


async def test_a_warm_up_fails_as_a_reply_does(brain, fake):
    """Its error has the same code and fix."""
    fake.faults.append(Fault.BUSY)
    with pytest.raises(EngineError) as caught:
        await brain.warm(PROMPT)
    assert caught.value.code == "busy"


async def test_a_server_that_is_not_there_is_missing(make_brain, fake):
    """No answer is said with the setting that holds the address."""
    await fake.stop()
    brain = make_brain(policy_model="kitsu")
    error = await start_failure(brain)
    assert isinstance(error, MissingError)
    assert error.code == "openai_unreachable"
    assert fake.url in str(error)
    assert "OPENAI_BASE_URL" in error.fix
    assert (await failure(brain))[1].code == "openai_unreachable"
    await fake.start()
    assert await said(brain)


async def test_a_secure_address_of_a_plain_server_is_named(make_brain, fake):
    """https:// where http:// is meant."""
    error = await start_failure(make_brain(openai_base_url=fake.url.replace("http:", "https:")))
    assert error.code == "openai_unreachable"
    assert "secure" in str(error)
    assert "http://" in error.fix


async def test_an_address_without_its_version_is_completed(make_brain, fake):
    """/v1 is what is forgotten most: the fix is the whole line."""
    error = await start_failure(make_brain(openai_base_url=fake.url.removesuffix("/v1")))
    assert error.code == "wrong_path"
    assert fake.url in error.fix


@pytest.mark.parametrize(
    "page", [b"<html>Welcome</html>", b"[]", b'{"data":[{"name":"no id"}]}', b'{"models":[]}', b""]
)
async def test_a_stranger_on_the_port_is_named(make_brain, page):
    """Another program that answers is not taken for a model server."""
    async with answering(whole(page)) as url:
        error = await start_failure(make_brain(openai_base_url=f"{url}/v1"))
    assert error.code == "wrong_path"
    assert "OPENAI_BASE_URL" in error.fix


async def test_a_prompt_too_long_is_refused_not_cut(brain, fake):
    """She is never run without her persona's text because it did not fit."""
    long = replace(PROMPT, persona=replace(PROMPT.persona, system="x" * 20_000))
    error = (await failure(brain, long))[1]
    assert (error.code, error.retryable) == ("context_too_small", False)
    assert len(fake.asked) == 1, "nothing that could be left out would help"


async def test_a_model_that_went_away_in_mid_show_is_missing(brain, fake):
    """What is there was learnt at the start."""
    await brain.start(PROMPT)
    fake.models = ["other"]
    assert (await failure(brain))[1].code == "model_missing"


async def test_a_stream_that_just_ends_is_a_whole_reply(brain, fake, log):
    """What was said stands, and is logged."""
    fake.faults.append(Fault.NO_END)
    assert await said(brain) == ["Hello"]
    assert [call.method_name for call in log.calls] == ["debug"]


async def test_the_last_words_are_not_kept_waiting(brain, fake):
    """A server that never says [DONE] and leaves the connection open has still ended its reply."""
    fake.faults.append(Fault.NO_DONE)
    assert await said(brain) == ["Hello", " there", "."]


async def test_a_broken_connection_without_a_frame_is_told_from_an_end(make_brain):
    """Where only the connection's end would tell, the server's own sign must."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    chunk = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
    async with answering(head, chunk) as url:
        pieces, error = await failure(make_brain(openai_base_url=url, policy_model="x"))
    assert (pieces, error.code) == (["Hi"], "stream_error")
    async with answering(head, chunk, b"data: [DONE]\n\n") as url:
        assert await said(make_brain(openai_base_url=url, policy_model="x")) == ["Hi"]


async def test_an_event_may_come_in_many_packets(make_brain):
    """Events are put together wherever the network cut them, inside a character too."""
    stream = 'data: {"choices":[{"delta":{"content":"né\\u003c3 👋"}}]}\r\n\r\ndata: [DONE]\r\n\r\n'.encode()
    async with answering(*chunked(*(bytes([byte]) for byte in stream))) as url:
        assert await said(make_brain(openai_base_url=url, policy_model="x")) == ["né<3 👋"]


async def test_an_endless_answer_is_garbage(make_brain):
    """Neither an event nor a list of models without an end fills the memory."""
    async with answering(*chunked(*[b"data: " + b"x" * 50_000] * 10)) as url:
        assert (await failure(make_brain(openai_base_url=url, policy_model="x")))[1].code == "garbage"
    async with answering(*chunked(*[b"x" * 500_000] * 6, kind="application/json")) as url:
        assert (await start_failure(make_brain(openai_base_url=url))).code == "wrong_path"


# --- loading ---


async def test_start_waits_for_a_model_that_is_being_loaded(make_brain, fake, monkeypatch):
    """A server that answers 503 until it is ready is asked again, as long as the caller likes."""
    monkeypatch.setattr(openai, "LOADING_RETRY_S", 0.001)
    fake.loading = 5
    fake.faults += [Fault.LOADING, Fault.LOADING]
    await make_brain().start(PROMPT)
    assert fake.loading == 0
    assert [each.ended for each in fake.generations] == ["fault", "fault", "stop"]


async def test_waiting_for_a_model_can_be_given_up(make_brain, fake):
    """Who waits may have a deadline."""
    fake.loading = 1000
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await make_brain().start(PROMPT)


# --- thoughts ---


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thoughts_are_never_spoken(brain, fake, log, field):
    """Should a model think all the same, nobody hears it; the start says how to choose a better one."""
    fake.thinks, fake.stubborn = field, True
    await brain.start(PROMPT)
    assert "".join(await said(brain)) == "Hello there."
    [warning] = log.calls
    assert warning.method_name == "warning"
    assert "instruct" in warning.kwargs["fix"]


async def test_thoughts_in_the_text_are_seen_at_the_start(brain, fake, log):
    """They are taken out elsewhere, but the time they take is told here."""
    fake.thinks, fake.stubborn = "inline", True
    await brain.start(PROMPT)
    assert [call.method_name for call in log.calls] == ["warning"]


async def test_a_model_is_told_not_to_think(brain, fake, log):
    """One that can be stopped from it answers at once."""
    fake.thinks = "inline"
    await brain.start(PROMPT)
    assert "".join(await said(brain)) == "Hello there."
    assert log.calls == []


async def test_a_reply_of_thoughts_alone_is_a_failure(brain, fake):
    """A model that thinks its whole reply away is named as such, with the way out."""
    fake.thinks, fake.stubborn, fake.thoughts = "reasoning", True, ["Hmm. "] * 500
    pieces, error = await failure(brain)
    assert (pieces, error.code, error.retryable) == ([], "thinks_aloud", False)


# --- leaving ---


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
    assert 1 <= generation.sent < 160


@pytest.mark.parametrize("fault", [Fault.SILENT_START, Fault.SILENT_MIDWAY])
async def test_a_silent_server_can_be_left(brain, fake, fault):
    """Who waits may go at any moment; the server sees the connection close."""
    fake.faults.append(fault)
    reading = asyncio.create_task(said(brain))
    while not fake.generations:
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    await fake.idle()
    assert "".join(await said(brain)) == "Hello there."


async def test_a_cancelled_warm_up_frees_the_model(brain, fake):
    """A line that comes in meanwhile need not wait for it."""
    fake.first_token_s = 600.0
    warming = asyncio.create_task(brain.warm(PROMPT))
    while not fake.generations:
        await asyncio.sleep(0)
    warming.cancel()
    await asyncio.wait({warming})
    await fake.idle()
    assert len(fake.aborted) == 1


# --- secrets ---


@pytest.fixture
async def locked(fake):
    """The stand-in, which now wants a key."""
    fake.key = KEY
    return fake


async def test_the_key_is_sent_as_bearer(make_brain, locked):
    """To the list of models and with every reply; white space from copying it is dropped."""
    brain = make_brain(openai_api_key=f" {KEY}\n")
    await brain.start(PROMPT)
    await said(brain)
    assert {each.headers["Authorization"] for each in locked.requests} == {f"Bearer {KEY}"}


async def test_without_a_key_none_is_sent(brain, fake):
    """A header that says nothing would be refused by some."""
    await brain.start(PROMPT)
    assert not [each for each in fake.requests if "Authorization" in each.headers]


@pytest.mark.parametrize(("key", "words"), [("", "wants a key"), (f"{KEY}-wrong", "refuses the key")])
async def test_a_refused_key_names_its_setting(make_brain, locked, key, words):
    """At the start and in mid-show alike; the key itself is in no line of it."""
    brain = make_brain(openai_api_key=key, policy_model="kitsu")
    at_start, in_show = await start_failure(brain), (await failure(brain))[1]
    for error in (at_start, in_show):
        assert error.code == "key_refused"
        assert words in str(error)
        assert "OPENAI_API_KEY" in error.fix
    assert not key or key not in f"{at_start!r} {in_show!r} {brain!r} {vars(brain)!r} {brain._server!r}"


async def test_no_traceback_shows_the_key(make_brain, fake):
    """aiohttp's own errors hold the request with its headers; none of them is shown."""
    for packets in ([b"no HTTP at all\r\n\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"], []):
        async with answering(*packets) as url:
            brain = make_brain(openai_base_url=url, openai_api_key=KEY, policy_model="x")
            for error in (await start_failure(brain), (await failure(brain))[1]):
                assert KEY not in "".join(traceback.format_exception(error))
                assert KEY not in repr(error.__cause__)


async def test_a_password_in_the_address_is_used_and_not_shown(make_brain, fake):
    """As some proxies want it."""
    address = fake.url.replace("127.0.0.1", "fox:snacks99@127.0.0.1")
    brain = make_brain(openai_base_url=address)
    await brain.start(PROMPT)
    assert fake.requests[-1].headers["Authorization"].startswith("Basic ")
    await fake.stop()
    error = await start_failure(brain)
    assert fake.url in str(error)
    assert "snacks99" not in "".join(traceback.format_exception(error))


async def test_a_key_wins_over_a_password(make_brain, locked):
    """Both at once cannot be sent."""
    address = locked.url.replace("127.0.0.1", "fox:snacks99@127.0.0.1")
    await make_brain(openai_base_url=address, openai_api_key=KEY).start(PROMPT)
    assert locked.requests[-1].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a\x00b"])
def test_what_cannot_be_a_key_is_refused(make_brain, key):
    """Before it is sent anywhere, and without being shown."""
    with pytest.raises(SettingsError) as caught:
        make_brain(openai_api_key=key)
    assert key not in f"{caught.value!r}"
    assert "OPENAI_API_KEY" in str(caught.value)


async def test_a_redirect_takes_neither_chat_nor_key_along(make_brain, fake):
    """Where it leads is said, and nothing is sent there."""
    redirect = whole(b"", "307 Temporary Redirect", more=f"Location: {fake.url}/models\r\n")
    async with answering(redirect) as url:
        brain = make_brain(openai_base_url=url, openai_api_key=KEY, policy_model="kitsu")
        for error in (await start_failure(brain), (await failure(brain))[1]):
            assert error.code == "redirected"
            assert fake.url in str(error)
    assert fake.requests == []


# --- clouds ---


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", False),
        ("192.168.1.20", False),
        ("10.0.0.7", False),
        ("172.16.3.4", False),
        ("100.101.102.103", False),
        ("169.254.3.4", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd12::1", False),
        ("8.8.8.8", True),
        ("172.32.0.1", True),
        ("2606:4700::1111", True),
        ("no..such..host", False),
        ("", False),
    ],
)
async def test_a_cloud_is_told_from_ones_own_networks(host, expected):
    """By the address: loopback, private, link-local and tailnet addresses are one's own."""
    assert await openai._is_public(host) is expected


async def test_a_cloud_is_named_once_at_the_start(make_brain, fake, log, monkeypatch):
    """What chat says leaves this computer then; the streamer has wanted it, and is told."""

    async def public(host: str) -> bool:
        return host == "127.0.0.1"

    monkeypatch.setattr(openai, "_is_public", public)
    brain = make_brain()
    await brain.start(PROMPT)
    await brain.start(PROMPT)
    [warning] = log.calls
    assert warning.method_name == "warning"
    assert warning.kwargs["to"] == "127.0.0.1"
    assert "OPENAI_BASE_URL" in warning.kwargs["fix"]


async def test_ones_own_server_is_nothing_to_speak_of(make_brain, log):
    """No warning for what stays in the house."""
    await make_brain().start(PROMPT)
    assert log.calls == []
