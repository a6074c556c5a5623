"""A voice at another sample rate than its own, because the sound card was opened at the first voice's."""

from collections.abc import Callable

import numpy as np
import soxr

from apps.shared.messages import Delivery
from apps.tts_worker.loudness import FULL_SCALE, pcm16
from apps.tts_worker.voice import Chunk, Phoneme, Voice


class Resampled:
    """`voice`, heard at `sample_rate_hz`. Phonemes keep their times."""

    def __init__(self, voice: Voice, sample_rate_hz: int) -> None:
        self._voice = voice
        self.sample_rate_hz = sample_rate_hz
        self.engine, self.voice, self.speakers = voice.engine, voice.voice, voice.speakers
        self.settings = f"{voice.settings} from_hz={voice.sample_rate_hz}"
        self.trouble = voice.trouble

    def synthesize(self, text: str, delivery: Delivery, give: Callable[[Chunk], bool]) -> None:
        """See Voice. The sound comes some 20 ms later than the voice gives it: the filter looks ahead."""
        stream = soxr.ResampleStream(self._voice.sample_rate_hz, self.sample_rate_hz, 1, dtype="float32")
        waiting: list[Phoneme] = []  # the filter has their sound, but has not given it yet
        wanted = True

        def pass_on(pcm: bytes, *, last: bool) -> bool:
            samples = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
            sound = pcm16(stream.resample_chunk(samples, last=last))
            if not sound:
                return True
            phonemes = tuple(waiting)
            waiting.clear()
            return give(Chunk(sound, phonemes))

        def take(chunk: Chunk) -> bool:
            nonlocal wanted
            waiting.extend(chunk.phonemes)
            wanted = pass_on(chunk.pcm, last=False)
            return wanted

        self._voice.synthesize(text, delivery, take)
        if wanted:
            pass_on(b"", last=True)

    def close(self) -> None:
        """Free the voice."""
        self._voice.close()
