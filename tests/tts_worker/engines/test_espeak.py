"""espeak-ng itself: pauses, voices, and its global state."""

import ctypes
import threading
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from apps.shared.errors import EngineError, MissingError, SettingsError
from apps.shared.messages import Delivery
from apps.tts_worker.engines import espeak
from apps.tts_worker.engines.espeak import Espeak
from apps.tts_worker.voice import Phoneme


@pytest.fixture
def voice(make_settings):
    return Espeak(make_settings())


@pytest.fixture
def say(spoken):
    """The samples and the phonemes of a text."""

    def say(voice: Espeak, text: str, **delivery) -> tuple[Any, list[Phoneme]]:
        chunks = spoken(voice, text, **delivery)
        pcm = np.frombuffer(b"".join(chunk.pcm for chunk in chunks), "<i2")
        return pcm, [phoneme for chunk in chunks for phoneme in chunk.phonemes]

    return say


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("Hello chat.", 0.25),
        ("Hello chat!!! ...", 0.25),
        ("“Hello chat.”", 0.25),
        ("Hello chat,", 0.12),
        ("Hello chat", 0.12),
    ],
)
def test_ends_with_a_natural_pause(voice, text, pause_s, say):
    """Exactly a quarter of a second follows a sentence and half of that a clause, whatever espeak-ng adds."""
    pcm, phonemes = say(voice, text)
    assert phonemes[-1].ipa == ""
    assert len(pcm) / voice.sample_rate_hz - phonemes[-1].start_s == pytest.approx(pause_s, abs=1e-4)
    # below a tenth of the loudest sample: what is left there is the voice's own faint echo
    assert np.abs(pcm[-round(pause_s * voice.sample_rate_hz) + 200 :]).max() < np.abs(pcm).max() / 10


@pytest.mark.parametrize("speed", [0.5, 2])
def test_who_speaks_quickly_pauses_briefly(voice, say, speed):
    """The pause after a piece goes with the speed."""
    pcm, phonemes = say(voice, "Hello chat.", speed=speed)
    pause_s = len(pcm) / voice.sample_rate_hz - phonemes[-1].start_s
    assert pause_s == pytest.approx(0.25 / speed, abs=1e-4)


@pytest.mark.parametrize(("pitch", "lowest", "highest"), [(-12, 0, 30), (0, 60, 60), (12, 100, 100)])
def test_within_its_scale(voice, pitch, lowest, highest):
    """What is wished for beyond the ends of espeak-ng's own scales is as far as they go."""
    given = dict(espeak._parameters(Delivery(pitch=pitch, speed=2)))
    assert lowest <= given[espeak._PITCH] <= highest
    assert 0 <= given[espeak._RANGE] <= 100
    assert 80 <= given[espeak._RATE] <= 450


@pytest.mark.parametrize("text", ["Top score.", "Hello.", "(“Hello.”)", "... hello", "\n\nHello"])
def test_begins_at_once(voice, text, say):
    """The first sound begins within 5 ms, also behind quotation marks and brackets."""
    _, phonemes = say(voice, text)
    assert phonemes[0].ipa
    assert phonemes[0].start_s <= espeak.LEAD_S


def test_pauses_inside_stay(voice, say):
    """Between two sentences in one piece espeak-ng's own pause remains."""
    _, phonemes = say(voice, "One. Two.")
    gaps = [after.start_s - pause.start_s for pause, after in pairwise(phonemes) if not pause.ipa]
    assert len(gaps) == 1
    assert 0.2 < gaps[0] < 0.45


def test_phonemes_are_those_of_the_words(voice, say):
    """A sentence's sounds come as espeak-ng's IPA, diphthongs and affricates whole."""
    _, phonemes = say(voice, "Nice pass, chat!")
    assert [phoneme.ipa for phoneme in phonemes] == ["n", "aɪ", "s", "p", "æ", "s", "", "tʃ", "æ", "t", ""]


def test_times_agree_between_calls(voice, say):
    """The same text again has its sounds at the same times, within 10 ms."""
    first, second = (say(voice, "Did you see that?")[1] for _ in range(2))
    assert [p.ipa for p in first] == [p.ipa for p in second]
    assert [p.start_s for p in first] == pytest.approx([p.start_s for p in second], abs=0.01)


@pytest.mark.parametrize("name", espeak.VOICES_THAT_WORK)
def test_recommended_voices_work(make_settings, name, say):
    """Every voice that the error message recommends speaks."""
    assert len(say(Espeak(make_settings(espeak_voice=name)), "Hello.")[0])


@pytest.mark.parametrize("name", ["en-gb", "xx", "en-us+nope", "en-us+", ""])
def test_unknown_voice_is_named(make_settings, name):
    """A voice or variant that does not exist is refused, with the setting and voices that do."""
    with pytest.raises(SettingsError, match="ESPEAK_VOICE") as caught:
        Espeak(make_settings(espeak_voice=name))
    assert "en-us+f3" in caught.value.fix


def test_two_voices_keep_apart(make_settings, voice, say):
    """Another instance with another voice does not change how this one sounds."""
    before = say(voice, "Tomato.")[1]
    say(Espeak(make_settings(espeak_voice="en-gb-x-rp+f3")), "Tomato.")
    assert [p.ipa for p in say(voice, "Tomato.")[1]] == [p.ipa for p in before]


def test_threads_take_turns(voice, say):
    """Two threads speaking at once each get their own sentence, whole."""
    alone = {text: [p.ipa for p in say(voice, text)[1]] for text in ("Hello chat.", "Shiny thing!")}
    results: list[tuple[str, list[str]]] = []

    def speak(text: str) -> None:
        results.extend((text, [p.ipa for p in say(voice, text)[1]]) for _ in range(20))

    threads = [threading.Thread(target=speak, args=[text]) for text in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 40
    assert all(sounds == alone[text] for text, sounds in results)


def test_control_characters_are_no_commands(voice, say):
    """espeak-ng's embedded commands, which begin with a control character, change nothing."""
    plain, commanded = (len(say(voice, text)[0]) for text in ("Hello chat.", "\x01Hello chat."))
    assert commanded == pytest.approx(plain, rel=0.05)


def test_library_that_cannot_be_loaded(monkeypatch):
    """Without the library the error tells how to get it back."""
    monkeypatch.setattr("espeakng_loader.get_library_path", lambda: "nowhere/libespeak-ng.so")
    with pytest.raises(MissingError) as caught:
        espeak._library.__wrapped__()
    assert "scripts/aivt.py up" in caught.value.fix


def test_data_that_cannot_be_read(monkeypatch):
    """espeak-ng refuses a long path to its data; the error says so instead of blaming the library."""
    library = SimpleNamespace(
        espeak_Initialize=lambda *_: 0, espeak_Synth=SimpleNamespace(), espeak_Info=SimpleNamespace()
    )
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    with pytest.raises(MissingError) as caught:
        espeak._library.__wrapped__()
    assert "160" in caught.value.fix


def test_failed_synthesis(voice, say):
    """A status other than 0 from espeak-ng is an error that may pass on another try."""
    functions = SimpleNamespace(
        espeak_SetVoiceByName=lambda _: 0,
        espeak_SetParameter=lambda *_: 0,
        espeak_SetSynthCallback=lambda _: None,
        espeak_Synth=lambda *_: 1,
    )
    voice._library = voice._library._replace(functions=functions)
    with pytest.raises(EngineError) as caught:
        say(voice, "Hello.")
    assert caught.value.retryable
