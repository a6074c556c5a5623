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
from apps.shared.messages import (
    BusMessage,
    Cancel,
    Delivery,
    Finish,
    Health,
    Message,
    Output,
    SetDelivery,
    SetVoice,
    Speak,
)
from apps.shared.process import run_worker
from apps.shared.settings import Settings
from apps.tts_worker.cache import AudioCache
from apps.tts_worker.outputs import PacedOutput, open_output
from apps.tts_worker.playout import Mark, Playout
from apps.tts_worker.speaker import Speaker
from apps.tts_worker.switch import VoiceSwitch
from apps.tts_worker.voice import suited
from apps.tts_worker.voices import FALLBACK

log = structlog.get_logger()


class Tts:
    """Loads the voice, then speaks; changes the voice when it is told to, and when the voice fails.

    thread: where speech is synthesised, one job at a time. loader: where voices are loaded meanwhile; by
    itself a thread of its own, or `thread` when that is given.
    """

    module = "tts"

    def __init__(
        self,
        settings: Settings,
        send: Callable[[Message], None],
        now_s: Callable[[], float] = shared_clock,
        thread: Executor | None = None,
        loader: Executor | None = None,
    ) -> None:
        self._settings = settings
        self._send = send
        self._now_s = now_s
        loader = loader or thread or ThreadPoolExecutor(1, "loading")
        self._thread = thread or ThreadPoolExecutor(1, "synthesis")
        self._switch = VoiceSwitch(settings, send, self._changed, self._thread, loader)
        self._speaker: Speaker | None = None
        self._playout: Playout | None = None
        self._silent: AivtError | None = None  # why nobody can hear her
        self._wish = Output(muted=False, held=False)
        self._delivery = Delivery()

    async def run(self) -> None:
        """Load the voice and play, for ever. Raises SettingsError for settings that cannot be used."""
        settings, loop, switch = self._settings, asyncio.get_running_loop(), self._switch
        voice = await switch.start()

        own_thread = threading.get_ident()

        def marked(mark: Mark) -> None:  # called on whichever thread draws the sound
            here = threading.get_ident() == own_thread
            (loop.call_soon if here else loop.call_soon_threadsafe)(speaker.marked, mark)

        playout = self._playout = Playout(voice.sample_rate_hz, marked)
        cache = AudioCache(settings.aivt_data_dir / "cache" / "speech", settings.tts_cache_mb * 1_000_000)
        speaker = Speaker(switch, cache, playout, self._send, self._now_s, self._thread)
        self._obey(self._wish)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._play(speaker, playout))
                group.create_task(switch.run())
        finally:
            speaker.stop()
            self._thread.shutdown(wait=True, cancel_futures=True)
            switch.close()

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

    def _changed(self) -> None:
        if self._speaker:
            self._send(self.health())

    def health(self) -> Health:
        """How the voice is."""
        voice = self._switch.in_use
        if self._speaker is None or voice is None:
            return Health(state="starting", ready=False, reason="loading the voice")
        output = self._speaker.output
        instead = self._switch.trouble
        _, odd = suited(voice, self._delivery)
        trouble = self._silent or instead or odd or voice.trouble or (output.trouble if output else None)
        reason = str(trouble or "")
        if trouble and trouble is instead and voice.engine == FALLBACK:
            reason = f"espeak speaks instead: {reason}"
        return Health(
            state="down" if self._silent else "degraded" if trouble else "ok",
            ready=True,
            engine=voice.engine,
            model=voice.voice,
            reason=reason,
            fix=trouble.fix if trouble else "",
        )

    def joined(self) -> Iterable[Message]:
        """Which voice speaks, and which there are."""
        return (self._switch.told(),)

    def receive(self, message: BusMessage) -> None:
        """Take a message of the orchestrator."""
        if isinstance(message, Output):
            self._wish = message
            self._obey(message)
        elif isinstance(message, SetVoice):
            self._switch.want(message.name)
        elif isinstance(message, SetDelivery):
            self._delivery = message.delivery
            self._changed()
        if self._speaker is None:
            return
        match message:
            case Speak():
                self._speaker.speak(message, self._delivery)
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
            self._playout.hushed = wish.hushed
        if self._speaker and self._speaker.output:
            self._speaker.output.wake()


async def run(settings: Settings, _options: argparse.Namespace) -> None:
    """Speak until cancelled: `aivt run tts`."""
    client = Client(settings)
    worker = Tts(settings, client.send)
    await run_worker(worker, client, worker.run())
