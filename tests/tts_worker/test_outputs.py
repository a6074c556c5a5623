import asyncio
import contextlib
import errno
import re
import sys
import wave
from itertools import pairwise

import numpy as np
import pytest
from structlog.testing import capture_logs

from apps.shared.errors import MissingError
from apps.tts_worker.outputs import MONITOR_FRAMES, Device, PacedOutput, Recorded, Unpaced, open_output
from apps.tts_worker.playout import FRAME_S, Playout
from tests.fakes.sound_card import LATENCY_S, STALE, Card

RATE_HZ = 22_050
FRAME = 441
virtual = pytest.mark.looptime


class Player:
    """A playout and its output; a turn is over when its last piece has ended."""

    def __init__(self, make):
        self.loop = asyncio.get_running_loop()
        self.held_up_s = 0.0
        self.clock_reads = 0
        self.marks = []
        self.drawn = []  # (when by the loop's clock, turn, frame)
        self.last = 0  # the index of the turn's last piece
        self.playout = Playout(RATE_HZ, self.mark)
        self.output = make(self)
        self.task = asyncio.create_task(self.output.run())

    def now_s(self):
        self.clock_reads += 1
        return self.loop.time() + self.held_up_s

    def write(self, turn_id, frame):
        self.drawn.append((self.loop.time(), turn_id, frame.tolist()))

    def mark(self, mark):
        self.marks.append(mark)
        if mark.ended and mark.index == self.last:
            self.loop.call_soon_threadsafe(self.output.turn_over, mark.turn_id)

    def say(self, samples, turn_id="a", index=0, *, whole=True):
        """Put a piece in, or more of it."""
        if self.playout._find(turn_id, index) is None:
            self.playout.begin(turn_id, index)
        self.playout.add(turn_id, index, np.array(samples, "<i2").tobytes())
        if whole:
            self.playout.complete(turn_id, index)
        self.output.wake()


@pytest.fixture
async def player():
    """Make players, and stop them at the end; the argument makes the output."""
    async with contextlib.AsyncExitStack() as stack:

        def make(output):
            player = Player(output)
            stack.push_async_callback(asyncio.wait, {player.task})
            stack.callback(player.task.cancel)
            return player

        yield make


@pytest.fixture
async def paced(player):
    return player(lambda its: PacedOutput(its.playout, its.now_s, its.write))


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    yield card
    card.close()


# --- without a sound card ---


@virtual
async def test_a_frame_every_20_ms(paced):
    """Sound is drawn at the pace at which it would be heard, and marked so."""
    start_s = paced.loop.time()
    paced.say([5] * FRAME * 50)
    await asyncio.sleep(5)
    assert [when for when, _, _ in paced.drawn] == pytest.approx([start_s + n * FRAME_S for n in range(50)])
    assert [mark.at_s for mark in paced.marks] == pytest.approx([start_s, start_s + 1])


@virtual
async def test_idle_it_sleeps(paced):
    """Between turns nothing is drawn and not even the clock is read."""
    paced.say([5] * 10)
    await asyncio.sleep(1)
    reads, frames = paced.clock_reads, len(paced.drawn)
    await asyncio.sleep(3600)
    assert (paced.clock_reads, len(paced.drawn)) == (reads, frames)
    paced.say([5] * 10, "b")
    await asyncio.sleep(1)
    assert len(paced.drawn) == frames + 1


@virtual
async def test_a_stall_is_not_made_up_for(paced):
    """After the process was held up she goes on from there: no burst of frames, no mark in the past."""
    paced.say([5] * FRAME * 10, index=1)
    paced.last = 2
    await asyncio.sleep(0.05)
    paced.held_up_s = 1.0
    paced.say([6] * FRAME, index=2)
    await asyncio.sleep(1)
    assert min(b - a for (a, _, _), (b, _, _) in pairwise(paced.drawn)) > FRAME_S / 2
    assert paced.marks[-1].at_s == pytest.approx(paced.marks[0].at_s + 1.0 + 11 * FRAME_S, abs=FRAME_S)


@virtual
async def test_a_gap_within_a_turn_is_heard_as_silence(paced):
    """While the synthesis is behind, and only within a turn, silence is what is heard."""
    paced.say([5] * FRAME, whole=False)
    await asyncio.sleep(3.5 * FRAME_S)
    paced.say([6] * FRAME)
    await asyncio.sleep(1)
    assert [frame[0] for _, _, frame in paced.drawn] == [5, 0, 0, 0, 6]
    assert {turn_id for _, turn_id, _ in paced.drawn} == {"a"}


