"""What every voice does, whatever its engine."""

from itertools import count, pairwise

import numpy as np
import pytest

from apps.shared.messages import Delivery
from apps.shared.settings import PROJECT_DIR
from apps.tts_worker.engines.espeak import Espeak
from apps.tts_worker.engines.piper import Piper
from apps.tts_worker.engines.tone import Tone
from apps.tts_worker.resampled import Resampled
from apps.tts_worker.voice import Chunk

SENTENCES = "Hello chat, I am back. Did you miss me? I stole a shiny thing!"


TRAINED = str(PROJECT_DIR / "tests" / "voices" / "en_US-aivt-tiny.onnx")
NEUTRAL = Delivery()
STEADY = {"noise": 0, "rhythm": 0}  # a neural voice says the same text differently each time, unless told
WINDOW_S = 0.05


def humming_piper(settings):
    return Piper(settings)


def trained_piper(settings):
    return Piper(settings.model_copy(update={"piper_voice": TRAINED}))


def resampled_espeak(settings):
    return Resampled(Espeak(settings), 16_000)


def resampled_piper(settings):
    return Resampled(trained_piper(settings), 22_050)


VOICES = (Tone, Espeak, humming_piper, trained_piper, resampled_espeak, resampled_piper)


@pytest.fixture(params=VOICES, ids=lambda make: make.__name__)
def voice(request, make_settings, piper_voice):
    piper_voice()
    voice = request.param(make_settings())
    yield voice
    voice.close()


@pytest.fixture
def said(voice, spoken):
    """The samples of the sentences, -1 to 1, said in this manner."""

    def say(**delivery):
        pcm = b"".join(chunk.pcm for chunk in spoken(voice, SENTENCES, **STEADY, **delivery))
        return np.frombuffer(pcm, "<i2") / 32_768

    return say


def loudness(samples):
    return np.sqrt(np.mean(samples**2))


def pitch_hz(samples, rate_hz):
    """The median over all stretches of the sound that repeat themselves."""
    size = round(WINDOW_S * rate_hz)
    found = []
    for start in range(0, len(samples) - size, size // 2):
        window = samples[start : start + size] * np.hanning(size)
        alike = np.fft.irfft(np.abs(np.fft.rfft(window, 2 * size)) ** 2)[: size // 2]
        lags = range(rate_hz // 600, rate_hz // 70)
        best = max(lags, key=lambda lag: alike[lag])
        if loudness(window) > 0.02 and alike[best] > alike[0] / 2:
            found.append(rate_hz / best)
    assert len(found) > 10
    return np.median(found)


def seconds(voice, chunks: list[Chunk]):
    return sum(len(chunk.pcm) for chunk in chunks) / 2 / voice.sample_rate_hz


def phonemes(chunks: list[Chunk]):
    return [phoneme for chunk in chunks for phoneme in chunk.phonemes]


def test_gives_sound(voice, spoken):
    """Speech comes as 16-bit samples that are loud enough to hear and do not clip."""
    pcm = b"".join(chunk.pcm for chunk in spoken(voice, SENTENCES))
    samples = np.frombuffer(pcm, "<i2").astype(float)
    assert 1 < len(samples) / voice.sample_rate_hz < 20
    assert np.sqrt(np.mean(samples**2)) > 1_000
    assert np.mean(np.abs(samples) >= 32_767) < 0.001


def test_gives_sound_in_pieces(voice, spoken):
    """Several sentences come in several chunks, none of them empty."""
    chunks = spoken(voice, SENTENCES)
    assert len(chunks) >= 3
    assert all(len(chunk.pcm) >= 2 and len(chunk.pcm) % 2 == 0 for chunk in chunks)


def test_phonemes_follow_the_sound(voice, spoken):
    """Phoneme times rise strictly, lie within the sound, and the last one is the silence at the end."""
    chunks = spoken(voice, SENTENCES)
    found = phonemes(chunks)
    assert len(found) > 30
    assert found[0].start_s >= 0
    assert all(a.start_s < b.start_s for a, b in pairwise(found))
    assert found[-1].ipa == ""
    assert found[-1].start_s <= seconds(voice, chunks)


def test_phonemes_come_with_their_sound(voice, spoken):
    """No phoneme is told of after its sound was handed over, give or take a rounding."""
    given_s = 0.0
    for chunk in spoken(voice, SENTENCES):
        assert all(phoneme.start_s >= given_s - 0.001 for phoneme in chunk.phonemes)
        given_s += len(chunk.pcm) / 2 / voice.sample_rate_hz


def test_phonemes_are_letters_only(voice, spoken):
    """Stress and length marks never reach the mouth."""
    assert not set("".join(phoneme.ipa for phoneme in phonemes(spoken(voice, SENTENCES)))) & set("ˈˌːˑ")


@pytest.mark.parametrize("wanted", [1, 2])
def test_stops_when_told(voice, wanted):
    """After `give` says False nothing more is given, and no error comes of it."""
    given = count(1)
    voice.synthesize(SENTENCES, NEUTRAL, lambda _: next(given) < wanted)
    assert next(given) == wanted + 1


def test_speaks_in_full_after_being_stopped(voice, spoken):
    """What was interrupted leaves no trace in the next sentence."""
    before = phonemes(spoken(voice, "Hello chat.", **STEADY))
    voice.synthesize(SENTENCES, NEUTRAL, lambda _: False)
    after = phonemes(spoken(voice, "Hello chat.", **STEADY))
    assert [phoneme.ipa for phoneme in after] == [phoneme.ipa for phoneme in before]
    assert [phoneme.start_s for phoneme in after] == pytest.approx([p.start_s for p in before], abs=0.01)


def test_error_of_the_listener_reaches_the_caller(voice, spoken):
    """An exception raised by `give` comes out of `synthesize`, and the voice still speaks afterwards."""

    def give(chunk: Chunk) -> bool:
        raise LookupError(len(chunk.pcm))

    with pytest.raises(LookupError):
        voice.synthesize(SENTENCES, NEUTRAL, give)
    assert spoken(voice, "Hello chat.")


@pytest.mark.parametrize("text", ["", "   ", "\n", "...", "—", "\0", "\x01\x02", "\ud800", "\u200d\ufe0f"])
def test_nothing_to_say(voice, spoken, text):
    """Text without speech gives no chunk."""
    assert spoken(voice, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "🦊🦊",
        "Yay 🦊!",
        "שלום",
        "مرحبا",
        "日本語",
        "<b>hi</b> & [[h@'loU]] \x01+50P {x}",
        "a\ud800b",
        "(“Hi”)",
    ],
)
def test_odd_text_is_harmless(voice, spoken, text):
    """Emoji, other scripts, markup and broken text are spoken or left out, never an error."""
    chunks = spoken(voice, text)
    assert all(phoneme.start_s <= seconds(voice, chunks) for phoneme in phonemes(chunks))


def test_nul_does_not_end_the_text(voice, spoken):
    """A NUL in the middle is a space: both words are spoken."""
    sounds = [phoneme.ipa for phoneme in phonemes(spoken(voice, "cat\0top")) if phoneme.ipa]
    assert len(sounds) == 6


def test_ten_thousand_characters(voice):
    """A text far longer than any reply begins at once and can be stopped."""
    given = count(1)
    text = ("The quick fox jumps over it. " * 400)[:10_000]
    voice.synthesize(text, NEUTRAL, lambda _: next(given) < 3)
    assert next(given) == 4


def test_names_itself(voice):
    """Engine, voice and settings are told, for the cache and the panel."""
    assert voice.engine
    assert voice.voice
    assert voice.settings
    assert voice.sample_rate_hz >= 16_000
    assert voice.trouble is None


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.5, 2])
def test_speed(voice, said, speed):
    """Twice the speed is about half as long, and half of it about twice."""
    assert len(said(speed=speed)) * speed == pytest.approx(len(said()), rel=0.15)


