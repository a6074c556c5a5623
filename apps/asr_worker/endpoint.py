"""Where an utterance begins and ends, pure.

A frame counts as voiced from START on, and after a voiced one from GO_ON on. An utterance begins when enough
of the last moments was voiced, and ends when the voice has been gone for a wait that depends on what was
said: a finished sentence is answered sooner, and who says "and um" gets time to think. A held key overrules
all of it.

All times are seconds, not negative, by the clock of the frames. Sound arrives later than it was said, so a
key is compared with the times of the frames and not with when they are fed.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from apps.asr_worker.completeness import completeness
from apps.asr_worker.sound import FRAME_S
from apps.shared.speakable import letters

START = 0.5
GO_ON = 0.35

PRE_ROLL_S = 0.32  # Silero is sure of a voice 80 to 120 ms late, and a soft first sound lies before that
PAUSE_SEEN_S = 0.128  # gone for so long: worth a decode, though mostly the voice comes back
CUT_PAUSE_S = 0.1  # a very long utterance may be cut where the voice was gone for so long,
CUT_WITHIN_S = 6.0  # if that was no longer ago than this
RELEASE_S = 0.2  # fingers let go of a key before the last word is over
STALE_S = 0.1  # more voice than this since the text was told: what it ends with is not the end
RISING_S = 0.4  # a text that has just grown may grow again; the next decode comes sooner than this

_SLACK_S = FRAME_S / 8  # sums of frame lengths are not exact


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for what."""

    pause_s: float = 0.55  # after what may be finished or not
    # So much voice is an utterance, and no cough, key or bump of 200 ms. Of 200 short words ("stop", "hi")
    # said fast, 7 frames of 32 ms let 187 through and 8 let 166; of 200 coughs, one and none.
    start_voiced_s: float = 0.22
    start_within_s: float = 0.5  # it has to come within so long
    limit_s: float = 25.0  # an utterance is cut here: recognisers take 30 s

    @property
    def short_s(self) -> float:
        """After a finished sentence."""
        return min(self.pause_s, max(0.25, 0.6 * self.pause_s))

    @property
    def long_s(self) -> float:
        """After an unfinished one."""
        return 2 * self.pause_s


@dataclass(frozen=True, slots=True)
class Began:
    """Somebody speaks."""

    start_s: float
    at_s: float  # when that was certain


@dataclass(frozen=True, slots=True)
class Paused:
    """The voice has gone, perhaps for good. Once per pause."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The utterance is over. After a "limit" the next one begins where it ended, or with the next voice."""

    start_s: float
    end_s: float  # when the voice ended; of a released key, up to where it was listened to
    at_s: float  # when that was certain
    cause: Literal["pause", "limit", "released"]


Event = Began | Paused | Ended


@dataclass(slots=True)
class _Utterance:
    start_s: float
    voice_end_s: float  # where the last voiced frame ended; start_s before there was any
    held: bool = False  # by the key
    released_s: float | None = None
    pause_told: bool = False
    gap: tuple[float, float] | None = None  # the latest pause that is long enough to cut in
    text: str = ""
    settled: bool = False  # the text has been the same twice
    rising: bool = False  # the text has more letters than the one before
    told_s: float = 0.0  # when
    voiced_since_s: float = 0.0  # voice since then


