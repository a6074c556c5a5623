"""A strict stand-in for the `sounddevice` module: it refuses what PortAudio refuses, in its words.

Its signatures and its matching of names are those of sounddevice 0.5. A stream's thread calls back only when
the test says `play` or `hear`, so that nothing depends on how fast the machine is. As PortAudio does, it
reads the list of devices once: what is plugged in later is there after `_terminate` and `_initialize`.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

STALE = 7777  # what a buffer holds before and after the callback: old sound, which must not be heard again
LATENCY_S = 0.05
MIXER_HZ = 48_000  # of WASAPI's shared mode: whoever has another rate must ask for a conversion

NOT_INITIALIZED = ("PortAudio not initialized", -10000)
HOST_ERROR = ("Unanticipated host error", -9999)
CHANNELS = ("Invalid number of channels", -9998)
RATE = ("Invalid sample rate", -9997)
UNAVAILABLE = ("Device unavailable", -9985)
SETTINGS = ("Incompatible host API specific stream info", -9984)


class PortAudioError(Exception):
    """As sounddevice's own: a text and PortAudio's code for it."""

    def __str__(self) -> str:
        return f"{self.args[0]} [PaErrorCode {self.args[1]}]" if len(self.args) > 1 else str(self.args[0])


@dataclass(frozen=True)
class Wasapi:
    """As sounddevice's own `WasapiSettings`."""

    exclusive: bool = False
    auto_convert: bool = False
    explicit_sample_format: bool = False


class Device(NamedTuple):
    """A device of a host API; with the channels that it has."""

    name: str
    api: str
    outputs: int = 0
    inputs: int = 0
    rate_hz: int = 44_100  # its own
    takes_own: bool = True  # a driver may name a rate as the default, and refuse it all the same
    one_channel: bool = True  # False: it takes all of its channels or none, as ALSA's "hw" devices do


