"""A strict stand-in for the `sounddevice` module: it refuses what PortAudio refuses, in its words.

Its signatures and its matching of names are those of sounddevice 0.5. A stream's thread calls back only when
the test says `play`, so that nothing depends on how fast the machine is.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

STALE = 7777  # what a buffer holds before the callback: old sound, which must not be heard again
LATENCY_S = 0.05
MIXER_HZ = 48_000  # of WASAPI's shared mode: whoever has another rate must ask for a conversion


class PortAudioError(Exception):
    """As sounddevice's own."""


@dataclass(frozen=True)
class Wasapi:
    """As sounddevice's own `WasapiSettings`."""

    exclusive: bool = False
    auto_convert: bool = False
    explicit_sample_format: bool = False


class Card:
    """Stands for the whole module: put it into `sys.modules["sounddevice"]`.

    devices: (name, host API, output channels).
    rates: sample rates that the devices take, but for those of WASAPI.
    """

    PortAudioError = PortAudioError
    WasapiSettings = Wasapi

    def __init__(
        self,
        devices: Iterable[tuple[str, str, int]] = (("Speakers", "ALSA", 2), ("Cable", "ALSA", 2)),
        rates: Iterable[int] = (22_050,),
    ) -> None:
        self.devices = tuple(devices)
        self.rates = frozenset(rates)
        self.default: int | None = None  # None: the first device with outputs
        self.streams: list[Stream] = []
        self.taken: set[str] = set()  # devices that another program has for itself: they do not start

    def query_devices(self, device: str | int | None = None, kind: str | None = None) -> Any:
        """Every device; a single one when it or its kind is given."""
        assert kind in {"output", None}  # it has no inputs
        if device is None and kind is None:
            return [self.query_devices(index) for index in range(len(self.devices))]
        index = self.found(device, kind)
        if index not in range(len(self.devices)):
            raise PortAudioError(f"Error querying device {index}")
        name, api, channels = self.devices[index]
        if kind and channels < 1:
            raise ValueError(f"Not an output device: {name!r}")
        hostapi = self._apis().index(api)
        return {"name": name, "index": index, "hostapi": hostapi, "max_output_channels": channels}

    def query_hostapis(self, index: int | None = None) -> Any:
        """Every host API; a single one when its index is given."""
        apis = self._apis()
        if index is None:
            return tuple(self.query_hostapis(each) for each in range(len(apis)))
        if index not in range(len(apis)):
            raise PortAudioError(f"Error querying host API {index}")
        ours = [each for each, (_, api, _) in enumerate(self.devices) if api == apis[index]]
        return {"name": apis[index], "devices": ours}

    def OutputStream(self, **options: Any) -> "Stream":  # noqa: N802 - sounddevice's own name
        stream = Stream(self, **options)
        self.streams.append(stream)
        return stream

    def close(self) -> None:
        """End every stream's thread."""
        for stream in self.streams:
            stream.close()

    def found(self, device: str | int | None, kind: str | None = "output") -> int:
        """The index of a device, as sounddevice finds it; numbers are not looked up."""
        if device is None:
            usable = (index for index, (_, _, channels) in enumerate(self.devices) if channels > 0)
            return next(usable, -1) if self.default is None else self.default
        if isinstance(device, int):
            return device
        named = [
            (index, name, f"{name}, {api}")
            for index, (name, api, channels) in enumerate(self.devices)
            if channels > 0 or not kind
        ]
        matches = [(index, name, full) for index, name, full in named if _in_order(device, full)]
        exact = [index for index, name, full in matches if device.lower() in {name.lower(), full.lower()}]
        if not matches:
            raise ValueError(f"No {kind or 'input/output'} device matching {device!r}")
        if len(matches) == 1:
            return matches[0][0]
        if len(exact) == 1:
            return exact[0]
        raise ValueError(f"Multiple {kind or 'input/output'} devices found for {device!r}")

    def refusal(
        self,
        device: str | int | None,
        samplerate: float,
        channels: int,
        extra_settings: Wasapi | None,
    ) -> str:
        """Why PortAudio does not open such a stream, in its order; "" when it does."""
        info = self.query_devices(self.found(device))
        wasapi = "WASAPI" in self.query_hostapis(info["hostapi"])["name"]
        if extra_settings and not wasapi:
            return "Incompatible host API specific stream info [PaErrorCode -9984]"
        if channels > info["max_output_channels"]:
            return "Invalid number of channels [PaErrorCode -9998]"
        converted = bool(extra_settings and extra_settings.auto_convert and not extra_settings.exclusive)
        if not converted and samplerate not in ({MIXER_HZ} if wasapi else self.rates):
            return "Invalid sample rate [PaErrorCode -9997]"
        return ""

    def _apis(self) -> list[str]:
        return list(dict.fromkeys(api for _, api, _ in self.devices))


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
        extra_settings: Wasapi | None = None,
        callback: Callable[..., None],
        finished_callback: Callable[[], None] | None = None,
    ) -> None:
        if refusal := card.refusal(device, samplerate, channels, extra_settings):
            raise PortAudioError(f"Error opening OutputStream: {refusal}")
        assert latency in {"low", "high"}
        self.device = card.devices[card.found(device)]
        self._card = card
        self._shape, self._dtype = (blocksize, channels), dtype
        self._callback, self._finished = callback, finished_callback
        self._wanted: queue.Queue[int] = queue.Queue()  # frames; 0 ends the stream
        self._given: queue.Queue[npt.NDArray[np.int16] | BaseException] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.closed = False

    def start(self) -> None:
        if self.device[0] in self._card.taken:
            raise PortAudioError("Error starting stream: Device unavailable [PaErrorCode -9985]")
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        assert ignore_errors
        self.closed = True
        self.lose()

    def play(self, frames: int = 1) -> npt.NDArray[np.int16]:
        """What is heard next, in as many callbacks."""
        assert self._thread.is_alive(), "not started, or already stopped"
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
        if self._finished:
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
