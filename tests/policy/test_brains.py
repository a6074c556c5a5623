import asyncio
import contextlib

import pytest
from pydantic import SecretStr

from apps.policy import brains as module
from apps.policy.brains import PATIENCE_S, PROBE_S, START_LIMIT_S, Brains, chain
from apps.policy.idle import Idle
from apps.policy.persona import load
from apps.policy.prompt import Line, Prompt
from apps.shared.errors import EngineError, MissingError, SettingsError
from apps.shared.settings import Settings

pytestmark = pytest.mark.looptime

SAMPLE = Prompt(load("kitsu"), (), Line("streamer", "hi", "chat"))
FAKE = "tests.fakes.brain:FakeBrain"
SPARE = "tests.fakes.brain:SpareBrain"
DOWN = MissingError("fake_down", "nobody answers", fix="Start it.")
BROKE = EngineError("fake_broke", "it broke", fix="Restart it.")
GGUF = {"policy_gguf": "kitsu.gguf"}


def brains_of(engine, idle=None, **values):
    settings = Settings(_env_file=None, policy_engine=engine, **values)
    return Brains(settings, changed=lambda: None, idle=idle or Idle())


@pytest.fixture
async def run():
    """Run brains until the test ends; gives the task."""
    async with contextlib.AsyncExitStack() as stack:

        def start(brains):
            task = asyncio.create_task(brains.run(lambda: SAMPLE))
            stack.push_async_callback(asyncio.wait, {task})
            stack.callback(task.cancel)
            return task

        yield start


@pytest.fixture(params=["auto", FAKE], ids=["auto", "explicit"])
def brains(request, monkeypatch):
    """Brains that want the fake one, because the settings name it or because `auto` would take it."""
    monkeypatch.setitem(module.KNOWN, module.AUTO, FAKE)
    return brains_of(request.param)


@pytest.fixture
def idle():
    return Idle()


@pytest.fixture
def three(monkeypatch, idle):
    """A chain of three, as with Ollama and a GGUF file; the second one is the spare."""
    monkeypatch.setitem(module.KNOWN, "llamacpp", SPARE)
    return brains_of(FAKE, idle, **GGUF)


def wanted(brains):
    return brains._links[0].brain


def spare(brains):
    return brains._links[1].brain


def light(brains):
    health = brains.health()
    return health.state, health.ready, health.engine


def missing_light(brains):
    """How the light of a missing brain is: an explicit wish is not met, `auto` takes what there is."""
    return ("ok" if brains._links[0].optional else "degraded", True, "scripted")


@pytest.mark.parametrize(
    ("values", "engines"),
    [
        ({}, ("ollama", "scripted")),
        (GGUF, ("ollama", "llamacpp", "scripted")),
        ({"policy_engine": "openai"}, ("openai", "scripted")),
        ({"policy_engine": "openai", **GGUF}, ("openai", "llamacpp", "scripted")),
        ({"policy_engine": "llamacpp"}, ("llamacpp", "scripted")),
        ({"policy_engine": "llamacpp", **GGUF}, ("llamacpp", "scripted")),
        ({"policy_engine": FAKE, **GGUF}, (FAKE, "llamacpp", "scripted")),
        ({"policy_engine": "scripted", **GGUF}, ("scripted",)),
        ({"policy_engine": "ollama", "use_stub_policy": True}, ("scripted",)),
    ],
)
def test_the_chain(values, engines):
    """The wanted one, then llama.cpp when there is a file for it, then the one that cannot fail."""
    assert chain(Settings(_env_file=None, **values)) == engines


def test_a_cloud_is_never_taken_by_itself():
    """OPENAI_* belongs to other programs too: only POLICY_ENGINE=openai uses it."""
    there = Settings(
        _env_file=None, openai_base_url="https://api.example.com/v1", openai_api_key=SecretStr("secret")
    )
    assert "openai" not in chain(there)


async def test_the_wanted_brain_answers(brains, run):
    """A brain that starts is the one in use, under a green light without a word."""
    assert light(brains) == ("starting", False, "fake")
    run(brains)
    await asyncio.sleep(1)
    assert brains.current is wanted(brains)
    assert light(brains) == ("ok", True, "fake")
    assert (brains.health().model, brains.health().reason) == ("fake-7b", "")


async def test_scripted_lines_stand_in(brains, run):
    """Without the wanted brain she talks all the same; the light says why and what to do."""
    wanted(brains).missing = DOWN
    run(brains)
    await asyncio.sleep(1)
    assert light(brains) == missing_light(brains)
    assert "nobody answers" in brains.health().reason
    assert brains.health().fix == "Start it."


