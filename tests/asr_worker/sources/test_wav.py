import asyncio
import math
import wave

import numpy as np
import pytest

from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.sources.recording import read
from apps.asr_worker.sources.wav import BLOCK_SAMPLES, WavSource
from apps.shared.errors import SettingsError

pytestmark = pytest.mark.looptime

LENGTH_S = 1.01  # not a whole number of blocks


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "it.wav"
    samples = np.random.default_rng(1).integers(-9999, 9999, round(LENGTH_S * RATE_HZ), "<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(samples.tobytes())
    return path


async def played(source: WavSource):
    """Its blocks, and when they came."""
    loop, running = asyncio.get_running_loop(), asyncio.create_task(source.run())
    found = []
    while (block := await source.read()) is not None:
        found.append((loop.time(), block))
    await running
    return found


async def test_in_real_time(path):
    """Each block comes when its last sample would have been captured, and tells when its first one was."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(5)
    found = await played(WavSource(path, loop.time))
    assert np.concatenate([block.samples for _, block in found]).tolist() == read(path).tolist()
    for number, (came_s, block) in enumerate(found):
        assert block.at_s == pytest.approx(5 + number * BLOCK_SAMPLES / RATE_HZ)
        assert came_s == pytest.approx(block.at_s + len(block.samples) / RATE_HZ)
    assert loop.time() == pytest.approx(5 + LENGTH_S)


@pytest.mark.parametrize(("speed", "length_s"), [(2, LENGTH_S / 2), (10, LENGTH_S / 10), (math.inf, 0)])
async def test_faster(path, speed, length_s):
    """It takes less time, and the times are still those of the file."""
    loop = asyncio.get_running_loop()
    found = await played(WavSource(path, loop.time, speed))
    assert loop.time() == pytest.approx(length_s)
    assert [block.at_s for _, block in found] == pytest.approx(
        [n * BLOCK_SAMPLES / RATE_HZ for n in range(len(found))]
    )


async def test_a_reader_that_is_late(path):
    """Nothing is lost: it gets what is due at once."""
    loop = asyncio.get_running_loop()
    source = WavSource(path, loop.time)
    running = asyncio.create_task(source.run())
    await asyncio.sleep(0.5)
    blocks = [await source.read() for _ in range(25)]
    assert loop.time() == pytest.approx(0.5)
    assert blocks[0]
    assert blocks[0].at_s == 0
    assert source.lost_s == 0
    running.cancel()


async def test_a_reader_that_is_cancelled(path):
    """The block that it waited for is there for the next one."""
    source = WavSource(path, asyncio.get_running_loop().time)
    running = asyncio.create_task(source.run())
    reading = asyncio.create_task(source.read())
    await asyncio.sleep(0.01)
    reading.cancel()
    await asyncio.wait({reading})
    block = await source.read()
    assert block
    assert block.at_s == 0
    running.cancel()


async def test_at_full_speed_others_have_their_turn(path):
    """A long file does not stop everything else."""
    turns = 0

    async def other():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    found = await played(WavSource(path, asyncio.get_running_loop().time, math.inf))
    task.cancel()
    assert turns >= len(found)


async def test_stopped_in_the_middle(path):
    """Its reader gets nothing more."""
    source = WavSource(path, asyncio.get_running_loop().time)
    running = asyncio.create_task(source.run())
    await source.read()
    reading = asyncio.create_task(source.read())
    await asyncio.sleep(0)
    running.cancel()
    assert await reading is None
    assert await source.read() is None
    assert running.cancelled()


async def test_a_file_that_cannot_be_used(tmp_path):
    """The one who runs it is told why, and its reader has nothing to wait for."""
    source = WavSource(tmp_path / "missing.wav", asyncio.get_running_loop().time)
    running = asyncio.create_task(source.run())
    assert await source.read() is None
    with pytest.raises(SettingsError, match=r"missing\.wav is not there"):
        await running
    assert source.name == "missing.wav"
