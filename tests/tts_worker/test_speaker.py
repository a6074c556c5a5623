import asyncio
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from apps.shared.errors import AivtError, EngineError
from apps.shared.messages import (
    Approved,
    Delivery,
    Mouth,
    PieceHushed,
    PiecePlayed,
    PieceReady,
    PieceResumed,
    PieceStarted,
    Speak,
    SpeechEnd,
    Stopped,
    fingerprint,
)
from apps.tts_worker.cache import AudioCache
from apps.tts_worker.playout import Mark, Playout
from apps.tts_worker.speaker import Speaker
from apps.tts_worker.voice import Chunk, Phoneme, Voice

RATE_HZ = 1000
FRAME = 20
WORD_S = 0.1


class Later(Executor):
    """Work is done when the test says so, and not before."""

    def __init__(self):
        self.work = []

    def submit(self, fn, /, *args, **kwargs):
        self.work.append(lambda: fn(*args, **kwargs))
        return Future()

    def do(self):
        """Do all that waits."""
        while self.work:
            self.work.pop(0)()


class Counting:
    """A voice: 100 samples a word, all of them the number of the call; what a test hangs in comes between."""

    engine, settings, sample_rate_hz = "counting", "", RATE_HZ
    speakers, trouble = ("ann", "bob"), None

    def __init__(self, name="one"):
        self.voice = name
        self.texts = []
        self.deliveries = []
        self.wanted = []  # what `give` returned
        self.before = self.between = lambda: None

    def synthesize(self, text, delivery, give):
        self.texts.append(text)
        self.deliveries.append(delivery)
        self.before()
        for number, _ in enumerate(text.split()):
            if number:
                self.between()
            pcm = np.full(100, len(self.texts), "<i2").tobytes()
            self.wanted.append(give(Chunk(pcm, (Phoneme("a", number * WORD_S),))))
            if not self.wanted[-1]:
                return

    def close(self):
        """Nothing to free."""


class Who:
    """Who speaks, and who does once that voice has failed."""

    def __init__(self, *voices):
        self.voices: list[Voice] = list(voices)
        self.failures = []

    @property
    def voice(self) -> Voice:
        return self.voices[0]

    def failed(self, voice, error):
        self.failures.append((voice, error))
        if len(self.voices) == 1:
            return None
        self.voices.remove(voice)
        return self.voices[0]


class Booth:
    """A speaker with all that it needs; sound is drawn by hand."""

    def __init__(self, folder):
        self.now_s = 10.0
        self.trouble: AivtError | None = None
        self.sent: list[Any] = []
        self.wakes = 0
        self.over = []
        self.thread, self.voice = Later(), Counting()
        self.who = Who(self.voice)
        self.playout = Playout(RATE_HZ, self.marked)
        self.speaker = Speaker(
            self.who,
            AudioCache(folder, 1_000_000),
            self.playout,
            self.sent.append,
            lambda: self.now_s,
            self.thread,
        )
        self.speaker.output = self

    def marked(self, mark):
        self.speaker.marked(mark)

    def wake(self):
        self.wakes += 1

    def turn_over(self, turn_id):
        self.over.append(turn_id)

    async def run(self):
        """The test draws."""

    async def say(self, *texts, turn_id="a", finish=True, **delivery):
        """Speak the pieces and synthesise them."""
        for index, text in enumerate(texts):
            self.speaker.speak(speak(text, turn_id, index), Delivery(**delivery))
        if finish:
            self.speaker.finish(turn_id)
        await self.synthesised()

    async def synthesised(self):
        self.thread.do()
        await asyncio.sleep(0)  # what the synthesis thread told the loop

    def heard(self):
        """Draw to the end; which calls of the voice are heard."""
        sound = []
        while (frame := self.playout.frame(FRAME, self.now_s)) is not None:
            sound += [int(value) for value in frame if value]
            self.now_s += FRAME / RATE_HZ
        return list(dict.fromkeys(sound))

    def of(self, *kinds, turn_id="a"):
        """What was sent of a turn, by kind."""
        return [message for message in self.sent if isinstance(message, kinds) and message.turn_id == turn_id]


def speak(text, turn_id="a", index=0):
    approved = Approved(
        text=text, spoken=text, decision_id=f"{turn_id}.{index}", sha256=fingerprint(text, text)
    )
    return Speak(turn_id=turn_id, index=index, approved=approved)


@pytest.fixture
async def booth(tmp_path):
    return Booth(tmp_path)


