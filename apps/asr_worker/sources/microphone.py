"""The microphone as a source: watched, and found again when it was unplugged."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

import structlog

from apps.asr_worker.sound import Block
from apps.asr_worker.sources.input_device import InputDevice, stopped
from apps.asr_worker.sources.quality import Quality
from apps.asr_worker.sources.ring import Ring
from apps.shared.errors import AivtError, MissingError
from apps.shared.sound_devices import Pulse

HELD_S = 10.0  # of sound that nobody has fetched: who is further behind will not catch up in a conversation
START_S = 5.0  # a Bluetooth headset takes seconds to change over to its microphone
FIRST_RETRY_S, LAST_RETRY_S = 0.5, 8.0

log = structlog.get_logger()


class Microphone:
    """A Source. `wanted`: part of the device's name; "": the system's default device.

    on_change: called on the event loop when `name` or `trouble` has changed.
    thread: where PortAudio is called, one call at a time; by itself a thread of its own.
    """

    def __init__(
        self,
        wanted: str,
        now_s: Callable[[], float],
        on_change: Callable[[], None],
        thread: Executor | None = None,
    ) -> None:
        self.name = wanted or "the default microphone"
        self.trouble: AivtError | None = None
        self.lost_s = 0.0
        self._device = InputDevice(wanted, now_s)
        self._on_change = on_change
        self._thread = thread or ThreadPoolExecutor(1, "microphone")
        self._own_thread = thread is None
        self._loop = asyncio.get_running_loop()
        self._ring = Ring(HELD_S)
        self._awake = asyncio.Event()
        self._over = False
        self._gone: AivtError | None = None  # why nothing comes
        self._quality = Quality()
        self._told = ("", "", "")

    async def run(self) -> None:
        """See Source. Runs for ever, once."""
        retry_s = FIRST_RETRY_S
        try:
            while True:
                pulse = Pulse()
                error = await self._listen(pulse)
                if pulse.beats:
                    retry_s = FIRST_RETRY_S
                self._tell(error)
                await self._loop.run_in_executor(self._thread, self._device.close)
                await asyncio.sleep(retry_s)
                retry_s = min(2 * retry_s, LAST_RETRY_S)
        finally:
            self._over = True
            self._awake.set()
            self._thread.submit(self._device.close)  # also one that is only being opened right now
            if self._own_thread:
                self._thread.shutdown(wait=False)

    async def read(self) -> Block | None:
        """See Source. For one reader."""
        await asyncio.sleep(0)  # who is behind finds sound at once, and must still let others have their turn
        while (block := self._ring.take()) is None:
            if self._over:
                return None
            self._awake.clear()
            await self._awake.wait()
        self.lost_s = self._ring.lost_s
        self._quality.add(block.samples)
        self._tell(self._gone)
        return block

    async def _listen(self, pulse: Pulse) -> MissingError:
        """Open the device and wait for its loss; return why nothing comes."""
        try:
            self.name = await self._loop.run_in_executor(self._thread, self._device.open, pulse, self._give)
        except MissingError as error:
            return error
        if await pulse.begins(START_S):
            self._quality = Quality()
            self._tell(None)
            while await pulse.lasts():
                pass
        return stopped(self.name)

    def _give(self, block: Block) -> None:
        self._ring.put(block)
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._awake.set)

    def _tell(self, gone: AivtError | None) -> None:
        """Say which device it is and what is wrong, if that has changed."""
        self._gone = gone
        trouble = gone or self._quality.trouble
        state = (self.name, trouble.code, str(trouble)) if trouble else (self.name, "", "")
        if state != self._told:
            self._told = state
            self.trouble = trouble
            if trouble:
                log.warning("the ears", code=trouble.code, reason=str(trouble), fix=trouble.fix)
            else:
                log.info("listening", device=self.name)
            self._on_change()
