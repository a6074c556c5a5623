"""A strict stand-in for the `sounddevice` module: it refuses what PortAudio refuses, in its words.

Its matching of names is that of sounddevice 0.5. A stream's thread calls back only when the test says
`play`, so that nothing depends on how fast the machine is.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

STALE = 7777  # what a buffer holds before the callback: old sound, which must not be heard again
LATENCY_S = 0.05


class PortAudioError(Exception):
    """As sounddevice's own."""


class Card:
    """Stands for the whole module: put it into `sys.modules["sounddevice"]`.

    devices: (name, host API, output channels); the first one with outputs is the default.
    rates: sample rates that the devices take.
    """

    PortAudioError = PortAudioError

    def __init__(
        self,
        devices: Iterable[tuple[str, str, int]] = (("Speakers", "ALSA", 2), ("Cable", "ALSA", 2)),
        rates: Iterable[int] = (22_050,),
    ) -> None:
        self.devices = tuple(devices)
        self.rates = frozenset(rates)
        self.streams: list[Stream] = []
        self.starts = True  # False: another program has the device for itself

    def query_devices(self, *, kind: str = "") -> Any:
        apis = list(dict.fromkeys(api for _, api, _ in self.devices))
        listed = [
            {"name": name, "index": index, "hostapi": apis.index(api), "max_output_channels": channels}
            for index, (name, api, channels) in enumerate(self.devices)
        ]
        return listed[self.found(None)] if kind == "output" else listed

    def OutputStream(self, **options: Any) -> "Stream":  # noqa: N802 - sounddevice's own name
        stream = Stream(self, **options)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        """End every stream's thread."""
        for stream in self.streams:
            stream.close()

    def found(self, device: str | int | None) -> int:
        """The index of a device, as sounddevice finds it."""
        if device is None:
            usable = [index for index, (_, _, channels) in enumerate(self.devices) if channels > 0]
            if not usable:
                raise PortAudioError("Error querying device -1")
            return usable[0]
        if isinstance(device, int):
            return device
        outputs = [
            (index, name, f"{name}, {api}")
            for index, (name, api, channels) in enumerate(self.devices)
            if channels > 0
        ]
        matches = [(index, name, full) for index, name, full in outputs if _in_order(device, full)]
        exact = [index for index, name, full in matches if device.lower() in {name.lower(), full.lower()}]
        if not matches:
            raise ValueError(f"No output device matching {device!r}")
        if len(matches) == 1:
            return matches[0][0]
        if len(exact) == 1:
            return exact[0]
        raise ValueError(f"Multiple output devices found for {device!r}")


class Stream:
    """An output stream; its callbacks come from a thread of its own."""

    def __init__(
        self,
        card: Card,
        *,
        device: str | int | None,
        samplerate: float,
        blocksize: int,
        channels: int,
        dtype: str,
        latency: str,
        callback: Callable[..., None],
        finished_callback: Callable[[], None],
    ) -> None:
        self.device = card.devices[card.found(device)]
        if samplerate not in card.rates:
            raise PortAudioError("Error opening OutputStream: Invalid sample rate [PaErrorCode -9997]")
        assert latency in {"low", "high"}
        assert channels <= self.device[2]
        self._card = card
        self._shape, self._dtype = (blocksize, channels), dtype
        self._callback, self._finished = callback, finished_callback
        self._wanted: queue.Queue[int] = queue.Queue()  # frames; 0 ends the stream
        self._given: queue.Queue[npt.NDArray[np.int16] | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.closed = False

    def start(self) -> None:
        if not self._card.starts:
            raise PortAudioError("Error starting stream: Device unavailable [PaErrorCode -9985]")
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        assert ignore_errors
        self.closed = True
        self.lose()

    def play(self, frames: int = 1) -> npt.NDArray[np.int16]:
        """What is heard next, in as many callbacks."""
        self._wanted.put(frames)
        given = self._given.get(timeout=10)
        if isinstance(given, BaseException):
            raise given
        return given

    def lose(self) -> None:
        """Stop, as a device does whose plug is pulled."""
        if self._thread.is_alive():
            self._wanted.put(0)
            self._thread.join(10)

    def _run(self) -> None:
        while frames := self._wanted.get():
            try:
                self._given.put(np.concatenate([self._frame() for _ in range(frames)]))
            except Exception as error:  # noqa: BLE001 - the test is to see it
                self._given.put(error)
                break
        self._finished()

    def _frame(self) -> npt.NDArray[np.int16]:
        out = np.full(self._shape, STALE, self._dtype)
        time = SimpleNamespace(currentTime=100.0, outputBufferDacTime=100.0 + LATENCY_S)
        self._callback(out, len(out), time, None)
        return out[:, 0]


def _in_order(words: str, name: str) -> bool:
    at = 0
    for word in words.lower().split():
        if (found := name.lower().find(word, at)) < 0:
            return False
        at = found + len(word)
    return True