@virtual
async def test_a_cancelled_turn_leaves_no_frame(paced):
    """After a drop nothing is drawn, not even silence, until there is another turn."""
    paced.say([5] * FRAME * 10)
    await asyncio.sleep(2.5 * FRAME_S)
    paced.playout.drop("a")
    paced.output.turn_over("a")
    await asyncio.sleep(1)
    assert len(paced.drawn) == 3


@virtual
async def test_held_sound_waits_and_goes_on(paced):
    """A piece that is held back begins as soon as it may, without being woken."""
    paced.playout.held = True
    paced.say([5] * FRAME)
    await asyncio.sleep(60)
    assert paced.marks == []
    paced.playout.held = False
    await asyncio.sleep(FRAME_S * 2)
    assert len(paced.marks) == 2


@virtual
async def test_unpaced_takes_no_time(player):
    """For benchmarks all there is is drawn at once."""
    its = player(lambda its: Unpaced(its.playout, its.now_s))
    start_s = its.loop.time()
    its.say([5] * FRAME * 500)
    while len(its.marks) < 2:
        await asyncio.sleep(0)
    assert its.loop.time() == start_s


# --- dir:PATH ---


def recorded(folder):
    return lambda its: Recorded(its.playout, its.now_s, folder)


def samples_of(path):
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE_HZ)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").tolist()


@virtual
async def test_a_wav_file_per_turn(player, tmp_path):
    """Each turn's file holds exactly what was heard of it, with its gap, in whole frames."""
    its = player(recorded(tmp_path / "heard"))
    its.say(range(1, FRAME + 1), whole=False)
    await asyncio.sleep(2.5 * FRAME_S)
    its.say(range(FRAME + 1, FRAME + 11))
    await asyncio.sleep(1)
    its.say([9] * FRAME, "b")
    await asyncio.sleep(1)
    first, second = sorted((tmp_path / "heard").iterdir())
    assert (first.name, second.name) == ("a.wav", "b.wav")
    gap, rest = [0] * FRAME * 2, [0] * (FRAME - 10)
    assert samples_of(first) == [*range(1, FRAME + 1), *gap, *range(FRAME + 1, FRAME + 11), *rest]
    assert samples_of(second) == [9] * FRAME


@virtual
async def test_a_cancelled_turn_has_its_file(player, tmp_path):
    """What was heard before the cancel is there, closed and readable, and no more."""
    its = player(recorded(tmp_path))
    its.say([9] * FRAME * 50)
    await asyncio.sleep(2.5 * FRAME_S)
    its.playout.drop("a")
    its.output.turn_over("a")
    await asyncio.sleep(1)
    assert samples_of(tmp_path / "a.wav") == [9] * FRAME * 3


def disk_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@virtual
@pytest.mark.parametrize("trouble", ["disk full", "folder is a file"])
async def test_a_file_that_cannot_be_written(player, tmp_path, monkeypatch, trouble):
    """She speaks on to the end, and it is logged once for the turn; the next turn tries again."""
    folder = tmp_path / "heard"
    if trouble == "disk full":
        monkeypatch.setattr(wave.Wave_write, "writeframes", disk_full)
    else:
        folder.write_text("in the way")
    its = player(recorded(folder))
    with capture_logs() as logs:
        for turn_id in ("a", "b"):
            its.say([9] * FRAME * 10, turn_id)
            await asyncio.sleep(1)
    assert [mark.turn_id for mark in its.marks if mark.ended] == ["a", "b"]
    assert [entry["turn_id"] for entry in logs] == ["a", "b"]


# --- a sound card ---


def device(name="", monitor=""):
    return lambda its: Device(its.playout, its.now_s, name, monitor)


async def test_a_device_hears_the_playout(player, card):
    """Buffers are filled to their last sample, and marks tell when the sound leaves the device."""
    its = player(device())
    await asyncio.sleep(0)
    assert set(card.streams[0].play()) == {0}
    its.say([5] * (FRAME + 1))
    before_s = its.loop.time()
    assert card.streams[0].play(2).tolist() == [5] * (FRAME + 1) + [0] * (FRAME - 1)
    assert STALE not in card.streams[0].play()
    assert its.marks[0].at_s >= before_s + LATENCY_S


async def test_a_monitor_hears_the_same(player, card):
    """The second device plays every frame of the first one, and silence when it is ahead."""
    its = player(device("speakers", "cable"))
    await asyncio.sleep(0)
    main, monitor = card.streams
    its.say(range(1, 2 * FRAME + 1))
    assert set(monitor.play()) == {0}
    heard = main.play(3).tolist()
    assert monitor.play(4).tolist() == heard + [0] * FRAME


