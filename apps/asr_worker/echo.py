"""Is this her own voice, out of the speakers and into the microphone? Pure.

Two defences. By loudness, frame by frame while she sounds: only what is well above her own echo is let
through. By words: what came through all the same, and says what she has just said, is not the streamer's.
"""

import re
from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from rapidfuzz import fuzz

from apps.asr_worker.sound import FRAME_S
from apps.shared.messages import HerVoice

TAIL_S = 0.3  # the room, and the sound card's own delay, sound on after her last sample
ABOVE_DB = 10.0  # how much louder than her echo somebody must be to be heard over it,
STILL_ABOVE_DB = 6.0  # and to go on being heard
QUIETEST_DB = -55.0  # an echo below it is the room's own noise
LEARNT_FROM_S = 1.0  # before that much of her was heard in this room nobody is heard over her
REMEMBERED_S = 5.0
PERCENTILE = 90  # her loud syllables, but no single click
# What was let through teaches no more than this: it is rarely she. At 1.0 a streamer 18 dB above her echo was
# held after 6 s of speaking over her; at this after 20 s.
STEP_DB = 0.25
SURE_FRAMES = 2  # a click is one
OPEN_S = 0.4  # between the syllables of somebody who is heard over her

SAID_S = 10.0  # her words are known for so long: speakers may play the stream, seconds behind
ECHOES_S = 0.5  # after her last sound her echo begins no more, unless it is of the stream
LIKE = 80.0  # a recogniser hears echoes badly
JUST_LIKE = 95.0  # "you really love pizza" is no echo of "I really love pizza": 91
SEVERAL_WORDS, SENTENCE_WORDS = 2, 4
MOST_PIECES = 64

_NO_LETTER = re.compile(r"[^\w\s]|_")


@dataclass(slots=True)
class _Said:
    text: str  # as `_plain` leaves it
    start_s: float
    end_s: float = float("inf")  # inf: she is at it


class Echo:
    """Knows when she sounds, how loud her echo is, and what she said last.

    All times are by the shared clock. In "headphones" mode nothing is held and nothing matches.
    """

    def __init__(self, mode: Literal["headphones", "speakers"]) -> None:
        self._speakers = mode == "speakers"
        self._said: deque[_Said] = deque(maxlen=MOST_PIECES)
        self._levels_db: deque[float] = deque(maxlen=round(REMEMBERED_S / FRAME_S))
        self._let_through: deque[tuple[float, float]] = deque(maxlen=self._levels_db.maxlen)  # when, level
        self._above = 0  # frames in a row
        self._open_until_s = float("-inf")

    def she(self, told: HerVoice) -> None:
        """Take what comes out of her mouth, or that nothing does any more."""
        if self._said and self._said[-1].end_s > told.at_s:
            self._said[-1].end_s = told.at_s
        if told.sounding:
            self._said.append(_Said(_plain(told.text), told.at_s))

    def holds(self, level_db: float, at_s: float) -> bool:
        """Whether a frame of FRAME_SAMPLES is to be taken for silence. Call it for every frame, in order.

        level_db: of the frame as it was captured, below full scale.
        """
        if not self._speakers:
            return False
        sounding = self._sounds(at_s)
        if not sounding and not self._sounds(at_s, TAIL_S):
            self._above = 0
            return False
        learnt = len(self._levels_db) >= LEARNT_FROM_S / FRAME_S
        echo_db = self._echo_db()
        is_open = at_s <= self._open_until_s
        above = learnt and level_db > echo_db + (STILL_ABOVE_DB if is_open else ABOVE_DB)
        if sounding and (above or is_open):
            self._levels_db.append(min(level_db, echo_db + STEP_DB))
            self._let_through.append((at_s, level_db))
        elif sounding:
            self._levels_db.append(level_db)
        self._above = self._above + 1 if above else 0
        if above and (is_open or self._above >= SURE_FRAMES):
            self._open_until_s = at_s + OPEN_S
        return at_s > self._open_until_s

    def learn(self, since_s: float) -> None:
        """Take what was let through since then for her echo: its words were hers, so she is louder now."""
        self._levels_db.extend(level_db for at_s, level_db in self._let_through if at_s >= since_s)
        self._let_through.clear()

    def matches(self, text: str, at_s: float, *, whole: bool = True) -> bool:
        """Whether she said this in the last 10 s, so that it is her echo.

        text: what was heard. at_s: when that began. whole: it is a final transcript; a partial may yet become
        more of her words, so that already its first word is suspect.
        """
        heard = _plain(text)
        if not self._speakers or not heard:
            return False
        words = len(heard.split())
        near = [said for said in self._said if said.start_s - TAIL_S <= at_s <= said.end_s + ECHOES_S]
        late = [said for said in self._said if said.start_s - TAIL_S <= at_s <= said.end_s + SAID_S]
        alike = LIKE if words > 1 else JUST_LIKE  # "no" and "now": 80
        if any(fuzz.ratio(heard, said.text) >= alike for said in near):
            return True
        # One word of hers is everybody's word: "stop" is to be obeyed though she says "I can't stop".
        if near and (words >= SEVERAL_WORDS or not whole) and _within(heard, self._from(near)) >= LIKE:
            return True
        # "Yes" or "go on", seconds after she said it, is an answer. A sentence, word by word, is the stream.
        return words >= SENTENCE_WORDS and bool(late) and _within(heard, self._from(late)) >= JUST_LIKE

    def _sounds(self, at_s: float, after_s: float = 0.0) -> bool:
        return any(said.start_s <= at_s < said.end_s + after_s for said in self._said)

    def _echo_db(self) -> float:
        if not self._levels_db:
            return QUIETEST_DB
        return max(QUIETEST_DB, float(np.percentile(np.fromiter(self._levels_db, np.float64), PERCENTILE)))

    def _from(self, pieces: list[_Said]) -> str:
        """Everything from the first of these pieces on: an echo does not end where a piece does."""
        return " ".join(said.text for said in self._said if said.start_s >= pieces[0].start_s and said.text)


def _plain(text: str) -> str:
    """Words alone, as both she and a recogniser may write them."""
    return " ".join(_NO_LETTER.sub("", text).casefold().split())


def _within(heard: str, said: str) -> float:
    """How much of what was heard, 0..100, stands in one place of what she said.

    partial_ratio looks for the shorter text in the longer one, its letters in their order and in one place;
    comparing words would not know "pine apple", and sets of words find "what do you think" in half of all
    replies. Where more was heard than she said, the rest is somebody's own words: then the whole counts.
    """
    return fuzz.partial_ratio(heard, said) if len(heard) <= len(said) else fuzz.ratio(heard, said)
