"""What a server of OpenAI's protocol means when it refuses, pure: one clear error for each, with its fix."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import msgspec

from apps.policy.prompt import CONTEXT_TOKENS
from apps.policy.serving.server import Answer, Server
from apps.shared.errors import EngineError
from apps.shared.logs import redacted

WORDS_LIMIT = 200  # of the server's own words in an error; some repeat the whole request
NAMES_LIMIT = 10

_CONTEXT = re.compile(
    r"context[ _](length|size|window)|maximum model length|prompt is too long", re.IGNORECASE
)
_MODEL = re.compile(r"(?<!/)\bmodels?\b", re.IGNORECASE)  # not the path /models
_QUOTA = re.compile(r"quota|billing|credits", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked, and of whom."""

    server: Server
    model: str
    there: Sequence[str]  # the models that the server had when last looked
    with_key: bool


class Told(NamedTuple):
    """What an error's body says."""

    words: str  # for people; "" for a page, or when there is nothing
    marks: str  # for programs: the words with code, type and parameter


def told(body: bytes) -> Told:
    """Read an error, of whichever make: OpenAI's, vLLM's flat one of old, FastAPI's, or plain words."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Told("", "")
    return told_by(value.get("error") or value if isinstance(value, dict) else value)


def told_by(error: Any) -> Told:
    """Read the value of an error's key `error`."""
    if not isinstance(error, dict):
        return Told(*[error if isinstance(error, str) else ""] * 2)
    words = error.get("message") or error.get("detail") or ""
    if not isinstance(words, str):
        words = msgspec.json.encode(words).decode()
    return Told(words, " ".join([words, *(str(error.get(key) or "") for key in ("code", "type", "param"))]))


def refusal(answer: Answer, asked: Asked) -> EngineError:
    """Say in our terms why an answer is not the stream that was asked for."""
    status, said = answer.status, told(answer.body)
    if 300 <= status < 400:
        return _redirected(answer, asked)
    match status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            return _key_refused(said, asked, status)
        case HTTPStatus.NOT_FOUND if _MODEL.search(said.marks):
            return model_missing(asked)
        case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
            return _wrong_path(asked)
        case HTTPStatus.OK if b'"choices"' in answer.body:
            return asked.server.failure("it gives its replies in one piece, not as a stream", status)
        # LM Studio answers so where it has nothing; anything else that is no stream is no model server.
        case HTTPStatus.OK if not said.words or "endpoint" in said.words:
            return _wrong_path(asked)
        case HTTPStatus.OK:
            return failure(said, asked)
        case HTTPStatus.PAYMENT_REQUIRED:
            return _used_up(said)
        case HTTPStatus.TOO_MANY_REQUESTS:
            return _used_up(said) if _QUOTA.search(said.marks) else _busy(answer)
        case HTTPStatus.SERVICE_UNAVAILABLE if "load" in said.words.lower():
            return _loading()
    return failure(said, asked, status)


def failure(said: Told, asked: Asked, status: int | None = None) -> EngineError:
    """Say in our terms what the server says, in mid-stream (no status) or instead of a stream."""
    if _CONTEXT.search(said.marks) or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return _too_small(said)
    if "model_not_found" in said.marks:
        return model_missing(asked)
    return asked.server.failure(_short(said.words) or "no reason given", status)


def model_missing(asked: Asked) -> EngineError:
    """Say what the server has instead: what it had when last looked, without the one that is gone."""
    others = [name for name in asked.there if name != asked.model]
    if others:
        more = len(others) - NAMES_LIMIT
        names = ", ".join(others[:NAMES_LIMIT]) + (f" and {more} more" if more > 0 else "")
        reason = f"the model server has no model {asked.model} (it has: {names})"
        fix = "Set POLICY_MODEL to one of these, or leave it empty for the first."
    elif asked.there:
        reason = f"the model server has no model {asked.model} any more"
        fix = "Load it again in your model server."
    else:
        reason, fix = "the model server has no model", "Load a model in your model server."
    return EngineError("model_missing", reason, fix=fix)


def _redirected(answer: Answer, asked: Asked) -> EngineError:
    """Chat and key go only to where the streamer has sent them."""
    parts = urlsplit(answer.headers.get("Location", ""))
    path = re.sub(r"/(chat/completions|models)/?$", "", parts.path)
    target = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path, "", ""))
    reason = f"{asked.server.shown} sends us on to {target or 'nowhere'}"
    return EngineError("redirected", reason, fix="Set OPENAI_BASE_URL to the address that really answers.")


def _key_refused(said: Told, asked: Asked, status: int) -> EngineError:
    if not asked.with_key:
        reason = f"{asked.server.shown} wants a key"
    elif status == HTTPStatus.FORBIDDEN and said.words:
        reason = f"{asked.server.shown} refuses: {_short(said.words)}"
    else:  # its own words are left out: they may repeat the key
        reason = f"{asked.server.shown} refuses the key"
    return EngineError("key_refused", reason, fix="Set OPENAI_API_KEY to a key of that server.")


def _wrong_path(asked: Asked) -> EngineError:
    shown = asked.server.shown
    fix = "Correct OPENAI_BASE_URL: what answers there is something else."
    if not urlsplit(shown).path.endswith("/v1"):
        fix = f"Correct OPENAI_BASE_URL: it mostly ends in /v1, so try {shown}/v1."
    return EngineError("wrong_path", f"there is no model server at {shown}", fix=fix)


def _used_up(said: Told) -> EngineError:
    reason = f"the quota of your key is used up ({_short(said.words) or 'no reason given'})"
    fix = "Look at your plan there, or set POLICY_ENGINE to an engine on your own computer."
    return EngineError("quota_used_up", reason, fix=fix)


def _busy(answer: Answer) -> EngineError:
    wait_s = answer.headers.get("Retry-After", "")
    reason = "the model server has too much to do" + (f", for {wait_s} s" if wait_s.isdecimal() else "")
    fix = "Let nothing else use the model server, or let it take more requests at once."
    return EngineError("busy", reason, fix=fix, retryable=True)


def _loading() -> EngineError:
    reason = "the model server is still loading its model"
    return EngineError("loading", reason, fix="Wait until it is loaded.", retryable=True)


def _too_small(said: Told) -> EngineError:
    fix = (
        f"Give the model a context of {CONTEXT_TOKENS} tokens in the server (llama.cpp: -c, "
        "vLLM: --max-model-len), or shorten the persona's system text."
    )
    return EngineError("context_too_small", f"the model server: {_short(said.words)}", fix=fix)


def _short(words: str) -> str:
    """One line, without our secrets."""
    line = " ".join(redacted(words).split())
    return line if len(line) <= WORDS_LIMIT else f"{line[:WORDS_LIMIT]}..."
