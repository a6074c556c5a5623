import numpy as np
import pytest

from apps.asr_worker.conditioning import (
    CEILING,
    FADED,
    HIGHEST_DB,
    HOLD_S,
    LOWEST_DB,
    RELEASE_S,
    TARGET_DB,
    Conditioning,
)
from apps.asr_worker.level import decibels
from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ

GATE_DB = -40.0


def noise(level_db: float, length_s: float):
    sound = np.random.default_rng(1).normal(0, 10 ** (level_db / 20), round(length_s * RATE_HZ))
    return sound.astype(np.float32)


def speech(level_db: float, length_s: float):
    """Syllables: a fifth of a second loud, a tenth hardly to be heard."""
    place_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    return noise(level_db, length_s) * np.where(place_s % 0.3 < 0.2, 1, 0.02).astype(np.float32)


def conditioned(conditioning: Conditioning, sound):
    return np.concatenate(
        [conditioning(frame) for frame in np.split(sound, range(FRAME_SAMPLES, len(sound), FRAME_SAMPLES))]
    )


def level_db(sound) -> float:
    return decibels(float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))))


def last(sound, length_s: float):
    return sound[-round(length_s * RATE_HZ) :]


def test_nothing_is_wanted():
    """Then the sound is the very same."""
    sound = noise(-20, 0.1)
    assert Conditioning(0, auto_gain=False)(sound) is sound


@pytest.mark.parametrize("size", [1, 100, 320, FRAME_SAMPLES, 5000])
def test_blocks_of_any_length(size):
    """As many samples come out as go in, and what goes in is not changed."""
    sound = speech(-30, 1)
    before, conditioning = sound.copy(), Conditioning(GATE_DB, auto_gain=True)
    blocks = [conditioning(sound[start : start + size]) for start in range(0, len(sound), size)]
    assert [len(block) for block in blocks[:-1]] == [size] * (len(blocks) - 1)
    assert sum(map(len, blocks)) == len(sound)
    assert {block.dtype for block in blocks} == {np.dtype(np.float32)}
    assert (sound == before).all()


def test_nothing_at_all():
    """An empty block stays empty."""
    assert len(Conditioning(GATE_DB, auto_gain=True)(np.zeros(0, np.float32))) == 0


# --- the gate ---


def test_noise_behind_the_gate():
    """What stays below the threshold is made quiet, without being cut off."""
    sound = noise(GATE_DB - 10, 2)
    assert level_db(last(conditioned(Conditioning(GATE_DB, auto_gain=False), sound), 1)) == pytest.approx(
        GATE_DB - 10 + decibels(FADED), abs=0.5
    )


def test_speech_goes_through():
    """What is above it is the same, from the beginning of the frame in which it begins."""
    silence, word = noise(-70, FRAME_S * 10), noise(-20, 1)
    out = conditioned(Conditioning(GATE_DB, auto_gain=False), np.concatenate((silence, word)))
    after = out[len(silence) :]
    assert after[64:].tolist() == word[64:].tolist()
    assert np.abs(np.diff(after[:200])).max() < 2 * np.abs(np.diff(word)).max()


def test_a_word_that_begins_in_mid_frame():
    """It is whole: the gate opens with the frame and not only with the word."""
    sound = np.concatenate((noise(-70, FRAME_S * 10.5), noise(-20, 1)))
    out = conditioned(Conditioning(GATE_DB, auto_gain=False), sound)
    begin = round(FRAME_S * 10.5 * RATE_HZ)
    assert out[begin:].tolist() == sound[begin:].tolist()


def test_pauses_within_words():
    """A short pause does not close it, nor does a voice that drops a little."""
    word, pause, soft = noise(-20, 0.5), noise(-60, HOLD_S - 2 * FRAME_S), noise(GATE_DB - 3, 2)
    sound = np.concatenate((word, pause, soft))
    out = conditioned(Conditioning(GATE_DB, auto_gain=False), sound)
    assert out[FRAME_SAMPLES:].tolist() == sound[FRAME_SAMPLES:].tolist()


def test_after_the_last_word():
    """It closes, and softly."""
    sound = np.concatenate((noise(-20, 0.5), np.full(RATE_HZ, 0.001, np.float32)))
    out = conditioned(Conditioning(GATE_DB, auto_gain=False), sound)
    assert out[-1] == pytest.approx(0.001 * FADED, rel=0.01)
    closing = out[round(0.55 * RATE_HZ) :]
    assert (np.diff(closing) <= 1e-9).all()
    partly = np.count_nonzero((closing < 0.000999) & (closing > 0.001 * FADED * 1.01))
    assert partly / RATE_HZ == pytest.approx(RELEASE_S, abs=2 * FRAME_S)


# --- automatic gain ---


@pytest.mark.parametrize(("spoken_db", "length_s"), [(-45, 10), (-33, 6), (-23, 3), (-12, 3)])
def test_speech_gets_its_level(spoken_db, length_s):
    """Quiet speech gets louder within seconds, loud speech quieter."""
    sound = np.concatenate((noise(-75, 0.5), speech(spoken_db, length_s)))
    out = conditioned(Conditioning(0, auto_gain=True), sound)
    gain_db = level_db(last(out, 1.5)) - level_db(last(sound, 1.5))
    assert spoken_db + gain_db == pytest.approx(TARGET_DB, abs=2.5)


@pytest.mark.parametrize(("spoken_db", "bound_db"), [(-54, HIGHEST_DB), (-3, LOWEST_DB)])
def test_gain_is_bounded(spoken_db, bound_db):
    """However quiet or loud it is."""
    sound = np.concatenate((noise(-90, 0.5), speech(spoken_db, 20)))
    out = conditioned(Conditioning(0, auto_gain=True), np.clip(sound, -1, 1))
    gain_db = level_db(last(out, 1)) - level_db(last(np.clip(sound, -1, 1), 1))
    assert gain_db == pytest.approx(bound_db, abs=0.5)


@pytest.mark.parametrize("noise_db", [-60, -45, -30])
def test_noise_is_not_made_louder(noise_db):
    """A fan alone, of whatever loudness, changes nothing; nor does it in the pauses of quiet speech."""
    conditioning = Conditioning(0, auto_gain=True)
    out = conditioned(conditioning, noise(noise_db, 10))
    assert level_db(out) == pytest.approx(noise_db, abs=0.1)
    conditioned(conditioning, speech(noise_db + 20, 3) + noise(noise_db, 3))
    pause = conditioned(conditioning, noise(noise_db, 30))
    first, final = pause[: RATE_HZ * 2], last(pause, 2)
    assert level_db(final) == pytest.approx(level_db(first), abs=0.5)


def test_a_fan_that_is_switched_on():
    """It is taken for speech for a moment, by a few decibels."""
    out = conditioned(Conditioning(0, auto_gain=True), np.concatenate((noise(-80, 2), noise(-45, 30))))
    assert level_db(last(out, 2)) - -45 < 12


def test_a_shout_after_quiet_speech():
    """It is not cut off, although the gain is high."""
    conditioning = Conditioning(0, auto_gain=True)
    conditioned(conditioning, np.concatenate((noise(-80, 0.5), speech(-45, 10))))
    shout = np.clip(noise(-10, 0.5), -0.9, 0.9)
    out = conditioned(conditioning, shout)
    assert np.abs(out[64:]).max() <= CEILING + 1e-6
    assert np.abs(out).max() <= 1
