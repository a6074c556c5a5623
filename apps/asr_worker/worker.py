"""The ears: hear the streamer, tell what was said. Read this first.

Sound goes source -> frames -> echo, conditioning, voice activity -> endpoint -> decoder -> messages: see
hearing.py.
"""

import argparse
import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import structlog

from apps.asr_worker import recognisers
from apps.asr_worker.recogniser import Recogniser
from apps.asr_worker.sound import Block
from apps.asr_worker.sources import open_source
from apps.asr_worker.sources.source import Source
from apps.asr_worker.sources.wav import WavSource
from apps.asr_worker.vads import open_vad
from apps.asr_worker.voice_activity import Vad
from apps.shared.client import Client
from apps.shared.clock import now_s as shared_clock
from apps.shared.edge import known
from apps.shared.errors import AivtError, MissingError, SettingsError
from apps.shared.messages import (
    BusMessage,
    Ears,
    Health,
    HerVoice,
    Message,
    ModuleState,
    PlayFile,
    Vocabulary,
)
from apps.shared.process import run_worker
from apps.shared.settings import Settings

NOTHING_S = 1.0  # a microphone gives sound all the time
WAITS_S = 0.1  # enough for what waits already
PROBE_S = 10.0  # a model that is missing may have been downloaded
RETRY_S = 60.0  # one that does not load costs memory and time at each try

HEARD_ALL_THE_SAME = {"clipped"}  # troubles of a source that do not make her deaf
NO_SOURCE = AivtError(
    "no_source",
    "she listens to no microphone: ASR_INPUT=none",
    fix="Set ASR_INPUT to part of a microphone's name, or leave it empty.",
)
HEARD_TO_ITS_END = AivtError(
    "heard_to_its_end",
    "the recording of ASR_INPUT has been heard to its end",
    fix="Set ASR_INPUT to part of a microphone's name to hear on.",
)
SWITCHED_OFF = AivtError("ears_off", "her ears are switched off", fix="Switch them on in the panel.")

if TYPE_CHECKING:
    from apps.asr_worker.hearing import Hearing

log = structlog.get_logger()


