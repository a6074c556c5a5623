import asyncio
import contextlib

import pytest

from apps.policy import brains as module
from apps.policy.brains import PATIENCE_S, PROBE_S, START_LIMIT_S, Brains
from apps.policy.persona import load
from apps.policy.prompt import Line, Prompt
from apps.shared.errors import EngineError, MissingError, SettingsError
from apps.shared.settings import Settings

pytestmark = pytest.mark.looptime

SAMPLE = Prompt(load("kitsu"), (), Line("streamer", "hi", "chat"))
FAKE = "tests.fakes.brain:FakeBrain"
DOWN = MissingError("fake_down", "nobody answers", fix="Start it.")
BROKE = EngineError("fake_broke", "it broke", fix="Restart it.")


def brains_of(engine, **values):
    return Brains(Settings(_env_file=None, policy_engine=engine, **values), changed=lambda: None)


@pytest.fixture
async def run():
    """Run brains until the test ends; gives the task."""
    async with contextlib.AsyncExitStack() as stack:

        def start(brains):
            task = asyncio.create_task(brains.run(SAMPLE))
            stack.push_async_callback(asyncio.wait, {task})
            stack.callback(task.cancel)
            return task

        yield start


@pytest.fixture(params=["auto", FAKE], ids=["auto", "explicit"])
def brains(request, monkeypatch):
    """Brains that want the fake one, because the settings name it or because `auto` would take it."""
    monkeypatch.setitem(module.KNOWN, module.AUTO, FAKE)
    return brains_of(request.param)


def light(brains):
    health = brains.health()
    return health.state, health.ready, health.engine


def missing_light(brains):
    """How the light of a missing brain is: an explicit wish is not met, `auto` takes what there is."""
    return ("ok" if brains._auto else "degraded", True, "scripted")


async def test_the_wanted_brain_answers(brains, run):
    """A brain that starts is the one in use, under a green light without a word."""
    assert light(brains) == ("starting", False, "fake")
    run(brains)
    await asyncio.sleep(1)
    assert brains.current is brains._wanted
    assert light(brains) == ("ok", True, "fake")
    assert (brains.health().model, brains.health().reason) == ("fake-7b", "")


async def test_scripted_lines_stand_in(brains, run):
    """Without the wanted brain she talks all the same; the light says why and what to do."""
    brains._wanted.missing = DOWN
    run(brains)
    await asyncio.sleep(1)
    assert light(brains) == missing_light(brains)
    assert "nobody answers" in brains.health().reason
    assert brains.health().fix == "Start it."


async def test_it_is_looked_for_until_it_is_there(brains, run):
    """A brain that was missing is tried again at its pace, and taken as soon as it starts."""
    brains._wanted.missing = DOWN
    run(brains)
    await asyncio.sleep(5 * PROBE_S + 1)
    assert brains._wanted.starts == 6
    brains._wanted.missing = None
    await asyncio.sleep(PROBE_S)
    assert light(brains) == ("ok", True, "fake")
    assert brains.health().reason == ""
    await asyncio.sleep(3600)
    assert brains._wanted.starts == 7


async def test_a_slow_start(brains, run):
    """The show waits a little for a model that is being loaded, then begins without it; it joins later."""
    brains._wanted.start_s = PATIENCE_S + 10
    run(brains)
    await asyncio.sleep(PATIENCE_S - 1)
    assert light(brains) == ("starting", False, "fake")
    await asyncio.sleep(2)
    assert light(brains) == ("starting", True, "scripted")
    assert "loading fake-7b" in brains.health().reason
    await asyncio.sleep(10)
    assert light(brains) == ("ok", True, "fake")


async def test_a_start_without_end(brains, run):
    """A model that does not start in minutes is given up, with advice, and tried again."""
    brains._wanted.start_s = 10 * START_LIMIT_S
    run(brains)
    await asyncio.sleep(START_LIMIT_S + 1)
    assert light(brains) == missing_light(brains)
    assert "did not start within" in brains.health().reason
    assert "POLICY_MODEL" in brains.health().fix
    brains._wanted.start_s = 0
    await asyncio.sleep(PROBE_S)
    assert light(brains) == ("ok", True, "fake")


async def test_a_failure_in_mid_show(brains, run):
    """The next line is answered by the scripted brain, later ones by the model, once it starts again."""
    run(brains)
    await asyncio.sleep(1)
    brains.failed(BROKE)
    assert light(brains) == ("degraded", True, "scripted")
    assert "it broke" in brains.health().reason
    await asyncio.sleep(PROBE_S + 1)
    assert light(brains) == ("ok", True, "fake")
    assert brains._wanted.starts == 2


async def test_a_failure_of_the_stand_in_changes_nothing(brains, run):
    """That a scripted reply failed is not held against the wanted brain."""
    brains._wanted.missing = DOWN
    run(brains)
    await asyncio.sleep(1)
    before = brains.health()
    brains.failed(BROKE)
    assert brains.health() == before


@pytest.mark.parametrize("values", [{"engine": "scripted"}, {"engine": "ollama", "use_stub_policy": True}])
async def test_the_scripted_brain_may_be_wanted(values, run):
    """The stub switch and POLICY_ENGINE=scripted give a green light; there is nothing to fall back to."""
    brains = brains_of(**values)
    run(brains)
    await asyncio.sleep(1)
    brains.failed(BROKE)
    assert light(brains) == ("ok", True, "scripted")
    assert brains.health().reason == ""


@pytest.mark.parametrize("engine", ["robot", "apps.policy.brains:Nothing"])
async def test_an_unknown_engine(engine):
    """A wrong setting is the streamer's to correct, at once."""
    with pytest.raises(SettingsError, match="POLICY_ENGINE"):
        brains_of(engine)


async def test_a_wrong_setting_found_on_starting(brains, run):
    """An engine that finds its settings unusable ends the process, and no scripted line hides it."""
    brains._wanted.missing = SettingsError("bad_setting", "POLICY_MODEL='' cannot be used", fix="Correct it.")
    with pytest.raises(SettingsError):
        await run(brains)


async def test_it_lets_go_of_the_brain(brains, run):
    """When the process ends, also while a model is being loaded, the brain is closed."""
    brains._wanted.start_s = 3600
    task = run(brains)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert brains._wanted.closed
