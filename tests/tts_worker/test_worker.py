import asyncio
import contextlib

import numpy as np
import pytest

from apps.shared.errors import SettingsError
from apps.shared.messages import (
    Approved,
    Cancel,
    Finish,
    Health,
    Message,
    Output,
    PiecePlayed,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
    fingerprint,
)
from apps.tts_worker.worker import Tts
from tests.shows.stage import Inline

pytestmark = pytest.mark.looptime


def speak(text, turn_id="a", index=0):
    approved = Approved(
        text=text, spoken=text, decision_id=f"{turn_id}.{index}", sha256=fingerprint(text, text)
    )
    return Speak(turn_id=turn_id, index=index, approved=approved)


@pytest.fixture
async def start(make_settings):
    """Start voices, each with the list of what it sends; the arguments are settings."""
    async with contextlib.AsyncExitStack() as stack:

        def make(**values):
            sent: list[Message] = []
            settings = make_settings(**{"tts_engine": "tone", "tts_output": "none", **values})
            tts = Tts(settings, sent.append, asyncio.get_running_loop().time, Inline())
            task = asyncio.create_task(tts.run())
            stack.push_async_callback(asyncio.wait, {task})
            stack.callback(task.cancel)
            return tts, sent, task

        yield make


async def ready(tts):
    async with asyncio.timeout(5):
        while not tts.health().ready:
            await asyncio.sleep(0.001)


def of(sent, kind):
    return [message for message in sent if isinstance(message, kind)]


async def test_it_is_starting_until_the_voice_is_loaded(start):
    """Before that it takes no work; what it is asked to say is not kept for later."""
    tts, sent, _ = start()
    assert (tts.health().state, tts.health().ready) == ("starting", False)
    tts.receive(speak("too early"))
    await ready(tts)
    await asyncio.sleep(5)
    assert [(h.state, h.ready, h.engine, h.model, h.reason) for h in sent] == [
        ("ok", True, "tone", "tone", "")
    ]


async def test_a_turn(start):
    """What it is told to say is played in real time, and its end is told."""
    tts, sent, _ = start()
    await ready(tts)
    began_s = asyncio.get_running_loop().time()
    tts.receive(speak("hello"))
    tts.receive(speak("there", index=1))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(5)
    length_s = sum(played.audio_ms for played in of(sent, PiecePlayed)) / 1000
    assert length_s > 0.3
    assert [end.at_s for end in of(sent, SpeechEnd)] == pytest.approx([began_s + length_s], abs=0.001)


@pytest.mark.parametrize(
    "stop", [lambda tts: tts.receive(Cancel(turn_id="a")), Tts.lost], ids=["cancel", "lost"]
)
async def test_it_stops_in_mid_turn(start, stop):
    """A cancel, and losing the orchestrator, end the turn under way; the next one is spoken."""
    tts, sent, _ = start()
    await ready(tts)
    tts.receive(speak("a rather long sentence for a tone"))
    await asyncio.sleep(0.5)
    stop(tts)
    await asyncio.sleep(5)
    assert [stopped.index for stopped in of(sent, Stopped)] == [0]
    assert of(sent, PiecePlayed) == []
    tts.receive(speak("next", "b"))
    tts.receive(Finish(turn_id="b"))
    await asyncio.sleep(5)
    assert len(of(sent, SpeechEnd)) == 1


async def test_a_wish_outlives_the_loading(start):
    """To be held and muted may be wished for before there is a voice, and is obeyed from its first sample."""
    tts, sent, _ = start()
    tts.receive(Output(muted=True, held=True))
    await ready(tts)
    assert (tts._playout.gain, tts._playout.held) == (0.0, True)
    tts.receive(speak("hello"))
    await asyncio.sleep(60)
    assert of(sent, PieceStarted) == []
    tts.receive(Output(muted=False, held=False))
    await asyncio.sleep(1)
    assert len(of(sent, PieceStarted)) == 1


@pytest.mark.parametrize(("wish", "loudest"), [(True, 0), (False, 4000)])
async def test_how_loud(start, card, wish, loudest):
    """Her volume is a setting, and muted is silence whatever it says."""
    tts, _, _ = start(tts_output="", tts_volume=0.5)
    tts.receive(Output(muted=wish, held=False))
    await ready(tts)
    tts.receive(speak("hello"))
    await asyncio.sleep(0.01)
    assert np.abs(card.streams[0].play(20).astype(int)).max() == pytest.approx(loudest, rel=0.01)


async def test_without_a_sound_device_she_goes_on_silently(start, card):
    """The light is red with the fix, the show goes on in real time."""
    card.devices = ()
    tts, sent, _ = start(tts_output="")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("down", True, "tone")
    assert "default output" in health.reason
    assert "TTS_OUTPUT" in health.fix
    assert sent == [health]
    tts.receive(speak("hello"))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(5)
    assert len(of(sent, SpeechEnd)) == 1


async def test_a_device_lost_in_mid_turn(start, card):
    """The turn goes on where it was, silently and in real time, to its end; the light turns red at once."""
    tts, sent, _ = start(tts_output="")
    await ready(tts)
    await asyncio.sleep(0)
    tts.receive(speak("hello there"))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(0.01)
    card.streams[0].play(5)
    card.streams[0].lose()
    lost_s = asyncio.get_running_loop().time()
    await asyncio.sleep(5)
    assert [health.state for health in of(sent, Health)] == ["ok", "down"]
    assert "stopped" in tts.health().reason
    (played,) = of(sent, PiecePlayed)
    assert of(sent, SpeechEnd)[0].at_s == pytest.approx(lost_s + played.audio_ms / 1000 - 0.1, abs=0.02)


async def test_without_the_second_device_she_is_heard(start, card):
    """The light is yellow with the fix, and the first device plays on."""
    tts, sent, _ = start(tts_output="speakers", tts_monitor="nowhere")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("degraded", True, "tone")
    assert "nowhere" in health.reason
    assert health.fix == "Set TTS_MONITOR to part of a device's name, or to none. Devices: Cable, Speakers."
    assert sent == [health]
    tts.receive(speak("hello"))
    await asyncio.sleep(0.01)
    assert card.streams[0].play(20).any()


async def test_a_missing_voice_is_replaced(start):
    """She speaks with espeak, under a yellow light that says why and what to do."""
    tts, sent, _ = start(tts_engine="piper", piper_voice="nowhere")
    await ready(tts)
    health = tts.health()
    assert (health.state, health.ready, health.engine) == ("degraded", True, "espeak")
    assert "nowhere" in health.reason
    assert "PIPER_VOICE" in health.fix
    tts.receive(speak("hello"))
    tts.receive(Finish(turn_id="a"))
    await asyncio.sleep(5)
    assert of(sent, PiecePlayed)[0].audio_ms > 200


async def test_an_unknown_engine(start):
    """A setting that cannot be used ends the process with its fix."""
    _, _, task = start(tts_engine="robot")
    with pytest.raises(SettingsError, match="TTS_ENGINE"):
        await task


async def test_it_leaves_nothing_behind(start, card):
    """Stopping it in mid-turn closes the sound device."""
    tts, sent, task = start(tts_output="")
    await ready(tts)
    await asyncio.sleep(0)
    tts.receive(speak("hello"))
    task.cancel()
    await asyncio.wait({task})
    assert card.streams[0].closed
    assert len(of(sent, Stopped)) == 1
