"""Live events for whoever looks on."""

from apps.orchestrator.stream import Stream
from apps.shared.messages import Snapshot, TurnState
from apps.shared.wire import Outbox

NOW = Snapshot(status={"queue": 0})


def turn(number: int) -> TurnState:
    return TurnState(turn_id=f"t{number}", state="queued", lane="chat", user="mika")


async def test_everybody_sees_the_same_from_joining_on():
    """A viewer begins with the whole state and then gets every event, until it leaves."""
    stream = Stream()
    stream.send(turn(0))
    first = stream.join(NOW)
    stream.send(turn(1))
    second = stream.join(NOW)
    stream.send(turn(2))
    stream.leave(first)
    stream.send(turn(3))
    assert [(await first.get())[0] for _ in range(3)] == [NOW, turn(1), turn(2)]
    assert [(await second.get())[0] for _ in range(3)] == [NOW, turn(2), turn(3)]
    assert not first._data


async def test_the_state_is_put_together_only_for_somebody():
    """Nobody looks, nothing is computed."""
    stream = Stream()
    asked = []

    def status() -> dict[str, object]:
        asked.append(1)
        return {"queue": 1}

    stream.changed(status)
    assert not asked
    viewer = stream.join(NOW)
    stream.changed(status)
    assert [*await viewer.get(), *await viewer.get()] == [NOW, Snapshot(status={"queue": 1})]


async def test_a_viewer_that_is_too_far_behind_is_let_go():
    """It holds up nobody else, and nothing more is kept for it."""
    stream = Stream()
    slow, quick = stream.join(NOW), stream.join(NOW)
    for number in range(Outbox.LIMIT):
        await quick.get()
        stream.send(turn(number))
    assert stream._outboxes == {quick}
    assert slow._closed
