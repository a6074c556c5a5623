"""The health lights."""

import pytest

from apps.orchestrator.lights import SILENT_S, Lights
from apps.shared.messages import MODULES, Health, Process

WELL = Health(state="ok", ready=True, engine="tone", model="sine")


def joined(*modules: str) -> Lights:
    lights = Lights()
    for module in modules:
        lights.joined(module, 7, 100.0)
        lights.health(module, WELL, 100.0)
    return lights


def test_each_module_has_a_light_from_the_start():
    """What is not built or left out is off with the reason; what is to come is starting."""
    shown = Lights(frozenset({"tts", "vts"})).status(100.0)
    assert set(shown) == set(MODULES)
    assert {module: (light["state"], light["reason"]) for module, light in shown.items()} == {
        "orchestrator": ("starting", "has not joined yet"),
        "policy": ("starting", "has not joined yet"),
        "asr": ("starting", "has not joined yet"),
        "tts": ("off", "left out with --without"),
        **dict.fromkeys(("twitch", "obs", "vts"), ("off", "not in this version")),
    }
    assert {light["age_s"] for light in shown.values()} == {None}


def test_a_light_says_what_runs_and_how_fresh_that_is():
    """Engine, model and process of a worker, and the seconds since its last heartbeat."""
    assert joined("tts").status(101.26)["tts"] == {
        "state": "ok",
        "engine": "tone",
        "model": "sine",
        "reason": "",
        "fix": "",
        "age_s": 1.3,
        "pid": 7,
    }


def test_only_what_can_be_seen_is_a_change():
    """The panel is not sent a heartbeat that tells nothing new."""
    lights = joined("tts")
    assert not lights.health("tts", WELL, 101.0)
    assert lights.health("tts", Health(state="ok", ready=False, engine="tone", model="sine"), 102.0)


def test_who_leaves_is_down_until_it_is_back():
    """With the reason, and without the process that is no more."""
    lights = joined("policy", "tts")
    lights.left("tts", "its connection has ended")
    light = lights.status(103.0)["tts"]
    assert (light["state"], light["reason"], light["pid"]) == ("down", "its connection has ended", None)
    assert lights.missing() == "tts_down: its connection has ended"
    lights.joined("tts", 8, 104.0)
    assert lights.missing() == "tts_down: starting"
    lights.health("tts", WELL, 104.0)
    assert lights.missing() == ""


def test_who_is_silent_hangs_and_may_wake_up():
    """Three missed heartbeats are said once; the next heartbeat ends it."""
    lights = joined("policy", "tts")
    lights.health("policy", WELL, 102.0)
    assert lights.hung(100.0 + SILENT_S) == []
    assert lights.hung(100.1 + SILENT_S) == ["tts"]
    assert lights.hung(100.2 + SILENT_S) == []
    assert lights.missing() == "tts_down: has not answered for 3 s"
    assert not lights.hopeless()
    assert lights.health("tts", WELL, 104.0)
    assert lights.missing() == ""
    assert lights.hung(104.1 + SILENT_S) == ["policy", "tts"]


def test_any_sign_of_life_ends_it():
    """Ears that hear tell levels all the time, and therefore send no heartbeats."""
    lights = joined("policy", "tts")
    assert not lights.seen("tts", 100.5)
    assert lights.hung(100.5 + SILENT_S + 0.1) == ["policy", "tts"]
    assert lights.seen("tts", 104.0)
    light = lights.status(104.0)["tts"]
    assert (light["state"], light["reason"], light["engine"]) == ("ok", "", "tone")
    assert lights.missing() == "policy_down: has not answered for 3 s"
    assert not lights.seen("tts", 104.1)
    lights.joined("policy", 8, 105.0)
    assert not lights.seen("policy", 105.0)
    assert not lights.seen("supervisor", 105.0)


@pytest.mark.parametrize(("state", "hopeless"), [("starting", False), ("down", True)])
def test_the_supervisor_speaks_for_a_process_that_cannot(state, hopeless):
    """Being restarted there is hope, given up there is none."""
    lights = joined("policy")
    lights.process(Process(module="tts", state=state, reason="no voice", fix="Get one."))
    light = lights.status(101.0)["tts"]
    assert (light["state"], light["reason"], light["fix"], light["age_s"]) == (
        state,
        "no voice",
        "Get one.",
        None,
    )
    assert lights.hopeless() == hopeless


def test_a_worker_on_the_bus_speaks_for_itself():
    """Late news of its restart do not darken its light; names that do not exist are passed over."""
    lights = joined("policy", "tts")
    lights.process(Process(module="tts", state="down", reason="old news"))
    lights.process(Process(module="nonsense", state="down"))
    assert lights.missing() == ""


def test_one_that_was_given_up_may_be_started_by_hand():
    """Joining ends the despair."""
    lights = joined("policy")
    lights.process(Process(module="tts", state="down", reason="given up"))
    lights.joined("tts", 9, 101.0)
    assert not lights.hopeless()


def test_a_module_that_was_left_out_is_not_waited_for():
    """Without a voice there is no hope of an answer, so that lines need not wait."""
    assert Lights(frozenset({"tts"})).hopeless()


def test_the_orchestrators_own_light():
    """It is well unless it says otherwise, and tells when that changes."""
    lights = Lights()
    assert lights.itself(5, 100.0)
    assert not lights.itself(5, 101.0)
    assert lights.itself(5, 102.0, "journal_not_written: disk full", "Free some space.")
    light = lights.status(102.0)["orchestrator"]
    assert (light["state"], light["fix"], light["age_s"]) == ("degraded", "Free some space.", 0.0)
    assert lights.itself(5, 103.0)
