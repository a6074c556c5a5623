"""What is wrong with sound that does come: there is nothing in it, or too much."""

from apps.asr_worker.level import FULL_SCALE, peak
from apps.asr_worker.sound import RATE_HZ, Samples
from apps.shared.errors import AivtError

NO_SIGNAL_S = 2.0
# A filter that takes the noise out gives zeros between words. Each time that sound comes back after
# "no signal", the next one has to be twice as long, up to this.
NO_SIGNAL_LIMIT_S = 60.0

NOTHING = 1e-5  # -100 dB: a muted converter of 24 bits may still tremble in its last ones

PIECE_S = 0.1  # clipping is looked for in pieces of about this length
CLIPPED_S = 1.5  # in so many seconds more than in the last ones that were good it is said
FORGIVEN = 0.2  # seconds of clipping for which a second without it makes up

NO_SIGNAL = AivtError(
    "no_signal",
    "the microphone is connected, but gives no sound at all",
    fix="Look for a mute switch on it or its cable, see whether it is the right one (aivt devices --test), "
    "and let apps use the microphone (Windows: Settings > Privacy & security > Microphone).",
)
CLIPPED = AivtError(
    "clipped",
    "the microphone is too loud: the sound is cut off",
    fix="Turn its volume down, in the system's sound settings or at the device.",
)


class Quality:
    """Watches sound. `trouble` is what is wrong now, and goes away by itself."""

    def __init__(self) -> None:
        self._zeros = 0  # samples
        self._patience_s = NO_SIGNAL_S
        self._clipping_s = 0.0
        self.trouble: AivtError | None = None

    def add(self, samples: Samples) -> None:
        """Take the next sound."""
        for start in range(0, len(samples), round(PIECE_S * RATE_HZ)):
            self._piece(samples[start : start + round(PIECE_S * RATE_HZ)])

    def _piece(self, samples: Samples) -> None:
        length_s, highest = len(samples) / RATE_HZ, peak(samples)
        if highest < NOTHING:
            self._zeros += len(samples)
            if self._zeros > self._patience_s * RATE_HZ:
                self.trouble = NO_SIGNAL
            return
        if self.trouble is NO_SIGNAL:
            self._patience_s = min(2 * self._patience_s, NO_SIGNAL_LIMIT_S)
            self.trouble = None
            self._clipping_s = 0.0
        self._zeros = 0
        clipped = highest >= FULL_SCALE
        self._clipping_s += length_s if clipped else -FORGIVEN * length_s
        self._clipping_s = min(max(self._clipping_s, 0.0), CLIPPED_S)
        if self._clipping_s == CLIPPED_S:
            self.trouble = CLIPPED
        elif not self._clipping_s:
            self.trouble = None
