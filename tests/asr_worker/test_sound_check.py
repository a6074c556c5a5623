import sys
import threading

import numpy as np
import pytest
import structlog

from apps.asr_worker import sound_check, transcribe
from apps.asr_worker.level import Loudness
from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.sound_check import BAR_WIDTH, bar, check, in_words
from apps.shared.edge import known
from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError
from apps.shared.settings import Settings
from tests.fakes.sound_card import Card, Device

YETI = Device("Yeti", "ALSA", 0, 1)
SPEAKERS = Device("Speakers", "ALSA", 2, 0, 48_000)


class Streamer:
    """Speaks into the first microphone that is opened, for as long as somebody listens."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.size = 0.2
        self.opened = threading.Event()
        self.thread = threading.Thread(target=self.speak, daemon=True)
        self.input_stream = card.InputStream
        card.InputStream = self.open  # type: ignore[method-assign]

    def open(self, **options):
        stream = self.input_stream(**options)
        start = stream.start

        def started() -> None:
            start()
            self.thread.start()

        stream.start = started  # type: ignore[method-assign]
        return stream

    def speak(self) -> None:
        stream = self.card.microphones[0]
        sound = np.full(stream.blocksize, self.size)
        for _ in range(151):  # 3 s and a little
            if stream.closed:
                break
            stream.hear(sound)


@pytest.fixture(autouse=True)
def _logs_as_they_were():
    yield
    structlog.reset_defaults()


@pytest.fixture
def card(monkeypatch):
    card = Card([YETI, SPEAKERS], rates=[RATE_HZ])
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    yield card
    card.close()


@pytest.fixture
def streamer(card):
    streamer = Streamer(card)
    yield streamer
    if streamer.thread.is_alive():
        streamer.thread.join(10)


@pytest.fixture
def understood(monkeypatch):
    """Choose what the recogniser says of the recording; an error is raised."""

    def choose(text):
        def once(_settings, samples):
            assert len(samples) >= 3 * RATE_HZ
            if isinstance(text, AivtError):
                raise text
            return text

        monkeypatch.setattr(transcribe, "transcribe_once", once)

    choose("hello there")
    return choose


def settings(**values) -> Settings:
    return Settings(_env_file=None, **values)


def test_a_microphone_that_works(card, streamer, understood, capsys):
    """Its level in words, what was said, and then the recording itself."""
    assert check(settings(), "") == 0
    assert capsys.readouterr().out == (
        "Say something: for 3 s this listens to the default microphone.\n"
        "Yeti: good (-14 dB).\n"
        "She understands: hello there\n"
        "This is it, on Speakers.\n"
    )
    ((name, rate_hz, sound),) = card.played
    assert (name, rate_hz, sound.shape) == ("Speakers", 48_000, (3 * 48_000, 2))
    assert sound[48_000:96_000] == pytest.approx(0.2, abs=0.01)
    assert all(stream.closed for stream in card.microphones)


@pytest.mark.parametrize(
    ("text", "words"), [("", "no words in it"), (None, "aivt setup ears"), ("hi", "understands: hi")]
)
def test_what_was_said(streamer, understood, capsys, text, words):
    """Silence is no failure, and neither is it to have no model yet."""
    understood(text)
    assert check(settings(), None) == 0
    assert words in capsys.readouterr().out


def test_a_recogniser_that_fails(card, streamer, understood, capsys):
    """It is told with its fix, and what was recorded is played all the same."""
    understood(EngineError("broken", "the model is broken", fix="Download it again."))
    assert check(settings(), "") == 1
    assert "the model is broken. Download it again." in capsys.readouterr().out
    assert len(card.played) == 1


def test_without_an_output(card, streamer, understood, capsys):
    """It is said that nothing will be heard."""
    assert check(settings(tts_output="none"), None) == 0
    assert "not played back" in capsys.readouterr().out
    assert card.played == []


@pytest.mark.parametrize(("name", "taken"), [("nowhere", set()), ("speakers", {"Speakers"})])
def test_an_output_that_cannot_be_used(card, streamer, understood, capsys, name, taken):
    """It is told with the devices there are; the rest was worth it."""
    card.taken = taken
    assert check(settings(), name) == MissingError.exit_code
    printed = capsys.readouterr().out
    assert "hello there" in printed
    assert "cannot be played back" in printed
    assert "Devices: Speakers." in printed


@pytest.mark.parametrize(
    ("wanted", "taken", "code"),
    [("blue snow", set(), "no_microphone"), ("yeti", {"Yeti"}, "microphone_busy")],
)
def test_a_microphone_that_cannot_be_used(card, understood, wanted, taken, code):
    """It is told at once: nobody waits for it to be plugged in."""
    card.taken = taken
    with pytest.raises(MissingError) as caught:
        check(settings(asr_input=wanted), "")
    assert caught.value.code == code


def test_a_microphone_that_gives_nothing(card, understood, monkeypatch):
    """It is given up in the end."""
    monkeypatch.setattr(sound_check, "LIMIT_S", 0.01)
    with pytest.raises(MissingError, match="gives no sound"):
        check(settings(), "")
    assert all(stream.closed for stream in card.microphones)


def test_no_input(understood):
    """There is nothing to test with ASR_INPUT=none."""
    with pytest.raises(SettingsError, match="ASR_INPUT=none"):
        check(settings(asr_input="none"), "")


def test_a_recording_that_is_missing(understood):
    """Instead of a microphone, it is told as what it is."""
    with pytest.raises(BaseExceptionGroup) as caught:
        check(settings(asr_input="missing.wav"), "")
    error = known(caught.value)
    assert error
    assert error.code == "no_such_file"


# --- levels ---


def loud(level_db: float):
    return np.full(3 * RATE_HZ, 10 ** (level_db / 20), np.float32)


@pytest.mark.parametrize(
    ("level_db", "words"),
    [(-130, "no signal"), (-60, "quiet (-60 dB)"), (-30, "good (-30 dB)"), (-5, "too loud (-5 dB)")],
)
def test_levels_in_words(level_db, words):
    """Each of them tells what to do, but the good one."""
    level, advice = in_words(loud(level_db))
    assert level == words
    assert bool(advice) == (not words.startswith("good"))


def test_one_word_in_three_seconds():
    """The loudest half second counts, and a clipped one is too loud."""
    sound = np.zeros(3 * RATE_HZ, np.float32)
    sound[RATE_HZ : 2 * RATE_HZ] = 0.1
    assert in_words(sound)[0] == "good (-20 dB)"
    sound[RATE_HZ] = 1
    assert in_words(sound)[0].startswith("too loud")


@pytest.mark.parametrize(("rms_db", "filled"), [(-120, 0), (-60, 0), (-30, BAR_WIDTH // 2), (0, BAR_WIDTH)])
def test_the_bar(rms_db, filled):
    """It has the same width whatever it shows."""
    shown = bar(Loudness(rms_db=rms_db))
    assert shown.count("#") == filled
    assert len(shown) == len(bar(Loudness()))


def test_the_live_bar(card, streamer, understood, capsys, monkeypatch):
    """A terminal shows it while it is recorded, on one line."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    check(settings(), None)
    line = capsys.readouterr().out.split("\n")[1]
    assert line.count("\r") == 30
    assert "-14 dB" in line
