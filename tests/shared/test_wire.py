"""Frames and queues."""

import asyncio

import pytest

from apps.shared.errors import BadMessageError
from apps.shared.messages import (
    Approved,
    Cancel,
    Finish,
    FirstToken,
    Health,
    Hello,
    Message,
    Output,
    Speak,
    fingerprint,
)
from apps.shared.wire import Outbox, decode, encode

HEALTH = Health(state="ok", ready=True)
APPROVED = Approved("Hi.", "Hi.", "d", fingerprint("Hi.", "Hi."))


def speak(turn_id: str, index: int = 0) -> Speak:
    return Speak(turn_id=turn_id, index=index, approved=APPROVED)


async def drained(outbox: Outbox, count: int) -> list[Message]:
    return [message for _ in range(count) for message in await outbox.get()]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("", "not_json"),
        ("hello", "not_json"),
        ('{"type":"cancel","turn_id":"t"', "not_json"),
        ('{"type":"cancel","turn_id":"t"} {}', "not_json"),
        (b'{"type":"cancel","turn_id":"\xff"}', "not_json"),
        (r'{"type":"cancel","turn_id":"\ud83e"}', "not_json"),
        ('{"type":"firsttoken","turn_id":"t","at_s":NaN}', "not_json"),
        ('{"type":"format_disk"}', "unknown_type"),
        ('{"type":"snapshot","status":{}}', "unknown_type"),
        ('{"type":7}', "unknown_type"),
        ('{"turn_id":"t"}', "bad_fields"),
        ("[]", "bad_fields"),
        ('[{"type":"cancel","turn_id":"t"}, {"type":"cancel"}]', "bad_fields"),
        ('[{"type":"cancel","turn_id":"t"}, {"type":"format_disk"}]', "unknown_type"),
        ("null", "bad_fields"),
        ('{"type":"cancel"}', "bad_fields"),
        ('{"type":"cancel","turn_id":7}', "bad_fields"),
        ('{"type":"hello","module":"tts","protocol":1.5,"pid":1}', "bad_fields"),
        ('{"type":"health","state":"splendid","ready":true}', "bad_fields"),
        ('{"type":"cancel","turn_id":"t","extra":' + "[" * 100_000, "not_json"),
    ],
)
def test_a_bad_frame_has_a_code(frame, code):
    """Whatever is wrong with a frame, it is the same kind of error, and says what."""
    with pytest.raises(BadMessageError) as caught:
        decode(frame)
    assert caught.value.code == code
    assert str(caught.value)


def test_fields_may_come_in_any_order():
    """JSON objects have no order; the tag need not come first."""
    assert decode('{"pid":1,"protocol":1,"module":"tts","type":"hello"}') == [
        Hello(module="tts", protocol=1, pid=1)
    ]


async def test_data_keeps_its_order_and_urgent_messages_overtake_it():
    """Among themselves, both kinds leave in the order in which they came."""
    outbox = Outbox()
    muted, held = Output(muted=True, held=False), Output(muted=True, held=True)
    for message in (speak("a", 0), speak("a", 1), muted, Finish(turn_id="a"), held):
        assert outbox.put(message)
    assert await drained(outbox, 5) == [muted, held, speak("a", 0), speak("a", 1), Finish(turn_id="a")]


async def test_nothing_of_a_cancelled_turn_leaves_after_the_cancel():
    """A cancel takes what waits of its turn with it, and of no other."""
    outbox = Outbox()
    for message in (speak("old"), speak("new"), HEALTH, Finish(turn_id="old"), Cancel(turn_id="old")):
        outbox.put(message)
    assert await drained(outbox, 3) == [HEALTH, Cancel(turn_id="old"), speak("new")]
    assert not outbox._data


async def test_what_waits_together_may_leave_together():
    """Urgent ones come first, the rest in order, no more than were asked for; one frame holds them all."""
    outbox = Outbox()
    for message in (speak("a", 0), HEALTH, speak("a", 1), speak("a", 2)):
        outbox.put(message)
    first = await outbox.get(most=3)
    assert first == [HEALTH, speak("a", 0), speak("a", 1)]
    assert decode(encode(*first)) == first
    assert await outbox.get(most=3) == [speak("a", 2)]


async def test_the_next_message_is_waited_for():
    """Whoever waits gets the message as soon as it is there."""
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    outbox.put(HEALTH)
    assert await waiting == [HEALTH]


def test_an_outbox_has_an_end():
    """A peer that is too far behind is noticed, whatever is to be sent to it."""
    outbox = Outbox()
    assert all(outbox.put(speak("a", index)) for index in range(Outbox.LIMIT))
    assert not outbox.put(speak("a", Outbox.LIMIT))
    assert not outbox.put(HEALTH)


@pytest.mark.parametrize("waits_already", [True, False])
async def test_a_closed_outbox_gives_up_at_once(waits_already):
    """What waits for a peer that was given up is not sent any more."""
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.get())
    if waits_already:
        await asyncio.sleep(0)
    outbox.close()
    with pytest.raises(ConnectionAbortedError):
        await waiting
    outbox.put(HEALTH)
    with pytest.raises(ConnectionAbortedError):
        await outbox.get()


async def test_a_patient_message_travels_with_the_next():
    """What only tells when something was is not worth a frame of its own; it keeps its place in the order."""
    outbox = Outbox()
    outbox.put(FirstToken(turn_id="a", at_s=1.0))
    waiting = asyncio.create_task(outbox.get(most=3))
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put(Finish(turn_id="a"))
    assert await waiting == [FirstToken(turn_id="a", at_s=1.0), Finish(turn_id="a")]
