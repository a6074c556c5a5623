"""Hours of sound through the real ears in one process, as fast as it goes: does its memory stay?

Run as `python -m scripts.bench.asr_soak SCENE.wav`, with the settings in the environment: takes lines, each
for one more playing of the scene, and prints one JSON object with the resident memory after it.
"""

import asyncio
import json
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil

from apps.asr_worker import recognisers
from apps.asr_worker.hearing import Hearing
from apps.asr_worker.sound import RATE_HZ
from apps.asr_worker.sources.wav import WavSource
from apps.asr_worker.vads import open_vad
from apps.shared.messages import Message
from apps.shared.settings import Settings

MB = 1_000_000


class Ears:
    """The pipeline on a clock of its own: where the sound is."""

    def __init__(self, settings: Settings, thread: ThreadPoolExecutor) -> None:
        self._clock_s = 0.0
        self._told: Counter[str] = Counter()
        self._recogniser = recognisers.load(settings)
        self._hearing = Hearing(
            settings, self._recogniser, open_vad(settings.asr_vad), self._count, self._now_s, thread
        )

    def _now_s(self) -> float:
        return self._clock_s

    def _count(self, message: Message) -> None:
        self._told[type(message).__name__] += 1

    async def hear(self, path: str) -> dict[str, float]:
        """Hear the scene once more; a decode is waited for, so that as much is decoded as in real time."""
        source = WavSource(path, self._now_s, speed=float("inf"))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(source.run())
            while (block := await source.read()) is not None:
                self._clock_s = block.at_s + len(block.samples) / RATE_HZ
                self._hearing.hear(block)
                await self._hearing.settled()
            running.cancel()
        return {
            "hours": self._clock_s / 3600,
            "rss_mb": psutil.Process().memory_info().rss / MB,
            **self._told,
        }


async def main(path: str) -> None:
    """Play the scene for every line of standard input."""
    with ThreadPoolExecutor(1) as thread:
        ears = Ears(Settings.load(), thread)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await ears.hear(path)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
