"""The voice detector of WebRTC: nearly free, and taken in by whatever is loud.

It never lets go while keys click or music plays; tests/asr_worker/test_endpoint_in_noise.py tells
how far it can be trusted.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from apps.asr_worker.sound import RATE_HZ, Samples
from apps.shared.errors import AivtError, MissingError

STRICTEST = 3  # of 0 to 3: the fewest sounds are taken for a voice

_FRAME_SAMPLES = 480  # it takes 10, 20 or 30 ms and nothing else


class Webrtc:
    """See Vad. Raises MissingError when the library is not there."""

    name = "webrtc"

    def __init__(self, mode: int = STRICTEST) -> None:
        self.trouble: AivtError | None = None
        try:
            import webrtcvad  # noqa: PLC0415 - only who chooses it needs it
        except ImportError as error:
            raise MissingError(
                "webrtc_missing",
                f"webrtcvad does not load: {error}",
                fix="Run `python scripts/aivt.py up` again, or set ASR_VAD=silero.",
            ) from error
        self._library = webrtcvad
        self._mode = mode
        self._vad: Any
        self._rest: npt.NDArray[np.int16]  # what came after its last whole frame
        self.reset()

    def probability(self, frame: Samples) -> float:
        """See Vad. 0, 1, or between them when two of its own frames ended within this one and disagree."""
        pcm = (np.clip(frame, -1, 1) * 32767).astype(np.int16)
        sound = np.concatenate([self._rest, pcm])
        count = len(sound) // _FRAME_SAMPLES
        frames = sound[: count * _FRAME_SAMPLES].reshape(count, _FRAME_SAMPLES)
        self._rest = sound[count * _FRAME_SAMPLES :]
        voiced = sum(bool(self._vad.is_speech(one.tobytes(), RATE_HZ)) for one in frames)
        return voiced / count

    def reset(self) -> None:
        """See Vad."""
        self._vad = self._library.Vad(self._mode)
        self._rest = np.zeros(0, np.int16)
