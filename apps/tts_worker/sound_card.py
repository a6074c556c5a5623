"""Sound cards, by PortAudio: the one that is wanted, and a second one that may play the same."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from apps.shared.errors import AivtError, MissingError
from apps.tts_worker.playout import Playout, Samples

MONITOR_FRAMES = 25  # half a second between two devices' clocks, then the oldest frames go
WATCH_S = 1.0  # not every driver says that its device was unplugged: the callbacks just stop

log = structlog.get_logger()


class SoundCard:
    """An output (see outputs.Output). Raises MissingError when the device cannot be opened.

    A second device that cannot be opened or is lost is trouble, and no reason to stop playing.
    """

    def __init__(self, playout: Playout, now_s: Callable[[], float], name: str, monitor: str = "") -> None:
        self._playout = playout
        self._now_s = now_s
        self._sounddevice = _portaudio()
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._frames = self._frames_copied = 0  # callbacks so far, of either device
        self._copies: deque[Samples] = deque(maxlen=MONITOR_FRAMES)
        self.trouble: AivtError | None = None
        self._main = self._stream("TTS_OUTPUT", name, self._on_frame, self._on_finished)
        self._monitor = self._second(monitor) if monitor not in {"", "none"} else None

    def wake(self) -> None:
        """Nothing to do: the device asks by itself."""

    def turn_over(self, turn_id: str) -> None:
        """Nothing is kept."""

    async def run(self) -> None:
        """Play until the device is lost, which raises MissingError."""
        try:
            self._start()
            await self._until_lost()
        finally:
            for stream in (self._main, self._monitor):
                if stream:
                    stream.close(ignore_errors=True)
        raise _lost("the sound device")

    def _start(self) -> None:
        try:
            self._main.start()
        except self._sounddevice.PortAudioError as error:
            raise _no_device("TTS_OUTPUT", str(error)) from error
        try:
            if self._monitor:
                self._monitor.start()
        except self._sounddevice.PortAudioError as error:
            self._without_second(_no_device("TTS_MONITOR", str(error)))

    async def _until_lost(self) -> None:
        """Wait for the end of the stream, or for callbacks that no longer come."""
        seen = seen_copied = -1
        while seen != self._frames and not self._ended.is_set():
            if self._monitor and not self.trouble and seen_copied == self._frames_copied:
                self._without_second(_lost("the second sound device (TTS_MONITOR)"))
            seen, seen_copied = self._frames, self._frames_copied
            # Not wait_for: on Python 3.11 it loses a cancellation that comes just as the stream ends.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WATCH_S):
                    await self._ended.wait()

    def _second(self, name: str) -> Any:
        try:
            return self._stream("TTS_MONITOR", name, self._on_copy)
        except MissingError as error:
            self._without_second(error)
            return None

    def _without_second(self, error: MissingError) -> None:
        log.warning("the second output is silent", code=error.code, reason=str(error), fix=error.fix)
        self.trouble = error

    def _stream(
        self,
        setting: str,
        name: str,
        callback: Callable[..., None],
        finished: Callable[[], None] | None = None,
    ) -> Any:
        try:
            device = self._device(name)
            return self._sounddevice.OutputStream(
                device=device,
                samplerate=self._playout.sample_rate_hz,
                blocksize=self._playout.frame_samples,
                channels=1,
                dtype="int16",
                latency="low",
                callback=callback,
                finished_callback=finished,
                extra_settings=self._any_rate(device),
            )
        except (self._sounddevice.PortAudioError, ValueError) as error:
            names = sorted({str(device["name"]) for device in self._outputs()})
            raise _no_device(setting, f"{name or 'the default output'}: {error}", names) from error

    def _device(self, name: str) -> int | str | None:
        """Windows lists a device once per host API: take the default output's, else the first that has it."""
        if not name:
            return None
        matching = [one for one in self._outputs() if name.lower() in one["name"].lower()]
        apis = [one["hostapi"] for one in matching]
        usual = self._usual_api()
        api = usual if usual in apis else min(apis, default=usual)
        same = [int(one["index"]) for one in matching if one["hostapi"] == api]
        # Otherwise sounddevice looks: it takes "NAME, HOST API" too, and says what is ambiguous.
        return same[0] if len(same) == 1 else name

    def _usual_api(self) -> int:
        try:
            return int(self._sounddevice.query_devices(kind="output")["hostapi"])
        except self._sounddevice.PortAudioError:  # there is no default, but perhaps the one that is named
            return 0

    def _any_rate(self, device: int | str | None) -> Any:
        """WASAPI alone refuses every rate but its mixer's, unless it is told to convert."""
        api = self._sounddevice.query_devices(device, "output")["hostapi"]
        if "WASAPI" not in self._sounddevice.query_hostapis(api)["name"]:
            return None
        return self._sounddevice.WasapiSettings(auto_convert=True)

    def _outputs(self) -> list[Any]:
        return [one for one in self._sounddevice.query_devices() if one["max_output_channels"] > 0]

    def _on_frame(self, out: Samples, count: int, time: Any, _status: object) -> None:
        """PortAudio's thread: fill the buffer that will be heard at `time.outputBufferDacTime`."""
        delay_s = max(0.0, time.outputBufferDacTime - time.currentTime)
        frame = self._playout.frame(count, self._now_s() + delay_s)
        out[:, 0] = 0 if frame is None else frame
        self._frames += 1
        if self._monitor is not None:
            self._copies.append(out[:, 0].copy())

    def _on_copy(self, out: Samples, _count: int, _time: Any, _status: object) -> None:
        out[:, 0] = self._copies.popleft() if self._copies else 0
        self._frames_copied += 1

    def _on_finished(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: we stopped it ourselves
            self._loop.call_soon_threadsafe(self._ended.set)


def _portaudio() -> Any:
    try:
        import sounddevice  # noqa: PLC0415 - on Linux it raises without the system's PortAudio
    except OSError as error:
        raise MissingError(
            "no_portaudio",
            f"the sound library cannot be loaded: {error}",
            fix="Install it (Debian, Ubuntu: sudo apt install libportaudio2), or set TTS_OUTPUT=none.",
        ) from error
    return sounddevice


def _lost(which: str) -> MissingError:
    return MissingError(
        "sound_device_lost", f"{which} has stopped", fix="Plug it in again, then start the show again."
    )


def _no_device(setting: str, reason: str, names: list[str] | None = None) -> MissingError:
    choices = f" Devices: {', '.join(names)}." if names else ""
    return MissingError(
        "no_sound_device",
        f"no sound output: {reason}",
        fix=f"Set {setting} to part of a device's name, or to none.{choices}",
    )