async def test_a_turn_from_first_to_last_message(booth):
    """Pieces are heard in order, each with its messages, and the end comes when the last one is over."""
    await booth.say("one", "two words")
    assert booth.of(SpeechEnd) == []
    assert booth.wakes
    assert booth.heard() == [1, 2]
    for index, length_ms in enumerate((100, 200)):
        own = [type(message) for message in booth.sent if getattr(message, "index", None) == index]
        assert own == [PieceReady, Mouth, PieceStarted, PiecePlayed]
        assert booth.of(PiecePlayed)[index].audio_ms == length_ms
        assert booth.of(Mouth)[index].visemes[-1].t == length_ms / 1000
    first, second = booth.of(PieceStarted)
    assert (first.at_s, second.at_s) == pytest.approx((10.0, 10.1))
    end = booth.sent[-1]
    assert isinstance(end, SpeechEnd)
    assert end.at_s == pytest.approx(10.3)
    assert (end.reason, booth.over) == ("", ["a"])


@pytest.mark.parametrize("changed", ["text", "spoken"])
async def test_text_that_was_changed_is_refused(booth, changed):
    """What is not what the gate approved is neither synthesised nor waited for."""
    good = speak("fine")
    other = {"text": good.approved.text, "spoken": good.approved.spoken, changed: "forged"}
    forged = Approved(**other, decision_id="a.0", sha256=good.approved.sha256)
    booth.speaker.speak(Speak(turn_id="a", index=0, approved=forged), Delivery())
    await booth.say("fine")
    booth.heard()
    assert booth.voice.texts == ["fine"]
    assert len(booth.of(SpeechEnd)) == 1


async def test_a_cancel_is_silence(booth):
    """After a cancel nothing sounds; the answer says where she was, and nothing of the turn follows it."""
    await booth.say("one two three", "four")
    for _ in range(5):
        booth.playout.frame(FRAME, booth.now_s)
        booth.now_s += FRAME / RATE_HZ
    booth.now_s -= 0.015  # into the last frame that is on its way out
    booth.speaker.cancel("a")
    assert booth.heard() == []
    stopped = booth.sent[-1]
    assert isinstance(stopped, Stopped)
    assert stopped.index == 0
    assert stopped.played == pytest.approx(1 / 3)
    assert stopped.at_s == pytest.approx(10.1)
    assert booth.over == ["a"]
    await booth.synthesised()
    assert booth.sent[-1] is stopped


async def test_a_cancel_in_mid_synthesis(booth):
    """A voice that goes on giving is told to stop; none of it is heard or kept, no other piece begun."""
    booth.voice.between = lambda: booth.speaker.cancel("a")
    await booth.say("one two three", "four", finish=False)
    assert booth.voice.wanted == [True, False]
    assert booth.voice.texts == ["one two three"]
    assert booth.heard() == []
    assert [type(message) for message in booth.sent] == [Stopped]
    booth.voice.between = lambda: None
    await booth.say("one two three", turn_id="b")
    assert not booth.of(PieceReady, turn_id="b")[0].cached


async def test_hushed_in_mid_piece(booth):
    """Where she stands still and goes on is told; the piece is as long as it is, and the turn ends later."""
    await booth.say("one two")
    for hushed in (False, True, True, True, False):
        booth.playout.hushed = hushed
        booth.playout.frame(FRAME, booth.now_s)
        booth.now_s += FRAME / RATE_HZ
    booth.heard()
    (hushed,), (resumed,) = booth.of(PieceHushed), booth.of(PieceResumed)
    assert (hushed.index, hushed.played_s, hushed.at_s) == (0, 0.025, pytest.approx(10.025))
    assert (resumed.index, resumed.played_s, resumed.at_s) == (0, 0.025, pytest.approx(10.08))
    assert [played.audio_ms for played in booth.of(PiecePlayed)] == [200]
    told = [type(message) for message in booth.sent if not isinstance(message, PieceReady | Mouth)]
    assert told == [PieceStarted, PieceHushed, PieceResumed, PiecePlayed, SpeechEnd]
    assert booth.of(SpeechEnd)[0].at_s == pytest.approx(10.255)


async def test_hushed_she_is_prepared(booth):
    """What comes while she is hushed is synthesised and told to be ready; none of it sounds or ends."""
    booth.playout.hushed = True
    await booth.say("one", "two")
    assert booth.heard() == []
    assert [type(message) for message in booth.sent] == [PieceReady, Mouth] * 2
    booth.playout.hushed = False
    assert booth.heard() == [1, 2]
    assert len(booth.of(SpeechEnd)) == 1


