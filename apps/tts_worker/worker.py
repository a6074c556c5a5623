"""The voice worker: speaks what it is told. Read this first."""

import argparse
import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor

import structlog

from apps.shared.client import Client
from apps.shared.clock import now_s as shared_clock
from apps.shared.errors import AivtError, MissingError
from apps.shared.messages import BusMessage, Cancel, Finish, Health, Message, Output, Speak
from apps.shared.process import run_worker
from apps.shared.settings import Settings
from apps.tts_worker import voices
from apps.tts_worker.cache import AudioCache
from apps.tts_worker.outputs import PacedOutput, open_output
from apps.tts_worker.playout import Mark, Playout
from apps.tts_worker.speaker import Speaker

log = structlog.get_logger()


class Tts:
    """Loads the voice, then speaks."""

    module = "tts"

    def __init__(
        self,
        settings: Settings,
        send: Callable[[Message], None],
        now_s: Callable[[], float] = shared_clock,
        thread: Executor | None = None,
    ) -> None:
        self._settings = settings
        self._send = send
        self._now_s = now_s
        self._thread = thread or ThreadPoolExecutor(1, "synthesis")
        self._speaker: Speaker | None = None
        self._playout: Playout | None = None
        self._loaded: voices.Loaded | None = None
        self._silent: AivtError | None = None  # why nobody can hear her
        self._wish = Output(muted=False, held=False)

    async def run(self) -> None:
        """Load the voice and play, for ever. Raises SettingsError for settings that cannot be used."""
        settings, loop = self._settings, asyncio.get_running_loop()
        loaded = await loop.run_in_executor(self._thread, lambda: voices.load(settings, fall_back=True))
        self._loaded = loaded

        own_thread = threading.get_ident()

        def marked(mark: Mark) -> None:  # called on whichever thread draws the sound
            here = threading.get_ident() == own_thread
            (loop.call_soon if here else loop.call_soon_threadsafe)(speaker.marked, mark)

        playout = self._playout = Playout(loaded.voice.sample_rate_hz, marked)
        cache = AudioCache(settings.aivt_data_dir / "cache" / "speech", settings.tts_cache_mb * 1_000_000)
        speaker = Speaker(loaded.voice, cache, playout, self._send, self._now_s, self._thread)
        self._obey(self._wish)
        try:
            await self._play(speaker, playout)
        finally:
            speaker.stop()
            self._thread.shutdown(wait=True, cancel_futures=True)
            loaded.voice.close()

    async def _play(self, speaker: Speaker, playout: Playout) -> None:
        """Play to the wanted output; without it go on silently, in real time, under a red light."""
        settings = self._settings
        try:
            speaker.output = open_output(settings.tts_output, settings.tts_monitor, playout, self._now_s)
            self._begin(speaker)
            await speaker.output.run()
        except MissingError as error:
            self._silent = error
            log.error("nobody can hear her", code=error.code, reason=str(error), fix=error.fix)
        speaker.output = PacedOutput(playout, self._now_s)
        self._begin(speaker)
        speaker.output.wake()
        await speaker.output.run()

    def _begin(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._send(self.health())

    def health(self) -> Health:
        """How the voice is."""
        if self._speaker is None or self._loaded is None:
            return Health(state="starting", ready=False, reason="loading the voice")
        voice = self._loaded.voice
        output = self._speaker.output
        trouble = self._silent or self._loaded.trouble or (output.trouble if output else None)
        return Health(
            state="down" if self._silent else "degraded" if trouble else "ok",
            ready=True,
            engine=voice.engine,
            model=voice.voice,
            reason=str(trouble or ""),
            fix=trouble.fix if trouble else "",
        )

    def joined(self) -> Iterable[Message]:
        """Nothing beside health."""
        return ()

    def receive(self, message: BusMessage) -> None:
        """Take a message of the orchestrator."""
        if isinstance(message, Output):
            self._wish = message
            self._obey(message)
        if self._speaker is None:
            return
        match message:
            case Speak():
                self._speaker.speak(message)
            case Finish(turn_id=turn_id):
                self._speaker.finish(turn_id)
            case Cancel(turn_id=turn_id):
                self._speaker.cancel(turn_id)
            case _:
                pass

    def lost(self) -> None:
        """The orchestrator is gone: what it wanted said is stale."""
        if self._speaker:
            self._speaker.stop()

    def _obey(self, wish: Output) -> None:
        if self._playout:
            self._playout.gain = 0.0 if wish.muted else self._settings.tts_volume
            self._playout.held = wish.held
        if self._speaker and self._speaker.output:
            self._speaker.output.wake()


async def run(settings: Settings, _options: argparse.Namespace) -> None:
    """Speak until cancelled: `aivt run tts`."""
    client = Client(settings)
    worker = Tts(settings, client.send)
    await run_worker(worker, client, worker.run())
