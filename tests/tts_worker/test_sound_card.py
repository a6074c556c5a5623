import asyncio
import re

import pytest
from structlog.testing import capture_logs

from apps.shared.errors import MissingError
from apps.shared.sound_devices import WATCH_S
from apps.tts_worker.playout import Playout
from apps.tts_worker.sound_card import MONITOR_FRAMES, SoundCard
from tests.fakes.sound_card import LATENCY_S, STALE, Device, Stream
from tests.tts_worker.player import FRAME, RATE_HZ

pytestmark = pytest.mark.looptime

WINDOWS = (
    Device("Speakers", "MME", 2),
    Device("CABLE Input (VB-Audio Virtual C", "MME", 2),
    Device("Speakers", "Windows DirectSound", 2),
    Device("CABLE Input (VB-Audio Virtual Cable)", "Windows DirectSound", 2),
    Device("Speakers", "Windows WASAPI", 2),
    Device("CABLE Input (VB-Audio Virtual Cable)", "Windows WASAPI", 2),
    Device("Microphone", "MME", 0),
)


def device(name="", monitor=""):
    return lambda its: SoundCard(its.playout, its.now_s, name, monitor)


async def started(player, name="", monitor=""):
    its = player(device(name, monitor))
    await asyncio.sleep(0)
    return its