async def test_it_is_looked_for_until_it_is_there(brains, run):
    """A brain that was missing is tried again at its pace, and taken as soon as it starts."""
    wanted(brains).missing = DOWN
    run(brains)
    await asyncio.sleep(5 * PROBE_S + 1)
    assert wanted(brains).starts == 6
    wanted(brains).missing = None
    await asyncio.sleep(PROBE_S)
    assert light(brains) == ("ok", True, "fake")
    assert brains.health().reason == ""
    await asyncio.sleep(3600)
    assert wanted(brains).starts == 7


async def test_a_slow_start(brains, run):
    """The show waits a little for a model that is being loaded, then begins without it; it joins later."""
    wanted(brains).start_s = PATIENCE_S + 10
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
    wanted(brains).start_s = 10 * START_LIMIT_S
    run(brains)
    await asyncio.sleep(START_LIMIT_S + 1)
    assert light(brains) == missing_light(brains)
    assert "did not start within" in brains.health().reason
    assert brains.health().fix == "Choose a smaller model."
    wanted(brains).start_s = 0
    await asyncio.sleep(PROBE_S)
    assert light(brains) == ("ok", True, "fake")


async def test_a_failure_in_mid_show(brains, run):
    """The next line is answered by the scripted brain, later ones by the model, once it starts again."""
    run(brains)
    await asyncio.sleep(1)
    brains.failed(brains.current, BROKE)
    assert light(brains) == ("degraded", True, "scripted")
    assert "it broke" in brains.health().reason
    await asyncio.sleep(PROBE_S + 1)
    assert light(brains) == ("ok", True, "fake")
    assert wanted(brains).starts == 2


async def test_a_failure_of_the_stand_in_changes_nothing(brains, run):
    """That a scripted reply failed is not held against the wanted brain."""
    wanted(brains).missing = DOWN
    run(brains)
    await asyncio.sleep(1)
    before = brains.health()
    brains.failed(brains.current, BROKE)
    assert brains.health() == before


@pytest.mark.parametrize("values", [{"engine": "scripted"}, {"engine": "ollama", "use_stub_policy": True}])
async def test_the_scripted_brain_may_be_wanted(values, run):
    """The stub switch and POLICY_ENGINE=scripted give a green light; there is nothing to fall back to."""
    brains = brains_of(**values)
    run(brains)
    await asyncio.sleep(1)
    brains.failed(brains.current, BROKE)
    assert light(brains) == ("ok", True, "scripted")
    assert brains.health().reason == ""


@pytest.mark.parametrize("engine", ["robot", "apps.policy.brains:Nothing"])
async def test_an_unknown_engine(engine):
    """A wrong setting is the streamer's to correct, at once."""
    with pytest.raises(SettingsError, match="POLICY_ENGINE"):
        brains_of(engine)


async def test_a_wrong_setting_found_on_starting(brains, run):
    """An engine that finds its settings unusable ends the process, and no scripted line hides it."""
    wanted(brains).missing = SettingsError("bad_setting", "POLICY_MODEL='' cannot be used", fix="Correct it.")
    with pytest.raises(ExceptionGroup) as group:
        await run(brains)
    assert group.group_contains(SettingsError)


async def test_it_lets_go_of_the_brain(brains, run):
    """When the process ends, also while a model is being loaded, the brain is closed."""
    wanted(brains).start_s = 3600
    task = run(brains)
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wanted(brains).closed


# --- a chain of three ---


async def test_down_the_chain_and_up_again(three, run):
    """Each failure moves her one brain down, each that comes back moves her up; the light says why."""
    run(three)
    await asyncio.sleep(1)
    assert light(three) == ("ok", True, "fake")
    assert spare(three).starts == 0

    wanted(three).missing = DOWN
    assert await three.after(wanted(three), BROKE, asyncio.get_running_loop().time() + 7) is spare(three)
    assert light(three) == ("degraded", True, "spare")
    assert three.health().reason == "spare answers: it broke"

    spare(three).missing = DOWN
    last = await three.after(spare(three), BROKE, asyncio.get_running_loop().time() + 7)
    assert last.engine == "scripted"
    assert light(three) == ("degraded", True, "scripted")
    assert three.health().reason.startswith("scripted lines answer: it broke; ")

    spare(three).missing = None
    await asyncio.sleep(2 * PROBE_S)
    assert light(three) == ("degraded", True, "spare")
    assert (three.health().reason, three.health().fix) == ("spare answers: nobody answers", "Start it.")

    wanted(three).missing = None
    await asyncio.sleep(2 * PROBE_S)
    assert light(three) == ("ok", True, "fake")
    assert three.health().reason == ""
    assert spare(three).closed


async def test_the_spare_is_taken_at_the_start(three, run):
    """Without the wanted brain the next one answers from the beginning, and nothing below it is tried."""
    wanted(three).missing = DOWN
    run(three)
    await asyncio.sleep(1)
    assert light(three) == ("degraded", True, "spare")


