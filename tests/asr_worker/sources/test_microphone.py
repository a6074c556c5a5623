import asyncio
import re
import sys

import numpy as np
import pytest
from structlog.testing import capture_logs

from apps.asr_worker.sound import RATE_HZ, Block
from apps.asr_worker.sources.input_device import RETURN_S
from apps.asr_worker.sources.microphone import HELD_S, LAST_RETRY_S, START_S, Microphone
from apps.shared.sound_devices import WATCH_S
from tests.fakes.executor import Inline
from tests.fakes.sound_card import LATENCY_S, Card, Device, Wasapi

pytestmark = pytest.mark.looptime

YETI = Device("Yeti (hw:1,0)", "ALSA", 0, 2, 48_000)
WEBCAM = Device("Webcam (hw:2,0)", "ALSA", 0, 1, 16_000)
CALLBACK = 320


class Ears:
    """A microphone under test, and what it told."""

    def __init__(self, card: Card, wanted: str) -> None:
        self.card = card
        self.loop = asyncio.get_running_loop()
        self.told: list[tuple[str, str]] = []  # (name, code)
        self.source = Microphone(wanted, self.loop.time, self.changed, Inline())
        self.task = asyncio.create_task(self.source.run())

    def changed(self) -> None:
        self.told.append((self.source.name, self.source.trouble.code if self.source.trouble else ""))

    @property
    def stream(self):
        return self.card.microphones[-1]

    @property
    def codes(self):
        return [code for _, code in self.told]

    async def found(self, within_s: float = LAST_RETRY_S + 0.1) -> None:
        """Wait until it is open again, and give it sound."""
        async with asyncio.timeout(within_s):
            while not self.card.microphones or not self.stream.alive:
                await asyncio.sleep(0.05)
        await self.hear()

    async def hear(self, size: float = 0.1, callbacks: int = 1) -> list[Block]:
        """Give the device so much sound and read it."""
        blocks = []
        for _ in range(callbacks):
            self.stream.hear(np.full(self.stream.blocksize, size))
            await asyncio.sleep(0.02)
            while self.source._ring._blocks:
                block = await self.source.read()
                assert block
                blocks.append(block)
        return blocks


@pytest.fixture
def card(monkeypatch):
    card = Card([YETI, WEBCAM], rates=[RATE_HZ])
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    yield card
    card.close()


@pytest.fixture
async def listen(card):
    made = []

    async def start(wanted: str = "", *, heard: bool = True) -> Ears:
        ears = Ears(card, wanted)
        made.append(ears)
        await asyncio.sleep(0.01)
        if heard:
            await ears.hear()
        return ears

    yield start
    for ears in made:
        ears.task.cancel()
        await asyncio.wait({ears.task})


# --- what is heard ---


async def test_sound(listen):
    """What the device captures is read, with the time when that was."""
    ears = await listen()
    ears.stream.hear(np.full(CALLBACK, 0.5), age_s=0.07)
    now_s = ears.loop.time()
    block = await ears.source.read()
    assert block.samples.tolist() == [0.5] * CALLBACK
    assert block.at_s == pytest.approx(now_s - LATENCY_S, abs=0.03)
    assert (ears.source.name, ears.source.trouble, ears.source.lost_s) == (YETI.name, None, 0)
    assert ears.told == [(YETI.name, "")]


async def test_waiting_for_sound(listen):
    """A reader sleeps until there is some, and is woken by it."""
    ears = await listen()
    reading = asyncio.create_task(ears.source.read())
    await asyncio.sleep(0.5)
    assert not reading.done()
    ears.stream.hear(np.full(CALLBACK, 0.25))
    block = await reading
    assert set(block.samples.tolist()) == {0.25}


async def test_a_reader_that_is_cancelled(listen):
    """The sound that comes next is not lost with it."""
    ears = await listen()
    reading = asyncio.create_task(ears.source.read())
    await asyncio.sleep(0.1)
    ears.stream.hear(np.full(CALLBACK, 0.25))
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    assert set((await ears.source.read()).samples.tolist()) == {0.25}


async def test_nobody_reads(listen):
    """The oldest sound goes, and is counted."""
    ears = await listen()
    for number in range(round((HELD_S + 2) / 0.02)):
        ears.stream.hear(np.full(CALLBACK, number / 1000))
    block = await ears.source.read()
    assert ears.source.lost_s == pytest.approx(2)
    assert set(block.samples.tolist()) == {np.float32(0.1)}


async def test_who_is_behind_lets_others_have_their_turn(listen):
    """Reading what has piled up does not stop everything else."""
    ears = await listen()
    for _ in range(10):
        ears.stream.hear(np.zeros(CALLBACK))
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    for _ in range(10):
        await ears.source.read()
    task.cancel()
    assert turns >= 9


