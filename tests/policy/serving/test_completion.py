import json
from typing import Any

import pytest

from apps.policy.engines.openai import SERVICE
from apps.policy.serving.completion import Completion
from apps.policy.serving.refusals import Asked
from apps.policy.serving.server import Server
from apps.shared.errors import EngineError

ASKED = Asked(Server(SERVICE, "http://127.0.0.1:1/v1"), "kitsu-7b", ("kitsu-7b",), with_key=False)


def event(value: Any) -> bytes:
    return f"data: {json.dumps(value)}\n\n".encode()


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return event({"id": "1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def read(*chunks: bytes, framed: bool = True) -> tuple[list[str], bool, EngineError | None]:
    """The words, whether a thought came, and how it failed."""
    completion, words, thought = Completion(ASKED), [], False
    try:
        for data in chunks:
            for delta in completion.feed(data):
                words.append(delta.content)
                thought = thought or delta.is_thought
        if not completion.ended:
            words += [delta.content for delta in completion.close(framed=framed)]
    except EngineError as error:
        return [word for word in words if word], thought, error
    return [word for word in words if word], thought, None


ROLE = chunk(role="assistant", content=None)
HI, YOU = chunk(content="Hi"), chunk(content=" you")


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([ROLE, HI, YOU, chunk("stop"), b"data: [DONE]\n\n"], id="by the book"),
        pytest.param([ROLE + HI + YOU + chunk("stop") + b"data: [DONE]\n\n"], id="all at once"),
        pytest.param([chunk(role="assistant", content=""), HI, YOU, chunk("length")], id="cut at the limit"),
        pytest.param([HI, chunk("stop", content=" you")], id="words in the last"),
        pytest.param([HI, YOU, b"data: [DONE]\n\n"], id="no finish_reason"),
        pytest.param([HI, YOU, b"data: [DONE]"], id="no newline at the end"),
        pytest.param([HI, YOU], id="no end"),
        pytest.param([HI, YOU.strip()], id="no end and no newline"),
        pytest.param([event({"choices": []}), HI, YOU, chunk("stop")], id="a filter's report first"),
        pytest.param([HI, YOU, chunk("stop"), event({"choices": [], "usage": {}})], id="numbers at the end"),
        pytest.param([HI, event({"choices": None}), YOU, chunk("stop")], id="no choices"),
        pytest.param([HI, event({"choices": [{}]}), YOU, chunk("stop")], id="a choice of nothing"),
        pytest.param([HI, event({"timings": {"n": 1}}), YOU, chunk("stop")], id="an event of its own"),
        pytest.param([HI, YOU, chunk("stop"), b"data: garbage\n\n"], id="garbage after the end"),
        pytest.param([b": ping\n\n", HI, b"data:\n\n", YOU, chunk("stop")], id="signs of life"),
    ],
)
def test_a_reply_is_what_its_chunks_say(stream):
    """Whichever server has written it, and whatever else it writes."""
    assert read(*stream) == (["Hi", " you"], False, None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thoughts_are_told_from_words(field):
    """They are never words, whatever the field is called in this year's version."""
    assert read(ROLE, chunk(**{field: "Hmm."}), HI, YOU, chunk("stop")) == (["Hi", " you"], True, None)


@pytest.mark.parametrize(
    ("stream", "code", "words"),
    [
        ([event({"error": {"message": "CUDA out of memory", "code": 500}})], "stream_error", "CUDA out of"),
        ([event({"error": "it broke"})], "stream_error", "it broke"),
        ([event({"object": "error", "message": "it broke", "code": 400})], "stream_error", "it broke"),
        ([b'event: error\ndata: {"message":"it broke"}\n\n'], "stream_error", "it broke"),
        ([b'error: {"code":500,"message":"it broke"}\n\n', b"data: [DONE]\n\n"], "stream_error", "it broke"),
        ([b"event: error\ndata: it broke\n\n"], "stream_error", "it broke"),
        ([event({"error": {"message": "Context size has been exceeded."}})], "context_too_small", "Context"),
        ([b"data: <html>\n\n"], "garbage", "format"),
        ([b"data: 7\n\n"], "garbage", "format"),
        ([b'data: {"choices":[{"delta":{"content":7}}]}\n\n'], "garbage", "format"),
        ([b'data: {"choices":[{"del'], "garbage", "format"),
        ([b"data: \xff\xfe\n\n"], "garbage", "format"),
        ([b"x" * 200_000], "garbage", "format"),
    ],
)
def test_a_broken_stream_is_an_error_after_what_was_said(stream, code, words):
    """What came whole was said; the error is of its kind and in the server's words."""
    got, _, error = read(HI, *stream)
    assert got == ["Hi"]
    assert error is not None
    assert error.code == code
    assert words in str(error)
    assert error.fix


def test_words_before_an_error_in_the_same_packet_are_said():
    """How the network has packed it does not matter."""
    got, _, error = read(HI + YOU + event({"error": "it broke"}))
    assert got == ["Hi", " you"]
    assert error is not None
    assert error.code == "stream_error"


@pytest.mark.parametrize("stream", [b"", b": ping\n\n", b"<html>Hello</html>", b"hello\n\n", b'{"a":1}'])
def test_no_stream_at_all_is_garbage(stream):
    """Somebody else answers there."""
    got, _, error = read(stream)
    assert got == []
    assert error is not None
    assert error.code == "garbage"


def test_an_end_that_nobody_announced_may_be_a_broken_connection():
    """Where HTTP does not tell the two apart, only the server's own sign is an end."""
    got, _, error = read(HI, framed=False)
    assert got == ["Hi"]
    assert error is not None
    assert (error.code, error.retryable) == ("stream_error", True)
    assert read(HI, chunk("stop"), framed=False)[2] is None
