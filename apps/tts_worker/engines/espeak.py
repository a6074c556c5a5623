"""espeak-ng, in process: the voice that needs no download, with phoneme times exact to the sample.

The library comes in the espeakng-loader wheel and is called by ctypes, since no binding hands out both
sound and phoneme events (speak_lib.h of espeak-ng 1.52 is the reference for the numbers below).
"""

import ctypes
import functools
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import espeakng_loader

from apps.shared.errors import AivtError, EngineError, MissingError, SettingsError
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker.loudness import louder
from apps.tts_worker.voice import Chunk, Phoneme

# With the variant f3 (a short vocal tract, so small and bright) these give a median pitch of 255 Hz between
# 190 and 310, and 190 words a minute: quick and lively, and below the rates and pitches at which a formant
# voice becomes hard to follow.
RATE_WPM = 175
PITCH = 60  # 0 to 100, espeak-ng's own is 50
PITCH_RANGE = 70  # likewise: intonation that moves more
PITCH_PER_SEMITONE = 5.2  # measured over two octaves; its scale ends 8 semitones above ours and 11 below

# Silence around a piece. espeak-ng leaves 0 to 120 ms before the first sound (a quotation mark alone is
# 110) and anything from 7 to 350 ms after the last one; the next piece would come too soon or too late.
LEAD_S = 0.005
SENTENCE_PAUSE_S = 0.25
CLAUSE_PAUSE_S = 0.12

VOICES_THAT_WORK = ("en-us+f3", "en-us+f5", "en-gb-x-rp+f3", "en-gb-scotland+f4", "en-029+f2")

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS; AUDIO_OUTPUT_RETRIEVAL polls, and costs 20 ms an utterance
_PHONEME_EVENTS_IN_IPA = 1 | 2
_DO_NOT_EXIT = 0x8000
_UTF8 = 1
_BY_CHARACTER = 1
_RATE, _PITCH, _RANGE = 1, 3, 4
_RATES_WPM = (80, 450)
_LAST_EVENT, _PHONEME_EVENT = 0, 7

_MARKS = str.maketrans("", "", "ˈˌːˑ:")  # stress and length; the Scottish voice writes one length as a colon
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)\]\s]*$")

# One engine for the whole process, and all its state is global: two threads at once crash it.
_ONE_AT_A_TIME = threading.Lock()


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


class _Library(NamedTuple):
    functions: ctypes.CDLL
    data: Path
    sample_rate_hz: int
    version: str


def plain(text: str) -> str:
    """Return text that espeak-ng reads to its end: it stops at NUL, obeys control characters as commands,
    and lone surrogates have no UTF-8.
    """
    return _UNSPEAKABLE.sub(" ", text)


