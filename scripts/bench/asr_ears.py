"""The real ears, in a process of their own: the worker's pipeline from a source to its messages.

Run as `python -m scripts.bench.asr_ears`, with the settings in the environment: says `READY`; then takes a
WAV file a line, hears it in real time, and prints one JSON object about it, as scripts.bench.asr_floor does.
"""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from apps.asr_worker import recognisers
from apps.asr_worker.hearing import Hearing
from apps.asr_worker.recogniser import Recogniser
from apps.asr_worker.sources.wav import WavSource
from apps.asr_worker.vads import open_vad
from apps.shared.clock import now_s
from apps.shared.messages import Message, Partial, Transcript
from apps.shared.settings import Settings
from scripts.bench.asr_words import Shown

LAST_S = 30.0  # for what is decoded when a recording is over


async def hear(settings: Settings, recogniser: Recogniser, path: str) -> dict[str, Any]:
    """Hear one recording as the worker would a microphone; return what was shown when, in its own time."""
    told: list[Message] = []
    source = WavSource(path, now_s)
    began_s: float | None = None
    with ThreadPoolExecutor(1) as thread:
        hearing = Hearing(settings, recogniser, open_vad(settings.asr_vad), told.append, now_s, thread)
        cpu_s = time.process_time()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(source.run())
            while (block := await source.read()) is not None:
                began_s = block.at_s if began_s is None else began_s
                hearing.hear(block, source.lost_s)
            running.cancel()
        hearing.end()
        async with asyncio.timeout(LAST_S):
            await hearing.settled()
        cpu_s = time.process_time() - cpu_s
    assert began_s is not None
    return {
        "shown": [asdict(_shown(one, began_s)) for one in told if isinstance(one, Partial | Transcript)],
        "ends": [_end(one, began_s) for one in told if isinstance(one, Transcript)],
        "cpu_s": cpu_s,
    }


def _shown(one: Partial | Transcript, began_s: float) -> Shown:
    return Shown(
        text=one.text,
        stable=len(one.text) if isinstance(one, Transcript) else one.stable,
        from_s=one.start_s - began_s,
        to_s=one.end_s - began_s,
        at_s=one.at_s - began_s,
        utterance=one.utterance_id,
        final=isinstance(one, Transcript),
    )


def _end(one: Transcript, began_s: float) -> dict[str, float]:
    return {
        "from_s": one.start_s - began_s,
        "decided_s": one.ended_s - began_s,
        "at_s": one.at_s - began_s,
    }


def main() -> None:
    """Hear recordings until standard input ends."""
    settings = Settings.load()
    recogniser = recognisers.load(settings)
    print("READY", flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(hear(settings, recogniser, line.strip()))), flush=True)


if __name__ == "__main__":
    main()
