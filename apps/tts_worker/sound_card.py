"""Sound cards, by PortAudio: the one that is wanted, and a second one that may play the same."""

from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from apps.shared.errors import AivtError, MissingError
from apps.shared.sound_devices import Pulse, choose, conversion, no_output, portaudio
from apps.tts_worker.playout import Playout, Samples

MONITOR_FRAMES = 25  # half a second between two devices' clocks, then the oldest frames go

log = structlog.get_logger()


class SoundCard:
    """An output (see outputs.Output). Raises MissingError when the device cannot be opened.

    A second device that cannot be opened or is lost is trouble, and no reason to stop playing.
    """

    def __init__(self, playout: Playout, now_s: Callable[[], float], name: str, monitor: str = "") -> None:
        self._playout = playout
        self._now_s = now_s
        self._sounddevice = portaudio("TTS_OUTPUT")
        self._pulse, self._second_pulse = Pulse(), Pulse()
        self._copies: deque[Samples] = deque(maxlen=MONITOR_FRAMES)
        self.trouble: AivtError | None = None
        self._main = self._stream("TTS_OUTPUT", name, self._on_frame, self._pulse.end)
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
            raise no_output(self._sounddevice, "TTS_OUTPUT", str(error)) from error
        try:
            if self._monitor:
                self._monitor.start()
        except self._sounddevice.PortAudioError as error:
            self._without_second(no_output(self._sounddevice, "TTS_MONITOR", str(error)))

    async def _until_lost(self) -> None:
        """Wait for the end of the stream, or for callbacks that no longer come."""
        while await self._pulse.lasts():
            if self._monitor and not self.trouble and self._second_pulse.still():
                self._without_second(_lost("the second sound device (TTS_MONITOR)"))

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
        library = self._sounddevice
        try:
            device = choose(library, "output", name)
            return library.OutputStream(
                device=device.index,
                samplerate=self._playout.sample_rate_hz,
                blocksize=self._playout.frame_samples,
                channels=1,
                dtype="int16",
                latency="low",
                callback=callback,
                finished_callback=finished,
                extra_settings=conversion(library, device),
            )
        except (library.PortAudioError, ValueError) as error:
            reason = f"{name or 'the default output'}: {error}"
            raise no_output(library, setting, reason) from error

    def _on_frame(self, out: Samples, count: int, time: Any, _status: object) -> None:
        """PortAudio's thread: fill the buffer that will be heard at `time.outputBufferDacTime`."""
        delay_s = max(0.0, time.outputBufferDacTime - time.currentTime)
        frame = self._playout.frame(count, self._now_s() + delay_s)
        out[:, 0] = 0 if frame is None else frame
        self._pulse.beat()
        if self._monitor is not None:
            self._copies.append(out[:, 0].copy())

    def _on_copy(self, out: Samples, _count: int, _time: Any, _status: object) -> None:
        out[:, 0] = self._copies.popleft() if self._copies else 0
        self._second_pulse.beat()


def _lost(which: str) -> MissingError:
    return MissingError(
        "sound_device_lost", f"{which} has stopped", fix="Plug it in again, then start the show again."
    )
