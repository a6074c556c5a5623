"""What every voice does, whatever its engine."""

from itertools import count, pairwise

import numpy as np
import pytest

from apps.tts_worker.engines.espeak import Espeak
from apps.tts_worker.engines.piper import Piper
from apps.tts_worker.engines.tone import Tone
from apps.tts_worker.voice import Chunk

SENTENCES = "Hello chat, I am back. Did you miss me? I stole a shiny thing!"


@pytest.fixture(params=[Tone, Espeak, Piper], ids=lambda engine: engine.engine)
def voice(request, make_settings, piper_voice):
    if request.param is Piper:
        piper_voice()
    voice = request.param(make_settings())
    yield voice
    voice.close()


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
    voice.synthesize(SENTENCES, lambda _: next(given) < wanted)
    assert next(given) == wanted + 1


def test_speaks_in_full_after_being_stopped(voice, spoken):
    """What was interrupted leaves no trace in the next sentence."""
    before = phonemes(spoken(voice, "Hello chat."))
    voice.synthesize(SENTENCES, lambda _: False)
    after = phonemes(spoken(voice, "Hello chat."))
    assert [phoneme.ipa for phoneme in after] == [phoneme.ipa for phoneme in before]
    assert [phoneme.start_s for phoneme in after] == pytest.approx([p.start_s for p in before], abs=0.01)


def test_error_of_the_listener_reaches_the_caller(voice, spoken):
    """An exception raised by `give` comes out of `synthesize`, and the voice still speaks afterwards."""

    def give(chunk: Chunk) -> bool:
        raise LookupError(len(chunk.pcm))

    with pytest.raises(LookupError):
        voice.synthesize(SENTENCES, give)
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
    voice.synthesize(("The quick fox jumps over it. " * 400)[:10_000], lambda _: next(given) < 3)
    assert next(given) == 4


def test_names_itself(voice):
    """Engine, voice and settings are told, for the cache and the panel."""
    assert voice.engine
    assert voice.voice
    assert voice.settings
    assert voice.sample_rate_hz >= 16_000
