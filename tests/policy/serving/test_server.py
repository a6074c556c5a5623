import pytest

from apps.policy.serving import server as module
from apps.policy.serving.server import Server, Service
from apps.shared.errors import EngineError, MissingError
from tests.fakes.raw_http import answering, chunked, whole

SERVICE = Service("Fox", "FOX_HOST", "fox_unreachable", "Start Fox.", "Look at Fox's log.")


@pytest.fixture
async def make_server():
    """Servers, closed at the end."""
    servers = []

    def make(url: str, **more) -> Server:
        servers.append(Server(SERVICE, url, **more))
        return servers[-1]

    yield make
    for server in servers:
        await server.close()


async def posted(server: Server) -> bytes:
    async with server.post("/chat", {"a": 1}) as response:
        return (await module.answer(response)).body


async def post_failure(server: Server) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await posted(server)
    assert caught.value.fix
    return caught.value


async def test_an_answer_is_what_came(make_server):
    """Status, headers and body, whatever the status."""
    async with answering(whole(b"no fox", "404 Not Found", more="X-Fox: 1\r\n")) as url:
        looked = await make_server(url).look("/models")
    assert (looked.status, looked.headers["X-Fox"], looked.body) == (404, "1", b"no fox")


async def test_each_request_has_a_connection_of_its_own(make_server):
    """A server that closes after each answer, or was started anew, breaks nothing."""
    async with answering(whole(b"yes")) as url:
        server = make_server(url)
        assert [await posted(server) for _ in range(3)] == [b"yes"] * 3


async def test_a_closed_server_opens_again(make_server):
    """Closing twice does no harm."""
    async with answering(whole(b"yes")) as url:
        server = make_server(url)
        await posted(server)
        await server.close()
        await server.close()
        assert await posted(server) == b"yes"


async def test_nobody_there_is_said_by_name(make_server):
    """At a look as something missing, in a reply as a failure; with the address as it may be shown."""
    async with answering() as url:
        server = make_server(url, shown="http://fox")
    with pytest.raises(MissingError) as caught:
        await server.look("/models")
    for error in (caught.value, await post_failure(server)):
        assert (error.code, str(error), error.fix) == (
            "fox_unreachable",
            "no answer from http://fox",
            "Start Fox.",
        )


@pytest.mark.parametrize(
    "packets", [[], [b"hello?\r\n\r\n"], [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nhi"]]
)
async def test_a_broken_answer_may_be_asked_for_again(make_server, packets):
    """The connection broke, before the head, inside it, or in mid-body."""
    async with answering(*packets) as url:
        error = await post_failure(make_server(url))
    assert (error.code, error.retryable) == ("stream_error", True)
    assert "Fox: the connection broke" in str(error)


async def test_redirects_are_not_followed(make_server):
    """An answer like any other."""
    moved = whole(b"", "302 Found", more="Location: http://127.0.0.1:1/\r\n")
    async with answering(moved) as url:
        server = make_server(url)
        assert (await server.look("/models")).status == 302
        assert await posted(server) == b""


async def test_a_body_is_read_up_to_a_limit(make_server):
    """Who writes for ever does not fill the memory."""
    async with answering(*chunked(*[b"x" * 500_000] * 10)) as url:
        looked = await make_server(url).look("/models")
    assert module.BODY_LIMIT_BYTES < len(looked.body) < 5_000_000


async def test_an_endless_line_is_garbage(make_server):
    """Where a stream is read by lines."""

    async def lines() -> list[bytes]:
        async with make_server(url).post("/chat", {}) as response:
            return [line async for line in response.content]

    async with answering(*chunked(b"x" * 1_000_000)) as url:
        with pytest.raises(EngineError) as caught:
            await lines()
    assert caught.value.code == "garbage"
    assert "FOX_HOST" in caught.value.fix


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(None, "stream_error", True), (500, "http_500", True), (400, "http_400", False)],
)
def test_the_servers_words_are_passed_on(make_server, status, code, retryable):
    """Only what may pass by itself is worth another try."""
    error = make_server("http://fox").failure("no snacks", status)
    assert (error.code, str(error), error.retryable) == (code, "Fox: no snacks", retryable)
