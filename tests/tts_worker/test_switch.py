"""Which voice speaks, step by step: threads work when the test says so, and time is virtual."""

import asyncio
import contextlib
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from apps.shared.errors import EngineError, MissingError, SettingsError
from apps.shared.messages import Voices
from apps.tts_worker import voices
from apps.tts_worker.switch import PROBE_S, VoiceSwitch

pytestmark = pytest.mark.looptime


class Later(Executor):
    """A thread that works when the test says so."""

    def __init__(self):
        self._work: list[tuple[Future[Any], Any]] = []

    def submit(self, fn, /, *args, **kwargs):
        future: Future[Any] = Future()
        self._work.append((future, lambda: fn(*args, **kwargs)))
        return future

    def shutdown(self, wait=True, *, cancel_futures=False):
        self._work.clear()

    async def do(self):
        """Do what waits, and let the loop hear of it."""
        await settle()
        while self._work:
            future, call = self._work.pop(0)
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - what an executor does
                future.set_exception(error)
            await settle()

    @property
    def idle(self):
        return not self._work


async def settle():
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Actor:
    """A voice that is never heard."""

    settings, speakers, trouble = "", (), None
    sample_rate_hz = 22_050

    def __init__(self, engine, name):
        self.engine, self.voice = engine, name
        self.closed = 0

    def synthesize(self, text, delivery, give):
        raise AssertionError("nobody speaks here")

    def close(self):
        self.closed += 1


class Agency:
    """In the place of `voices.load`: makes actors, or raises what the test has put there."""

    def __init__(self):
        self.made: list[Actor] = []
        self.refusals: dict[str, Exception] = {}  # by name
        self.tries: list[str] = []

    def load(self, settings):
        engine = voices.wanted(settings)
        name = settings.piper_voice or voices.names(settings)[0] if engine == "piper" else engine
        self.tries.append(name)
        if name in self.refusals:
            raise self.refusals[name]
        self.made.append(Actor(engine, name))
        return self.made[-1]


class Stand:
    """A switch with all that it needs."""

    def __init__(self, settings, agency):
        self.sent: list[Any] = []
        self.changes = 0
        self.agency = agency
        self.thread, self.loader = Later(), Later()
        self.switch = VoiceSwitch(settings, self.sent.append, self.changed, self.thread, self.loader)

    def changed(self):
        self.changes += 1

    async def start(self):
        """Load the first voice, and let the switch run; return its task."""
        first = asyncio.ensure_future(self.switch.start())
        while not first.done():
            await self.loader.do()
        await first
        self.sent.clear()
        return asyncio.create_task(self.switch.run())

    async def work(self):
        """Let both threads do all that they have to."""
        await settle()
        while not (self.thread.idle and self.loader.idle):
            await self.loader.do()
            await self.thread.do()

    async def want(self, name):
        self.switch.want(name)
        await self.work()

    async def pass_by(self, seconds):
        """Let time go by, with threads that work at once."""
        for _ in range(round(seconds)):
            await asyncio.sleep(1)
            await self.work()

    @property
    def speaks(self):
        assert self.switch.voice
        return voices.name_of(self.switch.voice)

    @property
    def light(self):
        """What the event loop believes: who speaks, and what is wrong."""
        assert self.switch.in_use
        return voices.name_of(self.switch.in_use), self.switch.trouble and self.switch.trouble.code


@pytest.fixture
def agency(monkeypatch):
    agency = Agency()
    monkeypatch.setattr(voices, "load", agency.load)
    return agency