class Card:
    """Stands for the whole module: put it into `sys.modules["sounddevice"]`.

    devices: what is plugged in, and known to PortAudio from the start.
    rates: sample rates that devices take besides their own, but for those of WASAPI.
    """

    PortAudioError = PortAudioError
    WasapiSettings = Wasapi

    def __init__(
        self,
        devices: Iterable[Device] = (Device("Speakers", "ALSA", 2), Device("Cable", "ALSA", 2)),
        rates: Iterable[int] = (22_050,),
    ) -> None:
        self.devices = tuple(devices)
        self.rates = frozenset(rates)
        self.default: int | None = None  # None: the first device with outputs
        self.streams: list[Stream] = []
        self.microphones: list[Microphone] = []
        self.played: list[tuple[str, float, npt.NDArray[np.float32]]] = []
        self.taken: set[str] = set()  # devices that another program has for itself: they do not start
        self.forbidden: set[str] = set()  # devices that the system does not let us open
        self.broken = 0  # how many calls of _initialize fail
        self._initialized = True

    @property
    def devices(self) -> tuple[Device, ...]:
        """PortAudio's list."""
        return self._devices

    @devices.setter
    def devices(self, devices: Iterable[Device]) -> None:
        self._devices = self.plugged = tuple(devices)

    def unplug(self, name: str, *, silently: bool = False) -> None:
        """Pull a device's plug; silently: the driver does not end its streams, they only stand still."""
        self.plugged = tuple(device for device in self.plugged if device.name != name)
        for stream in (*self.streams, *self.microphones):
            if stream.device.name == name and not silently:
                stream.lose()

    def plug(self, device: Device) -> None:
        """Plug a device in; it becomes the first one of all."""
        self.plugged = (device, *self.plugged)

    def _terminate(self) -> None:
        if not self._initialized:
            raise PortAudioError("Error terminating PortAudio: " + NOT_INITIALIZED[0], NOT_INITIALIZED[1])
        # PortAudio frees them itself, and whoever closes one later makes the process crash.
        assert all(stream.closed for stream in (*self.streams, *self.microphones)), "close the streams first"
        self._initialized = False

    def _initialize(self) -> None:
        if self.broken:
            self.broken -= 1
            raise PortAudioError("Error initializing PortAudio: " + HOST_ERROR[0], HOST_ERROR[1])
        self._devices = self.plugged
        self._initialized = True

    def query_devices(self, device: str | int | None = None, kind: str | None = None) -> Any:
        """Every device; a single one when it or its kind is given."""
        if not self._initialized:
            raise PortAudioError(*NOT_INITIALIZED)
        assert kind in {"output", "input", None}
        if device is None and kind is None:
            return [self.query_devices(index) for index in range(len(self.devices))]
        index = self.found(device, kind)
        if index not in range(len(self.devices)):
            raise PortAudioError(f"Error querying device {index}")
        its = self.devices[index]
        if kind and _channels(its, kind) < 1:
            raise ValueError(f"Not an {kind} device: {its.name!r}")
        return {
            "name": its.name,
            "index": index,
            "hostapi": self._apis().index(its.api),
            "max_input_channels": its.inputs,
            "max_output_channels": its.outputs,
            "default_samplerate": float(MIXER_HZ if "WASAPI" in its.api else its.rate_hz),
        }

    def query_hostapis(self, index: int | None = None) -> Any:
        """Every host API; a single one when its index is given."""
        apis = self._apis()
        if index is None:
            return tuple(self.query_hostapis(each) for each in range(len(apis)))
        if index not in range(len(apis)):
            raise PortAudioError(f"Error querying host API {index}")
        return {
            "name": apis[index],
            "devices": [i for i, one in enumerate(self.devices) if one.api == apis[index]],
        }

    def OutputStream(self, **options: Any) -> "Stream":  # noqa: N802 - sounddevice's own name
        stream = Stream(self, **options)
        self.streams.append(stream)
        return stream

    def InputStream(self, **options: Any) -> "Microphone":  # noqa: N802 - sounddevice's own name
        stream = Microphone(self, **options)
        self.microphones.append(stream)
        return stream

    def play(self, data: Any, samplerate: float, *, device: int, blocking: bool, extra_settings: Any) -> None:
        """As sounddevice's own, for (frames, channels); its options are those of a stream."""
        assert blocking
        refusal = self.refusal("output", device, samplerate, data.shape[1], extra_settings)
        name = self.devices[device].name
        if refusal := refusal or (UNAVAILABLE if name in self.taken else None):
            raise PortAudioError(f"Error opening OutputStream: {refusal[0]}", refusal[1])
        self.played.append((name, samplerate, data))

    def close(self) -> None:
        """End every stream's thread."""
        for stream in (*self.streams, *self.microphones):
            stream.close()

    def found(self, device: str | int | None, kind: str | None = "output") -> int:
        """The index of a device, as sounddevice finds it; numbers are not looked up."""
        if device is None:
            usable = (index for index, one in enumerate(self.devices) if _channels(one, kind or "output") > 0)
            return next(usable, -1) if self.default is None or kind == "input" else self.default
        if isinstance(device, int):
            return device
        named = [
            (index, one.name, f"{one.name}, {one.api}")
            for index, one in enumerate(self.devices)
            if not kind or _channels(one, kind) > 0
        ]
        matches = [(index, name, full) for index, name, full in named if _in_order(device, full)]
        exact = [index for index, name, full in matches if device.lower() in {name.lower(), full.lower()}]
        if not matches:
            raise ValueError(f"No {kind or 'input/output'} device matching {device!r}")
        if len(matches) == 1:
            return matches[0][0]
        if len(exact) == 1:
            return exact[0]
        listing = "\n".join(f"[{index}] {full}" for index, _, full in matches)
        raise ValueError(f"Multiple {kind or 'input/output'} devices found for {device!r}:\n{listing}")

    def refusal(
        self, kind: str, device: str | int | None, samplerate: float, channels: int, extra: Wasapi | None
    ) -> tuple[str, int] | None:
        """Why PortAudio does not open such a stream, in its order; None when it does."""
        its = self.devices[self.query_devices(device, kind)["index"]]
        wasapi = "WASAPI" in its.api
        most = _channels(its, kind)
        if its not in self.plugged or its.name in self.forbidden:
            return HOST_ERROR
        if extra and not wasapi:
            return SETTINGS
        if channels > most or not (its.one_channel or channels == most):
            return CHANNELS
        converted = bool(extra and extra.auto_convert and not extra.exclusive)
        rates = {MIXER_HZ} if wasapi else self.rates | ({its.rate_hz} if its.takes_own else frozenset())
        if not converted and samplerate not in rates:
            return RATE
        return None

    def _apis(self) -> list[str]:
        return list(dict.fromkeys(one.api for one in self.devices))


