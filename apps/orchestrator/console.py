"""`aivt say`, `aivt status` and `aivt voices use`: the running show, asked from a terminal."""

import argparse
import http.client
import json
import os
from typing import Any

from apps.shared.access import no_show, read_port, read_token
from apps.shared.errors import AivtError, SettingsError
from apps.shared.settings import Settings

ANSWER_LIMIT_S = 900.0  # a line may wait in a full queue; the orchestrator answers in any case


def say(options: argparse.Namespace) -> int:
    """Put a line into the show and print her answer; 0 when it was spoken, else 1."""
    line = {"text": _utf8(options.text), "user": _utf8(options.user), "as": options.lane}
    result = ask("POST", "/control/say", line)
    if options.json:
        print(json.dumps(result))
    elif result["outcome"] == "spoken":
        print(result["reply"])
    else:
        print(
            f"{result['outcome']}: {result['reason']}" + (f"\n{result['reply']}" if result["reply"] else "")
        )
    return 0 if result["outcome"] == "spoken" else 1


def status(options: argparse.Namespace) -> int:
    """Print the state of the show."""
    state = ask("GET", "/status")
    if options.json:
        print(json.dumps(state))
        return 0
    for name, light in state["modules"].items():
        engine = " ".join(filter(None, (light["engine"], light["model"])))
        print(f"{name:<13} {light['state']:<9} {engine:<22} {light['reason']}".rstrip())
        if light["fix"]:
            print(f"{'':<13} fix: {light['fix']}")
    queue = state["queue"]
    modes = [mode for mode in ("paused", "panicked", "muted") if queue[mode]]
    print(f"{'queue':<13} {queue['waiting']} waiting {' '.join(modes)}".rstrip())
    return 0


def use_voice(options: argparse.Namespace) -> int:
    """Let the running show speak with another voice, and print which one speaks now."""
    try:
        state = ask("POST", "/control/voice", {"name": _utf8(options.name)})
    except AivtError as error:
        if error.code != "unknown_name":
            raise
        there = ", ".join(ask("GET", "/status")["voice"]["names"])
        fix = f"Use one of {there}; or get it: aivt voices --download NAME"
        raise SettingsError(error.code, str(error), fix=fix) from error
    print(state["voice"]["name"])
    return 0


def ask(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the orchestrator. Raises AivtError when no show runs, or with what it answered."""
    settings = Settings.load()
    token = read_token(settings)
    connection = http.client.HTTPConnection("127.0.0.1", read_port(settings), timeout=ANSWER_LIMIT_S)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        answer = json.loads(response.read() or b"null")
    except ConnectionRefusedError as error:
        raise no_show(settings) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AivtError("no_answer", f"the show broke off: {error!r}", fix="Look at: aivt status") from error
    finally:
        connection.close()
    if response.status == http.client.UNAUTHORIZED:
        raise AivtError(
            "wrong_token", "another show listens on this port", fix="Set AIVT_PORT or AIVT_DATA_DIR."
        )
    if not isinstance(answer, dict):
        raise AivtError("no_answer", "what listens on this port is not a show", fix="Set AIVT_PORT.")
    if response.status not in {http.client.OK, http.client.ACCEPTED}:
        kind = SettingsError if response.status == http.client.BAD_REQUEST else AivtError
        code = str(answer.get("code", f"http_{response.status}"))
        raise kind(code, str(answer.get("reason", code)), fix=str(answer.get("fix", "")))
    return answer


def _utf8(argument: str) -> str:
    """Undo the surrogates that stand for bytes that are not UTF-8 in a command line."""
    return os.fsencode(argument).decode("utf-8", "replace")
