"""Who may come in: the token, and no page of another site; on HTTP and on websockets alike."""

import aiohttp
import pytest
from websockets.exceptions import InvalidStatus

TOKEN = "{token}"


async def answer(show, path: str, headers: dict[str, str]) -> int:
    """The status of a GET with exactly these headers."""
    headers = {name: value.format(token=show.token, port=show.port) for name, value in headers.items()}
    url = f"http://127.0.0.1:{show.port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        if response.status != 200:
            body = await response.json()
            assert body["code"] == {401: "unauthorized", 403: "foreign"}[response.status]
        return response.status


async def upgrade(show, headers: dict[str, str]) -> int:
    """The status of a websocket upgrade with exactly these headers."""
    headers = {name: value.format(token=show.token, port=show.port) for name, value in headers.items()}
    host = headers.pop("Host", None)
    try:
        async with show.connect("/stream", headers=headers, **({"host": None} if host else {})):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("Bearer {token}", 200),
        ("bearer {token}", 200),
        ("Bearer  {token} ", 200),
        ("Bearer {token}x", 401),
        ("Bearer", 401),
        ("Basic {token}", 401),
        ("{token}", 401),
        ("Bearer tök€n", 401),
    ],
)
async def test_the_token_opens_the_door(show, authorization, status):
    """As a bearer token, whole, and nothing else."""
    assert await answer(show, "/status", {"Authorization": authorization}) == status


@pytest.mark.parametrize(
    "path", ["/status", "/status?token={token}", "/", "/nowhere", "/health/", "/health/x"]
)
async def test_without_the_token_there_is_nothing_to_see(show, path):
    """Not even which paths there are; and the full token does not open from a query."""
    assert await answer(show, path.format(token=show.token), {}) == 401


async def test_whether_it_runs_may_be_asked_without_the_token(show):
    """/health says that, and nothing else."""
    url = f"http://127.0.0.1:{show.port}/health"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert (response.status, await response.read()) == (200, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:{port}"}, 200),
        ({"Host": "[::1]:{port}"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example:{port}"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Host": "192.168.1.7:{port}"}, 403),
        ({"Origin": "http://127.0.0.1:{port}"}, 200),
        ({"Origin": "http://localhost:5173"}, 200),  # same site: the panel while it is developed
        ({"Origin": "null"}, 403),  # a sandboxed frame, a local file
        ({"Origin": ""}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1.evil.example"}, 403),
        ({"Origin": "http://evil.example/127.0.0.1"}, 403),
        ({"Origin": "file://localhost"}, 403),
        ({"Origin": "http://[::1"}, 403),
    ],
)
async def test_no_other_site_may_ask(show, headers, status):
    """A page of another site is refused even with the token, and so is a name that only points here."""
    with_token = {**headers, "Authorization": "Bearer {token}"}
    assert await answer(show, "/status", with_token) == status
    assert await answer(show, "/health", headers) == status
    if "Origin" in headers:
        assert await upgrade(show, with_token) == (101 if status == 200 else 403)


async def test_a_browser_offers_the_token_as_a_subprotocol(show):
    """It cannot set headers on a websocket; the protocol that is chosen is not the secret."""
    async with show.connect("/stream", headers={}, subprotocols=["aivt", f"token.{show.token}"]) as socket:
        assert socket.subprotocol == "aivt"


@pytest.mark.parametrize("protocols", [["aivt"], ["aivt", "token.wrong"], ["{token}"], ["token."]])
async def test_a_wrong_subprotocol_is_refused(show, protocols):
    """The answer is a plain 401, before the upgrade."""
    offered = [one.format(token=show.token) for one in protocols]
    with pytest.raises(InvalidStatus) as refused:
        await show.connect("/stream", headers={}, subprotocols=offered)
    assert refused.value.response.status_code == 401