@pytest.fixture
async def stand(make_settings, agency):
    """Make switches that have started; the arguments are settings."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**values):
            made = Stand(make_settings(**values), agency)
            task = await made.start()
            stack.push_async_callback(asyncio.wait, {task})
            stack.callback(task.cancel)
            return made

        yield make


@pytest.fixture
def installed(piper_voice):
    """Voices in the folder."""
    return {name: piper_voice(name) for name in ("amy", "bob", "carl")}


BROKEN = EngineError("voice_broken", "the file is broken", fix="Get it again.")
NO_MEMORY = EngineError("out_of_memory", "not enough memory", fix="Close something.", retryable=True)


async def test_the_first_voice(make_settings, agency, installed):
    """Until it is loaded nobody has a name; then it is told, with what else there is."""
    stand = Stand(make_settings(piper_voice="bob"), agency)
    names = ("amy", "bob", "carl", "espeak")
    assert stand.switch.told() == Voices(name="", names=names)
    starting = asyncio.ensure_future(stand.switch.start())
    await stand.loader.do()
    assert await starting is stand.switch.voice
    assert stand.sent == [Voices(name="bob", names=names)]


# --- wishes ------------------------------------------------------------------------------------------


async def test_the_old_voice_speaks_while_the_new_one_is_loaded(stand, installed):
    """It speaks on until the new one is there, and what it was given before that; only then is it closed."""
    it = await stand()
    old = it.switch.voice
    it.switch.want("bob")
    await settle()
    assert (it.speaks, it.sent) == ("amy", [])
    await it.loader.do()
    assert it.speaks == "amy"
    assert it.sent == []
    assert not old.closed
    await it.thread.do()
    assert it.speaks == "bob"
    assert [(told.name, told.code) for told in it.sent] == [("bob", "")]
    assert old.closed == 1
    assert it.light == ("bob", None)


async def test_of_several_wishes_the_last_one_counts(stand, agency, installed):
    """Those before it are neither spoken with nor answered, and what was loaded for them is freed."""
    it = await stand()
    it.switch.want("bob")
    await settle()
    it.switch.want("espeak")
    it.switch.want("carl")
    await it.work()
    assert it.speaks == "carl"
    assert agency.tries == ["amy", "bob", "carl"]
    assert [told.name for told in it.sent] == ["carl"]
    assert [actor.closed for actor in agency.made] == [1, 1, 0]


async def test_a_wish_that_is_taken_back(stand, agency, installed):
    """Asking for the voice that speaks, while another is being loaded, keeps it."""
    it = await stand()
    it.switch.want("bob")
    await settle()
    it.switch.want("amy")
    await it.work()
    assert it.speaks == "amy"
    assert agency.tries == ["amy", "bob"]
    assert [actor.closed for actor in agency.made] == [0, 1]
    assert [told.name for told in it.sent] == ["amy"]


@pytest.mark.parametrize("name", ["amy", ""])
async def test_a_wish_that_is_met_already(stand, agency, installed, name):
    """Nothing is loaded, and it is answered."""
    it = await stand()
    await it.want(name)
    assert agency.tries == ["amy"]
    assert [(told.name, told.code) for told in it.sent] == [("amy", "")]


@pytest.mark.parametrize(
    ("name", "code", "fix"),
    [("dave", "unknown_name", "amy, bob, carl, espeak"), ("bob", "voice_broken", "Get it again.")],
)
async def test_a_wish_that_cannot_be_met(stand, agency, installed, name, code, fix):
    """The old voice stays, nobody looks for the other one later, and the answer says why and what to do."""
    agency.refusals["bob"] = BROKEN
    it = await stand()
    await it.want(name)
    assert it.light == ("amy", None)
    (told,) = it.sent
    assert (told.name, told.code) == ("amy", code)
    assert told.reason
    assert fix in told.fix
    tries = len(agency.tries)
    await it.pass_by(60)
    assert len(agency.tries) == tries


async def test_back_to_the_settings(stand, installed):
    """No name is the voice that the settings want."""
    it = await stand(piper_voice="carl")
    await it.want("espeak")
    await it.want("")
    assert it.speaks == "carl"
    assert [told.name for told in it.sent] == ["espeak", "carl"]


async def test_a_wish_before_the_first_voice(make_settings, agency, installed):
    """What is wished for while the first voice is being loaded is done after it, and only then answered."""
    it = Stand(make_settings(), agency)
    it.switch.want("bob")
    task = await it.start()
    await it.work()
    assert it.speaks == "bob"
    assert [told.name for told in it.sent] == ["bob"]
    task.cancel()


async def test_the_same_name_with_other_files(stand, agency, installed, piper_voice):
    """A voice that was got again is loaded again."""
    it = await stand()
    piper_voice("amy", symbols=300)
    await it.want("amy")
    assert agency.tries == ["amy", "amy"]
    assert agency.made[0].closed == 1


async def test_another_sample_rate(stand, agency, installed, monkeypatch):
    """What comes later is heard at the first voice's rate, for which the sound card was opened."""
    it = await stand()
    monkeypatch.setattr(Actor, "sample_rate_hz", 16_000)
    await it.want("bob")
    assert it.switch.voice.sample_rate_hz == 22_050
    assert it.speaks == "bob"
    await it.want("carl")
    assert agency.made[1].closed == 1


# --- a voice that fails ------------------------------------------------------------------------------


async def test_espeak_stands_in_at_once(stand, installed):
    """From the failure on espeak speaks, under a light that says why; the failed voice is freed."""
    it = await stand()
    failed = it.switch.voice
    spare = it.switch.failed(failed, BROKEN)
    assert spare is it.switch.voice
    assert it.speaks == "espeak"
    assert failed.closed == 1
    await settle()
    assert it.light == ("espeak", "voice_broken")
    assert it.changes == 1
    assert [told.name for told in it.sent] == ["espeak"]


