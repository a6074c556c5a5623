import asyncio

import pytest

from apps.policy.idle import Idle
from apps.shared.errors import EngineError

pytestmark = pytest.mark.looptime


class Job:
    """Takes an hour, and counts how often it was begun and finished."""

    def __init__(self) -> None:
        self.begun = self.finished = 0

    async def __call__(self) -> None:
        self.begun += 1
        await asyncio.sleep(3600)
        self.finished += 1


async def test_a_job_is_done_between_turns():
    """Without a turn it runs at once, to its end."""
    job = Job()
    assert await Idle().run(job)
    assert job.finished == 1


async def test_a_turn_stops_the_job():
    """The turn does not wait for it, and who wanted it is told."""
    idle, job = Idle(), Job()
    task = asyncio.create_task(idle.run(job))
    await asyncio.sleep(1)
    with idle.turn():
        assert await task is False
    assert (job.begun, job.finished) == (1, 0)


async def test_a_job_waits_for_the_turn():
    """It begins when the last of the turns that overlap has ended."""
    idle, job = Idle(), Job()
    with idle.turn():
        with idle.turn():
            task = asyncio.create_task(idle.run(job))
            await asyncio.sleep(60)
        await asyncio.sleep(60)
        assert job.begun == 0
    assert await task
    assert job.finished == 1


async def test_one_job_at_a_time():
    """A second one waits for the first: the model would serve them one after the other anyway."""
    idle, first, second = Idle(), Job(), Job()
    tasks = [asyncio.create_task(idle.run(job)) for job in (first, second)]
    await asyncio.sleep(60)
    assert (first.begun, second.begun) == (1, 0)
    assert await asyncio.gather(*tasks) == [True, True]


async def test_a_failure_reaches_who_wanted_the_job():
    """It is theirs to tell; the next job runs."""
    idle = Idle()

    async def broken() -> None:
        raise EngineError("broke", "it broke")

    with pytest.raises(EngineError):
        await idle.run(broken)
    assert await idle.run(Job())


async def test_who_wanted_it_is_cancelled():
    """Then the job is stopped with them, and the cancellation goes on."""
    idle, job = Idle(), Job()
    task = asyncio.create_task(idle.run(job))
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (job.begun, job.finished) == (1, 0)
    await asyncio.wait_for(idle.wait(), 1)


async def test_a_turn_that_follows_at_once():
    """Between the end of one and the beginning of the next there is no time for a job."""
    idle, job = Idle(), Job()
    with idle.turn():
        task = asyncio.create_task(idle.run(job))
        await asyncio.sleep(1)
    with idle.turn():
        await asyncio.sleep(1)
        assert job.begun == 0
    assert await task
    assert (job.begun, job.finished) == (1, 1)
