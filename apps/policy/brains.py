"""Which brain answers: the wanted one as soon as it is there, the scripted one until then."""

import asyncio

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
    """Holds the brain in use and the one that is wanted. Raises SettingsError for an unknown engine."""

    def __init__(self, settings: Settings) -> None:
        name = "scripted" if settings.use_stub_policy else settings.policy_engine
        self._auto = name == "auto"
        self._wanted: Brain = engine_class("POLICY_ENGINE", AUTO if self._auto else name, KNOWN)(settings)
        self._fallback = Scripted(settings)
        self.current: Brain | None = None
        self.ready = asyncio.Event()
        self._trouble: AivtError | None = None
        self._wake = asyncio.Event()

    async def run(self, sample: Prompt) -> None:
        """Bring up the wanted brain, and again whenever it fails, for ever. `sample`: a likely prompt."""
        await self._fallback.start(sample)
        starting = asyncio.create_task(self._start(sample))
        try:
            await asyncio.wait({starting}, timeout=PATIENCE_S)
            self.current = self.current or self._fallback
            self.ready.set()
            await starting
            while True:
                await self._wait_for_trouble()
                await self._start(sample)
        finally:
            starting.cancel()
            await self._wanted.close()
            await self._fallback.close()

    async def _wait_for_trouble(self) -> None:
        if self._trouble is None:
            self._wake.clear()
            await self._wake.wait()
        await asyncio.sleep(PROBE_S)

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
            if self._trouble is not None or self.current is not self._wanted:
                log.info("brain in use", engine=self._wanted.engine, model=self._wanted.model)
            self._trouble, self.current = None, self._wanted

    def failed(self, error: AivtError) -> None:
        """A reply has failed: the scripted brain takes over until the wanted one starts again."""
        if self.current is self._wanted and self._wanted.engine != self._fallback.engine:
            self._fall_back(error)
            self._wake.set()

    def _fall_back(self, error: AivtError) -> None:
        if str(error) != str(self._trouble):
            log.warning("scripted lines answer", code=error.code, reason=str(error), fix=error.fix)
        self._trouble, self.current = error, self._fallback

    def health(self) -> Health:
        """The light: which brain answers, and why it is not the wanted one."""
        brain = self.current
        if brain is None:
            reason = f"loading {self._wanted.engine} {self._wanted.model}".rstrip()
            return Health(state="starting", ready=False, engine=self._wanted.engine, reason=reason)
        if self._trouble is not None:
            return Health(
                state="ok" if self._auto else "degraded",
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
