import json
from dataclasses import replace
from typing import Any

import pytest

from apps.policy.engines.openai import SERVICE
from apps.policy.prompt import CONTEXT_TOKENS
from apps.policy.serving.refusals import WORDS_LIMIT, Asked, failure, refusal, told
from apps.policy.serving.server import Answer, Server
from apps.shared.errors import EngineError
from apps.shared.logs import never_log

KEY = "sk-refusals-0123456789"
SERVER = Server(SERVICE, "http://127.0.0.1:8080/v1")
ASKED = Asked(SERVER, "fox", ("kitsu-7b", "kitsu-13b"), with_key=False)
WITH_KEY = replace(ASKED, with_key=True)


def refused(status: int, body: Any = None, asked: Asked = ASKED, **headers: str) -> EngineError:
    """What is said of an answer; a header's name has underscores here."""
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusal(Answer(status, named, text), asked)


def openai(message: str, code: str | None = None, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def flat(message: str, kind: str, code: int) -> dict[str, Any]:
    """As vLLM wrote it until 2025."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}


NO_FOX = "The model `fox` does not exist or you do not have access to it."
TOO_LONG = "This model's maximum context length is 10 tokens. However, you requested 20 tokens."
TOO_LONG_NOW = "You passed 25 input tokens. However, the model's context length is only 24 tokens."
TOO_LONG_LLAMA = "request (9 tokens) exceeds the available context size (5 tokens), try increasing it"
NO_MODELS = {"error": "No models loaded. Please load a model in the developer page."}
NO_FILE = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}
NO_ENDPOINT = {"error": "Unexpected endpoint or method. (POST /chat/completions)"}
EXTRA = {"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted"}]}

# What each code promises: whether to try again, and what the fix names.
PROMISES = {
    "key_refused": (False, "OPENAI_API_KEY"),
    "model_missing": (False, "POLICY_MODEL"),
    "wrong_path": (False, "OPENAI_BASE_URL"),
    "busy": (True, "at once"),
    "quota_used_up": (False, "POLICY_ENGINE"),
    "context_too_small": (False, str(CONTEXT_TOKENS)),
    "loading": (True, "Wait"),
    "stream_error": (True, "log"),
    "http_500": (True, "log"),
    "http_502": (True, "log"),
    "http_503": (True, "log"),
    "http_200": (False, "log"),
    "http_400": (False, "log"),
    "http_418": (False, "log"),
    "http_422": (False, "log"),
}


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, openai("Incorrect API key", "invalid_api_key"), "key_refused"),
        (401, {"error": "Unauthorized"}, "key_refused"),
        (403, b"<html>Forbidden</html>", "key_refused"),
        (404, openai(NO_FOX, "model_not_found"), "model_missing"),
        (404, flat(NO_FOX, "NotFoundError", 404), "model_missing"),
        (404, NO_MODELS, "model_missing"),
        (400, openai("Invalid identifier", "model_not_found"), "model_missing"),
        (404, openai("Invalid URL (POST /chat/completions)"), "wrong_path"),
        (404, openai("Invalid URL (GET /models)"), "wrong_path"),
        (404, {"detail": "Not Found"}, "wrong_path"),
        (404, NO_FILE, "wrong_path"),
        (404, b"404 page not found", "wrong_path"),
        (405, b"", "wrong_path"),
        (200, NO_ENDPOINT, "wrong_path"),
        (200, b"<html>Welcome</html>", "wrong_path"),
        (429, openai("Rate limit reached", "rate_limit_exceeded", "requests"), "busy"),
        (429, openai("You exceeded your plan", "insufficient_quota"), "quota_used_up"),
        (402, openai("Insufficient credits", "402"), "quota_used_up"),
        (400, openai(TOO_LONG, "context_length_exceeded"), "context_too_small"),
        (400, flat(TOO_LONG, "BadRequestError", 400), "context_too_small"),
        (400, openai(TOO_LONG_NOW), "context_too_small"),
        (400, openai(TOO_LONG_LLAMA, kind="exceed_context_size_error"), "context_too_small"),
        (413, b"", "context_too_small"),
        (503, openai("Loading model", kind="unavailable_error"), "loading"),
        (503, b"<html>no backend</html>", "http_503"),
        (500, openai("The server had an error"), "http_500"),
        (502, b"<html>Bad gateway</html>", "http_502"),
        (418, b"", "http_418"),
        (400, openai("Conversation roles must alternate"), "http_400"),
        (422, EXTRA, "http_422"),
        (200, openai("The model has crashed"), "stream_error"),
        (200, {"choices": [{"message": {"content": "Hi"}}]}, "http_200"),
    ],
)
def test_every_refusal_has_a_code_and_its_fix(status, body, code):
    """Whichever server refuses, in its own words and format."""
    error = refused(status, body)
    assert error.code == code
    retryable, fix = PROMISES[code]
    assert error.retryable == retryable
    assert fix in error.fix
    assert str(error)
    assert "\n" not in str(error) + error.fix


def test_a_missing_model_comes_with_those_that_are_there():
    """The streamer can choose without looking elsewhere; a long list is cut."""
    body = openai("no such model", "model_not_found")
    assert "fox" in str(refused(404, body))
    assert "kitsu-7b, kitsu-13b" in str(refused(404, body))
    many = replace(ASKED, there=[f"model-{number}" for number in range(300)])
    assert "and 290 more" in str(refused(404, body, many))
    assert "Load a model" in refused(404, body, replace(ASKED, there=())).fix


def test_a_model_that_is_gone_is_not_among_those_that_are_there():
    """A server that has put its model out of memory says so; the list from the start still had it."""
    body = openai("no such model", "model_not_found")
    alone = refused(404, body, replace(ASKED, there=["fox"]))
    assert str(alone) == "the model server has no model fox any more"
    assert "Load it again" in alone.fix
    assert "(it has: kitsu)" in str(refused(404, body, replace(ASKED, there=["fox", "kitsu"])))


def test_an_address_without_its_version_is_completed():
    """/v1 is what is forgotten most."""
    asked = replace(ASKED, server=Server(SERVICE, "http://127.0.0.1:1234"))
    assert "http://127.0.0.1:1234/v1" in refused(404, {"detail": "Not Found"}, asked).fix
    assert "/v1" not in refused(404, {"detail": "Not Found"}).fix


def test_a_missing_key_is_told_from_a_wrong_one():
    """One is set where there was none, the other is corrected."""
    body = openai("no", "invalid_api_key")
    assert str(refused(401, body)) == "http://127.0.0.1:8080/v1 wants a key"
    assert str(refused(401, body, WITH_KEY)) == "http://127.0.0.1:8080/v1 refuses the key"
    assert "your country" in str(refused(403, openai("not in your country"), WITH_KEY))


def test_how_long_it_is_busy_is_passed_on():
    """As the server says it, if it says a number."""
    assert "for 20 s" in str(refused(429, b"", Retry_After="20"))
    assert str(refused(429, b"", Retry_After="Wed, 21 Oct")) == "the model server has too much to do"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_named_and_not_followed(status):
    """The address to set is in the reason, without what may be secret in it."""
    location = "https://user:pw@other.example/api/v1/chat/completions?token=abc"
    error = refused(status, b"", Location=location)
    assert error.code == "redirected"
    assert str(error) == "http://127.0.0.1:8080/v1 sends us on to https://other.example/api/v1"
    assert "OPENAI_BASE_URL" in error.fix
    assert "nowhere" in str(refused(status, b""))


def test_the_servers_words_are_cut_and_cleaned():
    """One line of bearable length without the key, even where a server repeats the whole request."""
    never_log(KEY)
    error = refused(500, openai(f"no\n\nkey {KEY} is\tgood. " + "x" * 5000))
    assert "no key [redacted] is good." in str(error)
    assert len(str(error)) < WORDS_LIMIT + 50
    assert KEY not in str(refused(403, openai(f"{KEY} is blocked"), WITH_KEY))
    assert KEY not in str(failure(told(json.dumps({"error": KEY}).encode()), ASKED))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":{"message":"a"}}', "a"),
        (b'{"error":"a"}', "a"),
        (b'{"message":"a","object":"error"}', "a"),
        (b'{"detail":"a"}', "a"),
        (b'{"detail":[{"msg":"a"}]}', '[{"msg":"a"}]'),
        (b'{"error":{"message":{"a":1}}}', '{"a":1}'),
        (b'"a"', "a"),
        (b'{"error":null}', ""),
        (b'{"error":{}}', ""),
        (b"[1]", ""),
        (b"7", ""),
        (b"<html>a</html>", ""),
        (b"\xff", ""),
        (b"", ""),
    ],
)
def test_errors_of_every_make_are_read(body, words):
    """What cannot be read has no words, and breaks nothing."""
    assert told(body).words == words
