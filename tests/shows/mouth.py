"""The streamer's mouth in a show under test: what the ears tell when somebody speaks, without any sound."""

import itertools

from apps.shared.client import HEARTBEAT_S
from apps.shared.messages import Health, Message, NoWords, Partial, Transcript, UtteranceStarted
from tests.shows.stage import Stage

ENDPOINT_S = 0.5


class Mouth:
    """Joins a stage in the place of the ears."""

    def __init__(self, show: Stage) -> None:
        self._show = show
        self._numbers = itertools.count(1)
        self._id = ""
        self._start_s = 0.0
        self.told: list[Message] = []  # what the ears were told
        show.conductor.joined("asr", 1, self.told.append)
        self._beat()

    def _beat(self) -> None:
        """Ears that say nothing for three seconds are taken to hang."""
        self._tell(Health(state="ok", ready=True, engine="mouth"))
        self._show.loop.call_later(HEARTBEAT_S, self._beat)

    def begins(self) -> None:
        """A voice that is neither a cough nor a key, as far as the ears know."""
        self._id, self._start_s = f"u{next(self._numbers)}", self._now_s()
        self._tell(UtteranceStarted(utterance_id=self._id, start_s=self._start_s - 0.25, at_s=self._start_s))

    def seems_to_say(self, text: str, *, complete: bool = True) -> None:
        """What was said so far."""
        at_s = self._now_s()
        self._tell(
            Partial(
                utterance_id=self._id,
                text=text,
                stable=len(text),
                complete=complete,
                start_s=self._start_s,
                end_s=at_s - 0.15,
                at_s=at_s,
            )
        )

    def has_said(self, text: str) -> None:
        """These words, the last of them ENDPOINT_S ago."""
        at_s = self._now_s()
        self._tell(
            Transcript(
                utterance_id=self._id,
                text=text,
                words=(),
                start_s=self._start_s,
                end_s=at_s - ENDPOINT_S,
                ended_s=at_s,
                at_s=at_s,
                avg_logprob=-0.2,
                no_speech_prob=0.01,
            )
        )

    def coughed(self) -> None:
        """It was no word."""
        at_s = self._now_s()
        self._tell(
            NoWords(
                utterance_id=self._id,
                code="no_words",
                start_s=self._start_s,
                end_s=at_s - ENDPOINT_S,
                at_s=at_s,
            )
        )

    def _now_s(self) -> float:
        return self._show.loop.time()

    def _tell(self, message: Message) -> None:
        self._show.conductor.receive("asr", message)