async def test_a_cancel_while_hushed(booth):
    """The answer says which piece it was and how much of it was heard; it does not go on in the next turn."""
    await booth.say("one", "two three four five")
    for hushed in (False, False, False, False, False, False, True, True):
        booth.playout.hushed = hushed
        booth.playout.frame(FRAME, booth.now_s)
        booth.now_s += FRAME / RATE_HZ
    booth.speaker.cancel("a")
    (stopped,) = booth.of(Stopped)
    assert (stopped.index, stopped.played) == (1, pytest.approx(25 / 400))
    assert stopped.at_s == pytest.approx(booth.now_s)
    await booth.say("six", turn_id="b")
    booth.playout.hushed = False
    assert booth.heard() == [3]
    assert booth.of(PieceResumed) == []


async def test_a_mark_that_comes_after_the_cancel(booth):
    """What the output noticed before it was told is not sent behind `Stopped`."""
    await booth.say("one")
    booth.playout.frame(FRAME, booth.now_s)
    booth.speaker.cancel("a")
    for moment in ("hushed", "resumed", "ended"):
        booth.speaker.marked(Mark("a", 0, moment, booth.now_s, 0.02))
    assert isinstance(booth.sent[-1], Stopped)


async def test_cancelling_a_turn_that_is_not_there(booth):
    """A cancel is always answered, and does nothing to another turn."""
    await booth.say("one")
    booth.speaker.cancel("z")
    stopped = booth.of(Stopped, turn_id="z")
    assert [(each.index, each.played) for each in stopped] == [(-1, 0)]
    assert booth.heard() == [1]


async def test_a_new_turn_ends_the_older(booth):
    """There is one turn at a time: the first piece of another one silences what was there."""
    await booth.say("one two", finish=False)
    booth.playout.frame(FRAME, booth.now_s)
    await booth.say("three", turn_id="b")
    assert booth.heard() == [2]
    assert len(booth.of(Stopped)) == 1
    assert len(booth.of(SpeechEnd, turn_id="b")) == 1
    assert not booth.of(SpeechEnd)


async def test_the_end_waits_for_the_finish(booth):
    """All is played, but more may come: the turn stays open until it is said to be whole."""
    await booth.say("one", finish=False)
    assert booth.heard() == [1]
    assert (booth.of(SpeechEnd), booth.over) == ([], [])
    booth.now_s = 20.0
    booth.speaker.finish("a")
    assert [end.at_s for end in booth.of(SpeechEnd)] == pytest.approx([10.1])


async def test_finishing_a_turn_without_pieces(booth):
    """A turn of which nothing was to be said ends at once."""
    booth.speaker.finish("a")
    assert booth.sent == [SpeechEnd(turn_id="a", at_s=10.0)]


async def test_a_turn_without_sound_ends(booth):
    """Pieces in which the voice finds nothing to say are passed over, and the output is woken for it."""
    await booth.say("", "")
    assert booth.wakes
    assert booth.heard() == []
    assert [played.audio_ms for played in booth.of(PiecePlayed)] == [0, 0]
    assert not booth.of(PieceReady, PieceStarted)
    assert len(booth.of(SpeechEnd)) == 1


@pytest.mark.parametrize(
    ("error", "reason", "fix"),
    [
        (EngineError("broken", "the voice broke", fix="Mend it."), "broken: the voice broke", "Mend it."),
        (ValueError("smoke"), "voice_crashed: counting failed: ValueError: smoke", "TTS_ENGINE"),
    ],
)
async def test_a_voice_that_fails(booth, error, reason, fix):
    """What it said is heard, later pieces too; then the turn ends with the reason, and nothing is kept."""
    booth.voice.between = failing(error)
    await booth.say("one two", "three")
    assert booth.heard() == [1, 2]
    (end,) = booth.of(SpeechEnd)
    assert end.reason == reason
    assert fix in end.fix
    await booth.say("one two", turn_id="b")
    assert not booth.of(PieceReady, turn_id="b")[0].cached
    booth.heard()
    assert booth.of(SpeechEnd, turn_id="b")[0].reason == ""


async def test_another_voice_says_what_the_first_one_cannot(booth):
    """A piece of which nothing was heard is said by who stands in, whole and once, without trouble."""
    other = Counting("other")
    booth.who.voices.append(other)
    booth.voice.before = failing(EngineError("broken", "the voice broke"))
    await booth.say("one two", "three")
    assert (booth.voice.texts, other.texts) == (["one two"], ["one two", "three"])
    assert [played.audio_ms for played in booth.of(PiecePlayed)] == []
    booth.heard()
    assert [played.audio_ms for played in booth.of(PiecePlayed)] == [200, 100]
    assert [(voice, error.code) for voice, error in booth.who.failures] == [(booth.voice, "broken")]
    assert [end.reason for end in booth.of(SpeechEnd)] == [""]


