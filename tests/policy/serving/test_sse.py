from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.policy.serving.sse import EVENT_LIMIT_BYTES, Event, Events


def read(*chunks: bytes) -> list[Event]:
    """All events of a stream that ends in good order."""
    events = Events()
    return [event for chunk in (*chunks, b"\n\n") for event in events.feed(chunk)]


def data(*chunks: bytes) -> list[bytes]:
    return [event.data for event in read(*chunks)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="newlines"),
        pytest.param(b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"], id="carriage returns and newlines"),
        pytest.param(b"data: a\r\rdata: b\r\r", [b"a", b"b"], id="carriage returns"),
        pytest.param(b"data: a\r\n\ndata: b\n\r\n", [b"a", b"b"], id="all of them"),
        pytest.param(b"data:a\n\n", [b"a"], id="no space after the colon"),
        pytest.param(b": ping\n\n:\n\ndata: a\n\n", [b"a"], id="comments"),
        pytest.param(b"data: a\n: ping\ndata: b\n\n", [b"a\nb"], id="a comment inside an event"),
        pytest.param(b'data: {"a":\ndata: 1}\n\n', [b'{"a":\n1}'], id="data of two lines"),
        pytest.param(b"data:\n\ndata: a\n\n", [b"a"], id="an empty one to stay alive"),
        pytest.param(b"id: 1\nretry: 10\ndata: a\nwhat\nis: this\n\n", [b"a"], id="other fields"),
        pytest.param(b"\n\n\ndata: a\n\n\n\n", [b"a"], id="more newlines"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="a byte order mark"),
        pytest.param(b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"], id="no newline at the end"),
        pytest.param(b"data: a: b\n\n", [b"a: b"], id="a colon in the data"),
        pytest.param("data: né\u2028\x0b👋\n\n".encode(), ["né\u2028\x0b👋".encode()], id="no line ends"),
        pytest.param(b"<html>no events</html>", [], id="a page"),
        pytest.param(b"", [], id="nothing"),
    ],
)  # fmt: skip
def test_a_stream_is_read_as_the_specification_says(stream, expected):
    """Whatever ends the lines and stands between the events, in one piece or byte by byte."""
    assert data(stream) == expected
    assert data(*(bytes([byte]) for byte in stream)) == expected


def test_an_event_may_have_a_name():
    """It holds for its own event alone."""
    assert read(b"event: error\ndata: a\n\ndata: b\n\n") == [Event("error", b"a"), Event("", b"b")]


def test_a_field_named_error_is_an_error():
    """Servers of llama.cpp have said so for two years."""
    assert read(b'error: {"code":500}\n\n') == [Event("error", b'{"code":500}')]


def test_an_event_comes_out_with_its_empty_line():
    """Not before, since more of it may come, and not after, since the next may take long."""
    events = Events()
    assert events.feed(b"data: a\n") == []
    assert events.feed(b"\n") == [Event("", b"a")]


@pytest.mark.parametrize("endless", [b"x" * 1000, b"data: x\n" * 200], ids=["line", "event"])
def test_what_has_no_end_is_refused(endless):
    """A server that writes for ever does not fill the memory."""
    events = Events()
    fed = (events.feed(endless) for _ in range(EVENT_LIMIT_BYTES))
    with pytest.raises(ValueError, match="without an end"):
        all(event is not None for event in fed)


TEXT = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"))


@given(
    texts=st.lists(TEXT.filter(lambda text: text.encode().strip())),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 400)),
)  # fmt: skip
def test_no_cut_of_the_network_changes_anything(texts, end, cuts):
    """Chunks may end anywhere: inside a line, a character, or a line's end."""
    stream = b"".join(b"data: " + text.encode() + end + end for text in texts)
    places = [0, *sorted(cuts), len(stream)]
    chunks = [stream[begin:stop] for begin, stop in pairwise(places)]
    assert data(*chunks) == [text.encode().strip() for text in texts]
