import pytest

from apps.policy.length import Length
from apps.policy.persona import load
from apps.policy.sentences import Cutter
from scripts.bench import replies


@pytest.mark.parametrize(("reply", "count"), [(replies.FIXED, 64), (replies.LONG, 200)])
def test_a_reply_is_said_whole(reply, count):
    """The persona ends none of the bench's replies: the floor, which ends none either, says as much."""
    cutter = Cutter(cut="sentence")
    pieces = [*(piece for token in reply for piece in cutter.feed(token)), *cutter.close()]
    length = Length(load("kitsu").reply.sentences)
    assert not any([length.ends(piece) for piece in pieces][:-1])
    assert len(reply) == count
    assert sum(map(len, pieces)) + len(pieces) - 1 == len("".join(reply))