async def test_the_end(listen):
    """A cancelled microphone closes its device, and its reader gets nothing more."""
    ears = await listen()
    reading = asyncio.create_task(ears.source.read())
    await asyncio.sleep(0.1)
    with capture_logs() as logs:
        ears.task.cancel()
        assert await reading is None
    assert ears.stream.closed
    assert ears.task.cancelled()
    assert logs == []


# --- how it is opened ---


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000, 96_000])
async def test_a_device_that_refuses_16_khz(card, listen, rate_hz):
    """It is opened at its own rate, and heard at 16 kHz."""
    card.devices, card.rates = [YETI._replace(rate_hz=rate_hz)], frozenset()
    ears = await listen()
    assert ears.stream.samplerate == rate_hz
    blocks = await ears.hear(0.5, callbacks=50)
    assert sum(len(block.samples) for block in blocks) == pytest.approx(RATE_HZ, abs=0.12 * RATE_HZ)
    assert blocks[-1].samples.tolist() == pytest.approx([0.5] * len(blocks[-1].samples), abs=0.02)


async def test_a_device_that_lies_about_its_rate(card, listen):
    """Where it refuses its own as well, the usual ones are tried."""
    card.devices, card.rates = [YETI._replace(rate_hz=96_000, takes_own=False)], frozenset({44_100})
    ears = await listen()
    assert ears.stream.samplerate == 44_100


@pytest.mark.parametrize("channels", [2, 4])
async def test_a_device_that_is_not_mono(card, listen, channels):
    """One that gives all of its channels or none is mixed."""
    card.devices = [YETI._replace(inputs=channels, one_channel=False)]
    ears = await listen()
    sound = np.zeros((CALLBACK, channels))
    sound[:, -1] = 0.8
    ears.stream.hear(sound)
    block = await ears.source.read()
    assert block.samples.tolist() == pytest.approx([0.8 / channels] * CALLBACK)


async def test_wasapi(card, listen):
    """Windows is asked to convert, and does."""
    card.devices, card.rates = [YETI._replace(api="Windows WASAPI")], frozenset()
    ears = await listen("yeti")
    assert ears.stream.samplerate == RATE_HZ
    assert card.refusal("input", 0, RATE_HZ, 1, Wasapi()) is not None


async def test_by_name(listen):
    """Part of a device's name chooses it."""
    ears = await listen("webcam")
    assert ears.stream.device == WEBCAM
    assert ears.source.name == WEBCAM.name


# --- why it cannot be opened ---


async def test_no_microphone_at_all(card, listen):
    """It says so, and finds the first one that is plugged in."""
    card.devices = [Device("Speakers", "ALSA", 2)]
    ears = await listen(heard=False)
    assert ears.codes == ["no_microphone"]
    assert "ASR_INPUT=none" in ears.source.trouble.fix
    card.plug(YETI)
    await ears.found()
    assert ears.told[1:] == [(YETI.name, "")]


@pytest.mark.parametrize(
    ("wanted", "reason", "fix"),
    [
        ("blue snow", "there is no microphone 'blue snow'", "Plug it in.*Webcam .*Yeti"),
        ("hw:", "more than one microphone has 'hw:' in its name", "^Set ASR_INPUT.*Webcam .*Yeti"),
    ],
)
async def test_a_name_that_does_not_tell(listen, wanted, reason, fix):
    """The error names the microphones there are."""
    ears = await listen(wanted, heard=False)
    assert ears.codes == ["no_microphone"]
    assert reason in str(ears.source.trouble)
    assert re.search(fix, ears.source.trouble.fix)
    assert ears.card.microphones == []


async def test_a_device_that_is_in_use(card, listen):
    """It is told once, tried again ever more rarely, and heard when the other program lets it go."""
    card.taken = {YETI.name}
    with capture_logs() as logs:
        ears = await listen("yeti", heard=False)
        await asyncio.sleep(60)
    assert ears.codes == ["microphone_busy"]
    assert [entry["code"] for entry in logs] == ["microphone_busy"]
    assert 60 / LAST_RETRY_S <= len(card.microphones) <= 60 / LAST_RETRY_S + 6
    assert all(stream.closed for stream in card.microphones)
    card.taken = set()
    await ears.found()
    assert ears.codes == ["microphone_busy", ""]


async def test_a_device_that_we_may_not_open(card, listen):
    """The error tells where leave is given."""
    card.forbidden = {YETI.name}
    ears = await listen("yeti", heard=False)
    assert ears.codes == ["microphone_refused"]
    assert "-9999" in str(ears.source.trouble)
    assert "use" in ears.source.trouble.fix


