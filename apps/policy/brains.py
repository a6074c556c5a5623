"""Which brain answers: the best of a chain that is there, from the wanted one down to the scripted one."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from apps.policy.brain import Brain
from apps.policy.idle import Idle
from apps.policy.prompt import Prompt
from apps.shared.engines import engine_class
from apps.shared.errors import AivtError, SettingsError
from apps.shared.messages import Health
from apps.shared.settings import Settings

KNOWN = {
    "ollama": "apps.policy.engines.ollama:Ollama",
    "llamacpp": "apps.policy.engines.llamacpp:LlamaCpp",
    "openai": "apps.policy.engines.openai:OpenAI",
    "scripted": "apps.policy.engines.scripted:Scripted",
}
# What `auto` wants first. `openai` never comes by itself: many computers have its settings for another
# program, and they may lead to a cloud.
AUTO = "ollama"
LAST = "scripted"  # fails only for who has edited its lines

PATIENCE_S = 8.0  # how long the show's start waits for a model that is being loaded
START_LIMIT_S = 180.0  # a large model from a slow disk
PROBE_S = 10.0  # how often a brain that is missing is looked for
FALLS_COUNTED = 6  # one that starts, and fails at each reply, is tried ever more rarely: every five minutes

log = structlog.get_logger()


def chain(settings: Settings) -> tuple[str, ...]:
    """Return the engines in the order in which they are wanted, the scripted one last."""
    name = LAST if settings.use_stub_policy else settings.policy_engine
    if name == LAST:
        return (LAST,)
    spare = ("llamacpp",) if settings.policy_gguf else ()
    return tuple(dict.fromkeys((AUTO if name == "auto" else name, *spare, LAST)))


@dataclass(slots=True, eq=False)
class _Link:
    """One brain of the chain."""

    brain: Brain
    optional: bool  # nobody asked for it by name: that it is missing is no trouble
    up: bool = False
    was_up: bool = False  # it has answered in this show
    open: bool = False  # it was started, and not closed since: it may hold memory, up or not
    trouble: AivtError | None = None  # why it is not up
    falls: int = 0  # replies in a row that failed
    due_s: float = 0.0  # when it may be started again, on the loop's clock
    start: asyncio.Task[None] | None = None  # under way
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  # it is started or closed, not both

    @property
    def expected(self) -> bool:
        """Whether it is trouble that it is not up."""
        return self.was_up or not self.optional


class Brains:
    """Holds the chain and the brain in use; `changed` is called when the light does.

    idle: tells when there is no turn, so that a brain may be closed.

    Raises SettingsError for an unknown engine, MissingError for one that cannot be imported.
    """

    def __init__(self, settings: Settings, changed: Callable[[], None], idle: Idle) -> None:
        auto = settings.policy_engine == "auto" and not settings.use_stub_policy
        self._links = [
            _Link(
                brain=engine_class("POLICY_ENGINE", name, KNOWN)(settings),
                optional=auto and name == AUTO,
            )
            for name in chain(settings)
        ]
        self._changed = changed
        self._current: _Link | None = None
        self._fell = asyncio.Event()  # the brain in use has failed
        self._idle = idle
        self._sample: Callable[[], Prompt]
        self.ready = asyncio.Event()

    @property
    def current(self) -> Brain | None:
        """The brain that answers now; None while the first is being loaded."""
        return self._current.brain if self._current else None

    async def run(self, sample: Callable[[], Prompt]) -> None:
        """Bring up the best brain that is there, and better ones as they appear, for ever.

        sample: gives a prompt like the next one, which a brain evaluates as it starts.
        """
        self._sample = sample
        last = self._links[-1]
        patience: asyncio.TimerHandle | None = None
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._up(last)
                if len(self._links) > 1:
                    patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._wait_no_longer)
                while True:
                    await self._climb()
                    await self._until_worth_a_look()
        finally:
            if patience:
                patience.cancel()
            for link in self._links:
                await link.brain.close()

    async def _climb(self) -> None:
        """Start the best brain that is missing; free those that a better one has replaced."""
        now_s = asyncio.get_running_loop().time()
        for link in self._missing():
            if (link.up or link.due_s <= now_s) and await self._up(link):
                break
        if self._current is None:
            self._use(self._links[-1])
        for link in self._links[self._rank() + 1 : -1]:
            if link.open:
                self._tasks.create_task(self._retire(link))

    async def _until_worth_a_look(self) -> None:
        """Wait while the best brain answers; a missing one is looked for at a steady pace."""
        if not self._missing():
            await self._fell.wait()
        self._fell.clear()
        await asyncio.sleep(PROBE_S)

    def _missing(self) -> list[_Link]:
        """The brains that are not up and would be used if they were, best first."""
        return [link for link in self._links[: self._rank() + 1] if not link.up]

    def _rank(self) -> int:
        return self._links.index(self._current) if self._current else len(self._links)

    def _wait_no_longer(self) -> None:
        if self._current is None:
            self._use(self._links[-1])

    # --- starting and closing ---

    async def _up(self, link: _Link) -> bool:
        """Start a brain, or wait for its start that is under way; tell whether it is up.

        Who waits may have a deadline, or be cancelled; the start goes on without them.
        """
        self._begin(link)
        if link.start:
            await asyncio.wait({link.start})
        return link.up

    def _begin(self, link: _Link) -> None:
        if not link.up and link.start is None:
            link.start = self._tasks.create_task(self._start(link))

    async def _start(self, link: _Link) -> None:
        """Start a brain, and use it from now on unless a better one is up by then."""
        brain = link.brain
        try:
            async with link.lock, asyncio.timeout(START_LIMIT_S):
                link.open = True
                await brain.start(self._sample())
        except SettingsError:
            raise
        except AivtError as error:
            self._note(link, error)
        except TimeoutError:
            reason = f"{brain.engine} did not start within {START_LIMIT_S:.0f} s"
            self._note(link, AivtError("start_timeout", reason, fix="Choose a smaller model."))
        else:
            link.up, link.was_up, link.trouble = True, True, None
            # The last one waits: the show begins with it only when no other comes up in time.
            if link in self._links[: self._rank()] and link is not self._links[-1]:
                self._use(link)
        finally:
            link.start = None
            self._changed()

    async def _retire(self, link: _Link) -> None:
        """Free a model that a better one has replaced: both together may not fit into memory."""
        if link.start:
            await asyncio.wait({link.start})
        await self._idle.wait()
        async with link.lock:
            if link in self._links[self._rank() + 1 :]:  # else it was needed again
                link.up, link.open, link.trouble = False, False, None
                await link.brain.close()

    # --- in a turn ---

    async def after(self, brain: Brain, trouble: AivtError, ends_s: float) -> Brain | None:
        """Return the brain to go on with when `brain` has failed: the next of the chain that is up in time.

        ends_s: how long a start may take, on the loop's clock. None: there is nothing after it.
        """
        self.failed(brain, trouble)
        for link in self._links[self._index(brain) + 1 :]:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(ends_s):
                    if await self._up(link):
                        return link.brain
        return None

    def failed(self, brain: Brain, trouble: AivtError) -> None:
        """A reply has failed: the next brain that is up takes over until a better one has started."""
        link = self._links[self._index(brain)]
        if link is self._links[-1]:
            return
        link.up = False
        link.falls = min(link.falls + 1, FALLS_COUNTED)
        # A hair less, or the look that is due then would just miss it.
        link.due_s = asyncio.get_running_loop().time() + PROBE_S * 2 ** (link.falls - 1) - 0.1
        self._note(link, trouble)
        if link is self._current:
            below = self._links[self._rank() + 1 :]
            self._begin(below[0])
            self._use(next((each for each in below if each.up), below[-1]))
            self._fell.set()

    def worked(self, brain: Brain) -> None:
        """A reply is whole."""
        self._links[self._index(brain)].falls = 0

    def _index(self, brain: Brain) -> int:
        return next(index for index, link in enumerate(self._links) if link.brain is brain)

    def _note(self, link: _Link, trouble: AivtError) -> None:
        if str(trouble) != str(link.trouble):
            log.warning(
                "brain not there",
                engine=link.brain.engine,
                code=trouble.code,
                reason=str(trouble),
                fix=trouble.fix,
            )
        link.trouble = trouble

    def _use(self, link: _Link) -> None:
        if self._current is not link:
            log.info("brain in use", engine=link.brain.engine, model=link.brain.model)
        self._current = link
        self.ready.set()
        self._changed()

    # --- the light ---

    def health(self) -> Health:
        """Which brain answers, and why it is not the wanted one."""
        missing = self._missing()
        if self._current is None:
            loading = next((link for link in missing if link.start), self._links[0]).brain
            reason = f"loading {loading.engine} {loading.model}".rstrip()
            return Health(state="starting", ready=False, engine=loading.engine, reason=reason)
        brain = self._current.brain
        troubled = [link for link in missing if link.trouble]
        blamed = [link for link in troubled if link.expected]
        who = "scripted lines answer" if brain.engine == LAST else f"{brain.engine} answers"
        why = "; ".join(_news(link) for link in missing if link.trouble or link.start)
        return Health(
            state="degraded" if blamed else "starting" if troubled != missing else "ok",
            ready=True,
            engine=brain.engine,
            model=brain.model,
            reason=f"{who}: {why}" if why else "",
            fix=_fix(blamed or troubled),
        )


def _news(link: _Link) -> str:
    """Why a brain is not up."""
    return str(link.trouble or f"loading {link.brain.model or link.brain.engine}")


def _fix(troubled: list[_Link]) -> str:
    """What mends the best of them."""
    return next((link.trouble.fix for link in troubled if link.trouble and link.trouble.fix), "")
