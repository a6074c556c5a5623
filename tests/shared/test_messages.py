"""Every message, without knowing any of them by name: what all of them promise."""

from typing import Any, get_args

import msgspec
import pytest
from msgspec import inspect

from apps.shared.messages import (
    Approved,
    BusMessage,
    Cancel,
    Ears,
    Health,
    HerVoice,
    Message,
    Output,
    Process,
    StreamMessage,
    UtteranceStarted,
    fingerprint,
)
from apps.shared.wire import decode, encode

MESSAGES = Message.__subclasses__()
ON_THE_BUS = get_args(BusMessage)
ON_THE_STREAM = get_args(StreamMessage)
every_message = pytest.mark.parametrize("kind", MESSAGES, ids=lambda kind: kind.__name__)


def sample(kind: inspect.Type) -> Any:
    """A value of the type, different from any default."""
    match kind:
        case inspect.StrType():
            return "ünï 🦊\n"
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 7
        case inspect.FloatType(ge=least):
            return (least or 0) + 0.25
        case inspect.UnionType(types=(first, *_)):
            return sample(first)
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.VarTupleType(item_type=item):
            return (sample(item), sample(item))
        case inspect.DictType():
            return {"any": ["thing"]}
        case inspect.StructType(cls=cls, fields=fields):
            return cls(**{field.name: sample(field.type) for field in fields})
    raise AssertionError(f"no sample for {kind}")


@every_message
def test_a_message_survives_the_wire(kind):
    """What one process sends is what the other receives, field by field."""
    message = sample(inspect.type_info(kind))
    frame = encode(message)
    (received,) = decode(frame) if kind in ON_THE_BUS else [msgspec.json.decode(frame, type=StreamMessage)]
    assert received == message
    assert type(received) is kind


@every_message
def test_a_message_is_tagged_with_its_name(kind):
    """The tag is the class's name in lower case: what a browser switches on."""
    assert kind.__struct_config__.tag_field == "type"
    assert kind.__struct_config__.tag == kind.__name__.lower()


@every_message
def test_a_message_is_somebodys(kind):
    """Each message travels on the bus, on the stream, or on both; none is declared in vain."""
    assert kind in ON_THE_BUS + ON_THE_STREAM


@every_message
def test_a_message_cannot_be_changed(kind):
    """Whoever holds a message holds it for good."""
    message = sample(inspect.type_info(kind))
    with pytest.raises(AttributeError):
        setattr(message, kind.__struct_fields__[0], "changed")


def test_what_overtakes():
    """Urgent are heartbeats, the supervisor's news, and what has to act on sound now."""
    now = {Cancel, Health, Output, Process, UtteranceStarted, Ears, HerVoice}
    assert {kind for kind in MESSAGES if kind.urgent} == now


def test_a_newer_peers_extra_field_is_passed_over():
    """A field that this version does not know is no reason to refuse the message."""
    assert decode('{"type":"cancel","turn_id":"t","because":"newer"}') == [Cancel(turn_id="t")]


@pytest.mark.parametrize(
    ("text", "spoken"),
    [("Hi 5!", "Hi five?"), ("Hi 5", "Hi five!"), ("Hi 5!Hi", " five!"), ("", "Hi 5!\0Hi five!")],
)
def test_an_approval_is_of_one_text(text, spoken):
    """Not a letter of an approved text can be changed, nor moved from one of its forms to the other."""
    sha256 = fingerprint("Hi 5!", "Hi five!")
    assert Approved("Hi 5!", "Hi five!", "d", sha256).intact()
    assert not Approved(text, spoken, "d", sha256).intact()


def test_any_string_has_a_fingerprint():
    """Half an emoji, as a broken token stream may leave it, is no reason to fail."""
    assert fingerprint("\ud83e", "") != fingerprint("", "\ud83e")
