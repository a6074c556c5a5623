"""Who may come in, checked before any upgrade: the token, and no page of another site.

Loopback is no protection by itself: every web page that the streamer opens can reach 127.0.0.1, directly
or by DNS rebinding. Hence the Host and Origin checks.
"""

import json
import secrets
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL_NAMES = {"127.0.0.1", "localhost", "::1"}
OPEN_PATHS = {"/health"}
SUBPROTOCOL = "aivt"  # a browser cannot set headers on a websocket: it offers "aivt" and "token.TOKEN"
SUBPROTOCOL_TOKEN = "token."  # noqa: S105


class Access:
    """ASGI middleware: 401 without the token, 403 for a foreign Host or Origin."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not (_is_local(headers.get("host", "")) and _is_local_origin(headers.get("origin"))):
            await _refuse(scope, send, HTTPStatus.FORBIDDEN, "foreign", "only pages of this show may ask")
        elif scope["path"] not in OPEN_PATHS and not self._knows(headers):
            reason = "the token of AIVT_DATA_DIR/token is needed; talk to her with: aivt say"
            await _refuse(scope, send, HTTPStatus.UNAUTHORIZED, "unauthorized", reason)
        else:
            await self._app(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        offered = [token] if scheme.lower() == "bearer" else []
        protocols = [one.strip() for one in headers.get("sec-websocket-protocol", "").split(",")]
        offered += [
            one.removeprefix(SUBPROTOCOL_TOKEN) for one in protocols if one.startswith(SUBPROTOCOL_TOKEN)
        ]
        return any(secrets.compare_digest(one.strip().encode(), self._token) for one in offered)


def _is_local(host: str) -> bool:
    try:
        return urlsplit(f"//{host}").hostname in LOCAL_NAMES
    except ValueError:
        return False


def _is_local_origin(origin: str | None) -> bool:
    """Programs send no Origin; browsers always do on websockets and on posts."""
    if origin is None:
        return True
    scheme, _, host = origin.partition("://")
    return scheme == "http" and _is_local(host)


async def _refuse(scope: Scope, send: Send, status: HTTPStatus, code: str, reason: str) -> None:
    body = json.dumps({"code": code, "reason": reason}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
