"""One of PortAudio's input devices: opened at a rate that it takes, with reasons when it is not.

All of this blocks, for seconds at times, and belongs on one thread (see apps.shared.sound_devices).
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.asr_worker.sound import RATE_HZ, Block
from apps.asr_worker.sources.capture import Capture, age_s
from apps.shared.errors import MissingError
from apps.shared.sound_devices import (
    Pulse,
    SoundDevice,
    choose,
    conversion,
    listed,
    names,
    portaudio,
    refresh,
)

CALLBACK_S = 0.02
COMMON_HZ = (48_000, 44_100)  # where a device refuses both 16 kHz and what it calls its own rate
RETURN_S = 10.0  # how long the default device, once lost, is waited for before another one will do

CHANNELS_REFUSED, RATE_REFUSED, BUSY = -9998, -9997, -9985  # PaErrorCode
PERMISSION = {
    "win32": "let desktop apps use the microphone: Settings > Privacy & security > Microphone",
    "darwin": "let the terminal use the microphone: System Settings > Privacy & Security > Microphone",
}.get(sys.platform, "see whether your user may use sound devices: it may have to be in the group audio")

Give = Callable[[Block], None]  # called on PortAudio's thread


class InputDevice:
    """The device that has `wanted` in its name; "": the system's default one.

    PortAudio finds what was plugged in later only when it is started anew, which every opening but the first
    does. That ends all streams of the process: no other may be open.
    """

    def __init__(self, wanted: str, now_s: Callable[[], float]) -> None:
        self._wanted = wanted
        self._now_s = now_s
        self._library: Any = None
        self._stream: Any = None
        self._default = ""  # which one was the default
        self._default_until_s = 0.0  # how long it is waited for

    def open(self, pulse: Pulse, give: Give) -> str:
        """Start to listen and return the device's name. Raises MissingError."""
        library = portaudio("ASR_INPUT")
        device = self._find(library)
        try:
            self._stream = self._accepted(library, device, pulse, give)
            self._stream.start()
        except library.PortAudioError as error:
            self.close()
            raise _refused(device.name, error) from error
        return device.name

    def close(self) -> None:
        """End the stream, if there is one."""
        if self._stream is not None:
            self._stream.close(ignore_errors=True)
            self._stream = None
            self._default_until_s = self._now_s() + RETURN_S

    def _find(self, library: Any) -> SoundDevice:
        again, self._library = self._library is not None, library
        waiting = self._default if self._now_s() < self._default_until_s else ""
        name = self._wanted or waiting
        try:
            if again:
                refresh(library)
            device = choose(library, "input", name)
        except library.PortAudioError as error:  # of a name it would be ValueError
            raise MissingError(
                "no_microphone",
                f"there is no microphone on this computer ({error})",
                fix="Plug one in: it is found by itself. To go on without, set ASR_INPUT=none.",
            ) from error
        except ValueError as error:
            raise _absent(name, error, names(listed(library), "input")) from error
        if not self._wanted:
            self._default = device.name
        return device

    def _accepted(self, library: Any, device: SoundDevice, pulse: Pulse, give: Give) -> Any:
        """Open it at the first rate and number of channels that it takes; the fewer, the less to do."""
        error: Exception | None = None
        for rate_hz in dict.fromkeys((RATE_HZ, device.rate_hz, *COMMON_HZ)):
            for channels in dict.fromkeys((1, min(2, device.inputs), device.inputs)):
                try:
                    return self._stream_at(library, device, rate_hz, channels, pulse, give)
                except library.PortAudioError as refusal:
                    if _code(refusal) not in {CHANNELS_REFUSED, RATE_REFUSED}:
                        raise
                    error = refusal
        assert error
        raise error

    def _stream_at(
        self, library: Any, device: SoundDevice, rate_hz: int, channels: int, pulse: Pulse, give: Give
    ) -> Any:
        capture = Capture(rate_hz)

        def callback(sound: npt.NDArray[np.float32], frames: int, time: Any, status: Any) -> None:
            length_s = frames / rate_hz
            at_s = self._now_s() - age_s(time, length_s, stream.latency)
            block = capture.block(sound, at_s, missing=status.input_overflow)
            pulse.beat()
            if block:
                give(block)

        stream = library.InputStream(
            device=device.index,
            samplerate=rate_hz,
            blocksize=round(rate_hz * CALLBACK_S),
            channels=channels,
            dtype="float32",
            latency="low",
            callback=callback,
            finished_callback=pulse.end,
            extra_settings=conversion(library, device),
        )
        return stream


def stopped(name: str) -> MissingError:
    """Return the error for a device that no longer gives sound."""
    return MissingError(
        "microphone_lost",
        f"{name} has stopped giving sound",
        fix="Plug it in again, or switch it on: it is found by itself.",
    )


def _absent(name: str, error: ValueError, there: list[str]) -> MissingError:
    choices = ", ".join(there)
    if str(error).startswith("Multiple"):
        return MissingError(
            "no_microphone",
            f"more than one microphone has {name!r} in its name",
            fix=f"Set ASR_INPUT to what only one of these names has in it: {choices}.",
        )
    other = f"part of one of these names: {choices}." if there else "none, to go on without."
    return MissingError(
        "no_microphone",
        f"there is no microphone {name!r}",
        fix=f"Plug it in: it is found by itself. Or set ASR_INPUT to {other}",
    )


def _refused(name: str, error: Exception) -> MissingError:
    if _code(error) == BUSY:
        return MissingError(
            "microphone_busy",
            f"{name} is in use by another program, which does not share it",
            fix="Close that program, or choose another microphone (ASR_INPUT). It is tried again by itself.",
        )
    return MissingError(
        "microphone_refused",
        f"{name} cannot be opened: {error}",
        fix=f"Plug it in again, and {PERMISSION}. It is tried again by itself.",
    )


def _code(error: Exception) -> int:
    return int(error.args[1]) if len(error.args) > 1 else 0
