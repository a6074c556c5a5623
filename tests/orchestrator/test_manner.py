"""Who she is and how she sounds. In virtual time; the workers are lists of what was sent to them."""

import asyncio

import pytest
from msgspec.structs import replace

from apps.orchestrator.manner import STYLE_LIMIT_S, VOICE_LIMIT_S, AwayError, Manner, UnknownNameError
from apps.shared.errors import AivtError
from apps.shared.messages import Delivery, Message, Persona, SetDelivery, SetStyle, SetVoice, Voices

pytestmark = pytest.mark.looptime

SOFT = Delivery(speed=0.9, pitch=-1)
KITSU = Persona(id="kitsu", style="kitsu", styles=("cozy", "hype", "kitsu"))
COZY = Persona(id="kitsu", style="cozy", styles=KITSU.styles, voice="amber", delivery=SOFT)
HYPE = Persona(id="kitsu", style="hype", styles=KITSU.styles)
NAMES = ("amber", "big", "espeak")


class Workers:
    """What was sent to policy and tts, as long as they are there."""

    def __init__(self, *there: str) -> None:
        self.sent: dict[str, list[Message]] = {module: [] for module in there}
        self.manner = Manner(self._send)

    def _send(self, module, message):
        if module in self.sent:
            self.sent[module].append(message)
        return module in self.sent

    def voices_asked(self):
        """Which voices the voice process was asked for since the last look."""
        asked = [message.name for message in self.sent["tts"] if isinstance(message, SetVoice)]
        self.sent["tts"].clear()
        return asked

    async def asked(self, wish):
        """Begin to wish something, until it is sent."""
        task = asyncio.create_task(wish)
        await asyncio.sleep(0)
        return task


async def test_a_style_is_asked_of_policy():
    """The wish is fulfilled when policy tells who she is now."""
    workers = Workers("policy")
    workers.manner.take(KITSU)
    wish = await workers.asked(workers.manner.set_style(" Cozy "))
    assert workers.sent["policy"] == [SetStyle(name="cozy")]
    assert not wish.done()
    workers.manner.take(COZY)
    await wish
    assert workers.manner.status()["persona"] == {"id": "kitsu", "style": "cozy"}


async def test_two_wishes_at_once():
    """The second is asked when the first is answered, so that neither takes the other's answer."""
    workers = Workers("policy")
    workers.manner.take(KITSU)
    first = await workers.asked(workers.manner.set_style("cozy"))
    second = await workers.asked(workers.manner.set_style("hype"))
    assert workers.sent["policy"] == [SetStyle(name="cozy")]
    workers.manner.take(COZY)
    await first
    await asyncio.sleep(STYLE_LIMIT_S / 2)
    assert workers.sent["policy"][1:] == [SetStyle(name="hype")]
    assert not second.done()
    workers.manner.take(HYPE)
    await second


@pytest.mark.parametrize("what", ["style", "voice"])
async def test_a_worker_that_is_away_or_slow(what):
    """Each with its code, in a bounded time."""
    workers = Workers()
    wish = getattr(workers.manner, f"set_{what}")
    module = {"style": "policy", "voice": "tts"}[what]
    with pytest.raises(AwayError) as away:
        await wish("cozy")
    workers.manner.take(KITSU)
    with pytest.raises(AwayError) as gone:
        await wish("cozy")
    workers.sent[module] = []
    with pytest.raises(AwayError) as slow:
        await wish("cozy")
    codes = [error.value.code for error in (away, gone, slow)]
    assert codes == [f"{module}_down", f"{module}_down", f"{module}_slow"]


async def test_an_unknown_style():
    """The answer lists those there are, and policy is not bothered."""
    workers = Workers("policy")
    workers.manner.take(KITSU)
    with pytest.raises(UnknownNameError) as unknown:
        await workers.manner.set_style("pirate")
    assert unknown.value.names == KITSU.styles
    assert workers.sent["policy"] == []