class Asr:
    """Loads the recogniser once there is something to hear, then hears the source, or a recording meanwhile.

    thread: where sound is decoded, one job at a time. loader: where the recogniser is loaded; by itself a
    thread that nobody waits for, or `thread` when that is given.
    """

    module = "asr"

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
        self._loader = loader or thread or _Unawaited()
        self._thread = thread or ThreadPoolExecutor(1, "decoding")
        self._wanted = asyncio.Event()  # there is something to hear
        self._loaded = asyncio.Event()
        self._hearing: Hearing | None = None
        self._recogniser: Recogniser | None = None
        self._deaf: AivtError | None = None  # why there is no recogniser
        self._vad_trouble: AivtError | None = None
        self._source: Source | None = None
        self._sourceless = settings.asr_input.lower() == "none"
        self._over = False  # the source was a recording, and has been heard
        self._ears = Ears(on=True, push_to_talk=settings.asr_mode == "push")
        self._her: HerVoice | None = None
        self._words: tuple[str, ...] = ()
        self._file: asyncio.Task[None] | None = None  # heard instead of the source
        self._file_sounds = False  # it could be opened
        self._file_trouble: AivtError | None = None
        self._told: Health | None = None

    async def run(self) -> None:
        """Hear, for ever. Raises SettingsError for settings that cannot be used."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._load())
                self._source = open_source(self._settings, self._now_s, self._changed)
                self._sourceless = self._source is None
                self._changed()
                if self._source is not None:
                    self._wanted.set()
                    await self._loaded.wait()
                    await self._hear(self._source)
                    self._over = True
                    self._changed()
        finally:
            self._loader.shutdown(wait=False, cancel_futures=True)
            if self._hearing is not None:
                self._hearing.close()
            self._thread.shutdown(wait=True, cancel_futures=True)
            if self._recogniser is not None:
                self._recogniser.close()

    async def _load(self) -> None:
        """Load the recogniser when it is wanted; while it cannot be, try again now and then."""
        await self._wanted.wait()
        loop = asyncio.get_running_loop()
        while True:
            self._changed()
            try:
                loaded = await loop.run_in_executor(self._loader, _load, self._settings)
            except SettingsError:
                raise
            except AivtError as error:
                self._deaf = error
                log.error("she cannot hear", code=error.code, reason=str(error), fix=error.fix)
                self._changed()
                await asyncio.sleep(PROBE_S if isinstance(error, MissingError) else RETRY_S)
            else:
                break
        self._recogniser, vad, self._vad_trouble = loaded
        self._deaf = None
        from apps.asr_worker.hearing import Hearing  # noqa: PLC0415 - see _load

        hearing = Hearing(self._settings, self._recogniser, vad, self._send, self._now_s, self._thread)
        hearing.listen(self._ears)
        hearing.expect(self._words)
        if self._her is not None:
            hearing.she(self._her)
        self._hearing = hearing
        self._loaded.set()
        self._changed()
        await asyncio.Event().wait()  # keeps the task group, in which recordings are played

    async def _hear(self, source: Source, *, instead: bool = False) -> None:
        """Hear a source to its end; what comes while another is heard instead is dropped."""
        assert self._hearing is not None
        async with asyncio.TaskGroup() as group:
            running = group.create_task(source.run())
            over = False
            while not over:
                try:
                    block = await _next(source)
                except TimeoutError:  # unplugged in mid-word: whoever waits for the rest waits for ever
                    if instead or self._file is None:
                        self._hearing.end()
                    continue
                over = block is None
                if block is not None and (instead or self._file is None):
                    self._hearing.hear(block, source.lost_s)
                    self._file_sounds = instead
                self._changed()
            running.cancel()
        self._hearing.end()

    async def _play(self, message: PlayFile) -> None:
        await self._loaded.wait()
        assert self._hearing is not None
        try:
            source = WavSource(message.path, self._now_s, speed=message.speed)
            self._hearing.end()  # of what the microphone heard
            await self._hear(source, instead=True)
        except (AivtError, BaseExceptionGroup) as raised:
            error = known(raised)
            if error is None:
                raise
            self._file_trouble = error
            log.error("the recording cannot be heard", code=error.code, reason=str(error), fix=error.fix)
        finally:
            if self._file is asyncio.current_task():
                self._file = None
            self._changed()

    def _changed(self) -> None:
        health = self.health()
        if health != self._told:
            self._told = health
            self._send(health)

    def health(self) -> Health:
        """How the ears are."""
        if self._sourceless and self._file is None:
            return _light("degraded" if self._file_trouble else "off", self._file_trouble or NO_SOURCE)
        if self._deaf is not None:
            return _light("off" if isinstance(self._deaf, MissingError) else "down", self._deaf)
        if self._hearing is None or self._recogniser is None:
            reason = f"loading {self._settings.asr_model or 'what she hears with'}"
            return _light("starting", AivtError("loading", reason))
        recogniser, lost = self._recogniser, None
        if self._file is not None and not self._file_sounds:
            return _light("starting", AivtError("opening", "opening the recording"), recogniser)
        if self._file is None and self._source is not None:
            lost = self._source.trouble
            if lost is not None and lost.code not in HEARD_ALL_THE_SAME:
                return _light("down", lost, recogniser)
            if self._over:
                return _light("off", HEARD_TO_ITS_END, recogniser)
        if not self._ears.on:
            return _light("off", SWITCHED_OFF, recogniser)
        trouble = (
            lost or self._hearing.trouble or recogniser.trouble or self._vad_trouble or self._file_trouble
        )
        return _light("degraded" if trouble else "ok", trouble, recogniser, ready=True)

    def joined(self) -> Iterable[Message]:
        """Nothing beside health."""
        return ()

    def receive(self, message: BusMessage) -> None:
        """Take a message of the orchestrator."""
        hearing = self._hearing
        match message:
            case Ears():
                self._ears = message
                if hearing is not None:
                    hearing.listen(message)
                self._changed()
            case HerVoice():
                self._her = message
                if hearing is not None:
                    hearing.she(message)
            case Vocabulary(words=words):
                self._words = words
                if hearing is not None:
                    hearing.expect(words)
            case PlayFile():
                self._stop_file()
                self._file_sounds, self._file_trouble = False, None
                self._wanted.set()
                self._file = self._tasks.create_task(self._play(message))
                self._changed()
            case _:
                pass

    def lost(self) -> None:
        """The orchestrator is gone: what is being said is for nobody, and a held key may have been let go."""
        self._stop_file()
        self._ears = Ears(on=self._ears.on, push_to_talk=self._ears.push_to_talk)
        self._her = HerVoice(sounding=False, at_s=self._now_s())
        if self._hearing is not None:
            self._hearing.listen(self._ears)
            self._hearing.she(self._her)
            self._hearing.forget()

    def _stop_file(self) -> None:
        if self._file is not None:
            self._file.cancel()
            self._file = None


class _Unawaited(Executor):
    """Runs each call on a thread of its own that the end of the process does not wait for.

    A model may take a minute to load, and Ctrl+C must not take as long.
    """

    def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - what an executor does
                future.set_exception(error)

        future.set_running_or_notify_cancel()
        threading.Thread(target=run, name="loading", daemon=True).start()
        return future


async def _next(source: Source) -> Block | None:
    """Return the next sound. Raises TimeoutError when none comes, and not when it was we who were held up."""
    try:
        async with asyncio.timeout(NOTHING_S):
            return await source.read()
    except TimeoutError:
        async with asyncio.timeout(WAITS_S):
            return await source.read()


def _light(
    state: ModuleState,
    trouble: AivtError | None,
    recogniser: Recogniser | None = None,
    *,
    ready: bool = False,
) -> Health:
    return Health(
        state=state,
        ready=ready,
        engine=recogniser.engine if recogniser else "",
        model=recogniser.model if recogniser else "",
        reason=str(trouble or ""),
        fix=trouble.fix if trouble else "",
    )


def _load(settings: Settings) -> tuple[Recogniser, Vad, AivtError | None]:
    """Blocking, for up to a minute. Raises MissingError, EngineError, SettingsError."""
    recogniser = recognisers.load(settings)
    # With what it needs 6 MB, and a newcomer has no model.
    import apps.asr_worker.hearing  # noqa: F401, PLC0415 - see above

    try:
        vad = open_vad(settings.asr_vad)
    except AivtError:
        recogniser.close()
        raise
    return recogniser, vad, vad.trouble


async def run(settings: Settings, _options: argparse.Namespace) -> None:
    """Hear until cancelled: `aivt run asr`."""
    client = Client(settings)
    worker = Asr(settings, client.send)
    await run_worker(worker, client, worker.run())
