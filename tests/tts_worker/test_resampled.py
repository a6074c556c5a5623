"""A voice at another rate; what every voice does is in test_voice_contract.py."""

import numpy as np
import pytest

from apps.shared.errors import AivtError, EngineError
from apps.shared.messages import Delivery
from apps.tts_worker.resampled import Resampled
from apps.tts_worker.voice import Chunk, Phoneme

TONE_HZ = 440


class Whistle:
    """A second of a tone, in chunks of some samples; fails before the chunk that it is told."""

    engine, voice, settings = "whistle", "one", "own"
    speakers: tuple[str, ...] = ("ann", "bob")
    trouble: AivtError | None = EngineError("odd", "something is odd")

    def __init__(self, rate_hz, chunk, fails_before=None):
        self.sample_rate_hz = rate_hz
        self._chunk = chunk
        self._fails_before = fails_before
        self.given = 0
        self.deliveries = []
        self.closed = False

    def synthesize(self, text, delivery, give):
        self.deliveries.append(delivery)
        times_s = np.arange(self.sample_rate_hz) / self.sample_rate_hz
        tone = (16_000 * np.sin(2 * np.pi * TONE_HZ * times_s)).astype("<i2")
        for start in range(0, len(tone) if text else 0, self._chunk):
            if self.given == self._fails_before:
                raise EngineError("broken", "the voice broke")
            self.given += 1
            pcm = tone[start : start + self._chunk].tobytes()
            if not give(Chunk(pcm, (Phoneme("a", start / self.sample_rate_hz),))):
                return

    def close(self):
        self.closed = True


def sound(chunks):
    return np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2")


@pytest.mark.parametrize("chunk", [50, 441, 16_000])
@pytest.mark.parametrize(("own_hz", "wanted_hz"), [(16_000, 22_050), (22_050, 16_000), (44_100, 22_050)])
def test_the_same_sound_at_another_rate(spoken, own_hz, wanted_hz, chunk):
    """It lasts as long, has the same pitch and loudness, and shows no seams, however small the chunks."""
    samples = sound(spoken(Resampled(Whistle(own_hz, chunk), wanted_hz), "hi")).astype(float)
    assert len(samples) == wanted_hz
    times_s = np.arange(wanted_hz) / wanted_hz
    wanted = 16_000 * np.sin(2 * np.pi * TONE_HZ * times_s)
    inner = slice(wanted_hz // 10, -wanted_hz // 10)  # the tone's abrupt ends ring
    assert np.abs(samples - wanted)[inner].max() < 50


def test_phonemes_keep_their_times(spoken):
    """Every one comes, once, in order, at the second at which it was; no chunk is empty."""
    chunks = spoken(Resampled(Whistle(22_050, 441), 16_000), "hi")
    assert [p.start_s for chunk in chunks for p in chunk.phonemes] == [i * 441 / 22_050 for i in range(50)]
    assert all(chunk.pcm for chunk in chunks)


def test_pieces_are_apart(spoken):
    """Nothing of one piece is left in the filter for the next one."""
    voice = Resampled(Whistle(22_050, 441), 16_000)
    assert (sound(spoken(voice, "one")) == sound(spoken(voice, "two"))).all()


def test_nothing_to_say(spoken):
    """A piece without sound stays one."""
    assert spoken(Resampled(Whistle(22_050, 441), 16_000), "") == []


def test_stopping_stops_the_voice():
    """When nobody wants the rest the voice itself is told, and the filter's rest is not given."""
    inner, given = Whistle(22_050, 4410), []

    def give(chunk):
        given.append(chunk)
        return len(given) < 2

    Resampled(inner, 16_000).synthesize("hi", Delivery(), give)
    assert len(given) == 2
    assert inner.given < 4


def test_a_failure_of_the_voice():
    """What it raises comes through, after the sound that it gave."""
    given = []

    def give(chunk):
        given.append(chunk)
        return True

    voice = Resampled(Whistle(22_050, 4410, fails_before=3), 16_000)
    with pytest.raises(EngineError, match="the voice broke"):
        voice.synthesize("hi", Delivery(), give)
    assert given


def test_it_is_that_voice():
    """Name, speakers, trouble, manner and end are the voice's own; in the cache it is another one."""
    inner = Whistle(22_050, 441)
    voice = Resampled(inner, 16_000)
    assert (voice.engine, voice.voice, voice.speakers) == (inner.engine, inner.voice, inner.speakers)
    assert voice.trouble is inner.trouble
    assert voice.settings != inner.settings
    voice.synthesize("hi", Delivery(speed=2), lambda _: True)
    assert inner.deliveries == [Delivery(speed=2)]
    voice.close()
    assert inner.closed
