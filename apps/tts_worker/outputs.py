"""Where the sound goes: a sound card, a folder of WAV files, nowhere; all in real time.

`TTS_OUTPUT`: "" the default device, part of a device's name, `none`, `dir:PATH` (one WAV per turn), or
`discard`, which draws as fast as it can and serves the benchmarks.
"""

import asyncio
import contextlib
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import structlog

from apps.shared.errors import AivtError
from apps.shared.settings import PROJECT_DIR
from apps.tts_worker.playout import FRAME_S, Playout, Samples
from apps.tts_worker.sound_card import SoundCard

log = structlog.get_logger()
Write = Callable[[str, Samples], None]  # (turn_id, frame)


class Output(Protocol):
    """Draws frames from the playout while there are any."""

    trouble: AivtError | None  # what is wrong although it plays

    def wake(self) -> None:
        """There is something to play. Called on the event loop."""

    async def run(self) -> None:
        """Play, for ever. Raises MissingError when a device cannot be opened."""

    def turn_over(self, turn_id: str) -> None:
        """Nothing more of this turn comes."""


class PacedOutput:
    """Plays in real time without a sound card; `write` may keep what is heard."""

    trouble: AivtError | None = None

    def __init__(self, playout: Playout, now_s: Callable[[], float], write: Write | None = None) -> None:
        self._playout = playout
        self._now_s = now_s
        self._write = write
        self._awake = asyncio.Event()
        self._open_turn = ""

    def wake(self) -> None:
        """Start drawing."""
        self._awake.set()

    def turn_over(self, turn_id: str) -> None:
        """Let the drawing rest once the queue is empty."""
        if self._open_turn == turn_id:
            self._open_turn = ""

    async def run(self) -> None:
        """Draw a frame every FRAME_S while a turn is open; sleep otherwise."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            due_s = self._now_s()
            while self._playout.turn_id or self._open_turn:
                if self._now_s() - due_s > FRAME_S:  # held up: go on from now, as a sound card would
                    due_s = self._now_s()
                self._draw(due_s)
                due_s += FRAME_S
                await asyncio.sleep(max(0.0, due_s - self._now_s()))

    def _draw(self, at_s: float) -> None:
        turn_id = self._playout.turn_id or self._open_turn
        frame = self._playout.frame(self._playout.frame_samples, at_s)
        if frame is not None:
            self._open_turn = turn_id
        if self._write and self._open_turn:
            silence = np.zeros(self._playout.frame_samples, np.int16)
            self._write(turn_id, silence if frame is None else frame)


class Unpaced:
    """Draws whatever is there at once: for benchmarks, where the time to the first frame counts."""

    trouble: AivtError | None = None

    def __init__(self, playout: Playout, now_s: Callable[[], float]) -> None:
        self._playout = playout
        self._now_s = now_s
        self._awake = asyncio.Event()

    def wake(self) -> None:
        """Draw."""
        self._awake.set()

    def turn_over(self, turn_id: str) -> None:
        """Nothing is kept."""

    async def run(self) -> None:
        """Draw all there is at each waking."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            while self._playout.frame(self._playout.frame_samples, self._now_s()) is not None:
                pass


class WavFolder:
    """Keeps what is heard, one WAV file per turn, named by its id."""

    def __init__(self, folder: Path, sample_rate_hz: int) -> None:
        self._folder = folder
        self._rate_hz = sample_rate_hz
        self._files: dict[str, wave.Wave_write | None] = {}  # None: it could not be written

    def write(self, turn_id: str, frame: Samples) -> None:
        """Append a frame to the turn's file. A full disk ends the file, not the show."""
        try:
            if turn_id not in self._files:
                self._files[turn_id] = self._open(turn_id)
            if file := self._files[turn_id]:
                file.writeframes(frame.tobytes())
        except OSError as error:
            log.error("cannot write the WAV", turn_id=turn_id, reason=str(error))
            self.close(turn_id)
            self._files[turn_id] = None

    def close(self, turn_id: str) -> None:
        """End the turn's file."""
        if file := self._files.pop(turn_id, None):
            with contextlib.suppress(OSError):
                file.close()

    def _open(self, turn_id: str) -> wave.Wave_write:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = wave.open(str(self._folder / f"{turn_id}.wav"), "wb")  # noqa: SIM115 - open for the whole turn
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(self._rate_hz)
        return file


class Recorded(PacedOutput):
    """`dir:PATH`: real time, into WAV files."""

    def __init__(self, playout: Playout, now_s: Callable[[], float], folder: Path) -> None:
        self._folder = WavFolder(folder, playout.sample_rate_hz)
        super().__init__(playout, now_s, self._folder.write)

    def turn_over(self, turn_id: str) -> None:
        """Close the turn's file."""
        super().turn_over(turn_id)
        self._folder.close(turn_id)


def open_output(setting: str, monitor: str, playout: Playout, now_s: Callable[[], float]) -> Output:
    """Return the output that `TTS_OUTPUT` names. Raises MissingError for a device that is not there."""
    if setting == "none":
        return PacedOutput(playout, now_s)
    if setting == "discard":
        return Unpaced(playout, now_s)
    if setting.startswith("dir:"):
        return Recorded(playout, now_s, PROJECT_DIR / Path(setting.removeprefix("dir:")).expanduser())
    return SoundCard(playout, now_s, setting, monitor)
