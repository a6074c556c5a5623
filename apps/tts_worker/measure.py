"""`aivt voices bench`: how fast the voices on this computer speak, one after the other in this process."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle

import msgspec
import numpy as np

from apps.shared.errors import AivtError, EngineError
from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker import voices
from apps.tts_worker.engines import piper
from apps.tts_worker.voice import Chunk, Voice

FAST_MS = 250.0  # for a piece of 1-2 s: what she says next is there before she has said this
PIECES = 40
LIMIT_S = 20.0  # per voice, however slow it is
LENGTHS_S = (1.1, 1.9)  # of the sentences that are timed: a voice that varies still gives 1 to 2 s

OPENER = "Oh hello there,"  # a first clause, for that is what she begins with
# Slow and quick voices differ by half, so each finds some among these that it says in 1 to 2 s.
SENTENCES = (
    "You did it.",
    "Well, look at that.",
    "That was not my fault.",
    "One more try, please!",
    "Look who is here again.",
    "Give me all of the snacks.",
    "Okay, I did not see that coming.",
    "Somebody in chat owes me a sandwich.",
)


@dataclass(frozen=True, slots=True)
class Take:
    """One sentence, spoken."""

    first_s: float  # until its first sound was there
    whole_s: float  # until all of it was
    cpu_s: float  # that this process used meanwhile
    audio_s: float


@dataclass(frozen=True, slots=True)
class Speed:
    """What was found out about one voice; `reason` and `fix` alone when it does not speak."""

    name: str
    load_s: float = 0.0
    first_sound_ms_p50: float = 0.0  # of a first clause
    first_sound_ms_p95: float = 0.0
    piece_ms_p50: float = 0.0  # until a sentence of 1-2 s is whole
    piece_ms_p95: float = 0.0
    piece_audio_s: float = 0.0  # how long these sentences are, by the median
    pieces: int = 0  # how many were timed
    real_time_factor: float = 0.0  # time taken / length of the speech
    busy_cores: float = 0.0  # processor time / time taken
    reason: str = ""
    fix: str = ""

    @property
    def fast(self) -> bool:
        """Whether she can speak with it without being waited for."""
        return not self.reason and self.piece_ms_p95 <= FAST_MS


def bench(options: argparse.Namespace) -> None:
    """Measure all installed voices and espeak; print a table, or with `options.json` the figures."""
    settings = Settings.load()
    names = [*piper.installed(settings), voices.FALLBACK]
    found = sorted(measure_all(settings, names), key=lambda speed: (bool(speed.reason), speed.piece_ms_p50))
    if options.json:
        print(msgspec.json.encode(found).decode())
        return
    print("\n".join(_lines(found)))
    if len(names) == 1:
        print("There is no Piper voice yet. To see which there are: aivt voices")


def measure_all(settings: Settings, names: Sequence[str], pieces: int = PIECES) -> Iterator[Speed]:
    """Measure these voices, by name, each `pieces` times or for LIMIT_S. One that fails has its reason."""
    settings = settings.model_copy(update={"use_stub_tts": False})
    ready = False
    for name in names:
        print(f"Measuring {name} ...", file=sys.stderr, flush=True)
        try:
            wanted = voices.chosen(settings, name)
            if not ready:  # the first one would load the libraries, too
                voices.load(wanted).close()
                ready = True
            yield measure(name, partial(voices.load, wanted), pieces)
        except AivtError as error:
            yield Speed(name, reason=str(error), fix=error.fix)


def measure(name: str, load: Callable[[], Voice], pieces: int = PIECES) -> Speed:
    """Measure one voice. Raises what loading and speaking raise."""
    began_s = time.perf_counter()
    voice = load()
    load_s = time.perf_counter() - began_s
    try:
        sentences = _of_fitting_length(voice)
        openers = _takes(voice, [OPENER], pieces)
        takes = _takes(voice, sentences, pieces)
    finally:
        voice.close()
    first_ms = [1000 * take.first_s for take in openers]
    whole_ms = [1000 * take.whole_s for take in takes]
    whole_s = sum(take.whole_s for take in takes)
    return Speed(
        name=name,
        load_s=round(load_s, 2),
        first_sound_ms_p50=_percentile(first_ms, 50),
        first_sound_ms_p95=_percentile(first_ms, 95),
        piece_ms_p50=_percentile(whole_ms, 50),
        piece_ms_p95=_percentile(whole_ms, 95),
        piece_audio_s=_percentile([take.audio_s for take in takes], 50),
        pieces=len(takes),
        real_time_factor=round(whole_s / sum(take.audio_s for take in takes), 4),
        busy_cores=round(sum(take.cpu_s for take in takes) / whole_s, 3),
    )


def _of_fitting_length(voice: Voice) -> list[str]:
    """Return the sentences that this voice says in 1 to 2 s, else the one that is nearest to it."""
    shortest_s, longest_s = LENGTHS_S
    lengths_s = {text: take_of(voice, text).audio_s for text in SENTENCES}
    fitting = [text for text, length_s in lengths_s.items() if shortest_s <= length_s <= longest_s]
    middle_s = (shortest_s + longest_s) / 2
    return fitting or [min(lengths_s, key=lambda text: abs(lengths_s[text] - middle_s))]


def _takes(voice: Voice, texts: Iterable[str], count: int) -> list[Take]:
    ends_s = time.perf_counter() + LIMIT_S / 2  # two kinds of takes share the time
    takes: list[Take] = []
    for text in cycle(texts):
        takes.append(take_of(voice, text))
        if len(takes) == count or time.perf_counter() > ends_s:
            break
    return takes


def take_of(voice: Voice, text: str) -> Take:
    """Say a text once. Raises EngineError."""
    first_s = 0.0
    size_bytes = 0

    def give(chunk: Chunk) -> bool:
        nonlocal first_s, size_bytes
        first_s = first_s or time.perf_counter() - began_s
        size_bytes += len(chunk.pcm)
        return True

    cpu_s, began_s = time.process_time(), time.perf_counter()
    voice.synthesize(text, Delivery(), give)
    whole_s = time.perf_counter() - began_s
    if not size_bytes:
        reason = f"the voice {voice.voice} has no sound for {text!r}"
        raise EngineError("voice_silent", reason, fix="Choose a voice of another language.")
    return Take(first_s, whole_s, time.process_time() - cpu_s, size_bytes / 2 / voice.sample_rate_hz)


def _percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: a value that was measured."""
    return round(float(np.percentile(values, percent, method="inverted_cdf")), 2)