async def test_the_voice_speaks_as_the_persona_does():
    """A new manner of speaking is told at once, its voice only when it is another one."""
    workers = Workers("tts")
    workers.manner.take(KITSU)
    workers.manner.take(COZY)
    workers.manner.take(COZY)
    assert workers.sent["tts"] == [
        SetDelivery(delivery=Delivery()),
        SetDelivery(delivery=SOFT),
        SetVoice(name="amber"),
        SetDelivery(delivery=SOFT),
    ]


async def test_a_voice_that_joins_is_told():
    """A restarted voice learns again how she speaks, and with which voice."""
    workers = Workers()
    workers.manner.take(COZY)
    workers.sent["tts"] = []
    workers.manner.voice_joined()
    workers.manner.voice_joined()
    assert workers.sent["tts"] == [SetDelivery(delivery=SOFT), SetVoice(name="amber")] * 2


async def test_a_voice_chosen_by_hand_stays():
    """Other manners do not take it away; an empty name gives the choice back to them."""
    workers = Workers("tts")
    workers.manner.take(COZY)
    wish = await workers.asked(workers.manner.set_voice("espeak"))
    workers.manner.take(Voices(name="espeak", names=NAMES))
    await wish
    assert workers.manner.status()["voice"] == {
        "name": "espeak",
        "names": list(NAMES),
        "reason": "",
        "fix": "",
    }
    workers.sent["tts"].clear()
    workers.manner.take(KITSU)
    workers.manner.take(COZY)
    assert not [each for each in workers.sent["tts"] if isinstance(each, SetVoice)]
    wish = await workers.asked(workers.manner.set_voice(""))
    assert workers.sent["tts"][-1] == SetVoice(name="amber")
    workers.manner.take(Voices(name="amber", names=NAMES))
    await wish


@pytest.mark.parametrize(("code", "kind"), [("unknown_name", UnknownNameError), ("voice_broken", AivtError)])
async def test_a_voice_that_cannot_be_had(code, kind):
    """The voice process knows which there are, and why one does not load; the choice stays as it was."""
    workers = Workers("tts")
    workers.manner.take(COZY)
    wish = await workers.asked(workers.manner.set_voice("robot"))
    workers.manner.take(Voices(name="amber", names=NAMES, code=code, reason="no such voice", fix="Get it."))
    with pytest.raises(kind) as refused:
        await wish
    assert refused.value.code == code
    workers.sent["tts"].clear()
    workers.manner.voice_joined()
    assert workers.sent["tts"][-1] == SetVoice(name="amber")


async def test_a_style_that_cannot_be_had():
    """Policy tells why and what to do; a preset that is gone is an unknown name like any other."""
    workers = Workers("policy")
    workers.manner.take(KITSU)
    wish = await workers.asked(workers.manner.set_style("cozy"))
    workers.manner.take(replace(KITSU, code="broken_persona", reason="it is empty", fix="Correct it."))
    with pytest.raises(AivtError, match="it is empty") as refused:
        await wish
    assert (refused.value.code, refused.value.fix) == ("broken_persona", "Correct it.")
    wish = await workers.asked(workers.manner.set_style("cozy"))
    workers.manner.take(replace(KITSU, styles=("hype", "kitsu"), code="unknown_persona"))
    with pytest.raises(UnknownNameError) as unknown:
        await wish
    assert unknown.value.names == ("hype", "kitsu")


async def test_what_is_told_meanwhile_is_no_answer():
    """Each wish waits for its own: not for that of an older one, nor for what a worker tells by itself."""
    workers = Workers("policy", "tts")
    workers.manner.take(KITSU)
    style = await workers.asked(workers.manner.set_style("cozy"))
    workers.manner.take(HYPE)
    voice = await workers.asked(workers.manner.set_voice("amber"))
    workers.manner.take(Voices(name="", names=NAMES))
    workers.manner.take(Voices(name="big", names=NAMES))
    await asyncio.sleep(STYLE_LIMIT_S / 2)
    assert not style.done()
    assert not voice.done()
    workers.manner.take(COZY)
    workers.manner.take(HYPE)
    workers.manner.take(Voices(name="amber", names=NAMES))
    workers.manner.take(Voices(name="espeak", names=NAMES))
    await style
    await voice


