"""PortAudio's devices, for the voice and for the ears: listed, found by name, watched.

A device is wanted by part of its name, never by its number: numbers change with every plug. PortAudio reads
the list of devices once; `refresh` makes it read again. All calls but those of `Pulse` may take a second, and
belong on one thread, which Windows' sound interfaces ask for.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from apps.shared.errors import MissingError

Kind = Literal["input", "output"]
WATCH_S = 1.0  # not every driver says that its device was unplugged: the callbacks just stop

# Where a device is plugged in, which the system puts into its name: "USB Audio (hw:2,0)" of ALSA and
# "Microphone (2- USB Audio)" of Windows are the same devices after a re-plug to another place.
_PLACE = re.compile(r"(?<=\()(hw:\d+,|\d+- )")


@dataclass(frozen=True, slots=True)
class SoundDevice:
    """A device, as one host API offers it. Windows offers each of them by several."""

    index: int  # in PortAudio's list, until that is read again
    name: str
    host_api: str
    inputs: int  # channels
    outputs: int
    rate_hz: int  # its own
    default_for: frozenset[Kind] = frozenset()


def portaudio(setting: str) -> Any:
    """Return the module `sounddevice`. Raises MissingError; `setting` is which one goes without it."""
    try:
        import sounddevice  # noqa: PLC0415 - on Linux it raises without the system's PortAudio
    except OSError as error:
        raise MissingError(
            "no_portaudio",
            f"the sound library cannot be loaded: {error}",
            fix=f"Install it (Debian, Ubuntu: sudo apt install libportaudio2), or set {setting}=none.",
        ) from error
    return sounddevice


def refresh(library: Any) -> None:
    """Look for devices that came and went. Ends every stream of this process: close them before.

    Raises PortAudioError; the next call may then succeed.
    """
    # sounddevice has no public names for this, and its author tells to use these (its issue 125).
    with contextlib.suppress(library.PortAudioError):  # the last refresh did not get beyond this
        library._terminate()  # noqa: SLF001
    library._initialize()  # noqa: SLF001


def listed(library: Any) -> tuple[SoundDevice, ...]:
    """Return every device."""
    defaults = {kind: _default(library, kind) for kind in ("input", "output")}
    return tuple(
        _device(library, one, {kind for kind, index in defaults.items() if index == one["index"]})
        for one in library.query_devices()
    )


def choose(library: Any, kind: Kind, name: str) -> SoundDevice:
    """Return the device that `name` is a part of, or the default one ("").

    Windows lists a device once per host API: the default device's is taken, else the first one that has it.
    Raises what sounddevice raises: PortAudioError, or ValueError where none or several match.
    """
    if not name:
        return _device(library, library.query_devices(kind=kind))
    found = _matching(library, kind, name)
    if found is None:
        # sounddevice takes "NAME, HOST API" too, and says what is ambiguous.
        return _device(library, library.query_devices(name, kind))
    return found


def names(devices: Iterable[SoundDevice], kind: Kind) -> list[str]:
    """Return the names of those that can do it, each once."""
    return sorted({one.name for one in devices if _channels(one, kind)})


def conversion(library: Any, device: SoundDevice) -> Any:
    """Return the extra settings with which a device takes any rate, where it does not by itself.

    WASAPI alone refuses every rate but its mixer's, unless it is told to convert.
    """
    return library.WasapiSettings(auto_convert=True) if "WASAPI" in device.host_api else None


def no_output(library: Any, setting: str, reason: str) -> MissingError:
    """Return the error for an output that cannot be used; `setting` is which one names it."""
    there = names(listed(library), "output")
    choices = f" Devices: {', '.join(there)}." if there else ""
    return MissingError(
        "no_sound_device",
        f"no sound output: {reason}",
        fix=f"Set {setting} to part of a device's name, or to none.{choices}",
    )


class Pulse:
    """Tells when a stream's callbacks stop coming. Made on the event loop, which waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._began, self._ended = asyncio.Event(), asyncio.Event()
        self.beats, self._seen = 0, -1  # callbacks so far, and at the last look

    def beat(self) -> None:
        """A callback came. Called on PortAudio's thread."""
        self.beats += 1
        if self.beats == 1:
            self._tell(self._began.set)

    def end(self) -> None:
        """The stream has finished: its `finished_callback`. Called on any thread."""
        self._tell(self._began.set)
        self._tell(self._ended.set)

    async def begins(self, within_s: float) -> bool:
        """Wait for the first callback; False when the stream ends instead, or nothing comes for so long."""
        await _in_time(self._began, within_s)
        return self.beats > 0

    async def lasts(self) -> bool:
        """Wait for WATCH_S; False once the stream has ended, or was still since the last call."""
        if self.still() or self._ended.is_set():
            return False
        await _in_time(self._ended, WATCH_S)
        return True

    def still(self) -> bool:
        """Tell whether no callback came since this was last asked."""
        seen, self._seen = self._seen, self.beats
        return seen == self._seen

    def _tell(self, what: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: we stopped the stream ourselves
            self._loop.call_soon_threadsafe(what)


async def _in_time(event: asyncio.Event, limit_s: float) -> None:
    # Not wait_for: on Python 3.11 it loses a cancellation that comes just as the event is set.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            await event.wait()


def _matching(library: Any, kind: Kind, name: str) -> SoundDevice | None:
    """The one device that has `name` in its own; None where that does not tell."""
    able = [one for one in listed(library) if _channels(one, kind)]
    wanted = name.lower()
    matching = [one for one in able if wanted in one.name.lower()]
    if not matching:
        wanted = _PLACE.sub("", wanted)
        matching = [one for one in able if wanted in _PLACE.sub("", one.name.lower())]
    apis = [one.host_api for one in matching]
    usual = next((one.host_api for one in able if kind in one.default_for), "")
    api = usual if usual in apis else next(iter(apis), "")  # PortAudio lists one API after the other
    same = [one for one in matching if one.host_api == api]
    return same[0] if len(same) == 1 else None


def _channels(device: SoundDevice, kind: Kind) -> int:
    return device.inputs if kind == "input" else device.outputs


def _default(library: Any, kind: str) -> int:
    try:
        return int(library.query_devices(kind=kind)["index"])
    except (library.PortAudioError, ValueError):  # there is none
        return -1


def _device(library: Any, info: Any, default_for: Iterable[Any] = ()) -> SoundDevice:
    return SoundDevice(
        int(info["index"]),
        str(info["name"]),
        str(library.query_hostapis(info["hostapi"])["name"]),
        int(info["max_input_channels"]),
        int(info["max_output_channels"]),
        round(info["default_samplerate"]),
        frozenset(default_for),
    )
