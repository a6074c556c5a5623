"""`aivt devices --test`: record, tell how loud it was and what was said, play it back."""

import asyncio
import logging
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import soxr
import structlog

from apps.asr_worker.level import FULL_SCALE, LevelMeter, Loudness, decibels, peak
from apps.asr_worker.sound import RATE_HZ, Samples
from apps.asr_worker.sources import open_source
from apps.asr_worker.sources.quality import NO_SIGNAL, NOTHING
from apps.shared.clock import now_s as shared_clock
from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.settings import Settings
from apps.shared.sound_devices import choose, conversion, no_output, portaudio

RECORD_S = 3.0
LIMIT_S = 15.0  # for opening the microphone and for those 3 s
SHOWN_EVERY_S = 0.1
BAR_DB, BAR_WIDTH = 60, 40  # the bar begins at -60 dB
QUIET_DB, LOUD_DB = -42.0, -8.0  # of the loudest half second
LOUDEST_S = 0.5


def check(settings: Settings, play_on: str | None) -> int:
    """Do all that; return the exit code. play_on: part of the output's name, None for none.

    Raises MissingError without a microphone, SettingsError where there is none to test.
    """
    # What the microphone logs is said here in other words.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    # Windows wants PortAudio to be used on the thread on which it was started.
    with ThreadPoolExecutor(1, "sound") as thread:
        name, samples = asyncio.run(_record(settings, thread))
        level, advice = in_words(samples)
        print(f"{name}: {level}.{' ' * bool(advice)}{advice}")
        trouble = _tell_words(settings, samples)
        try:
            thread.submit(_play_back, play_on, samples).result()
        except MissingError as error:
            trouble = trouble or error
            print(f"It cannot be played back: {error}. {error.fix}")
    return trouble.exit_code if trouble else 0


def in_words(samples: Samples) -> tuple[str, str]:
    """Return how loud a recording is, and what to do about it."""
    size = round(LOUDEST_S * RATE_HZ)
    parts = [samples[start : start + size] for start in range(0, len(samples), size // 2)]
    loudest_db = max(decibels(float(np.dot(part, part) / size) ** 0.5) for part in parts)
    shown = f"({loudest_db:.0f} dB)"
    if peak(samples) < NOTHING:
        return "no signal", NO_SIGNAL.fix
    if peak(samples) >= FULL_SCALE or loudest_db > LOUD_DB:
        return f"too loud {shown}", "Turn the microphone down in the system's sound settings."
    if loudest_db < QUIET_DB:
        return (
            f"quiet {shown}",
            "Go nearer, turn it up in the system's sound settings, or set ASR_AUTO_GAIN=true.",
        )
    return f"good {shown}", ""


async def _record(settings: Settings, thread: ThreadPoolExecutor) -> tuple[str, Samples]:
    loop, blocks, meter = asyncio.get_running_loop(), list[Samples](), _bar()
    limit, hopeless = asyncio.timeout(LIMIT_S), False

    def changed() -> None:
        nonlocal hopeless
        if source and source.trouble and not blocks and not hopeless:
            hopeless = True
            limit.reschedule(loop.time())  # nobody comes to plug it in

    source = open_source(settings, shared_clock, changed, thread)
    if source is None:
        raise SettingsError(
            "no_input",
            "ASR_INPUT=none: there is no microphone to test",
            fix="Set ASR_INPUT to part of a microphone's name, or leave it empty.",
        )
    print(f"Say something: for {RECORD_S:.0f} s this listens to {source.name}.", flush=True)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(source.run())
        try:
            async with limit:
                while _length_s(blocks) < RECORD_S and (block := await source.read()) is not None:
                    blocks.append(block.samples)
                    meter(block.samples)
        except TimeoutError:
            pass
        running.cancel()
    if sys.stdout.isatty():
        print()
    if not blocks:
        raise source.trouble or MissingError(
            "microphone_silent",
            f"{source.name} gives no sound",
            fix="Plug it in again, or choose another microphone with ASR_INPUT.",
        )
    return source.name, np.concatenate(blocks)


def _length_s(blocks: list[Samples]) -> float:
    return sum(map(len, blocks)) / RATE_HZ


def _bar() -> Callable[[Samples], None]:
    """Show how loud it is while it is recorded, where there is a terminal."""
    meter, measured = LevelMeter(), 0

    def show(samples: Samples) -> None:
        nonlocal measured
        meter.add(samples)
        measured += len(samples)
        if measured >= SHOWN_EVERY_S * RATE_HZ and sys.stdout.isatty():
            measured = 0
            print(f"\r{bar(meter.read())}", end="", flush=True)

    return show


def bar(loudness: Loudness) -> str:
    """Return a level as a bar of BAR_WIDTH characters, with its decibels."""
    filled = round(BAR_WIDTH * min(1.0, max(0.0, 1 + loudness.rms_db / BAR_DB)))
    return f"[{'#' * filled:{BAR_WIDTH}}] {loudness.rms_db:4.0f} dB"


def _tell_words(settings: Settings, samples: Samples) -> AivtError | None:
    """Print what was said; return what prevented it, but for a model that nobody has asked for yet."""
    from apps.asr_worker.transcribe import transcribe_once  # noqa: PLC0415 - it brings the models' libraries

    try:
        text = transcribe_once(settings, samples)
    except AivtError as error:
        print(f"It cannot be written down: {error}. {error.fix}")
        return error
    if text is None:
        print("To see what she understands of it, get a speech recognition model: aivt setup ears")
    else:
        print(f"She understands: {text}" if text else "She understands no words in it.")
    return None


def _play_back(name: str | None, samples: Samples) -> None:
    if name is None:
        print("It is not played back: TTS_OUTPUT names no device.")
        return
    library = portaudio("TTS_OUTPUT")
    try:
        device = choose(library, "output", name)
        print(f"This is it, on {device.name}.", flush=True)
        sound = soxr.resample(samples, RATE_HZ, device.rate_hz)
        channels = min(2, device.outputs)  # some devices play nothing in mono
        library.play(
            np.repeat(sound[:, None], channels, axis=1),
            device.rate_hz,
            device=device.index,
            blocking=True,
            extra_settings=conversion(library, device),
        )
    except (library.PortAudioError, ValueError) as error:
        raise no_output(library, "TTS_OUTPUT", f"{name or 'the default output'}: {error}") from error
