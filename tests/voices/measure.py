"""How well a voice's lengths agree with its teacher's, on sentences that it was not taught.

`python -m tests.voices.measure VOICE.onnx` in the project's folder; needs no torch.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from piper import AudioChunk, PiperVoice, SynthesisConfig

from tests.voices.sentences import HELD_OUT
from tests.voices.teach import TEACHERS, groups, say

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Onsets:
    """When each sound of a sentence begins, from 0, the first sound, to 1, the silence after the last."""

    told: Times  # by the voice
    taught: Times  # by espeak-ng's own events
    even: Times  # if every symbol were of the same length
    length_s: float  # the teacher's, from the first sound to the silence

    @property
    def errors_s(self) -> Times:
        """How far the voice is off, had it spoken as long as the teacher. Shape: as `told`."""
        return np.abs(self.told - self.taught) * self.length_s


def speak(voice: PiperVoice, text: str, speaker: int) -> AudioChunk:
    """Return one sentence with its alignment, the same at every call."""
    plainly = SynthesisConfig(speaker_id=speaker, noise_scale=0.0, noise_w_scale=0.0)
    (sentence,) = voice.synthesize(text, plainly, include_alignments=True)
    return sentence


def onsets(voice: PiperVoice, text: str, name: str) -> Onsets:
    """Compare the voice's speaker `name` with the teacher. Raises ValueError without a common reading."""
    sentence = speak(voice, text, voice.config.speaker_id_map[name])
    speech = say(text, TEACHERS[name])
    shared = groups(sentence.phonemes, speech.sounds)
    if shared is None or sentence.phoneme_alignments is None:
        raise ValueError(f"nothing to compare in {text!r}")
    first_symbols = np.cumsum([0, *(len(part.symbols) for part in shared)])[1:-1]
    lengths = [part.num_samples for part in sentence.phoneme_alignments]
    taught = np.array([part.start for part in shared[1:]], np.float64)
    return Onsets(
        told=_from_0_to_1(_starts(lengths)[first_symbols]),
        taught=_from_0_to_1(taught),
        even=_from_0_to_1(_starts([1] * len(lengths))[first_symbols]),
        length_s=float(taught[-1] - taught[0]) / speech.sample_rate_hz,
    )


def _starts(lengths: Sequence[int]) -> Times:
    return np.cumsum([0.0, *lengths])


def _from_0_to_1(times: Times) -> Times:
    inside: Times = (times - times[0]) / (times[-1] - times[0])
    return inside


def main() -> None:
    """Print the errors for each speaker."""
    voice = PiperVoice.load(sys.argv[1])
    for name in TEACHERS:
        found = [onsets(voice, text, name) for text in HELD_OUT]
        errors = np.concatenate([one.errors_s for one in found])
        shares = np.concatenate([np.abs(one.told - one.taught) for one in found])
        even = np.concatenate([np.abs(one.even - one.taught) for one in found])
        print(
            f"{name}: {len(errors)} sounds; mean {1000 * errors.mean():.0f} ms = {shares.mean():.2%} of the "
            f"sentence, p90 {1000 * np.quantile(errors, 0.9):.0f} ms = {np.quantile(shares, 0.9):.2%}; "
            f"equal lengths would be {even.mean():.2%} and {np.quantile(even, 0.9):.2%}"
        )


if __name__ == "__main__":
    main()
