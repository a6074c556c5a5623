"""Real voices on real threads: changed again and again while she speaks."""

import asyncio
import contextlib

import pytest

from apps.shared.messages import (
    Approved,
    Finish,
    PiecePlayed,
    SetVoice,
    Speak,
    SpeechEnd,
    Voices,
    fingerprint,
)
from apps.tts_worker.worker import Tts

TEXTS = ("This is one.", "Here is two.", "Then comes three.", "Four is next.", "And five is the last.")


class Listener:
    """What a worker sends, and waiting for it."""

    def __init__(self):
        self.sent = []
        self._news = asyncio.Event()

    def __call__(self, message):
        self.sent.append(message)
        self._news.set()

    def of(self, kind):
        return [message for message in self.sent if isinstance(message, kind)]

    async def until(self, kind, count):
        async with asyncio.timeout(15):
            while len(self.of(kind)) < count:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def worker(make_settings, piper_voice):
    """A worker with espeak and two Piper voices of other rates, which has begun; and what it sends."""
    piper_voice("amy", rate_hz=16_000)
    piper_voice("bob", rate_hz=24_000)
    listener = Listener()
    settings = make_settings(tts_engine="espeak", tts_output="discard", tts_cache_mb=0)
    tts = Tts(settings, listener)
    task = asyncio.create_task(tts.run())
    await listener.until(Voices, 1)
    yield tts, listener
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def say(tts, turn_id, index):
    text = TEXTS[index]
    approved = Approved(
        text=text, spoken=text, decision_id=f"{turn_id}.{index}", sha256=fingerprint(text, text)
    )
    tts.receive(Speak(turn_id=turn_id, index=index, approved=approved))


async def test_every_piece_is_heard_once(worker):
    """Whenever the voice is changed, all that was queued is said, in order, by one voice or the other."""
    tts, listener = worker
    names = ["amy", "espeak", "bob", "", "bob", "amy"]
    for turn, name in enumerate(names):
        turn_id = f"turn-{turn}"
        for index in range(len(TEXTS)):
            if index == turn % len(TEXTS):
                tts.receive(SetVoice(name=name))
            say(tts, turn_id, index)
        tts.receive(Finish(turn_id=turn_id))
        await listener.until(SpeechEnd, turn + 1)
        await listener.until(Voices, turn + 2)
    assert [(told.name or "", told.code) for told in listener.of(Voices)] == [
        ("espeak", ""),
        ("amy", ""),
        ("espeak", ""),
        ("bob", ""),
        ("espeak", ""),
        ("bob", ""),
        ("amy", ""),
    ]
    heard = [(played.turn_id, played.index) for played in listener.of(PiecePlayed)]
    assert heard == [(f"turn-{turn}", index) for turn in range(len(names)) for index in range(len(TEXTS))]
    assert all(played.audio_ms > 300 for played in listener.of(PiecePlayed))
    assert all(end.reason == "" for end in listener.of(SpeechEnd))
    assert tts.health().state == "ok"


async def test_many_wishes_while_one_is_loaded(worker):
    """The last of them is the voice that speaks in the end."""
    tts, listener = worker
    for index, name in enumerate(("amy", "bob", "espeak", "amy", "bob")):
        tts.receive(SetVoice(name=name))
        say(tts, "a", index)
        await asyncio.sleep(0)
    tts.receive(Finish(turn_id="a"))
    await listener.until(SpeechEnd, 1)
    await listener.until(Voices, 2)
    assert listener.of(Voices)[-1].name == "bob"
    assert [played.index for played in listener.of(PiecePlayed)] == [0, 1, 2, 3, 4]