async def pass_time(*working, for_s=10 * WATCH_S):
    """These devices ask for sound all the while; others do not."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + for_s
    while loop.time() < end_s:
        for stream in working:
            stream.play()
        await asyncio.sleep(WATCH_S / 4)


# --- what is heard ---


async def test_a_device_hears_the_playout(player, card):
    """Buffers are filled to their last sample, and marks tell when the sound leaves the device."""
    its = await started(player)
    assert set(card.streams[0].play()) == {0}
    its.say([5] * (FRAME + 1))
    assert card.streams[0].play(2).tolist() == [5] * (FRAME + 1) + [0] * (FRAME - 1)
    assert STALE not in card.streams[0].play()
    assert its.marks[0].at_s == pytest.approx(its.loop.time() + LATENCY_S)


async def test_a_second_device_hears_the_same(player, card):
    """It plays every frame of the first one, and silence when it is ahead."""
    its = await started(player, "speakers", "cable")
    main, second = card.streams
    its.say(range(1, 2 * FRAME + 1))
    assert set(second.play()) == {0}
    heard = main.play(3).tolist()
    assert second.play(4).tolist() == heard + [0] * FRAME


async def test_a_second_device_that_falls_behind(player, card):
    """The oldest frames that wait for it go, so that it is never more than half a second late."""
    its = await started(player, "speakers", "cable")
    main, second = card.streams
    its.say([number for number in range(1, 101) for _ in range(FRAME)])
    main.play(100)
    assert list(dict.fromkeys(second.play(100).tolist())) == [*range(101 - MONITOR_FRAMES, 101), 0]


# --- the end ---


async def test_a_lost_device(player, card):
    """A device that stops by itself ends the output with the fix; every stream is closed."""
    its = await started(player, "speakers", "cable")
    lost_s = its.loop.time()
    card.streams[0].lose()
    with pytest.raises(MissingError, match="stopped") as caught:
        await its.task
    assert (caught.value.code, bool(caught.value.fix)) == ("sound_device_lost", True)
    assert all(stream.closed for stream in card.streams)
    assert its.loop.time() == lost_s


@pytest.mark.parametrize("played_s", [0, 5 * WATCH_S], ids=["from the start", "in mid-show"])
async def test_a_device_that_asks_for_nothing(player, card, played_s):
    """A driver that never says that its device is gone is found out, once it has been still for WATCH_S."""
    its = await started(player)
    await pass_time(*card.streams, for_s=played_s)
    still_s = its.loop.time()
    assert not its.task.done()
    with pytest.raises(MissingError, match="stopped") as caught:
        await its.task
    assert caught.value.code == "sound_device_lost"
    assert WATCH_S <= its.loop.time() - still_s <= 2 * WATCH_S
    assert card.streams[0].closed


async def test_a_show_of_silence(player, card):
    """Devices that ask and get nothing but silence are not lost, however long nobody speaks."""
    its = await started(player, "speakers", "cable")
    await pass_time(*card.streams, for_s=60)
    assert not its.task.done()
    assert its.output.trouble is None


async def test_a_stopped_output_closes_its_devices(player, card):
    """Cancelling the output closes the streams, and that they finish then is no loss."""
    its = await started(player, "speakers", "cable")
    its.task.cancel()
    with capture_logs() as logs, pytest.raises(asyncio.CancelledError):
        await its.task
    assert all(stream.closed for stream in card.streams)
    assert logs == []


@pytest.mark.parametrize("turns", range(6))
async def test_stopped_as_the_device_is_lost(player, card, turns):
    """A cancellation that comes while the loss is being noticed still ends the output as cancelled."""
    its = await started(player)
    card.streams[0].lose()
    for _ in range(turns):
        await asyncio.sleep(0)
    in_time = its.task.cancel()
    await asyncio.wait({its.task})
    assert its.task.cancelled() == in_time
    if not in_time:
        assert isinstance(its.task.exception(), MissingError)


async def test_a_device_that_is_taken(player, card):
    """A device that opens and does not start is missing too."""
    card.taken = {"Speakers"}
    its = player(device())
    with pytest.raises(MissingError, match="unavailable") as caught:
        await its.task
    assert "TTS_OUTPUT" in caught.value.fix
    assert card.streams[0].closed


# --- trouble with the second device ---


@pytest.mark.parametrize(
    ("monitor", "reason"), [("nowhere", "nowhere: No output device"), ("e", "e: Multiple output devices")]
)
async def test_a_second_device_that_is_not_there(player, card, monitor, reason):
    """The first one plays on; the trouble names the setting and the devices there are."""
    with capture_logs() as logs:
        its = await started(player, "", monitor)
    assert reason in str(its.output.trouble)
    assert its.output.trouble.fix.startswith("Set TTS_MONITOR")
    assert its.output.trouble.fix.endswith("Devices: Cable, Speakers.")
    assert [entry["code"] for entry in logs] == ["no_sound_device"]
    await pass_time(*card.streams)
    its.say([5] * FRAME)
    assert card.streams[0].play().tolist() == [5] * FRAME
    assert not its.task.done()


async def test_a_second_device_that_is_taken(player, card):
    """One that opens and does not start is trouble too, and is closed in the end."""
    card.taken = {"Cable"}
    its = await started(player, "speakers", "cable")
    main, second = card.streams
    await pass_time(main)
    assert "unavailable" in str(its.output.trouble)
    assert "TTS_MONITOR" in its.output.trouble.fix
    assert not its.task.done()
    its.task.cancel()
    await asyncio.wait({its.task})
    assert second.closed


@pytest.mark.parametrize("stop", [Stream.lose, lambda _: None], ids=["it says so", "it asks for nothing"])
async def test_a_second_device_lost_in_mid_show(player, card, stop):
    """It is trouble, logged once; the first one plays on."""
    its = await started(player, "speakers", "cable")
    main, second = card.streams
    await pass_time(main, second)
    assert its.output.trouble is None
    stop(second)
    with capture_logs() as logs:
        await pass_time(main)
    assert its.output.trouble
    assert its.output.trouble.code == "sound_device_lost"
    assert "TTS_MONITOR" in str(its.output.trouble)
    assert [entry["code"] for entry in logs] == ["sound_device_lost"]
    its.say([5] * FRAME)
    assert main.play().tolist() == [5] * FRAME
    assert not its.task.done()


# --- which device, and at which rate ---


@pytest.mark.parametrize(
    ("default", "name", "index"),
    [
        (0, "", 0),
        (0, "speakers", 0),
        (0, "cable input", 1),
        (0, "CABLE Input (VB-Audio Virtual Cable)", 3),
        (0, "cable wasapi", 5),
        (4, "", 4),
        (4, "cable input", 5),
    ],
)
async def test_a_device_that_windows_lists_more_than_once(player, card, default, name, index):
    """A device's name is enough: the host API is the default device's unless another is named."""
    card.devices, card.default = WINDOWS, default
    player(device(name))
    assert card.streams[0].device == WINDOWS[index]


@pytest.mark.parametrize(
    ("output", "monitor"), [("", "cable"), ("cable", ""), ("Speakers, Windows WASAPI", "")]
)
async def test_wasapi_plays_any_rate(player, card, output, monitor):
    """Its mixer runs at 48 kHz, and Windows converts our 22,050 Hz to that."""
    card.devices, card.rates = tuple(one for one in WINDOWS if "WASAPI" in one[1]), frozenset()
    its = await started(player, output, monitor)
    its.say([5] * FRAME)
    assert [stream.play().tolist() for stream in card.streams] == [[5] * FRAME] * len(card.streams)
    assert its.output.trouble is None


async def test_two_host_apis(player, card):
    """Only the device of WASAPI gets its settings, which another API would refuse."""
    card.devices = WINDOWS
    its = player(device("speakers", "cable wasapi"))
    assert [stream.device[1] for stream in card.streams] == ["MME", "Windows WASAPI"]
    assert its.output.trouble is None


@pytest.mark.parametrize(
    ("output", "rate_hz", "reason"),
    [
        ("nowhere", RATE_HZ, r"nowhere.*TTS_OUTPUT.*Speakers"),
        ("microphone", RATE_HZ, r"microphone.*TTS_OUTPUT.*Speakers"),
        ("e", RATE_HZ, r"Multiple.*TTS_OUTPUT.*Speakers"),
        ("", 48_000, r"default.*Invalid sample rate.*TTS_OUTPUT"),
    ],
)
async def test_a_device_that_is_refused(card, output, rate_hz, reason):
    """What PortAudio does not open is missing, with its words, the setting and the devices there are."""
    card.devices = WINDOWS
    with pytest.raises(MissingError) as caught:
        SoundCard(Playout(rate_hz, print), float, output)
    assert caught.value.code == "no_sound_device"
    assert re.search(reason, f"{caught.value} {caught.value.fix}", re.DOTALL)


async def test_no_device_at_all(card):
    """A computer without sound says so, and how to go on without."""
    card.devices = ()
    with pytest.raises(MissingError, match="default output") as caught:
        SoundCard(Playout(RATE_HZ, print), float, "")
    assert "none" in caught.value.fix