@pytest.mark.parametrize("pitch", [-5, -2, 3, 6])
def test_pitch(voice, said, pitch):
    """Every semitone moves the fundamental by a sixteenth, and the length stays."""
    own, moved = said(), said(pitch=pitch)
    assert len(moved) == pytest.approx(len(own), rel=0.03)
    rate_hz = voice.sample_rate_hz
    raised = pitch_hz(moved, rate_hz) / pitch_hz(own, rate_hz)
    assert 12 * np.log2(raised) == pytest.approx(pitch, abs=1)


def test_volume(said):
    """Half the volume is half the loudness, no volume is silence of the same length."""
    own, half, none = said(), said(volume=0.5), said(volume=0)
    assert loudness(half) == pytest.approx(loudness(own) / 2, rel=0.05)
    assert len(none) == pytest.approx(len(own), rel=0.03)
    assert not none.any()


def test_full_volume_does_not_clip(said):
    """Twice the volume is louder, and no run of samples is cut off at full scale."""
    own, loud = said(), said(volume=2)
    assert loudness(loud) > 1.1 * loudness(own)  # a full-scale hum has no more in it
    cut = np.abs(loud) >= 32_767 / 32_768
    assert not (cut[1:] & cut[:-1]).any()


@pytest.mark.parametrize(
    "delivery",
    [
        {"speed": 0.5, "pitch": 12},
        {"speed": 2, "pitch": -12},
        {"speed": 1.3, "pitch": 4, "volume": 2, "noise": 0.3, "rhythm": 1.2, "speaker": "0"},
    ],
)
def test_phonemes_follow_the_sound_in_any_manner(voice, spoken, delivery):
    """However it is said: times rise, the same sounds lie within the sound, the last one is its end."""
    chunks = spoken(voice, SENTENCES, **delivery)
    found = phonemes(chunks)
    assert all(a.start_s < b.start_s for a, b in pairwise(found))
    assert [p.ipa for p in found if p.ipa] == [p.ipa for p in phonemes(spoken(voice, SENTENCES)) if p.ipa]
    assert found[-1].ipa == ""
    assert found[-1].start_s <= seconds(voice, chunks)


def test_a_manner_leaves_no_trace(voice, said):
    """What was said in one manner does not change how the next one sounds."""
    before = said()
    said(speed=2, pitch=6, volume=0.3)
    assert len(said()) == pytest.approx(len(before), rel=0.03)
    assert loudness(said()) == pytest.approx(loudness(before), rel=0.05)
