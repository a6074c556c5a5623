"""What is asked over HTTP: status, and the panel's buttons; and `WS /stream`, where it looks on."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException

from apps.orchestrator import events
from apps.orchestrator.access import SUBPROTOCOL
from apps.orchestrator.bus import write_all
from apps.orchestrator.conductor import Conductor, ControlEvent
from apps.orchestrator.manner import AwayError, UnknownNameError
from apps.shared.errors import AivtError
from apps.shared.messages import Error, PlayFile, Snapshot


class Say(BaseModel):
    """One line for her."""

    text: str
    user: str = "streamer"
    lane: Annotated[Literal["chat", "mention", "redeem", "operator"], Field(alias="as")] = "operator"
    wait: bool = True  # for its end; else the answer comes at once, and is only that it was queued


class Named(BaseModel):
    """The choice of a style, a voice or a scene."""

    name: str


class Hear(BaseModel):
    """A recording to hear instead of the microphone."""

    path: str
    speed: Annotated[float, Field(gt=0, le=10)] = 1.0


class Mode(BaseModel):
    """How she listens."""

    name: Literal["on", "open", "push", "off"]


class HttpApi:
    """Routes over one conductor."""

    def __init__(self, conductor: Conductor) -> None:
        self._conductor = conductor
        self._simple: dict[str, ControlEvent] = {
            "panic": events.Panic(),
            "resume": events.Resume(),
            "pause": events.Pause(),
            "skip": events.Stop("skip"),
            "mute": events.Mute(muted=True),
            "unmute": events.Mute(muted=False),
        }
        self._with_body: dict[str, Callable[[bytes], Awaitable[Response]]] = {
            "say": self._say,
            "style": self._style,
            "voice": self._voice,
            "scene": self._scene,
            "ears": self._ears,
            "talk": self._talk,
            "talk_end": self._talk_end,
            "hear": self._hear,
        }
        self.routes = APIRouter()
        self.routes.add_route("/health", self.health, methods=["GET"])
        self.routes.add_route("/status", self.status, methods=["GET"])
        self.routes.add_route("/control/{action}", self.control, methods=["POST"])
        self.routes.add_api_websocket_route("/stream", self.stream)

    async def health(self, _request: Request) -> Response:
        """Answer that the orchestrator runs; nothing else, for it needs no token."""
        return Response()

    async def status(self, _request: Request) -> Response:
        """The whole state."""
        return _json(self._conductor.status())

    async def control(self, request: Request) -> Response:
        """One of the panel's buttons; answers with the state that follows."""
        action = request.path_params["action"]
        try:
            if event := self._simple.get(action):
                self._conductor.control(event)
                return _json(self._conductor.status())
            if do := self._with_body.get(action):
                return await do(await request.body())
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}"
            return _json({"code": "bad_body", "reason": reason}, HTTPStatus.BAD_REQUEST)
        except UnknownNameError as error:
            names = list(error.names)
            return _json({"code": error.code, "reason": str(error), "names": names}, HTTPStatus.NOT_FOUND)
        except AwayError as error:
            return _json(_told(error), HTTPStatus.SERVICE_UNAVAILABLE)
        except AivtError as error:
            return _json(_told(error), HTTPStatus.BAD_REQUEST)
        actions = [*self._simple, *self._with_body]
        return _json({"code": "unknown_action", "names": actions}, HTTPStatus.NOT_FOUND)

    async def _say(self, body: bytes) -> Response:
        line = Say.model_validate_json(body)
        if not line.wait:
            turn_id = self._conductor.put(line.text, line.user, line.lane)
            return _json({"turn_id": turn_id}, HTTPStatus.ACCEPTED)
        return _json(await self._conductor.say(line.text, line.user, line.lane))

    async def _style(self, body: bytes) -> Response:
        await self._conductor.manner.set_style(Named.model_validate_json(body).name)
        return _json(self._conductor.status())

    async def _voice(self, body: bytes) -> Response:
        await self._conductor.manner.set_voice(Named.model_validate_json(body).name)
        return _json(self._conductor.status())

    async def _scene(self, body: bytes) -> Response:
        Named.model_validate_json(body)
        raise AwayError("obs_away", "OBS is not connected", fix="Scenes need the obs process.")

    async def _ears(self, body: bytes) -> Response:
        self._conductor.ears.set_mode(Mode.model_validate_json(body).name)
        return _json(self._conductor.status())

    async def _talk(self, _body: bytes) -> Response:
        return self._key(pressed=True)

    async def _talk_end(self, _body: bytes) -> Response:
        return self._key(pressed=False)

    def _key(self, *, pressed: bool) -> Response:
        self._conductor.talk(pressed)
        return _json(self._conductor.status())

    async def _hear(self, body: bytes) -> Response:
        wish = Hear.model_validate_json(body)
        self._conductor.hear(PlayFile(path=wish.path, speed=wish.speed))
        return _json(self._conductor.status())

    async def stream(self, socket: WebSocket) -> None:
        """Live events, beginning with the whole state."""
        offered = socket.scope.get("subprotocols") or []
        await socket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        stream = self._conductor.stream
        outbox = stream.join(Snapshot(status=self._conductor.status()))

        writer = asyncio.create_task(write_all(socket, outbox))
        try:
            while (await socket.receive())["type"] == "websocket.receive":
                outbox.put(Error(code="read_only", reason="the stream takes no messages"))
        finally:
            writer.cancel()
            stream.leave(outbox)


def _json(content: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def _told(error: AivtError) -> dict[str, str]:
    return {"code": error.code, "reason": str(error), "fix": error.fix}


async def refused(_request: Request, error: Exception) -> Response:
    """Answer with a code also what the framework refuses: an unknown path, a body over the limit."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    return JSONResponse({"code": status.name.lower(), "reason": error.detail}, status, error.headers)


async def internal_error(_request: Request, _error: Exception) -> Response:
    """Answer with JSON also when we are at fault; uvicorn has logged the traceback."""
    return JSONResponse({"code": "internal"}, HTTPStatus.INTERNAL_SERVER_ERROR)