async def test_a_monitor_that_falls_behind(player, card):
    """The oldest frames that wait for it go, so that it is never more than half a second late."""
    its = player(device("speakers", "cable"))
    await asyncio.sleep(0)
    main, monitor = card.streams
    its.say([number for number in range(1, 101) for _ in range(FRAME)])
    main.play(100)
    assert list(dict.fromkeys(monitor.play(100).tolist())) == [*range(101 - MONITOR_FRAMES, 101), 0]


async def test_a_lost_device(player, card):
    """A device that stops by itself ends the output with the fix; every stream is closed."""
    its = player(device("speakers", "cable"))
    await asyncio.sleep(0)
    card.streams[0].lose()
    with pytest.raises(MissingError, match="stopped") as caught:
        await its.task
    assert (caught.value.code, bool(caught.value.fix)) == ("sound_device_lost", True)
    assert all(stream.closed for stream in card.streams)


async def test_a_stopped_output_closes_its_device(player, card):
    """Cancelling the output closes the stream, and that it finishes then is no loss."""
    its = player(device())
    await asyncio.sleep(0)
    its.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await its.task
    assert card.streams[0].closed


async def test_a_device_that_is_taken(player, card):
    """A device that opens and does not start is missing too."""
    card.starts = False
    its = player(device())
    with pytest.raises(MissingError, match="unavailable"):
        await its.task
    assert card.streams[0].closed


WINDOWS = (
    ("Speakers", "MME", 2),
    ("CABLE Input (VB-Audio Virtual C", "MME", 2),
    ("Speakers", "Windows DirectSound", 2),
    ("CABLE Input (VB-Audio Virtual Cable)", "Windows DirectSound", 2),
    ("Speakers", "Windows WASAPI", 2),
    ("CABLE Input (VB-Audio Virtual Cable)", "Windows WASAPI", 2),
    ("Microphone", "MME", 0),
)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("", 0),
        ("speakers", 0),
        ("cable input", 1),
        ("CABLE Input (VB-Audio Virtual Cable)", 3),
        ("cable wasapi", 5),
    ],
)
async def test_a_device_that_windows_lists_more_than_once(player, card, name, index):
    """A device's name is enough: the host API is the usual one unless another is named."""
    card.devices = WINDOWS
    player(device(name))
    assert card.streams[0].device == WINDOWS[index]


@pytest.mark.parametrize(
    ("output", "monitor", "rate_hz", "reason"),
    [
        ("nowhere", "", RATE_HZ, r"nowhere.*TTS_OUTPUT.*Speakers"),
        ("microphone", "", RATE_HZ, r"microphone.*TTS_OUTPUT.*Speakers"),
        ("e", "", RATE_HZ, r"Multiple.*TTS_OUTPUT.*Speakers"),
        ("", "nowhere", RATE_HZ, r"nowhere.*TTS_MONITOR.*Speakers"),
        ("", "", 48_000, r"default.*Invalid sample rate.*TTS_OUTPUT"),
    ],
)
async def test_a_device_that_is_refused(card, output, monitor, rate_hz, reason):
    """What PortAudio does not open is missing, with its words, the setting and the devices there are."""
    card.devices = WINDOWS
    playout = Playout(rate_hz, lambda _: None)
    with pytest.raises(MissingError) as caught:
        open_output(output, monitor, playout, asyncio.get_running_loop().time)
    assert caught.value.code == "no_sound_device"
    assert re.search(reason, f"{caught.value} {caught.value.fix}", re.DOTALL)


async def test_no_device_at_all(card):
    """A computer without sound says so, and how to go on without."""
    card.devices = ()
    with pytest.raises(MissingError, match="default output") as caught:
        open_output("", "", Playout(RATE_HZ, print), asyncio.get_running_loop().time)
    assert "none" in caught.value.fix


async def test_without_portaudio(monkeypatch, tmp_path):
    """On Linux the library is the system's: the error names the package to install."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match="PortAudio library not found") as caught:
        open_output("", "", Playout(RATE_HZ, print), asyncio.get_running_loop().time)
    assert "libportaudio2" in caught.value.fix


@pytest.mark.parametrize(
    ("setting", "kind"), [("none", PacedOutput), ("discard", Unpaced), ("dir:out", Recorded), ("", Device)]
)
async def test_which_output(card, setting, kind):
    """TTS_OUTPUT names the output; nothing is written before there is sound."""
    assert type(open_output(setting, "", Playout(RATE_HZ, print), lambda: 0.0)) is kind