async def test_a_spare_that_takes_too_long(three, run):
    """The turn goes on with scripted lines when its time is over; the spare goes on loading for the next."""
    run(three)
    await asyncio.sleep(1)
    wanted(three).missing = DOWN
    spare(three).start_s = 30
    begun_s = asyncio.get_running_loop().time()
    brain = await three.after(wanted(three), BROKE, begun_s + 7)
    assert brain.engine == "scripted"
    assert asyncio.get_running_loop().time() - begun_s == pytest.approx(7)
    await asyncio.sleep(30)
    assert light(three) == ("degraded", True, "spare")
    assert spare(three).starts == 1


async def test_a_replaced_brain_is_not_closed_in_mid_turn(three, run, idle):
    """Memory is freed when the turn that may still use it is over."""
    wanted(three).missing = DOWN
    run(three)
    await asyncio.sleep(1)
    wanted(three).missing = None
    with idle.turn():
        await asyncio.sleep(2 * PROBE_S)
        assert light(three) == ("ok", True, "fake")
        assert not spare(three).closed
    await asyncio.sleep(1)
    assert spare(three).closed


async def test_a_cancelled_turn_leaves_a_start_alone(three, run):
    """Who waits for a brain may go; its start goes on."""
    run(three)
    await asyncio.sleep(1)
    wanted(three).missing = DOWN
    spare(three).start_s = 30
    turn = asyncio.create_task(three.after(wanted(three), BROKE, asyncio.get_running_loop().time() + 7))
    await asyncio.sleep(1)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await asyncio.sleep(60)
    assert light(three) == ("degraded", True, "spare")


async def test_a_spare_is_used_as_soon_as_it_is_up(three, run):
    """It does not wait for the end of the wanted brain's next start, which may take minutes."""
    run(three)
    await asyncio.sleep(1)
    wanted(three).start_s = START_LIMIT_S - 1
    spare(three).start_s = 30
    await three.after(wanted(three), BROKE, asyncio.get_running_loop().time() + 7)
    await asyncio.sleep(25)
    assert light(three) == ("degraded", True, "spare")
    await asyncio.sleep(START_LIMIT_S)
    assert light(three) == ("ok", True, "fake")


async def test_a_spare_is_started_at_once(three, run):
    """Also when the turn that failed goes on without it, as one does that had begun to speak."""
    run(three)
    await asyncio.sleep(1)
    wanted(three).missing = DOWN
    three.failed(wanted(three), BROKE)
    await asyncio.sleep(1)
    assert light(three) == ("degraded", True, "spare")


async def test_a_spare_that_comes_too_late_is_freed(three, run):
    """The wanted brain is back before the spare is loaded: two models would fill the memory for nothing."""
    run(three)
    await asyncio.sleep(1)
    spare(three).start_s = 60
    await three.after(wanted(three), BROKE, asyncio.get_running_loop().time() + 7)
    await asyncio.sleep(2 * PROBE_S)
    assert light(three) == ("ok", True, "fake")
    await asyncio.sleep(60)
    assert light(three) == ("ok", True, "fake")
    assert spare(three).closed


async def test_a_spare_that_has_failed_is_freed(three, run):
    """It may still fill the memory when a better brain is back."""
    wanted(three).missing = DOWN
    run(three)
    await asyncio.sleep(1)
    three.failed(spare(three), BROKE)
    wanted(three).missing = None
    await asyncio.sleep(2 * PROBE_S)
    assert light(three) == ("ok", True, "fake")
    assert spare(three).closed


async def test_a_spare_is_kept_when_it_is_needed_again(three, run, idle):
    """It was to be freed once loaded; but the wanted brain has failed again, and a turn waits for it."""
    run(three)
    await asyncio.sleep(1)
    spare(three).start_s = 60
    three.failed(wanted(three), BROKE)
    await asyncio.sleep(2 * PROBE_S)
    assert light(three) == ("ok", True, "fake")
    with idle.turn():
        brain = await three.after(wanted(three), BROKE, asyncio.get_running_loop().time() + 100)
    assert brain is spare(three)
    assert spare(three).starts == 1
    assert not spare(three).closed


async def test_what_was_wrong_with_a_spare_is_forgotten_with_it(three, run):
    """When it is needed again it is started anew, and the light does not tell of the last time."""
    wanted(three).missing = DOWN
    run(three)
    await asyncio.sleep(1)
    three.failed(spare(three), EngineError("old", "of an hour ago", fix="Never mind."))
    wanted(three).missing = None
    await asyncio.sleep(2 * PROBE_S)
    spare(three).start_s = 60
    three.failed(wanted(three), BROKE)
    await asyncio.sleep(0)
    assert three.health().reason == "scripted lines answer: it broke; loading spare-1b"


