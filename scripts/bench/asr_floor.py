"""The floor of the ears: what a simple bot does, in one process and one loop.

It feeds Silero frame by frame, has faster-whisper transcribe the growing buffer every second while somebody
speaks, and once more when the voice has been gone for a fixed time. Nothing is heard while it transcribes;
it catches up afterwards.

Run as `python -m scripts.bench.asr_floor MODEL_FOLDER DEVICE COMPUTE_TYPE THREADS PAUSE_S`: says `READY`;
then takes a WAV file a line, plays it to itself in real time, and prints one JSON object about it.
"""

import json
import sys
import time
import wave
from typing import Any

import numpy as np
from faster_whisper import WhisperModel

from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, RATE_HZ, Samples
from apps.asr_worker.vads.silero import Silero

EVERY_S = 1.0
BEFORE_S = 0.3  # kept from before the voice was noticed
VOICE = 0.5


class Bot:
    """Hears one recording."""

    def __init__(self, model: WhisperModel, pause_s: float) -> None:
        self._model = model
        self._pause_s = pause_s
        self._vad = Silero()
        self._began_s = time.perf_counter()
        self._from_s: float | None = None  # where the utterance under way begins
        self._voice_s = 0.0  # where its last voice ended
        self._looked_s = 0.0
        self._count = 0
        self.shown: list[dict[str, Any]] = []
        self.ends: list[dict[str, float]] = []

    def hear(self, samples: Samples) -> None:
        """Play it."""
        for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            end_s = start / RATE_HZ + FRAME_S
            time.sleep(max(0.0, self._began_s + end_s - time.perf_counter()))
            if self._vad.probability(samples[start : start + FRAME_SAMPLES]) >= VOICE:
                if self._from_s is None:
                    self._from_s, self._looked_s = max(0.0, end_s - FRAME_S - BEFORE_S), end_s
                self._voice_s = end_s
            if self._from_s is None:
                continue
            if end_s - self._voice_s >= self._pause_s:
                self._show(samples, end_s, final=True)
                self.ends.append({"from_s": self._from_s, "decided_s": end_s, "at_s": self.shown[-1]["at_s"]})
                self._from_s = None
                self._count += 1
            elif end_s - self._looked_s >= EVERY_S:
                self._looked_s = end_s
                self._show(samples, end_s, final=False)

    def _show(self, samples: Samples, end_s: float, *, final: bool) -> None:
        assert self._from_s is not None
        buffer = samples[round(self._from_s * RATE_HZ) : round(end_s * RATE_HZ)]
        segments, _ = self._model.transcribe(buffer, language="en")
        text = "".join(segment.text for segment in segments).strip()
        at_s = time.perf_counter() - self._began_s
        times = {"from_s": self._from_s, "to_s": end_s, "at_s": at_s}
        self.shown.append({"text": text, "stable": 0, **times, "utterance": str(self._count), "final": final})


def main(folder: str, device: str, compute_type: str, threads: str, pause_s: str) -> None:
    """Hear recordings until standard input ends."""
    model = WhisperModel(folder, device=device, compute_type=compute_type, cpu_threads=int(threads))
    list(model.transcribe(np.zeros(RATE_HZ, np.float32), language="en")[0])  # what is loaded at first use
    print("READY", flush=True)
    for line in sys.stdin:
        with wave.open(line.strip()) as file:
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        cpu_s = time.process_time()
        bot = Bot(model, float(pause_s))
        bot.hear(sound.astype(np.float32) / np.float32(32768))
        cpu_s = time.process_time() - cpu_s
        print(json.dumps({"shown": bot.shown, "ends": bot.ends, "cpu_s": cpu_s}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
