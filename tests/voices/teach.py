"""The teacher: espeak-ng says a sentence, and we know to the sample when each of Piper's symbols begins.

Needs no torch, so that the tests can ask the teacher too.
"""

import ctypes
import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import espeakng_loader
import numpy as np
import numpy.typing as npt
from piper.phonemize_espeak import EspeakPhonemizer

BEGIN, PAD, END = "^_$"
STRESS = "ˈˌ"
LINK = "ʲ"  # the glide from one vowel to the next; to espeak-ng it is a pause too
SILENT = frozenset(f" ,.;:!?{LINK}")

_SYNCHRONOUS = 2
_PHONEME_EVENTS_IN_IPA = 1 | 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_LAST_EVENT, _PHONEME_EVENT = 0, 7


@dataclass(frozen=True, slots=True)
class Teacher:
    """A voice of espeak-ng that speaks on one note."""

    voice: str
    pitch: int  # 0 to 100
    rate_wpm: int = 155  # slow enough that every symbol has the frame or two that Piper gives it at least


# Who teaches which speaker: 125 and 250 Hz.
TEACHERS = {"low": Teacher("en-us", pitch=79), "high": Teacher("en-us+f3", pitch=82)}


@dataclass(frozen=True, slots=True)
class Sound:
    """One of espeak-ng's phonemes."""

    ipa: str  # with its stress and length marks; "" is a pause or the end
    start: int  # sample


@dataclass(frozen=True, slots=True)
class Speech:
    """A sentence as the teacher says it."""

    samples: npt.NDArray[np.float32]  # -1 to 1
    sample_rate_hz: int
    sounds: tuple[Sound, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """The symbols of Piper's that one sound of the teacher's stands for."""

    symbols: tuple[str, ...]
    start: int  # sample


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_OnSound = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event))


def say(text: str, teacher: Teacher) -> Speech:
    """Return the text as the teacher says it. Not for two threads: espeak-ng has one state for all."""
    library, rate_hz = _espeak()
    pieces: list[npt.NDArray[np.int16]] = []
    sounds: list[Sound] = []

    def on_sound(samples: int | None, count: int, events: Any) -> int:
        if samples:
            pieces.append(np.frombuffer(ctypes.string_at(samples, 2 * count), np.int16))
        for event in events:  # C gives no length; a pointer yields until we stop
            if event.type == _LAST_EVENT:
                break
            if event.type == _PHONEME_EVENT:
                sounds.append(Sound(event.id.string.decode(errors="ignore"), event.sample))
        return 0

    callback = _OnSound(on_sound)
    data = text.encode() + b"\0"
    if library.espeak_SetVoiceByName(teacher.voice.encode()):
        raise ValueError(f"espeak-ng has no voice {teacher.voice}")
    for parameter, value in ((_RATE, teacher.rate_wpm), (_PITCH, teacher.pitch), (_RANGE, 0)):
        library.espeak_SetParameter(parameter, value, 0)
    library.espeak_SetSynthCallback(callback)
    library.espeak_Synth(data, len(data), 0, _BY_CHARACTER, 0, _UTF8, None, None)
    samples = np.concatenate(pieces).astype(np.float32) / np.float32(32_768)
    return Speech(samples, rate_hz, tuple(sounds))


def symbols(text: str) -> list[str]:
    """Return Piper's symbols for a text of one sentence. Raises ValueError for several."""
    sentences = _phonemizer().phonemize("en-us", text)
    if len(sentences) != 1:
        raise ValueError(f"{len(sentences)} sentences in {text!r}")
    return sentences[0]


def groups(spoken: Sequence[str], sounds: Sequence[Sound]) -> list[Group] | None:
    """Share Piper's symbols out among the teacher's sounds; None where the two tell the sentence otherwise.

    Both come from the same rules of espeak-ng, so letters and marks are the same and only need to be laid
    side by side. A pause takes the space or the punctuation that stands there; without a pause these go with
    the sound before. The first group is `^`, the silence at the start; the last one ends with `$`.
    """
    found: list[tuple[list[str], int]] = [([BEGIN], 0)]
    rest = list(spoken)
    for sound in sounds:
        letters = list(unicodedata.normalize("NFD", sound.ipa))
        without_sound = _leading(rest)
        if letters:
            found[-1][0].extend(without_sound)
            if rest[len(without_sound) :][: len(letters)] != letters:
                return None
        elif not without_sound:
            continue  # a pause after a pause, or a sound that was swallowed
        rest = rest[len(without_sound) + len(letters) :]
        found.append((letters or without_sound, sound.start))
    if rest or found[-1][0][-1] not in SILENT:
        return None
    found[-1][0].append(END)
    return [Group(tuple(taken), start) for taken, start in found]


def _leading(rest: Sequence[str]) -> list[str]:
    return list(takewhile(lambda symbol: symbol in SILENT, rest))


@functools.cache
def _phonemizer() -> EspeakPhonemizer:
    return EspeakPhonemizer()


@functools.cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    number, pointer = ctypes.c_uint, ctypes.c_void_p
    text = (ctypes.c_char_p, ctypes.c_size_t)
    library.espeak_Synth.argtypes = (*text, number, ctypes.c_int, number, number, pointer, pointer)
    data = str(espeakng_loader.get_data_path()).encode()
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, data, _PHONEME_EVENTS_IN_IPA | _DO_NOT_EXIT)
    if rate_hz <= 0:
        raise OSError(f"espeak-ng cannot read {data.decode()}")
    library.espeak_ng_SetRandSeed(1)  # it starts from the clock, and breathes accordingly
    return library, rate_hz