async def test_a_wrong_setting_found_while_a_turn_waits(three, run):
    """The process ends with that error and no other; the turn is not what reports it."""
    task = run(three)
    await asyncio.sleep(1)
    spare(three).start_s = 1
    spare(three).missing = SettingsError("bad_setting", "the file's name is wrong", fix="Correct it.")
    brain = await three.after(wanted(three), BROKE, asyncio.get_running_loop().time() + 7)
    assert brain.engine == "scripted"
    with pytest.raises(ExceptionGroup) as group:
        await task
    (error,) = group.value.exceptions
    assert error is spare(three).missing


# --- the light ---


@pytest.fixture
def three_auto(monkeypatch):
    """A chain of three of which nobody asked for the first."""
    monkeypatch.setitem(module.KNOWN, module.AUTO, FAKE)
    monkeypatch.setitem(module.KNOWN, "llamacpp", SPARE)
    return brains_of("auto", **GGUF)


async def test_loading_the_spare_shows(three_auto, run):
    """The first is not missed, as nobody asked for it; the second was asked for, and is not there yet."""
    wanted(three_auto).missing = DOWN
    spare(three_auto).start_s = 60
    run(three_auto)
    await asyncio.sleep(1)
    assert (light(three_auto), three_auto.health().reason) == (
        ("starting", False, "spare"),
        "loading spare spare-1b",
    )
    await asyncio.sleep(PATIENCE_S)
    assert light(three_auto) == ("starting", True, "scripted")
    assert three_auto.health().reason == "scripted lines answer: nobody answers; loading spare-1b"
    await asyncio.sleep(60)
    assert light(three_auto) == ("ok", True, "spare")
    assert three_auto.health().reason == "spare answers: nobody answers"


async def test_the_fix_mends_what_was_asked_for(three_auto, run):
    """Who gave a GGUF file is told how to mend it, not how to get another program."""
    wanted(three_auto).missing = DOWN
    spare(three_auto).missing = EngineError("gguf_broken", "the file is damaged", fix="Download it again.")
    run(three_auto)
    await asyncio.sleep(1)
    assert light(three_auto) == ("degraded", True, "scripted")
    assert three_auto.health().reason == "scripted lines answer: nobody answers; the file is damaged"
    assert three_auto.health().fix == "Download it again."


@pytest.mark.parametrize("engine", ["scripted", FAKE])
async def test_broken_lines(monkeypatch, run, engine):
    """Also the scripted brain can be broken, by who edits its lines: she goes on, and the light tells."""
    monkeypatch.setitem(module.KNOWN, "scripted", SPARE)
    brains = brains_of(engine)
    last = brains._links[-1].brain
    last.missing = EngineError("broken_lines", "kitsu.toml: no lines", fix="Correct kitsu.toml.")
    wanted(brains).missing = wanted(brains).missing or DOWN
    run(brains)
    await asyncio.sleep(1)
    assert light(brains) == ("degraded", True, "spare")
    assert "kitsu.toml: no lines" in brains.health().reason

    last.missing = None
    await asyncio.sleep(PROBE_S)
    assert "kitsu.toml" not in brains.health().reason

    wanted(brains).missing = None
    await asyncio.sleep(PROBE_S)
    assert (light(brains)[0], brains.health().reason) == ("ok", "")


async def test_nothing_is_left_but_broken_lines(monkeypatch, run):
    """A failure finds nobody who could take over, and that is a yellow light and not the process's end."""
    monkeypatch.setitem(module.KNOWN, "scripted", SPARE)
    brains = brains_of(FAKE)
    spare(brains).missing = EngineError("broken_lines", "kitsu.toml: no lines", fix="Correct kitsu.toml.")
    run(brains)
    await asyncio.sleep(1)
    assert light(brains) == ("ok", True, "fake")
    wanted(brains).missing = DOWN
    assert await brains.after(wanted(brains), BROKE, asyncio.get_running_loop().time() + 7) is None
    assert light(brains) == ("degraded", True, "spare")
    assert (brains.health().reason, brains.health().fix) == (
        "spare answers: it broke; kitsu.toml: no lines",
        "Restart it.",
    )


async def test_one_that_starts_and_fails_is_tried_ever_more_rarely(brains, run):
    """A model that loads but cannot answer is not loaded every ten seconds; a good reply forgives it all."""
    run(brains)
    await asyncio.sleep(1)
    for _ in range(4):
        brains.failed(wanted(brains), BROKE)
        await asyncio.sleep(10 * 60)
    assert wanted(brains).starts == 5
    starts = wanted(brains).starts
    brains.failed(wanted(brains), BROKE)
    await asyncio.sleep(15 * PROBE_S)
    assert wanted(brains).starts == starts
    await asyncio.sleep(3 * PROBE_S)
    assert wanted(brains).starts == starts + 1
    brains.worked(wanted(brains))
    brains.failed(wanted(brains), BROKE)
    await asyncio.sleep(PROBE_S + 1)
    assert wanted(brains).starts == starts + 2
