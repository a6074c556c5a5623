"""How long the last turns took to their first sound, for `GET /status`."""

import math
from collections import deque

TURNS = 200  # the window


class Latency:
    """First sounds, of chat and of the microphone apart: only the latter's times hold an endpoint's wait."""

    def __init__(self) -> None:
        self._chat_ms: deque[float] = deque(maxlen=TURNS)
        self._microphone_ms: deque[float] = deque(maxlen=TURNS)

    def add(self, lane: str, first_audio_ms: float | None) -> None:
        """Note a turn; one without a sound does not count."""
        if first_audio_ms is not None:
            (self._microphone_ms if lane == "streamer" else self._chat_ms).append(first_audio_ms)

    def status(self) -> dict[str, dict[str, float | int | None]]:
        """Both windows."""
        return {
            "first_audio_ms": percentiles(self._chat_ms),
            "microphone_first_audio_ms": percentiles(self._microphone_ms),
        }


def percentiles(values_ms: deque[float]) -> dict[str, float | int | None]:
    """p50 and p95 by the nearest-rank method."""
    ranked = sorted(values_ms)
    if not ranked:
        return {"p50": None, "p95": None, "turns": 0}
    rank = {name: ranked[math.ceil(len(ranked) * share) - 1] for name, share in (("p50", 0.5), ("p95", 0.95))}
    return {**rank, "turns": len(ranked)}