async def test_half_a_piece_is_not_said_again(booth):
    """When some of it was heard the rest is left out, and what comes after it is said by who stands in."""
    other = Counting("other")
    booth.who.voices.append(other)
    booth.voice.between = failing(EngineError("broken", "the voice broke"))
    await booth.say("one two", "three")
    assert (booth.voice.texts, other.texts) == (["one two"], ["three"])
    booth.heard()
    assert [played.audio_ms for played in booth.of(PiecePlayed)] == [100, 100]
    assert [end.reason for end in booth.of(SpeechEnd)] == ["broken: the voice broke"]


async def test_when_nobody_can_say_it(booth):
    """The turn ends with the reason of the last one who tried, and keeps it when a later piece is said."""
    other = Counting("other")
    booth.who.voices.append(other)
    booth.voice.before = failing(EngineError("broken", "the voice broke"))
    other.before = failing(EngineError("hoarse", "the other one too"))
    await booth.say("one", "two")
    booth.heard()
    assert [played.audio_ms for played in booth.of(PiecePlayed)] == [0, 100]
    assert [end.reason for end in booth.of(SpeechEnd)] == ["hoarse: the other one too"]


async def test_what_was_lost_stays_lost(booth):
    """A turn of which a part was not heard says so, although a later failure was made good."""
    second, third = Counting("second"), Counting("third")
    booth.who.voices += [second, third]
    booth.voice.between = failing(EngineError("broken", "the voice broke"))
    second.before = failing(EngineError("hoarse", "the other one too"))
    await booth.say("one two", "three")
    assert third.texts == ["three"]
    booth.heard()
    assert [end.reason for end in booth.of(SpeechEnd)] == ["broken: the voice broke"]


async def test_a_cancelled_piece_is_not_said_again(booth):
    """A voice that fails after the cancel is replaced, but not for that piece."""
    other = Counting("other")
    booth.who.voices.append(other)

    def cancel_and_fail():
        booth.speaker.cancel("a")
        raise EngineError("broken", "the voice broke")

    booth.voice.before = cancel_and_fail
    await booth.say("one", finish=False)
    assert len(booth.who.failures) == 1
    assert other.texts == []


async def test_without_memory(booth):
    """A voice for which there is no memory says so in a sentence."""
    booth.voice.before = failing(MemoryError())
    await booth.say("one")
    booth.heard()
    (end,) = booth.of(SpeechEnd)
    assert end.reason == "out_of_memory: there is not enough memory for counting"
    assert "smaller" in end.fix


async def test_the_manner_is_that_of_the_asking(booth):
    """A piece is said as it was to be said when it came, whatever is wished for the next ones."""
    booth.speaker.speak(speak("one"), Delivery(speed=2))
    booth.speaker.speak(speak("two", index=1), Delivery(pitch=3))
    await booth.synthesised()
    assert booth.voice.deliveries == [Delivery(speed=2), Delivery(pitch=3)]


@pytest.mark.parametrize(("wish", "speaker"), [("bob", "bob"), ("1", "1"), ("nobody", ""), ("2", "")])
async def test_a_speaker_that_the_voice_has_not(booth, wish, speaker):
    """An unknown speaker is left to the voice: she speaks."""
    await booth.say("one", speaker=wish, speed=1.5)
    assert booth.voice.deliveries == [Delivery(speaker=speaker, speed=1.5)]
    assert booth.heard() == [1]


async def test_two_manners_never_share_a_clip(booth):
    """What was said in one manner is synthesised anew in another, and known in its own."""
    await booth.say("one")
    await booth.say("one", turn_id="b", speed=1.5)
    await booth.say("one", turn_id="c")
    assert [booth.of(PieceReady, turn_id=turn)[0].cached for turn in "abc"] == [False, False, True]


def failing(error):
    """Raise this once."""
    errors = [error]

    def fail():
        if errors:
            raise errors.pop()

    return fail


async def test_what_was_said_before_needs_no_synthesis(booth):
    """The second time a text comes from the cache: marked so, with the same sound and the same mouth."""
    await booth.say("one two")
    assert booth.heard() == [1]
    await booth.say("one two", turn_id="b")
    assert booth.heard() == [1]
    assert len(booth.voice.texts) == 1
    assert [ready.cached for turn_id in "ab" for ready in booth.of(PieceReady, turn_id=turn_id)] == [
        False,
        True,
    ]
    assert booth.of(Mouth)[0].visemes == booth.of(Mouth, turn_id="b")[0].visemes
    assert booth.of(PiecePlayed)[0].audio_ms == booth.of(PiecePlayed, turn_id="b")[0].audio_ms


async def test_stopping(booth):
    """Whatever is being said is cancelled, once; without a turn nothing is answered."""
    booth.speaker.stop()
    assert booth.sent == []
    await booth.say("one")
    booth.speaker.stop()
    booth.speaker.stop()
    assert len(booth.of(Stopped)) == 1
    assert booth.heard() == []
