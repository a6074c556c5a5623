import asyncio
import errno
import wave
from itertools import pairwise

import numpy as np
import pytest
from structlog.testing import capture_logs

from apps.tts_worker.outputs import PacedOutput, Recorded, Unpaced, open_output
from apps.tts_worker.playout import FADE_S, FRAME_S, Playout
from apps.tts_worker.sound_card import SoundCard
from tests.tts_worker.player import FRAME, RATE_HZ

virtual = pytest.mark.looptime


@pytest.fixture
async def paced(player):
    return player(lambda its: PacedOutput(its.playout, its.now_s, its.write))


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
async def test_hushed_sound_is_silence_in_real_time(paced):
    """A piece that stands still is drawn as silence, frame by frame; it goes on without being woken."""
    start_s = paced.loop.time()
    paced.say([5000] * FRAME * 4)
    await asyncio.sleep(1.5 * FRAME_S)
    paced.playout.hushed = True
    await asyncio.sleep(100 * FRAME_S)
    paced.playout.hushed = False
    await asyncio.sleep(1)
    assert [when for when, _, _ in paced.drawn] == pytest.approx(
        [start_s + n * FRAME_S for n in range(len(paced.drawn))]
    )
    assert [number for number, (_, _, frame) in enumerate(paced.drawn) if any(frame)] == [0, 1, 2, 102, 103]
    hushed, resumed = paced.marks[1:3]
    assert (hushed.moment, resumed.moment) == ("hushed", "resumed")
    assert resumed.at_s - hushed.at_s == pytest.approx(100 * FRAME_S - FADE_S, abs=0.0001)


@virtual
async def test_nothing_begins_while_hushed(paced):
    """A reply that is ready before the streamer has ended waits without a frame, and then sounds at once."""
    paced.playout.hushed = True
    paced.say([5] * FRAME)
    await asyncio.sleep(60)
    assert (paced.marks, paced.drawn) == ([], [])
    paced.playout.hushed = False
    released_s = paced.loop.time()
    await asyncio.sleep(1)
    assert paced.marks[0].at_s - released_s <= FRAME_S


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


@virtual
async def test_what_was_hushed_is_recorded_as_it_was_heard(player, tmp_path):
    """The file has the silence in its length, and before and after it every sample once."""
    its = player(recorded(tmp_path))
    its.say([9000] * FRAME * 4)
    await asyncio.sleep(1.5 * FRAME_S)
    its.playout.hushed = True
    await asyncio.sleep(10 * FRAME_S)
    its.playout.hushed = False
    await asyncio.sleep(1)
    heard = np.array(samples_of(tmp_path / "a.wav"))
    assert np.count_nonzero(heard) == 4 * FRAME
    (gaps,) = np.nonzero(heard[:-FRAME] == 0)
    assert len(gaps) == gaps[-1] - gaps[0] + 1 == 10 * FRAME - round(FADE_S * RATE_HZ)


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
    assert [mark.turn_id for mark in its.marks if mark.moment == "ended"] == ["a", "b"]
    assert [entry["turn_id"] for entry in logs] == ["a", "b"]


# --- TTS_OUTPUT, TTS_MONITOR ---


@pytest.mark.parametrize(
    ("setting", "kind"), [("none", PacedOutput), ("discard", Unpaced), ("dir:out", Recorded), ("", SoundCard)]
)
async def test_which_output(card, setting, kind):
    """TTS_OUTPUT names the output; nothing is written before there is sound."""
    assert type(open_output(setting, "", Playout(RATE_HZ, print), lambda: 0.0)) is kind


async def test_which_devices(card):
    """TTS_OUTPUT and TTS_MONITOR name the devices by part of their names, the one that counts first."""
    open_output("cable", "speakers", Playout(RATE_HZ, print), lambda: 0.0)
    assert [stream.device[0] for stream in card.streams] == ["Cable", "Speakers"]


@pytest.mark.parametrize("monitor", ["", "none"])
async def test_no_second_device(card, monitor):
    """TTS_MONITOR empty or none opens nothing, and that is no trouble."""
    output = open_output("", monitor, Playout(RATE_HZ, print), lambda: 0.0)
    assert len(card.streams) == 1
    assert output.trouble is None
