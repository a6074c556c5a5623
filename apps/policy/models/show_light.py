"""What the running show says about her brain, if there is one on this computer."""

import http.client
from typing import Literal

import msgspec

from apps.shared.access import read_port, read_token
from apps.shared.errors import MissingError
from apps.shared.settings import Settings

ASK_LIMIT_S = 3.0


class Light(msgspec.Struct, frozen=True):
    """The policy module's light."""

    state: Literal["ok", "starting", "degraded", "down", "off"]
    engine: str = ""
    model: str = ""
    reason: str = ""
    fix: str = ""


class _Modules(msgspec.Struct):
    policy: Light


class _State(msgspec.Struct):
    modules: _Modules


def light(settings: Settings) -> Light | None:
    """Ask the show; None when none runs here, which is nothing unusual. Blocks up to 3 s."""
    try:
        token, port = read_token(settings), read_port(settings)
    except MissingError:
        return None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ASK_LIMIT_S)
    try:
        connection.request("GET", "/status", headers={"Authorization": f"Bearer {token}"})
        response = connection.getresponse()
        if response.status != http.client.OK:
            return None  # another show's port, or another program's
        return msgspec.json.decode(response.read(), type=_State).modules.policy
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()