@pytest.mark.parametrize("what", ["style", "voice"])
async def test_a_worker_that_leaves_while_it_is_asked(looptime, what):
    """Nobody waits for what cannot come; the worker that is started in its place has not been asked."""
    module = {"style": "policy", "voice": "tts"}[what]
    workers = Workers("policy", "tts")
    workers.manner.take(KITSU)
    wish = await workers.asked(getattr(workers.manner, f"set_{what}")("cozy"))
    workers.manner.left({"policy": "tts", "tts": "policy"}[module])
    workers.manner.left("obs")
    await asyncio.sleep(0)
    assert not wish.done()
    workers.manner.left(module)
    with pytest.raises(AwayError) as gone:
        await wish
    assert gone.value.code == f"{module}_down"
    assert looptime == 0


async def test_a_voice_that_ends_its_process_is_not_chosen():
    """Or each process that is started in its place would be asked for it again, and end likewise."""
    workers = Workers("tts")
    workers.manner.take(COZY)
    wish = await workers.asked(workers.manner.set_voice("big"))
    assert workers.voices_asked() == ["amber", "big"]
    workers.manner.left("tts")
    workers.manner.voice_joined()
    workers.manner.take(Voices(name="", names=NAMES))
    with pytest.raises(AwayError):
        await wish
    workers.manner.take(COZY)
    assert workers.voices_asked() == ["amber"]


async def test_a_manner_that_comes_while_a_voice_is_being_chosen():
    """The choice is not taken back by the persona's own voice; that comes afterwards, if it is still due."""
    workers = Workers("tts")
    workers.manner.take(KITSU)
    wish = await workers.asked(workers.manner.set_voice("espeak"))
    workers.manner.take(COZY)
    assert workers.voices_asked() == ["espeak"]
    workers.manner.take(Voices(name="espeak", names=NAMES))
    await wish
    assert workers.voices_asked() == []

    wish = await workers.asked(workers.manner.set_voice(""))
    workers.manner.take(KITSU)
    assert workers.voices_asked() == ["amber"]
    workers.manner.take(Voices(name="amber", names=NAMES))
    await wish
    assert workers.voices_asked() == [""]

    wish = await workers.asked(workers.manner.set_voice("robot"))
    workers.manner.take(COZY)
    workers.manner.take(Voices(name="espeak", names=NAMES, code="voice_broken"))
    with pytest.raises(AivtError):
        await wish
    assert workers.voices_asked() == ["robot", "amber"]


async def test_a_voice_that_takes_too_long_is_given_up():
    """Who asked was told that it did not work: it must not come minutes later all the same."""
    workers = Workers("tts")
    workers.manner.take(COZY)
    assert workers.voices_asked() == ["amber"]
    with pytest.raises(AwayError) as slow:
        await workers.manner.set_voice("big")
    assert slow.value.code == "tts_slow"
    assert workers.voices_asked() == ["big", "amber"]


async def test_two_voices_at_once():
    """The second waits for the first, and what is asked then is what the persona wants by then."""
    workers = Workers("tts")
    workers.manner.take(KITSU)
    first = await workers.asked(workers.manner.set_voice("big"))
    second = await workers.asked(workers.manner.set_voice(""))
    workers.manner.take(COZY)
    assert workers.voices_asked() == ["big"]
    workers.manner.take(Voices(name="big", names=NAMES))
    await first
    await asyncio.sleep(VOICE_LIMIT_S / 2)
    assert workers.voices_asked() == ["amber"]
    workers.manner.take(Voices(name="amber", names=NAMES))
    await second
    assert workers.voices_asked() == []


async def test_a_persona_whose_voice_is_not_there():
    """Who gives the choice back to her is told which voice is missing."""
    workers = Workers("tts")
    workers.manner.take(COZY)
    wish = await workers.asked(workers.manner.set_voice(""))
    workers.manner.take(Voices(name="espeak", names=("espeak",), code="unknown_name"))
    with pytest.raises(UnknownNameError, match="amber"):
        await wish
