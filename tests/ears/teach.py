"""The teacher: espeak-ng in many voices, near and far, in noise, broken off, after a silence; or nobody."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from faster_whisper.feature_extractor import FeatureExtractor

from tests.ears import tokens
from tests.ears.noise import RATE_HZ, Samples, cough, keyboard, music, pink, white
from tests.ears.sentences import VOCABULARY, taught_sentences, words_of, written
from tests.ears.speech import Speech, mixed, say

Mels = npt.NDArray[np.float16]

ACCENTS = ("en-us", "en-gb-x-rp", "en-gb-scotland", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
# All that sound like people, but for HELD_OUT_VOICES and their next of kin.
VARIANTS = words_of("""
f1 f2 f4 m1 m2 m3 m4 m6 m7 klatt klatt2 klatt3 klatt4 klatt5 klatt6 Alex Andrea Andy Annie Denis Diogo
Gene Gene2 Henrique Hugo Jacky Lee Marco Mario Mike Nguyen Reed Storm adam anika antonio aunty belinda
benjamin boris caleb david edward edward2 grandma grandpa gustave ian iven iven2 iven3 iven4 john
kaukovalta marcelo max michel miguel mike2 norbert pablo pedro quincy rob robert sandro shelby travis
zac
""")

PLAIN = 0.08  # of all sentences are in an accent's own voice, without a variant
AMERICAN = 0.4
NO_SPEECH = 0.06
BROKEN_OFF = 0.18
NOISY = 0.55
STEADY = (white, pink)  # hard to hear through at 4 dB, others at 6
LOOSE = (music, keyboard)
MARK_S = (0.2, 0.4)  # before and after a word's end: where to listen for a full stop

_NUMBERS = {word: number for number, word in enumerate(VOCABULARY, 1)}
_EXTRACTOR = FeatureExtractor()


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the text and where in the sound to listen for it."""

    id: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """What is heard, and what is to be written."""

    mels: Mels  # (80, frames of 10 ms)
    tokens: tuple[Token, ...]  # none: nobody speaks
    words: tuple[tuple[int, float, float], ...]  # number in VOCABULARY from 1, start and end in seconds
    start_s: float
    end_s: float


def lessons(seed: int) -> Iterator[Lesson]:
    """Yield lessons without end. The same seed gives the same ones only in a new process: see `say`."""
    chance = random.Random(seed)
    for said in taught_sentences(seed):
        if chance.random() < NO_SPEECH:
            yield Lesson(_mels(_nobody(chance)), (), (), 0.0, 0.0)
        else:
            yield _lesson(said, chance)


def voice(chance: random.Random) -> str:
    """Return one of the voices that may teach."""
    accent = ACCENTS[0] if chance.random() < AMERICAN else chance.choice(ACCENTS)
    return accent if chance.random() < PLAIN else f"{accent}+{chance.choice(VARIANTS)}"


def _lesson(said: str, chance: random.Random) -> Lesson:
    speech = say(
        said,
        voice(chance),
        rate=round(chance.triangular(120, 230, 175)),
        pitch=chance.randint(20, 80),
        seed=chance.randrange(1_000),
        pitch_range=chance.randint(20, 90),
    )
    listed = tokens.of_words(written(said))
    if chance.random() < BROKEN_OFF and speech.duration_s > 0.5:
        speech = speech.cut(_break_s(speech, chance))
        # whoever is cut short has not finished, even if the words might be all
        last = len(speech.words) - 1
        listed = [
            (token, place)
            for token, place in listed
            if place < last or (place == last and not _is_mark(token))
        ]
    before_s = chance.uniform(0, 0.3) if chance.random() < 0.65 else chance.uniform(0.3, 1.5)
    after_s = chance.uniform(0, 0.06) if chance.random() < 0.35 else chance.uniform(0.06, 0.9)
    speech = speech.padded(before_s, after_s)
    words = speech.words
    return Lesson(
        mels=_mels(_heard(speech, chance)),
        tokens=tuple(_token(token, words[place].start_s, words[place].end_s) for token, place in listed),
        words=tuple((_NUMBERS[text], start_s, end_s) for text, start_s, end_s in words),
        start_s=words[0].start_s if words else 0.0,
        end_s=words[-1].end_s if words else 0.0,
    )


def _break_s(speech: Speech, chance: random.Random) -> float:
    """Return a moment in mid-speech, or one between two words."""
    if chance.random() < 0.6 or len(speech.words) == 1:
        return chance.uniform(0.2, speech.duration_s)
    return chance.choice(speech.words[:-1]).end_s


def _is_mark(token: int) -> bool:
    return token in (tokens.encoded(".")[0], tokens.encoded("?")[0])


def _token(token: int, start_s: float, end_s: float) -> Token:
    if _is_mark(token):
        return Token(token, end_s - MARK_S[0], end_s + MARK_S[1])
    return Token(token, start_s, end_s)


def _heard(speech: Speech, chance: random.Random) -> Samples:
    """Return it as a microphone hears it."""
    if chance.random() < NOISY and speech.words:
        steady = chance.random() < 0.6
        make = chance.choice(STEADY if steady else LOOSE)
        noise = make(len(speech.samples) / RATE_HZ, chance.randrange(1 << 30))
        speech = mixed(speech, noise, chance.uniform(4 if steady else 6, 35))
    samples = speech.samples * np.float32(10 ** (chance.uniform(-26, 5) / 20))
    return _with_floor(samples, chance)


def _with_floor(samples: Samples, chance: random.Random) -> Samples:
    """Add the microphone's own hiss, -90 to -55 dB, or leave the digital silence that tests have."""
    if chance.random() < 0.35:
        return samples
    hiss = white(len(samples) / RATE_HZ, chance.randrange(1 << 30))
    heard: Samples = samples + hiss[: len(samples)] * np.float32(10 ** (chance.uniform(-70, -35) / 20))
    return heard


def _nobody(chance: random.Random) -> Samples:
    duration_s = chance.uniform(0.3, 5)
    sound = np.zeros(round(duration_s * RATE_HZ), np.float32)
    for make in chance.sample((white, pink, music, keyboard, cough), chance.choice((0, 1, 1, 1, 2))):
        sound += make(duration_s, chance.randrange(1 << 30)) * np.float32(10 ** (chance.uniform(-40, 8) / 20))
    return _with_floor(sound, chance)


def _mels(samples: Samples) -> Mels:
    mels: Mels = _EXTRACTOR(samples).astype(np.float16)
    return mels
