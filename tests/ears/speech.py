"""Somebody says a sentence, and it is known when each word began: espeak-ng, for the tests of the ears.

    speech = say("hey kitsu, what do you think?", "en-us+f3")
    noisy = mixed(speech, music(speech.duration_s, seed=1), snr_db=10)

Needs no torch and no model.
"""

import ctypes
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import soxr

from apps.tts_worker.engines import espeak
from tests.ears.noise import RATE_HZ, Samples, cough, keyboard, music, pink, white
from tests.ears.sentences import HELD_OUT, VOCABULARY, held_out_sentences, held_out_unfinished

__all__ = [
    "HELD_OUT",
    "HELD_OUT_VOICES",
    "RATE_HZ",
    "VOCABULARY",
    "Samples",
    "Speech",
    "Word",
    "cough",
    "held_out_sentences",
    "held_out_unfinished",
    "keyboard",
    "mixed",
    "music",
    "pink",
    "say",
    "white",
]

# The model never hears these variants, in whatever accent. f3 is the voice that Kitsu herself starts with.
HELD_OUT_VOICES = (
    "en-us+f3",
    "en-us+m5",
    "en-gb-x-rp+f5",
    "en-us+Michael",
    "en-gb-scotland+m8",
    "en-us+linda",
    "en-029+ed",
    "en-us-nyc+steph",
    "en-gb-x-gbclan+paul",
    "en-us+victor",
)

PEAK = 0.5

_WORD, _PHONEME, _LAST = 1, 7, 0
_RATE, _PITCH, _RANGE = 1, 3, 4
_BY_CHARACTER, _UTF8 = 1, 1
_LETTERS = re.compile(r"[^\s.,?!;:]+")


class Word(NamedTuple):
    """A word and when it was said, in seconds since the samples began."""

    text: str  # lower case, without punctuation
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """What was said."""

    samples: Samples  # 16 kHz, mono, -1 to 1; `say` leaves a peak of 0.5
    words: list[Word]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE_HZ

    @property
    def text(self) -> str:
        """The words, without punctuation."""
        return " ".join(word.text for word in self.words)

    def padded(self, before_s: float, after_s: float) -> "Speech":
        """Return it with silence on either side."""
        around = (round(before_s * RATE_HZ), round(after_s * RATE_HZ))
        words = [Word(text, start + before_s, end + before_s) for text, start, end in self.words]
        return Speech(np.pad(self.samples, around), words)

    def cut(self, end_s: float) -> "Speech":
        """Return what was said up to a moment, with the words of which more than two thirds were heard."""
        words = [word for word in self.words if word.start_s + 2 / 3 * (word.end_s - word.start_s) < end_s]
        kept = [word._replace(end_s=min(word.end_s, end_s)) for word in words]
        return Speech(self.samples[: round(end_s * RATE_HZ)], kept)


def say(
    text: str,
    voice: str = HELD_OUT_VOICES[0],
    rate: int = 175,
    pitch: int = 50,
    seed: int = 0,
    pitch_range: int = 50,
) -> Speech:
    """Return the text as espeak-ng says it, from the first sound to the last, without silence around.

    `rate` is in words a minute, `pitch` and its range go from 0 to 100; the seed is that of its breath. The
    same call differs by about a hundredth in length, for its oscillators run on from one call to the next.
    Any thread may call.
    Raises ValueError for a voice that does not exist and for a text without words.
    """
    pieces, events, rate_hz = _spoken(text, voice, {_RATE: rate, _PITCH: pitch, _RANGE: pitch_range}, seed)
    found = list(_LETTERS.finditer(text))
    sounds = [(name, sample) for kind, _, sample, name in events if kind == _PHONEME]
    starts = {position - 1: sample for kind, position, sample, _ in events if kind == _WORD}
    voiced = [sample for name, sample in sounds if name]
    if not found or not voiced:
        raise ValueError(f"nothing to say in {text!r}")
    first, last = voiced[0], sounds[-1][1]
    begins = _filled([starts.get(match.start()) for match in found], first, last)
    pauses = [sample for name, sample in sounds if not name]
    words = []
    for match, begin, after in zip(found, begins, [*begins[1:], last], strict=True):
        end = min([pause for pause in pauses if begin < pause < after], default=after)
        words.append(
            Word(match.group().lower(), max(0, begin - first) / rate_hz, max(0, end - first) / rate_hz)
        )
    sound = soxr.resample(np.concatenate(pieces)[first:last].astype(np.float32), rate_hz, RATE_HZ)
    return Speech((sound * (PEAK / np.abs(sound).max())).astype(np.float32), words)


def mixed(speech: Speech, noise: Samples, snr_db: float) -> Speech:
    """Return speech in noise, the noise repeated or cut to its length; the words are where they were.

    The ratio is that of the mean power while words are said to that of the noise. What would be louder than
    full scale is turned down as a whole.
    """
    said = np.concatenate([_part(speech.samples, word) for word in speech.words])
    around = np.resize(noise, len(speech.samples))
    wanted = _power(said) / 10 ** (snr_db / 10)
    sound = speech.samples + around * np.sqrt(wanted / (_power(around) + 1e-12))
    return Speech((sound / max(1.0, np.abs(sound).max())).astype(np.float32), speech.words)


def _part(samples: Samples, word: Word) -> Samples:
    return samples[round(word.start_s * RATE_HZ) : round(word.end_s * RATE_HZ)]


def _power(samples: Samples) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


def _filled(begins: Sequence[int | None], first: int, last: int) -> list[int]:
    """Give words for which espeak-ng has no event of their own ("of the") an even share of the time there."""
    known = [(0, first), *((place, at) for place, at in enumerate(begins) if at is not None and place)]
    places, at = zip(*known, (len(begins), last), strict=True)
    return [round(begin) for begin in np.interp(range(len(begins)), places, at)]


class _Event(NamedTuple):
    kind: int
    position: int  # in the text, from 1
    sample: int
    name: bytes


def _spoken(
    text: str, voice: str, parameters: dict[int, int], seed: int
) -> tuple[list[Any], list[_Event], int]:
    """Return the sound, the events and their rate, from the one espeak-ng of this process."""
    pieces: list[Any] = []
    events: list[_Event] = []

    def on_sound(samples: int | None, count: int, listed: Any) -> int:
        if samples:
            pieces.append(np.frombuffer(ctypes.string_at(samples, 2 * count), np.int16))
        events.extend(_until_last(listed))
        return 0

    callback = espeak._OnSound(on_sound)
    data = text.encode() + b"\0"
    with espeak._ONE_AT_A_TIME:  # Kitsu's own voice may be in this process too
        library = espeak._library()
        functions = library.functions
        variant = voice.partition("+")[2]
        known = not variant or (library.data / "voices" / "!v" / variant).is_file()
        if not known or functions.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"espeak-ng has no voice {voice}")
        for parameter, value in parameters.items():
            functions.espeak_SetParameter(parameter, value, 0)
        functions.espeak_ng_SetRandSeed(seed + 1)
        functions.espeak_SetSynthCallback(callback)
        functions.espeak_Synth(data, len(data), 0, _BY_CHARACTER, 0, _UTF8, None, None)
    return pieces, events, library.sample_rate_hz


def _until_last(listed: Any) -> Iterator[_Event]:
    for event in listed:  # C gives no length; a pointer yields until we stop
        if event.type == _LAST:
            return
        yield _Event(
            event.type, event.text_position, event.sample, event.id.string if event.type == _PHONEME else b""
        )
