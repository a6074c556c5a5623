"""What voice detection costs, detector by detector, on one thread."""

import time

from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES
from apps.asr_worker.vads.silero import Silero
from apps.asr_worker.vads.webrtc import Webrtc
from scripts.bench.asr_speech import recording, said
from scripts.bench.figures import Report, percentile, progress

SENTENCES = 10  # some 40 s of sound, 1300 frames
PER_S = 0.030  # the bar is about so much sound; our frames are a little longer
LIMIT_MS = 0.5


def measure(turns: int, report: Report) -> None:
    """Give each detector every frame of a recording."""
    progress("asr: voice detection")
    sound = recording(said(min(SENTENCES, turns))).samples
    frames = [
        sound[start : start + FRAME_SAMPLES] for start in range(0, len(sound) - FRAME_SAMPLES, FRAME_SAMPLES)
    ]
    for vad in (Silero(), Webrtc()):
        vad.probability(frames[0])
        took_ms = []
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        for frame in frames:
            began_s = time.perf_counter()
            vad.probability(frame)
            took_ms.append(1000 * (time.perf_counter() - began_s) * PER_S / FRAME_S)
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        report.spread(f"vad_{vad.name}_ms", took_ms)
        report.figures[f"vad_{vad.name}_busy_cores"] = round(cpu_s / wall_s, 2)
        report.bar(f"{vad.name}, 30 ms of sound p95", percentile(took_ms, 0.95), LIMIT_MS, "ms")
