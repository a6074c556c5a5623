"""`aivt transcribe`: a recording through the very ears of the show."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import structlog

from apps.asr_worker import recognisers
from apps.asr_worker.hallucinations import refused
from apps.asr_worker.hearing import Hearing
from apps.asr_worker.kept import seconds
from apps.asr_worker.sound import FRAME_SAMPLES, RATE_HZ, Block, Samples
from apps.asr_worker.sources.recording import pieces
from apps.asr_worker.sources.wav import WavSource
from apps.asr_worker.vads import open_vad
from apps.shared.clock import now_s as shared_clock
from apps.shared.edge import known
from apps.shared.errors import EngineError, MissingError
from apps.shared.messages import Message, NoWords, Partial, Transcript
from apps.shared.settings import Settings

LAST_S = 120.0  # for what is still to be decoded when the recording is over
RECOGNISER_S = 30.0  # it takes no more at once

_SPEECH = {Partial: "partial", Transcript: "final", NoWords: "speech"}


def transcribe(options: argparse.Namespace) -> int:
    """Print what a recording says, as it is understood: `aivt transcribe FILE.wav [--json] [--realtime]`.

    Raises SettingsError for a file that cannot be used, MissingError without a model.
    """
    settings = Settings.load()
    _warn_on_stderr()
    paper = _Json() if options.json else _Lines()
    try:
        asyncio.run(_transcribe(settings, options.file, realtime=options.realtime, write=paper.write))
    except BaseExceptionGroup as group:
        if (error := known(group)) is not None:
            raise error from None
        raise
    if paper.failed:
        raise EngineError("not_all_transcribed", f"a part could not be transcribed: {paper.failed}")
    return 0


def transcribe_once(settings: Settings, samples: Samples) -> str | None:
    """Return what the sound says, "" when that is nothing; None when there is no model to tell it with.

    samples: at 16 kHz; what is beyond the first 30 s is left out. Blocks while the model is loaded.
    """
    try:
        recogniser = recognisers.load(settings)
    except MissingError:
        return None
    try:
        samples = samples[: round(RECOGNISER_S * RATE_HZ)]
        hypothesis = recogniser.final(samples, ())
    finally:
        recogniser.close()
    doubtful = refused(hypothesis, seconds(samples), seconds(samples))
    return "" if doubtful else hypothesis.text


class _AtOnce(Executor):
    """Decodes while the recording stands still: a file needs no real time."""

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - what an executor does
            future.set_exception(error)
        return future


class _Clock:
    """Time in the file: how far it has been fed, or how long ago its first sample was played."""

    def __init__(self, *, realtime: bool) -> None:
        self._realtime = realtime
        self._fed_s = 0.0
        self.began_s: float | None = None  # when its first sample was played

    def now_s(self) -> float:
        """The clock of the blocks."""
        return shared_clock() if self._realtime else self._fed_s

    def feed(self, block: Block) -> None:
        """Move on."""
        if self.began_s is None:
            self.began_s = block.at_s
        self._fed_s = block.at_s + seconds(block.samples)

    def place_s(self, at_s: float) -> float:
        """A time of that clock as a place in the file."""
        return round(max(0.0, at_s - (self.began_s or 0.0)), 3)


async def _transcribe(
    settings: Settings, path: str, *, realtime: bool, write: Callable[[dict[str, Any]], None]
) -> None:
    _check(Path(path))  # a wrong name is told before a model is loaded, which takes its time
    clock = _Clock(realtime=realtime)
    source = WavSource(path, clock.now_s, speed=1.0 if realtime else float("inf"))
    recogniser, thread = recognisers.load(settings), ThreadPoolExecutor(1) if realtime else _AtOnce()

    def send(message: Message) -> None:
        if kind := _SPEECH.get(type(message)):
            write(_line(kind, message, clock))

    hearing = Hearing(settings, recogniser, open_vad(settings.asr_vad), send, clock.now_s, thread)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(source.run())
            while (block := await source.read()) is not None:
                for frame in _small(block):
                    clock.feed(frame)
                    hearing.hear(frame)
            running.cancel()
        hearing.end()
        async with asyncio.timeout(LAST_S):
            await hearing.settled()
    finally:
        hearing.close()
        thread.shutdown(wait=True, cancel_futures=True)
        recogniser.close()


def _warn_on_stderr() -> None:
    """By itself structlog prints to where the transcript goes."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _check(path: Path) -> None:
    """Raises SettingsError for what is no recording."""
    found = pieces(path)
    next(found)
    found.close()


def _small(block: Block) -> Iterator[Block]:
    """Cut a block so small that nothing is told later than it is known."""
    for start in range(0, len(block.samples), FRAME_SAMPLES):
        yield Block(block.samples[start : start + FRAME_SAMPLES], block.at_s + start / RATE_HZ)


def _line(kind: str, message: Any, clock: _Clock) -> dict[str, Any]:
    line = {"type": kind}
    if kind != "speech":
        line["text"] = message.text
    end_s = clock.place_s(message.end_s)
    return {
        **line,
        "start_s": clock.place_s(message.start_s),
        "end_s": end_s,
        "at_s": max(end_s, clock.place_s(message.at_s)),
        **({"code": message.code, "reason": message.reason} if kind == "speech" else {}),
    }


class _Json:
    """A line of JSON each."""

    failed = ""

    def write(self, line: dict[str, Any]) -> None:
        """Print it at once: whoever reads it measures when it comes."""
        if line.pop("code", "") == "failed":
            self.failed = line["reason"]
        line.pop("reason", None)
        print(json.dumps(line, ensure_ascii=False), flush=True)


class _Lines:
    """For people: partials on one line that changes, where there is a terminal."""

    failed = ""

    def __init__(self) -> None:
        self._terminal = sys.stdout.isatty()

    def write(self, line: dict[str, Any]) -> None:
        """Print it."""
        if line["type"] == "partial":
            if self._terminal:
                print(f"\r\x1b[K… {line['text'][-70:]}", end="", flush=True)
            return
        if line.get("code") == "failed":
            self.failed = line["reason"]
        text = line.get("text") or f"(no words: {line['reason'] or line['code']})"
        print(
            "\r\x1b[K" * self._terminal + f"{_time(line['start_s'])} - {_time(line['end_s'])}  {text}",
            flush=True,
        )


def _time(at_s: float) -> str:
    return f"{int(at_s // 60)}:{at_s % 60:04.1f}"
