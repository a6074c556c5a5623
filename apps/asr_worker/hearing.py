"""From sound to what was said: every block of a source goes through here."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from itertools import chain

import numpy as np

from apps.asr_worker.conditioning import Conditioning
from apps.asr_worker.decoder import Decoder
from apps.asr_worker.echo import Echo
from apps.asr_worker.endpoint import Began, Ended, Endpointer, Event, Patience, Paused
from apps.asr_worker.frames import Frame, Frames
from apps.asr_worker.kept import Kept
from apps.asr_worker.level import LevelMeter, decibels
from apps.asr_worker.recogniser import Recogniser
from apps.asr_worker.sound import FRAME_S, FRAME_SAMPLES, Block, Samples
from apps.asr_worker.utterance import Means, Utterance
from apps.asr_worker.voice_activity import Vad
from apps.shared.errors import AivtError
from apps.shared.messages import Ears, HerVoice, Level, Message
from apps.shared.settings import Settings

SHORT_GAP_S = 1.0  # somebody may have gone on speaking through it
WAIT_S = 8.0  # no endpoint waits longer
LEVEL_S = 0.2

_SILENCE = np.zeros(FRAME_SAMPLES, np.float32)


class Hearing:
    """Hears one source at a time. All methods are called on the event loop and return at once.

    now_s: the clock of the blocks. thread: where sound is decoded, one job at a time.
    """

    def __init__(
        self,
        settings: Settings,
        recogniser: Recogniser,
        vad: Vad,
        send: Callable[[Message], None],
        now_s: Callable[[], float],
        thread: Executor,
    ) -> None:
        self._send, self._now_s, self._vad = send, now_s, vad
        self._echo = Echo(settings.echo_mode)
        self._decoder = Decoder(recogniser, thread, now_s)
        self._endpointer = Endpointer(Patience(pause_s=settings.asr_pause_s), settings.asr_language)
        self._kept = Kept()
        self._frames = Frames()
        self._condition = Conditioning(settings.asr_noise_gate_db, settings.asr_auto_gain)
        self._meter = LevelMeter()
        self._level_due_s = float("-inf")
        self._own_words = tuple(filter(None, map(str.strip, settings.asr_hotwords.split(","))))
        self._words = self._own_words
        self._ears = Ears(on=True, push_to_talk=settings.asr_mode == "push")
        self._utterance: Utterance | None = None
        self._open: list[Utterance] = []  # also those that wait for their full decode
        self._end_s = float("-inf")  # of the last frame
        self._means = Means(
            endpointer=self._endpointer,
            decoder=self._decoder,
            echo=self._echo,
            kept=self._kept,
            send=send,
            now_s=self._heard_s,
            vocabulary=lambda: self._words,
            language=settings.asr_language,
        )

    @property
    def ears(self) -> Ears:
        """Whether and when to listen."""
        return self._ears

    @property
    def trouble(self) -> AivtError | None:
        """Why the last decode failed."""
        return self._decoder.trouble

    def hear(self, block: Block, lost_s: float = 0.0) -> None:
        """Take the next sound. lost_s: how much of it the source has dropped since it began."""
        for frame in self._frames.cut(block):
            self._measure(frame, lost_s)
            if frame.gap_s < 0 or frame.gap_s > SHORT_GAP_S:
                self.end()
            elif frame.gap_s:
                self._vad.reset()
            self._take(frame)
        self._decoder.watch()

    def end(self) -> None:
        """There will be no more sound, or none that follows: what is being said ends here."""
        self._decoder.watch()
        if self._utterance is not None:
            end_s = max(self._end_s, self._utterance.start_s)  # no sound since the key was pressed
            if self._ears.push_to_talk:
                self._obey(self._endpointer.release(end_s))
            for number in range(round(WAIT_S / FRAME_S)):
                if not self._endpointer.speaking:
                    break
                self._listen(Frame(_SILENCE, end_s + number * FRAME_S))
        self._reset()

    def close(self) -> None:
        """Decode nothing more. To be called before the thread is shut down."""
        self._decoder.close()

    async def settled(self) -> None:
        """Wait until everything that was heard is decoded."""
        await self._decoder.idle()

    def listen(self, ears: Ears) -> None:
        """Take whether and when to listen."""
        before, self._ears = self._ears, ears
        if not ears.on:
            self.forget()
        elif ears.push_to_talk != before.push_to_talk or not before.on:
            self._reset()  # an utterance under way belongs to the other manner of listening
        talked = before.on and before.push_to_talk and before.talking
        talks = ears.on and ears.push_to_talk and ears.talking
        if talks and not talked:
            self._obey(self._endpointer.press(self._now_s()))
        elif talked and not talks:
            self._obey(self._endpointer.release(self._now_s()))

    def she(self, told: HerVoice) -> None:
        """Take what comes out of her mouth."""
        self._echo.she(told)

    def expect(self, words: tuple[str, ...]) -> None:
        """Take names and jargon that are likely to be heard, beside those of the settings."""
        self._words = tuple(dict.fromkeys(chain(self._own_words, words)))

    def forget(self) -> None:
        """Drop what is being said and what is being decoded, and the sound of it."""
        self._decoder.drop_all()
        for utterance in self._open:
            utterance.forget()
        self._open.clear()
        self._reset()

    def _heard_s(self) -> float:
        """The time. A recording that is played faster than it was said runs ahead of the clock."""
        return max(self._now_s(), self._end_s)

    def _reset(self) -> None:
        if self._utterance is not None:
            self._utterance.forget()
            self._utterance = None
        self._kept.clear()
        self._endpointer.reset()
        self._vad.reset()

    def _measure(self, frame: Frame, lost_s: float) -> None:
        self._meter.add(frame.samples)
        wait_s = self._level_due_s - frame.end_s
        if 0 < wait_s <= LEVEL_S:
            return
        jumped = abs(wait_s) > LEVEL_S  # the clock of a source that has just begun, or has had a gap
        self._level_due_s = LEVEL_S + (frame.end_s if jumped else self._level_due_s)
        loudness = self._meter.read()
        self._send(
            Level(
                at_s=frame.end_s,
                rms_db=loudness.rms_db,
                peak_db=loudness.peak_db,
                voiced=self._endpointer.speaking,
                clipped=loudness.clipped,
                lost_s=lost_s,
            )
        )

    def _take(self, frame: Frame) -> None:
        self._end_s = frame.end_s
        push = self._ears.push_to_talk
        if not self._ears.on or (push and not self._ears.talking and not self._endpointer.speaking):
            return
        if push and not self._endpointer.speaking:  # end() came while the key was held
            self._obey(self._endpointer.press(frame.at_s))
        if self._echo.holds(_level_db(frame.samples), frame.at_s):
            self._listen(replace(frame, samples=_SILENCE))
        else:
            self._listen(replace(frame, samples=self._condition(frame.samples)))

    def _listen(self, frame: Frame) -> None:
        self._kept.add(frame)
        probability = self._vad.probability(frame.samples)
        self._obey(self._endpointer.feed(probability, frame.at_s))
        if self._utterance is not None:
            self._utterance.follow(frame, probability)
        self._kept.forget_before(self._endpointer.keep_from_s)

    def _obey(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Began():
                    self._utterance = Utterance(event, self._means)
                    self._open = [open_ for open_ in self._open if not open_.over]
                    self._open.append(self._utterance)
                case Paused(at_s=at_s) if self._utterance is not None:
                    self._utterance.paused(at_s)
                case Ended() if self._utterance is not None:
                    ended, self._utterance = self._utterance, None
                    ended.end(event)


def _level_db(samples: Samples) -> float:
    return decibels(float(np.dot(samples, samples) / len(samples)) ** 0.5)
