"""Which voice speaks: the wanted one as soon as it is there, espeak until then.

Voices are loaded on a thread of their own while another one speaks. What is spoken with is changed on the
synthesis thread alone, between two pieces, so that none is lost, said twice or said by a closed voice.
"""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

import structlog

from apps.shared.errors import AivtError, SettingsError
from apps.shared.messages import Message, Voices
from apps.shared.settings import Settings
from apps.tts_worker import voices
from apps.tts_worker.engines.piper import stamp
from apps.tts_worker.voice import Voice

PROBE_S = 10.0  # how often a voice that is not there is looked for, and one that failed is loaded again

log = structlog.get_logger()


class _Goal(NamedTuple):
    """A voice that may be loaded; another one when its files change."""

    engine: str
    files: tuple[object, ...]


class VoiceSwitch:
    """Holds the voice that speaks and brings the wanted one up; `changed` is called when the light does.

    `voice` and `failed` belong to the synthesis thread, the rest to the event loop.
    """

    def __init__(
        self,
        settings: Settings,
        send: Callable[[Message], None],
        changed: Callable[[], None],
        thread: Executor,
        loader: Executor,
    ) -> None:
        self._settings = settings
        self._send = send
        self._changed = changed
        self._thread = thread
        self._loader = loader
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rate_hz = 0  # the playout's: that of the first voice
        self._wish = ""  # whose voice it is to be: a name, or the settings' choice
        self._asked: str | None = None  # a wish that has not been answered yet
        self._news = asyncio.Event()
        self._met: _Goal | None = None  # what `in_use` was loaded as; None when it stands in for another
        self._tried: _Goal | None = None  # what could not be loaded, not worth another try as it is
        self._spare: Voice | None = None
        self.voice: Voice | None = None
        self.in_use: Voice | None = None  # `voice`, as far as the event loop has heard
        self.trouble: AivtError | None = None  # why it is not the wanted one

    async def start(self) -> Voice:
        """Load the wanted voice, else espeak. Raises SettingsError for settings that cannot be used."""
        self._loop = asyncio.get_running_loop()
        goal = _goal(self._settings)
        try:
            voice = await self._loaded(self._settings)
        except SettingsError:
            raise
        except AivtError as error:
            if goal.engine == voices.FALLBACK:
                raise
            self._missed(goal, error)
            voice = await self._loaded(voices.standing_in(self._settings))
        else:
            self._met = goal
        self._rate_hz = voice.sample_rate_hz
        self.voice = self.in_use = voice
        self._tell(voice)
        return voice

    async def run(self) -> None:
        """Obey wishes, and bring the wanted voice up while it is not the one in use, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await self._news.wait()
            self._news.clear()
            while self._asked is not None:
                await self._obey(self._asked)
            await self._recover()

    def want(self, name: str) -> None:
        """Speak with this voice once it is loaded; "": with the one that the settings want.

        Answered by `Voices`; of several wishes that come while a voice is being loaded, the last one is
        obeyed and answered. A wish that cannot be met leaves everything as it is.
        """
        self._asked = name
        self._news.set()

    def close(self) -> None:
        """Let go of the voice, once nobody speaks any more."""
        self._loader.shutdown(wait=False, cancel_futures=True)
        if self.voice:
            _close(self.voice)

    def told(self, error: AivtError | None = None) -> Voices:
        """Which voice speaks, and which there are; `error`: why a wish was not met."""
        return Voices(
            name=voices.name_of(self.in_use) if self.in_use else "",
            names=voices.names(self._settings),
            code=error.code if error else "",
            reason=str(error or ""),
            fix=error.fix if error else "",
        )

    # --- on the synthesis thread ---

    def failed(self, voice: Voice, error: AivtError) -> Voice | None:
        """Return who speaks instead of a voice that could not, from now on; None when nobody is left."""
        assert self._loop
        if voice.engine == voices.FALLBACK:
            return None
        if self._spare is None:
            try:
                self._spare = _load(voices.standing_in(self._settings), self._rate_hz)
            except AivtError as also:
                log.error("espeak cannot stand in", code=also.code, reason=str(also), fix=also.fix)
                self._loop.call_soon_threadsafe(self._fell_back, voice, error)
                return None
        self.voice = self._spare
        self._loop.call_soon_threadsafe(self._fell_back, self._spare, error)
        _close(voice)
        return self._spare

    # --- on the event loop ---

    async def _obey(self, name: str) -> None:
        try:
            settings = voices.chosen(self._settings, name)
            goal = _goal(settings)
            voice = None if goal == self._met else await self._loaded(settings)
        except AivtError as error:
            log.warning("voice kept", wanted=name, code=error.code, reason=str(error), fix=error.fix)
            self._answer(name, error)
            return
        if self._asked != name:
            self._discard(voice)
            return
        self._wish = name
        if voice:
            await self._change(voice, goal)
        self._answer(name)

    def _answer(self, name: str, error: AivtError | None = None) -> None:
        if self._asked == name:  # else a later wish is answered
            self._asked = None
            self._send(self.told(error))

    async def _recover(self) -> None:
        """Load the wanted voice if it is not the one in use, and worth a try."""
        goal = None
        try:
            settings = voices.chosen(self._settings, self._wish)
            goal = _goal(settings)
            if not self._lacking(goal) or goal == self._tried:
                return
            voice = await self._loaded(settings)
        except AivtError as error:
            self._missed(goal, error)
            return
        if self._asked is None:
            await self._change(voice, goal)
        else:
            self._discard(voice)

    def _lacking(self, goal: _Goal) -> bool:
        """Whether the voice in use stands in for another, or `auto` has found a better one than espeak."""
        return self._met is None or self._met.engine == voices.FALLBACK != goal.engine

    async def _loaded(self, settings: Settings) -> Voice:
        assert self._loop
        return await self._loop.run_in_executor(self._loader, _load, settings, self._rate_hz)

    async def _change(self, voice: Voice, goal: _Goal) -> None:
        """Speak with `voice` once the synthesis thread has done what it was given before."""
        assert self._loop
        loop = self._loop

        def change() -> None:
            old, self.voice = self.voice, voice
            # Told from here, so that the loop hears of it before it hears of this voice's own failures.
            loop.call_soon_threadsafe(self._changed_over, voice, goal)
            if old and old is not self._spare:
                _close(old)

        await loop.run_in_executor(self._thread, change)

    def _changed_over(self, voice: Voice, goal: _Goal) -> None:
        self._met, self._tried, self.trouble = goal, None, None
        self._use(voice)

    def _fell_back(self, speaks: Voice, error: AivtError) -> None:
        """A voice could not speak: what was wanted is no longer in use."""
        self._met, self._tried, self.trouble = None, None, error
        self._use(speaks)

    def _missed(self, goal: _Goal | None, error: AivtError) -> None:
        """The wanted voice could not be loaded."""
        worth_another_try = error.retryable or (goal is not None and goal.engine != "piper")
        self._met, self._tried = None, None if worth_another_try else goal
        if str(error) == str(self.trouble):
            return
        log.warning("espeak speaks instead", code=error.code, reason=str(error), fix=error.fix)
        self.trouble = error
        self._changed()

    def _use(self, voice: Voice) -> None:
        self.in_use = voice
        self._changed()
        self._tell(voice)

    def _tell(self, voice: Voice) -> None:
        log.info("voice in use", engine=voice.engine, voice=voice.voice)
        if self._asked is None:  # else this would be taken for the answer
            self._send(self.told())

    def _discard(self, voice: Voice | None) -> None:
        """A voice that nobody wants any more."""
        if voice:
            self._loader.submit(_close, voice)


def _goal(settings: Settings) -> _Goal:
    engine = voices.wanted(settings)
    return _Goal(engine, stamp(settings) if engine == "piper" else ())


def _load(settings: Settings, rate_hz: int) -> Voice:
    """Load a voice and fit it to the playout's rate; 0: whatever it is."""
    try:
        voice = voices.load(settings)
    except AivtError:
        raise
    except Exception as error:  # the thread's edge: a voice of the user's own may raise anything
        log.error("voice crashed while it was loaded", exc_info=error)
        raise voices.crashed(voices.wanted(settings), error) from error
    if rate_hz in {0, voice.sample_rate_hz}:
        return voice
    from apps.tts_worker.resampled import Resampled  # noqa: PLC0415 - few shows need the resampler

    return Resampled(voice, rate_hz)


def _close(voice: Voice) -> None:
    try:
        voice.close()
    except Exception as error:  # the thread's edge: it is out of use, whatever is wrong with it
        log.error("voice could not be closed", voice=voice.voice, exc_info=error)