class _Stream:
    """What both kinds have; the callbacks come from a thread of its own."""

    kind: str
    title: str

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
        assert latency in {"low", "high"}
        assert blocksize >= 0
        assert dtype in {"float32", "int32", "int24", "int16", "int8", "uint8"}
        if refusal := card.refusal(self.kind, device, samplerate, channels, extra_settings):
            raise PortAudioError(f"Error opening {self.title}: {refusal[0]}", refusal[1])
        self.device = card.devices[card.found(device, self.kind)]
        self.samplerate, self.blocksize, self.channels, self.dtype = samplerate, blocksize, channels, dtype
        self.latency = LATENCY_S
        self._card = card
        self._callback, self._finished = callback, finished_callback
        self._jobs: queue.Queue[Callable[[], Any] | None] = queue.Queue()  # None ends the stream
        self._done: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.closed = False

    def start(self) -> None:
        assert not self.closed
        if self.device.name in self._card.taken:
            raise PortAudioError(f"Error starting stream: {UNAVAILABLE[0]}", UNAVAILABLE[1])
        self._thread.start()

    def close(self, ignore_errors: bool = True) -> None:
        assert ignore_errors
        self.closed = True
        self.lose()

    @property
    def alive(self) -> bool:
        """Whether there are still callbacks to come."""
        return self._thread.is_alive()

    def lose(self) -> None:
        """Stop, as a device does whose plug is pulled."""
        if self.alive:
            self._jobs.put(None)
            self._thread.join(10)

    def _call(self, job: Callable[[], Any]) -> Any:
        """Do it on the stream's thread."""
        assert self.alive, "not started, or already stopped"
        self._jobs.put(job)
        done = self._done.get(timeout=10)
        if isinstance(done, BaseException):
            raise done
        return done

    def _run(self) -> None:
        while job := self._jobs.get():
            try:
                self._done.put(job())
            except Exception as error:  # noqa: BLE001 - the test is to see it
                self._done.put(error)
                break
        if self._finished:
            self._finished()


class Stream(_Stream):
    """An output stream."""

    kind, title = "output", "OutputStream"

    def play(self, frames: int = 1) -> npt.NDArray[np.int16]:
        """What is heard next, in as many callbacks."""
        heard: npt.NDArray[np.int16] = self._call(
            lambda: np.concatenate([self._frame() for _ in range(frames)])
        )
        return heard

    def _frame(self) -> npt.NDArray[np.int16]:
        out = np.full((self.blocksize, self.channels), STALE, self.dtype)
        time = SimpleNamespace(currentTime=100.0, outputBufferDacTime=100.0 + LATENCY_S)
        self._callback(out, len(out), time, None)
        return out[:, 0]


class Microphone(_Stream):
    """An input stream."""

    kind, title = "input", "InputStream"

    def hear(self, sound: npt.ArrayLike, *, age_s: float | None = LATENCY_S, overflow: bool = False) -> None:
        """Give sound of any length, mono or (frames, channels), in one callback.

        age_s: how long ago its first sample was captured; None: the host API does not tell, as MME.
        """
        given = np.asarray(sound, self.dtype)
        given = given if given.ndim == 2 else np.repeat(given[:, None], self.channels, axis=1)
        assert given.shape[1] == self.channels
        self._call(lambda: self._give(given.copy(), age_s, overflow))

    def _give(self, buffer: npt.NDArray[Any], age_s: float | None, overflow: bool) -> None:
        now_s = 0.0 if age_s is None else 100.0
        time = SimpleNamespace(currentTime=now_s, inputBufferAdcTime=now_s - (age_s or 0.0))
        self._callback(buffer, len(buffer), time, SimpleNamespace(input_overflow=overflow))
        buffer[:] = STALE  # the next sound overwrites it: whoever wants to keep it has a copy


def _channels(device: Device, kind: str) -> int:
    return device.inputs if kind == "input" else device.outputs


def _in_order(words: str, name: str) -> bool:
    at = 0
    for word in words.lower().split():
        if (found := name.lower().find(word, at)) < 0:
            return False
        at = found + len(word)
    return True