async def test_without_portaudio(monkeypatch, tmp_path, listen):
    """Without the system's library it is not there, until it is installed."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice")
    monkeypatch.syspath_prepend(tmp_path)
    ears = await listen(heard=False)
    assert ears.codes == ["no_portaudio"]
    assert "ASR_INPUT=none" in ears.source.trouble.fix
    card = Card([YETI], rates=[RATE_HZ])
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    ears.card = card
    await ears.found()
    assert ears.codes == ["no_portaudio", ""]
    card.close()


# --- lost and found ---


@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("back", [YETI, YETI._replace(name="Yeti (hw:3,0)")])
async def test_unplugged(card, listen, silently, back):
    """It is told, and the device is heard again once it is plugged in, in whatever socket."""
    ears = await listen(YETI.name)
    for _ in range(100):
        await ears.hear()
    lost = ears.stream
    card.unplug(YETI.name, silently=silently)
    lost_s = ears.loop.time()
    while not ears.source.trouble:
        await asyncio.sleep(0.05)
    assert ears.loop.time() - lost_s <= (2 * WATCH_S + 0.1 if silently else 0.1)
    assert lost.closed
    assert ears.codes == ["", "microphone_lost"]
    assert "Plug it in again" in ears.source.trouble.fix
    await asyncio.sleep(60)
    assert ears.codes == ["", "microphone_lost", "no_microphone"]
    card.plug(back)
    await ears.found()
    assert (await ears.hear(0.5))[0].samples[-1] == pytest.approx(0.5)
    assert ears.told[-1] == (back.name, "")


async def test_the_default_device_unplugged_for_a_moment(card, listen):
    """It is waited for: another microphone, which is the default meanwhile, is not what was chosen."""
    ears = await listen()
    card.unplug(YETI.name)
    await asyncio.sleep(RETURN_S / 2)
    assert ears.codes == ["", "microphone_lost", "no_microphone"]
    assert YETI.name in str(ears.source.trouble)
    card.plug(YETI)
    await ears.found()
    assert ears.told[-1] == (YETI.name, "")


async def test_the_default_device_unplugged_for_good(card, listen):
    """After some seconds whatever is the default now will do."""
    ears = await listen()
    card.unplug(YETI.name)
    lost_s = ears.loop.time()
    await ears.found(RETURN_S + LAST_RETRY_S)
    assert ears.loop.time() - lost_s >= RETURN_S
    assert ears.told[-1] == (WEBCAM.name, "")


async def test_a_device_that_opens_and_is_silent(listen):
    """One that never calls back is given up after a while, long enough for Bluetooth, and tried again."""
    ears = await listen(heard=False)
    await asyncio.sleep(START_S - 0.1)
    assert ears.codes == []
    await asyncio.sleep(0.2)
    assert ears.codes == ["microphone_lost"]
    await ears.found()
    assert ears.codes == ["microphone_lost", ""]


async def test_a_sound_system_that_does_not_start_again(card, listen):
    """It is told as no microphone, and tried again."""
    ears = await listen()
    card.broken = 2
    card.unplug(YETI.name)
    card.plug(YETI)
    await asyncio.sleep(1)
    assert ears.codes == ["", "microphone_lost", "no_microphone"]
    await ears.found()
    assert ears.codes[-1] == ""


async def test_cancelled_while_it_is_lost(card, listen):
    """Looking for it ends at once."""
    ears = await listen()
    card.unplug(YETI.name)
    await asyncio.sleep(30)
    ears.task.cancel()
    assert await ears.source.read() is None
    assert all(stream.closed for stream in card.microphones)


# --- what is wrong with the sound ---


async def test_no_signal(listen):
    """Zeros are told in plain words after two seconds, and no more once there is sound."""
    ears = await listen()
    await ears.hear(0.0, callbacks=110)
    assert ears.codes == ["", "no_signal"]
    assert "mute switch" in ears.source.trouble.fix
    await ears.hear(0.1)
    assert ears.codes == ["", "no_signal", ""]


async def test_clipping(listen):
    """It is told when it lasts."""
    ears = await listen()
    await ears.hear(1.0, callbacks=20)
    assert ears.codes == [""]
    await ears.hear(1.0, callbacks=100)
    assert ears.codes == ["", "clipped"]


async def test_lost_while_it_is_silent(card, listen):
    """Why there is no device comes before what was wrong with its sound, which is forgotten with it."""
    ears = await listen("yeti")
    await ears.hear(0.0, callbacks=110)
    card.unplug(YETI.name)
    await asyncio.sleep(1)
    assert ears.codes == ["", "no_signal", "microphone_lost", "no_microphone"]
    card.plug(YETI)
    await ears.found()
    assert ears.codes[-1] == ""
