"""Brains that come, go and hang in any order, with turns and cancels between them: what must hold always."""

import asyncio
import random
from typing import cast

import pytest

from apps.policy import brains as module
from apps.policy.brains import Brains
from apps.policy.idle import Idle
from apps.policy.persona import load
from apps.policy.prompt import Line, Prompt
from apps.shared.errors import EngineError, MissingError
from apps.shared.settings import Settings
from tests.fakes.brain import FakeBrain

pytestmark = pytest.mark.looptime

SAMPLE = Prompt(load("kitsu"), (), Line("streamer", "hi", "chat"))
BROKE = EngineError("broke", "it broke")
DOWN = MissingError("down", "nobody answers")
CALM_S = 500.0  # enough for the longest start, and for the next look at the best brain


class CheckedBrain(FakeBrain):
    """Notices when it is started or closed while it is in use, or both at once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.close_s = 0.0
        self.loaded = False
        self.users = 0
        self._changing = False

    async def start(self, prompt: Prompt) -> None:
        await self._change(super().start(prompt), loaded=True)

    async def close(self) -> None:
        await self._change(asyncio.sleep(self.close_s), loaded=False)

    async def _change(self, change, *, loaded: bool) -> None:
        assert not self._changing
        assert not self.users
        self._changing, self.loaded = True, True
        try:
            await change
            self.loaded = loaded
        finally:
            self._changing = False


class Show:
    """Does things at random; the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.idle = Idle()
        engine = self.dice.choice(["auto", "ollama"])
        settings = Settings(_env_file=None, policy_engine=engine, policy_gguf="kitsu.gguf")
        self.brains = Brains(settings, lambda: None, self.idle)
        self.models = [cast(CheckedBrain, link.brain) for link in self.brains._links[:-1]]

    def disturb(self) -> None:
        for model in self.models:
            model.missing = self.dice.choice([model.missing, model.missing, None, DOWN])
            model.start_s = self.dice.choice([model.start_s, model.start_s, 0, 9.99, 10, 100, 200])
            model.close_s = self.dice.choice([0, 0.1, 3])

    async def turn(self) -> None:
        ends_s = asyncio.get_running_loop().time() + self.dice.choice([8, 120])
        brain = cast(CheckedBrain | None, self.brains.current)
        with self.idle.turn():
            while brain:
                brain.users += 1
                try:
                    await asyncio.sleep(self.dice.choice([0, 0.01, 5, 12]))
                finally:
                    brain.users -= 1
                match self.dice.choice(["spoken", "broken off", "failed"]):
                    case "spoken":
                        return
                    case "broken off":
                        self.brains.failed(brain, BROKE)
                        return
                brain = cast(CheckedBrain | None, await self.brains.after(brain, BROKE, ends_s))

    def check(self) -> None:
        """The best brain that is up is the one in use."""
        if self.brains.current:
            assert self.brains.current is next(link.brain for link in self.brains._links if link.up)


@pytest.mark.parametrize("seed", range(50))
async def test_whatever_happens(monkeypatch, seed):
    """The best brain that is up answers, none is touched while it is in use, and in the end one is loaded."""
    monkeypatch.setattr(module, "engine_class", lambda *_: CheckedBrain)
    show = Show(seed)
    running = asyncio.create_task(show.brains.run(lambda: SAMPLE))
    turns = [asyncio.create_task(show.turn())]
    for _ in range(60):
        show.disturb()
        if show.dice.random() < 0.6:
            turns[-1].cancel()
            turns.append(asyncio.create_task(show.turn()))
        await asyncio.sleep(show.dice.choice([0, 0, 0.01, 1, 5, 10, 10, 20]))
        show.check()
        assert not running.done()

    turns[-1].cancel()
    for outcome in await asyncio.gather(*turns, return_exceptions=True):
        assert outcome is None or isinstance(outcome, asyncio.CancelledError)
    for model in show.models:
        model.missing, model.start_s = None, 1.0
    await asyncio.sleep(CALM_S)
    assert [model.loaded for model in show.models] == [True, False]
    assert (show.brains.health().state, show.brains.health().reason) == ("ok", "")
    running.cancel()
    await asyncio.wait({running})
    assert running.cancelled()
    assert not any(model.loaded for model in show.models)
