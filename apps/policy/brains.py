"""Which brain answers: the wanted one as soon as it is there, the scripted one until then."""

import asyncio
from collections.abc import Callable

import structlog

from apps.policy.brain import Brain
from apps.policy.engines.scripted import Scripted
from apps.policy.prompt import Prompt
from apps.shared.engines import engine_class
from apps.shared.errors import AivtError, SettingsError
from apps.shared.messages import Health
from apps.shared.settings import Settings

KNOWN = {
    "ollama": "apps.policy.engines.ollama:Ollama",
    "scripted": "apps.policy.engines.scripted:Scripted",
}
AUTO = "ollama"  # what `auto` takes when it is there

PATIENCE_S = 8.0  # how long the show's start waits for a model that is being loaded
START_LIMIT_S = 180.0  # a large model from a slow disk
PROBE_S = 10.0  # how often a brain that was missing is looked for

log = structlog.get_logger()


class Brains:
    """Holds the brain in use and the one that is wanted; `changed` is called when the light does.

    Raises SettingsError for an unknown engine, MissingError for one that cannot be imported.
    """

    def __init__(self, settings: Settings, changed: Callable[[], None]) -> None:
        name = "scripted" if settings.use_stub_policy else settings.policy_engine
        self._auto = name == "auto"
        self._wanted: Brain = engine_class("POLICY_ENGINE", AUTO if self._auto else name, KNOWN)(settings)
        self._fallback = Scripted(settings)
        self._changed = changed
        self._trouble: AivtError | None = None
        self._in_trouble = asyncio.Event()
        self._was_up = False  # the wanted brain has answered in this show
        self.current: Brain | None = None
        self.ready = asyncio.Event()

    async def run(self, sample: Prompt) -> None:
        """Bring up the wanted brain, and again whenever it fails, for ever. `sample`: a likely prompt."""
        await self._fallback.start(sample)
        patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._wait_no_longer)
        try:
            while True:
                await self._start(sample)
                await self._in_trouble.wait()
                await asyncio.sleep(PROBE_S)
        finally:
            patience.cancel()
            await self._wanted.close()
            await self._fallback.close()

    def _wait_no_longer(self) -> None:
        if self.current is None:
            self._use(self._fallback)

    async def _start(self, sample: Prompt) -> None:
        try:
            async with asyncio.timeout(START_LIMIT_S):
                await self._wanted.start(sample)
        except SettingsError:
            raise
        except AivtError as error:
            self._fall_back(error)
        except TimeoutError:
            reason = f"{self._wanted.engine} did not start within {START_LIMIT_S:.0f} s"
            self._fall_back(AivtError("start_timeout", reason, fix="Choose a smaller POLICY_MODEL."))
        else:
            self._trouble, self._was_up = None, True
            self._in_trouble.clear()
            self._use(self._wanted)

    def failed(self, error: AivtError) -> None:
        """A reply has failed: the scripted brain takes over until the wanted one starts again."""
        if self.current is self._wanted and self._wanted.engine != self._fallback.engine:
            self._fall_back(error)

    def _fall_back(self, error: AivtError) -> None:
        if str(error) != str(self._trouble):
            log.warning("scripted lines answer", code=error.code, reason=str(error), fix=error.fix)
        self._trouble = error
        self._in_trouble.set()
        self._use(self._fallback)

    def _use(self, brain: Brain) -> None:
        if self.current is not brain:
            log.info("brain in use", engine=brain.engine, model=brain.model)
        self.current = brain
        self.ready.set()
        self._changed()

    def health(self) -> Health:
        """The light: which brain answers, and why it is not the wanted one."""
        brain = self.current
        if brain is None:
            reason = f"loading {self._wanted.engine} {self._wanted.model}".rstrip()
            return Health(state="starting", ready=False, engine=self._wanted.engine, reason=reason)
        if self._trouble is not None:
            return Health(
                state="ok" if self._auto and not self._was_up else "degraded",
                ready=True,
                engine=brain.engine,
                model=brain.model,
                reason=f"scripted lines answer: {self._trouble}",
                fix=self._trouble.fix,
            )
        loading = brain is not self._wanted
        return Health(
            state="starting" if loading else "ok",
            ready=True,
            engine=brain.engine,
            model=brain.model,
            reason=f"loading {self._wanted.model or self._wanted.engine}" if loading else "",
        )