class Espeak:
    """espeak-ng with the voice ESPEAK_VOICE (`language+variant`).

    The same text differs by about a hundredth in length from call to call: its oscillators run on.
    Raises MissingError without the library, SettingsError for a voice that does not exist.
    """

    engine = "espeak"
    speakers: tuple[str, ...] = ()
    trouble: AivtError | None = None

    def __init__(self, settings: Settings) -> None:
        self.voice = settings.espeak_voice
        with _ONE_AT_A_TIME:
            self._library = _library()
            self._take_over(Delivery())
        self.sample_rate_hz = self._library.sample_rate_hz
        self.settings = (
            f"{self._library.version} rate={RATE_WPM} pitch={PITCH} range={PITCH_RANGE} "
            f"pauses={SENTENCE_PAUSE_S}/{CLAUSE_PAUSE_S}"
        )

    def synthesize(self, text: str, delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        """See Voice. Chunks of up to 60 ms, the first after 0.3 ms, two seconds of speech after 1.5 ms.

        The volume is ours: espeak-ng's own cuts the peaks off when it is turned up.
        """
        take = _Take(give, self.sample_rate_hz, delivery.volume)
        failures: list[BaseException] = []

        def on_sound(samples: int | None, count: int, events: Any) -> int:
            try:
                pcm = ctypes.string_at(samples, 2 * count) if samples else b""
                return 0 if take.add(pcm, _sounds(events)) else 1
            except BaseException as error:  # noqa: BLE001 - ctypes would print it and go on; raised below
                failures.append(error)
                return 1

        callback = _OnSound(on_sound)
        data = plain(text).encode() + b"\0"
        functions = self._library.functions
        with _ONE_AT_A_TIME:
            self._take_over(delivery)
            functions.espeak_SetSynthCallback(callback)
            status = functions.espeak_Synth(data, len(data), 0, _BY_CHARACTER, 0, _UTF8, None, None)
        if failures:
            raise failures[0]
        if status:
            raise EngineError("espeak_failed", f"espeak-ng gave up with status {status}", retryable=True)
        pause_s = SENTENCE_PAUSE_S if _SENTENCE_END.search(text) else CLAUSE_PAUSE_S
        take.end(pause_s / delivery.speed)

    def close(self) -> None:
        """Nothing to free: the library belongs to the process."""

    def _take_over(self, delivery: Delivery) -> None:
        """Make the process's one espeak-ng ours; needed before every utterance.

        Another instance may have changed the voice, and setting it (0.1 ms) is also what cleans up after a
        stopped utterance: without that, the next one begins with a few of its sounds missing.
        """
        functions, data, _, _ = self._library
        _, plus, variant = self.voice.partition("+")
        # espeak-ng itself takes an unknown variant for none, without a word
        known = not plus or (data / "voices" / "!v" / variant).is_file()
        if not known or functions.espeak_SetVoiceByName(self.voice.encode()) != 0:
            raise SettingsError(
                "unknown_voice",
                f"ESPEAK_VOICE={self.voice!r} is not a voice of espeak-ng",
                fix=f"Set ESPEAK_VOICE to one that exists, such as {', '.join(VOICES_THAT_WORK)}.",
            )
        for parameter, value in _parameters(delivery):
            functions.espeak_SetParameter(parameter, value, 0)


def _parameters(delivery: Delivery) -> Iterator[tuple[int, int]]:
    """The delivery in espeak-ng's own numbers, as far as they go."""
    slowest, fastest = _RATES_WPM
    yield _RATE, max(slowest, min(fastest, round(RATE_WPM * delivery.speed)))
    yield _PITCH, max(0, min(100, round(PITCH + PITCH_PER_SEMITONE * delivery.pitch)))
    # a higher voice moves over more hertz for the same intonation
    yield _RANGE, min(100, round(PITCH_RANGE * 2 ** (delivery.pitch / 12)))


class _Take:
    """One utterance in the making.

    Sound is handed over as it comes; it waits only while it may be silence before the first sound or after
    the last one. Positions are samples in espeak-ng's count.
    """

    def __init__(self, give: Callable[[Chunk], bool], rate_hz: int, volume: float) -> None:
        self._give = give
        self._rate_hz = rate_hz
        self._volume = volume
        self._wanted = True
        self._waiting = bytearray()
        self._waiting_from = 0
        self._phonemes: list[Phoneme] = []  # not handed over yet
        self._start: int | None = None  # where the piece begins; None before the first sound
        self._pause_from: int | None = None  # where the pause that we are in began

    def add(self, pcm: bytes, sounds: Iterator[tuple[str, int]]) -> bool:
        """Take what espeak-ng made, hand over what is speech, and tell whether more is wanted."""
        self._waiting += pcm
        for ipa, position in sounds:
            if self._start is None and ipa:
                self._begin(position)
            if self._start is None or (not ipa and self._pause_from is not None):
                continue
            self._pause_from = None if ipa else position
            self._phonemes.append(Phoneme(ipa, (position - self._start) / self._rate_hz))
        if self._start is not None:
            self._hand_over(self._waiting_end if self._pause_from is None else self._pause_from)
        return self._wanted

    def end(self, pause_s: float) -> None:
        """Hand over the rest, with a final silence of exactly `pause_s`."""
        if self._start is None or not self._wanted:
            return
        speech_end = self._waiting_end if self._pause_from is None else self._pause_from
        end = speech_end + round(pause_s * self._rate_hz)
        self._waiting += bytes(max(0, 2 * (end - self._waiting_end)))
        self._hand_over(end)

    @property
    def _waiting_end(self) -> int:
        return self._waiting_from + len(self._waiting) // 2

    def _begin(self, first_sound: int) -> None:
        self._start = max(0, first_sound - round(LEAD_S * self._rate_hz))
        del self._waiting[: 2 * self._start]
        self._waiting_from = self._start

    def _hand_over(self, until: int) -> None:
        size = 2 * (until - self._waiting_from)
        if size <= 0:
            return
        chunk = Chunk(louder(bytes(self._waiting[:size]), self._volume), tuple(self._phonemes))
        del self._waiting[:size]
        self._waiting_from = until
        self._phonemes.clear()
        self._wanted = self._give(chunk)


def _sounds(events: Any) -> Iterator[tuple[str, int]]:
    """Each phoneme's letters and its position in samples; the letters of a pause are ""."""
    for event in events:  # C gives no length; a pointer yields until we stop
        if event.type == _LAST_EVENT:
            return
        if event.type != _PHONEME_EVENT:
            continue
        name = event.id.string.decode(errors="ignore")  # 8 bytes may end within a letter
        ipa = name.translate(_MARKS)
        if ipa or not name:
            yield ipa, event.sample


@functools.cache
def _library() -> _Library:
    """Load and start espeak-ng, once in the life of the process. Raises MissingError."""
    try:
        data = Path(espeakng_loader.get_data_path())
        functions = ctypes.CDLL(str(espeakng_loader.get_library_path()))
    except (OSError, RuntimeError) as error:  # RuntimeError: the wheel's data folder is gone
        raise MissingError(
            "espeak_missing",
            f"the espeak-ng library cannot be loaded: {error}",
            fix="Run `python scripts/aivt.py up` again; Windows also needs Microsoft's Visual C++ runtime.",
        ) from error
    number, pointer = ctypes.c_uint, ctypes.c_void_p
    text = (ctypes.c_char_p, ctypes.c_size_t)
    functions.espeak_Synth.argtypes = (*text, number, ctypes.c_int, number, number, pointer, pointer)
    functions.espeak_Info.restype = ctypes.c_char_p
    # on Windows it opens its files by the C runtime, which reads paths in the system's code page
    path = str(data).encode("mbcs" if sys.platform == "win32" else "utf-8", errors="replace")
    rate_hz = functions.espeak_Initialize(_SYNCHRONOUS, 0, path, _PHONEME_EVENTS_IN_IPA | _DO_NOT_EXIT)
    if rate_hz <= 0:
        raise MissingError(
            "espeak_data_unreadable",
            f"espeak-ng cannot read its data in {data}",
            fix="Move the project to a short, plain path: espeak-ng takes less than 160 bytes.",
        )
    return _Library(functions, data, rate_hz, functions.espeak_Info(None).decode())