class Endpointer:
    """Takes a microphone's frames, one by one, and tells when utterances begin and end.

    language: of the hypotheses, see completeness().
    """

    def __init__(self, patience: Patience, language: str = "en") -> None:
        self._patience = patience
        self._language = language
        self.reset()

    def reset(self) -> None:
        """Forget everything, a held key too: the sound has a gap, or nobody is to be heard."""
        self._utterance: _Utterance | None = None
        self._voiced = False
        self._onset: deque[float] = deque()  # where the latest voiced frames began, while nobody speaks
        self._at_once_until_s = 0.0  # after a cut the voice goes on, and needs no minimum
        self._now_s = 0.0  # the end of the latest frame
        self._over_s = 0.0  # the end of the latest utterance
        self._keep_from_s = 0.0

    @property
    def speaking(self) -> bool:
        """Whether an utterance is under way."""
        return self._utterance is not None

    @property
    def wait_s(self) -> float:
        """How long the voice would have to be gone, by what is known now, for the utterance to end."""
        utterance, patience = self._utterance, self._patience
        if utterance is None:
            return patience.pause_s
        if utterance.held:
            return RELEASE_S
        if utterance.voiced_since_s > STALE_S:
            return patience.pause_s
        ends = completeness(utterance.text, self._language)
        growing = utterance.rising and self._now_s - utterance.told_s < RISING_S
        if ends == "unfinished" or growing:
            return patience.long_s
        return patience.short_s if ends == "finished" and utterance.settled else patience.pause_s

    @property
    def keep_from_s(self) -> float:
        """Sound before this is of no use any more; the sound of the utterance under way begins here.

        It only grows, until reset().
        """
        return self._keep_from_s

    def feed(self, probability: float, at_s: float) -> list[Event]:
        """Take the next frame, FRAME_S of sound from `at_s` on; return what it makes certain.

        probability: that there is a voice in it, 0..1. While only a key may begin an utterance, 0.
        """
        self._voiced = probability >= (GO_ON if self._voiced else START)
        self._now_s = max(self._now_s, at_s + FRAME_S)
        if self._utterance is None:
            events = list(self._listen(at_s))
        else:
            events = list(self._follow(self._utterance, at_s))
        self._forget()
        return events

    def said(self, text: str, stable: bool) -> None:
        """Take the newest hypothesis of the utterance under way: the wait follows it.

        stable: all of it was the same in the decode before.
        """
        utterance = self._utterance
        if utterance is None:
            return  # it has ended while this was decoded
        utterance.settled = stable or text == utterance.text
        utterance.rising = not stable and letters(text) > letters(utterance.text)
        utterance.text, utterance.told_s, utterance.voiced_since_s = text, self._now_s, 0.0

    def press(self, at_s: float) -> list[Event]:
        """Take the talk key going down: an utterance begins, or the one under way lasts while it is held."""
        if self._utterance is not None:
            self._utterance.held, self._utterance.released_s = True, None
            return []
        events: list[Event] = [self._begin(at_s, at_s, held=True)]
        self._forget()
        return events

    def release(self, at_s: float) -> list[Event]:
        """Take the key going up: the utterance ends with the frame of RELEASE_S later, so nothing yet."""
        if self._utterance is not None and self._utterance.held:
            self._utterance.released_s = at_s
        return []

    def _listen(self, at_s: float) -> Iterator[Event]:
        """While nobody speaks: is there enough of a voice?"""
        if self._voiced:
            self._onset.append(at_s)
        while self._onset and self._onset[0] < self._now_s - self._patience.start_within_s - _SLACK_S:
            self._onset.popleft()
        goes_on = self._voiced and at_s < self._at_once_until_s
        if goes_on or len(self._onset) * FRAME_S >= self._patience.start_voiced_s - _SLACK_S:
            yield self._begin(self._onset[0], self._onset[-1] + FRAME_S)

    def _follow(self, utterance: _Utterance, at_s: float) -> Iterator[Event]:
        """While somebody speaks: have they stopped?"""
        now_s = self._now_s
        if self._voiced:
            self._take_voice(utterance, at_s)
        gone_s = now_s - utterance.voice_end_s + _SLACK_S
        if gone_s >= PAUSE_SEEN_S and not utterance.pause_told:
            utterance.pause_told = True
            yield Paused(now_s)
        if utterance.released_s is not None and now_s >= utterance.released_s + RELEASE_S:
            yield self._end(now_s, "released")
        elif not utterance.held and gone_s >= self.wait_s:
            yield self._end(utterance.voice_end_s, "pause")
        elif now_s - utterance.start_s >= self._patience.limit_s - _SLACK_S:
            yield from self._cut(utterance)

    def _take_voice(self, utterance: _Utterance, at_s: float) -> None:
        heard = utterance.voice_end_s > utterance.start_s
        if heard and at_s - utterance.voice_end_s >= CUT_PAUSE_S - _SLACK_S:
            utterance.gap = (utterance.voice_end_s, at_s)
        utterance.voice_end_s = self._now_s
        utterance.voiced_since_s += FRAME_S
        utterance.pause_told = False

    def _cut(self, utterance: _Utterance) -> Iterator[Event]:
        """End what has become too long, and go on without losing a frame."""
        now_s, gap, wait_s = self._now_s, utterance.gap, self.wait_s
        if self._voiced and gap is not None and gap[0] >= now_s - CUT_WITHIN_S:
            yield self._end(gap[0], "limit")
            yield self._begin(gap[1], utterance.voice_end_s, held=utterance.held)
        elif utterance.held:
            yield self._end(now_s, "limit")
            yield self._begin(now_s, now_s, held=True)
        else:
            yield self._end(utterance.voice_end_s, "limit")
            self._at_once_until_s = now_s + wait_s
            return
        if self._utterance is not None:
            self._utterance.released_s = utterance.released_s

    def _begin(self, start_s: float, voice_end_s: float, *, held: bool = False) -> Began:
        start_s = max(start_s, self._keep_from_s)
        unheard = voice_end_s <= start_s  # a pause in nothing is not worth telling
        self._utterance = _Utterance(start_s, max(start_s, voice_end_s), held, pause_told=unheard)
        self._onset.clear()
        return Began(start_s, max(start_s, self._now_s))

    def _end(self, end_s: float, cause: Literal["pause", "limit", "released"]) -> Ended:
        assert self._utterance is not None
        ended = Ended(self._utterance.start_s, end_s, self._now_s, cause)
        self._utterance = None
        self._over_s = end_s
        return ended

    def _forget(self) -> None:
        """Move on what has to be kept; never back into the utterance before."""
        if self._utterance is not None:
            needed_s = self._utterance.start_s
        else:
            needed_s = self._onset[0] if self._onset else self._now_s
        self._keep_from_s = max(self._keep_from_s, self._over_s, needed_s - PRE_ROLL_S)
