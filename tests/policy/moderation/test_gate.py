import pytest

from apps.policy.moderation.gate import Gate
from apps.shared.messages import fingerprint


def test_a_decision_and_what_may_pass():
    """Text that can be said is allowed, as written and as said, under one hash and one number."""
    decided = Gate("t1").decide("GG, that's 3 in a row!")
    assert decided is not None
    decision, approved = decided
    assert approved.text == "GG, that's 3 in a row!"
    assert approved.spoken == "good game, that's three in a row!"
    assert approved.intact()
    assert approved.sha256 == decision.sha256 == fingerprint(approved.text, approved.spoken)
    assert approved.decision_id == decision.decision_id
    assert (decision.turn_id, decision.action, decision.rule) == ("t1", "allow", "sayable")


def test_every_decision_has_its_own_number():
    """The same text twice is decided twice, and no two turns share an id."""
    ids = [
        decided[0].decision_id
        for gate in (Gate("t1"), Gate("t2"))
        for decided in (gate.decide("hi"), gate.decide("hi"))
        if decided
    ]
    assert len(set(ids)) == 4


@pytest.mark.parametrize("text", ["", "  \n", "...", "🦊🦊", "*waves*", "\x00\x07", "\ud83d", "\u202e"])
def test_nothing_to_say(text):
    """What has no words in it never passes."""
    assert Gate("t1").decide(text) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand a tab", "two lines and a tab"),
        ("line\u2028separator", "line separator"),
        ("bell\x07 and escape\x1b[31m", "bell and escape [31m"),
        ("half \ud83d a pair", "half a pair"),
        ("private \ue000 use", "private use"),
        ("not yet \U000effff assigned", "not yet assigned"),
        ("safe \u202ehctuwt\u202c text", "safe hctuwt text"),
        ("an \u2067isolate\u2069", "an isolate"),
        ("family 👩\u200d👧 and नमस्\u200dते", "family 👩\u200d👧 and नमस्\u200dते"),
        ("Grüße, שלום", "Grüße, שלום"),
    ],
)
def test_what_a_caption_may_hold(text, shown):
    """One line, without what would break or turn around a caption; every language and emoji stays whole."""
    decided = Gate("t1").decide(text)
    assert decided is not None
    assert decided[1].text == shown