async def test_a_failed_voice_is_loaded_again(stand, agency, installed):
    """Every 10 s, until it works; then it takes over, and the light is green."""
    it = await stand()
    agency.refusals["amy"] = NO_MEMORY
    it.switch.failed(it.switch.voice, BROKEN)
    await it.pass_by(3 * PROBE_S)
    assert agency.tries == ["amy", "espeak", *["amy"] * 3]
    assert it.light == ("espeak", "out_of_memory")
    agency.refusals.clear()
    await it.pass_by(PROBE_S)
    assert it.light == ("amy", None)
    assert it.speaks == "amy"
    await it.pass_by(6 * PROBE_S)
    assert agency.tries == ["amy", "espeak", *["amy"] * 4]


async def test_a_voice_that_fails_again(stand, agency, installed):
    """The one espeak is used again, and is never closed."""
    it = await stand()
    for _ in range(3):
        it.switch.failed(it.switch.voice, BROKEN)
        assert it.speaks == "espeak"
        await it.pass_by(PROBE_S)
        assert it.light == ("amy", None)
    assert agency.tries.count("espeak") == 1
    assert not any(actor.closed for actor in agency.made if actor.engine == "espeak")


async def test_a_voice_chosen_by_hand_that_fails(stand, agency, installed):
    """It is that voice that comes back, and not the settings' own."""
    it = await stand()
    await it.want("bob")
    it.switch.failed(it.switch.voice, BROKEN)
    await it.pass_by(PROBE_S)
    assert it.light == ("bob", None)


async def test_choosing_espeak_ends_the_trouble(stand, agency, installed):
    """Who wants espeak has what she wants: nobody looks for the failed voice any more."""
    it = await stand()
    it.switch.failed(it.switch.voice, BROKEN)
    await it.want("espeak")
    assert it.light == ("espeak", None)
    await it.pass_by(6 * PROBE_S)
    assert it.light == ("espeak", None)
    assert agency.tries.count("amy") == 1


async def test_a_failure_right_after_the_change(stand, installed):
    """A new voice that fails before the loop has heard of it is not taken for one that speaks."""
    it = await stand()
    it.switch.want("bob")
    await it.loader.do()
    it.thread.submit(lambda: it.switch.failed(it.switch.voice, BROKEN))
    await it.thread.do()
    assert it.speaks == "espeak"
    assert it.light == ("espeak", "voice_broken")


async def test_when_espeak_fails_nobody_stands_in(stand):
    """There is no voice behind it."""
    it = await stand()
    assert it.speaks == "espeak"
    assert it.switch.failed(it.switch.voice, BROKEN) is None
    await settle()
    assert it.light == ("espeak", None)


async def test_when_espeak_cannot_stand_in(stand, agency, installed):
    """The voice that failed goes on, the light says what is wrong, and it is loaded anew."""
    it = await stand()
    failed = it.switch.voice
    agency.refusals["espeak"] = SettingsError("unknown_voice", "no such voice", fix="Correct ESPEAK_VOICE.")
    assert it.switch.failed(failed, BROKEN) is None
    await settle()
    assert it.light == ("amy", "voice_broken")
    assert not failed.closed
    await it.pass_by(PROBE_S)
    assert it.light == ("amy", None)
    assert it.switch.voice is not failed
    assert failed.closed == 1


# --- a voice that is not there -----------------------------------------------------------------------


async def test_a_voice_that_comes_later(stand, agency, piper_voice):
    """She begins with espeak under a yellow light; the folder is looked at, and nothing loaded in vain."""
    agency.refusals["amy"] = MissingError("voice_missing", "no Piper voice", fix="Get it.")
    it = await stand(tts_engine="piper", piper_voice="amy")
    assert it.light == ("espeak", "voice_missing")
    await it.pass_by(6 * PROBE_S)
    assert agency.tries == ["amy", "espeak"]
    agency.refusals.clear()
    piper_voice("amy")
    await it.pass_by(PROBE_S)
    assert it.light == ("amy", None)


async def test_a_broken_voice_is_not_loaded_for_nothing(stand, agency, installed, piper_voice):
    """Only when its files have changed is it worth another try."""
    agency.refusals["amy"] = BROKEN
    it = await stand()
    assert it.light == ("espeak", "voice_broken")
    await it.pass_by(6 * PROBE_S)
    assert agency.tries == ["amy", "espeak"]
    piper_voice("amy", symbols=300)
    await it.pass_by(2 * PROBE_S)
    assert agency.tries == ["amy", "espeak", "amy"]
    agency.refusals.clear()
    piper_voice("amy", symbols=301)
    await it.pass_by(PROBE_S)
    assert it.light == ("amy", None)


