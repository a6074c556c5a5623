"""Who she is and how she sounds. In virtual time; the workers are lists of what was sent to them."""

import asyncio

import pytest

from apps.orchestrator.manner import STYLE_LIMIT_S, AwayError, Manner, UnknownNameError
from apps.shared.errors import AivtError
from apps.shared.messages import Delivery, Message, Persona, SetDelivery, SetStyle, SetVoice, Voices

pytestmark = pytest.mark.looptime

SOFT = Delivery(speed=0.9, pitch=-1)
KITSU = Persona(id="kitsu", style="kitsu", styles=("cozy", "hype", "kitsu"))
COZY = Persona(id="kitsu", style="cozy", styles=KITSU.styles, voice="amber", delivery=SOFT)
NAMES = ("amber", "espeak")


class Workers:
    """What was sent to policy and tts, as long as they are there."""

    def __init__(self, *there: str) -> None:
        self.sent: dict[str, list[Message]] = {module: [] for module in there}
        self.manner = Manner(self._send)

    def _send(self, module, message):
        if module in self.sent:
            self.sent[module].append(message)
        return module in self.sent

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
    workers.manner.take(KITSU)
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
    assert workers.manner.status()["voice"] == {"name": "espeak", "names": ["amber", "espeak"]}
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