def _lines(found: Sequence[Speed]) -> Iterator[str]:
    head = (
        "VOICE",
        "LOADED IN",
        "FIRST SOUND",
        "95 % WITHIN",
        "1-2 s OF SPEECH",
        "95 % WITHIN",
        "REAL-TIME FACTOR",
    )
    rows = [head, *(_row(speed) for speed in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        name, *figures = zip(row, widths, strict=True)
        yield "  ".join([name[0].ljust(name[1]), *(cell.rjust(width) for cell, width in figures)])
    yield ""
    yield from _verdict(found)


def _row(speed: Speed) -> tuple[str, ...]:
    if speed.reason:
        return speed.name, *["-"] * 6
    return (
        speed.name,
        f"{speed.load_s:.1f} s",
        f"{speed.first_sound_ms_p50:.0f} ms",
        f"{speed.first_sound_ms_p95:.0f} ms",
        f"{speed.piece_ms_p50:.0f} ms",
        f"{speed.piece_ms_p95:.0f} ms",
        f"{speed.real_time_factor:.3f}",
    )


def _verdict(found: Sequence[Speed]) -> Iterator[str]:
    fast = [speed.name for speed in found if speed.fast]
    slow = [speed.name for speed in found if not speed.fast and not speed.reason]
    means = f"Fast enough is a voice that makes 1 to 2 s of speech within {FAST_MS:.0f} ms"
    yield f"{means}: {', '.join(fast) or 'none of these'}."
    if slow:
        yield f"Too slow here: {', '.join(slow)}. Close what else is running, or take one of quality low."
    for speed in found:
        if speed.reason:
            yield f"{speed.name} does not speak: {speed.reason}\n  fix: {speed.fix}"
