"""The stub recogniser: it hears that somebody speaks and how long, and makes up what was said."""

import numpy as np

from apps.asr_worker.recogniser import HeardWord, Hypothesis
from apps.asr_worker.sound import RATE_HZ, Samples
from apps.shared.errors import AivtError
from apps.shared.settings import Settings

WORDS_PER_S = 2.5
QUIET = 0.003  # -50 dB of full scale: quieter is silence
WINDOW_SAMPLES = RATE_HZ // 10
AVG_LOGPROB = -0.1
PROBABILITY = 0.95

# Short, so that nobody seems to speak too fast for a human.
SCRIPT = (
    "Hey Kitsu, how are you?",
    "Tell me a joke.",
    "What should we play next?",
    "That was close!",
    "Say hi to chat.",
    "Do you like this game?",
    "I think we can win.",
    "Thanks for the help.",
)


class Scripted:
    """Gives the lines of SCRIPT in turn, one for each utterance. It cannot fail and needs no model.

    An utterance is a new one when its window is no longer than that of the last full decode: what was decoded
    in a pause, and then went on, has grown.
    """

    engine = "scripted"
    model = "stand-in: made-up lines whatever is said"
    trouble: AivtError | None = None
    _number = 0  # of the line
    _whole_samples = 0  # of the last full decode; 0: none of this line yet

    def __init__(self, settings: Settings) -> None:
        """Take the settings as every engine does; none of them changes a line."""

    def partial(
        self,
        samples: Samples,
        vocabulary: tuple[str, ...],  # noqa: ARG002 - see Recogniser
    ) -> Hypothesis:
        """See Recogniser: as much of the line as fits the time, at an even pace."""
        if _silent(samples):
            return Hypothesis("")
        count = max(1, int(len(samples) / RATE_HZ * WORDS_PER_S))
        return Hypothesis(" ".join(self._line(samples)[:count]), avg_logprob=AVG_LOGPROB)

    def final(
        self,
        samples: Samples,
        vocabulary: tuple[str, ...],  # noqa: ARG002 - see Recogniser
    ) -> Hypothesis:
        """See Recogniser: the whole line, its words evenly over the time; the next utterance has the next."""
        if _silent(samples):
            return Hypothesis("", no_speech_prob=1.0)
        line = self._line(samples)
        self._whole_samples = len(samples)
        word_s = len(samples) / RATE_HZ / len(line)
        words = tuple(
            HeardWord(text, place * word_s, (place + 1) * word_s, PROBABILITY)
            for place, text in enumerate(line)
        )
        return Hypothesis(" ".join(line), words, AVG_LOGPROB)

    def close(self) -> None:
        """Nothing to free."""

    def _line(self, samples: Samples) -> list[str]:
        if 0 < len(samples) <= self._whole_samples:
            self._number += 1
            self._whole_samples = 0
        return SCRIPT[self._number % len(SCRIPT)].split()


def _silent(samples: Samples) -> bool:
    """Tell whether no tenth of a second of it is loud."""
    windows = np.array_split(samples, max(1, len(samples) // WINDOW_SAMPLES))
    return all(window.size == 0 or np.sqrt(np.mean(window**2)) < QUIET for window in windows)