async def test_auto_takes_a_voice_that_appears(stand, piper_voice):
    """Espeak is fine until then, with a green light; within 10 s of its coming Piper speaks."""
    it = await stand()
    await it.pass_by(6 * PROBE_S)
    assert it.light == ("espeak", None)
    piper_voice("amy")
    await it.pass_by(PROBE_S)
    assert it.light == ("amy", None)
    assert [told.name for told in it.sent] == ["amy"]


async def test_auto_finds_a_broken_voice(stand, agency, piper_voice):
    """The light says what is wrong with it, until it is mended or gone."""
    agency.refusals["amy"] = BROKEN
    it = await stand()
    model = piper_voice("amy")
    await it.pass_by(3 * PROBE_S)
    assert it.light == ("espeak", "voice_broken")
    assert agency.tries.count("amy") == 1
    model.unlink()
    await it.pass_by(PROBE_S)
    assert it.light == ("espeak", None)


@pytest.mark.parametrize("by_hand", [True, False])
async def test_who_wants_espeak_keeps_it(stand, agency, piper_voice, by_hand):
    """A voice that appears is not taken when espeak was chosen, by hand or in the settings."""
    it = await stand(tts_engine="auto" if by_hand else "espeak")
    if by_hand:
        await it.want("espeak")
    piper_voice("amy")
    await it.pass_by(3 * PROBE_S)
    assert it.light == ("espeak", None)
    assert "amy" not in agency.tries


async def test_another_voice_that_appears_is_left_alone(stand, agency, piper_voice):
    """A Piper voice that speaks is not replaced by one earlier in the alphabet, nor when it is deleted."""
    model = piper_voice("bob")
    it = await stand()
    piper_voice("amy")
    model.unlink()
    await it.pass_by(3 * PROBE_S)
    assert (it.speaks, agency.tries) == ("bob", ["bob"])


async def test_a_wish_comes_before_looking(stand, agency, installed):
    """A voice that is being loaded again in the background gives way to the one that is wished for."""
    it = await stand()
    it.switch.failed(it.switch.voice, BROKEN)
    await asyncio.sleep(PROBE_S)
    await settle()
    it.switch.want("bob")
    await it.work()
    assert it.light == ("bob", None)
    assert it.changes == 2  # to espeak, and to bob
    assert [told.name for told in it.sent] == ["espeak", "bob"]
    assert [actor.closed for actor in agency.made if actor.voice == "amy"] == [1, 1]


async def test_a_voice_of_the_users_own_that_crashes(stand, agency):
    """Whatever it raises while it is loaded, espeak speaks, and it is tried again every 10 s."""
    agency.refusals["my.own:Voice"] = ConnectionRefusedError("nobody there")
    it = await stand(tts_engine="my.own:Voice")
    assert it.light == ("espeak", "voice_crashed")
    assert "nobody there" in str(it.switch.trouble)
    await it.pass_by(2 * PROBE_S)
    assert agency.tries.count("my.own:Voice") == 3
    agency.refusals.clear()
    await it.pass_by(PROBE_S)
    assert it.light == ("my.own:Voice", None)


async def test_nothing_at_all_to_speak_with(make_settings, agency):
    """Without espeak the process ends with the fix; a setting that cannot be used ends it too."""
    agency.refusals["espeak"] = MissingError("espeak_missing", "no espeak", fix="Install it.")
    with pytest.raises(MissingError):
        await Stand(make_settings(), agency).start()
    agency.refusals["amy"] = BROKEN
    with pytest.raises(MissingError):
        await Stand(make_settings(piper_voice="amy"), agency).start()
    agency.refusals["robot"] = SettingsError("unknown_engine", "no such engine", fix="Correct it.")
    with pytest.raises(SettingsError):
        await Stand(make_settings(tts_engine="robot"), agency).start()


async def test_the_end(stand, installed):
    """The voice that speaks is closed, once."""
    it = await stand()
    it.switch.close()
    assert it.switch.voice.closed == 1


async def test_a_voice_that_cannot_be_closed(stand, installed, monkeypatch):
    """It is out of use all the same."""

    def fail(_):
        raise ValueError("stuck")

    it = await stand()
    monkeypatch.setattr(Actor, "close", fail)
    await it.want("bob")
    assert it.light == ("bob", None)
