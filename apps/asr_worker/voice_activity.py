"""Is this a voice? One Protocol for what answers that, frame by frame."""

from typing import Protocol

from apps.asr_worker.sound import Samples


class Vad(Protocol):
    """Voice activity detection. Keeps state from frame to frame."""

    name: str  # "silero", "webrtc"

    def probability(self, frame: Samples) -> float:
        """How likely somebody speaks in this frame of FRAME_SAMPLES, 0..1."""

    def reset(self) -> None:
        """Forget what came before: the sound has a gap."""
