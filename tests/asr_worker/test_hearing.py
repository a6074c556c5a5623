import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from apps.asr_worker.decoder import LIMIT_S, MOST_FINALS
from apps.asr_worker.hearing import Hearing
from apps.asr_worker.sound import FRAME_S, RATE_HZ, Block
from apps.asr_worker.vads import open_vad
from apps.shared.errors import EngineError
from apps.shared.messages import Ears, HerVoice, Level, NoWords, Partial, Transcript, UtteranceStarted
from apps.shared.settings import Settings
from tests.asr_worker.room import loud, room, scene
from tests.asr_worker.scripted_sound import WORD_S, WORDS, Paced, Reader, SteadyVad, play, spoken
from tests.ears.speech import say
from tests.fakes.executor import Inline

pytestmark = pytest.mark.looptime

WAIT_S = 0.55  # the default pause


class Rig:
    """Ears, and what they told."""

    def __init__(self, thread=None, vad=None, **settings):
        self.sent: list[Any] = []
        self.reader, self.vad = Reader(), vad or SteadyVad()
        self.thread: Any = thread or Inline()
        self.now_s = asyncio.get_running_loop().time
        self.hearing = Hearing(
            Settings(_env_file=None, **settings),
            self.reader,
            self.vad,
            self.sent.append,
            self.now_s,
            self.thread,
        )

    async def hear(self, text, at_s=None):
        """Play words; return when they began."""
        began_s = self.now_s() if at_s is None else at_s
        await play(self.hearing.hear, spoken(text), at_s)
        return began_s

    def told(self, *kinds):
        return [message for message in self.sent if isinstance(message, kinds or _SPEECH)]

    def texts(self):
        return [message.text for message in self.told(Transcript)]

    def codes(self):
        return [message.code for message in self.told(NoWords)]


def fix_of(rig):
    assert rig.hearing.trouble is not None
    return rig.hearing.trouble.fix


_SPEECH = (UtteranceStarted, Partial, Transcript, NoWords)


async def test_an_utterance():
    """It begins, grows, is complete in the pause, and its words have their times by the shared clock."""
    rig = Rig()
    await asyncio.sleep(100)
    at_s = await rig.hear("_ hello kitsu what do you think _ _ _")
    began, *partials, final = rig.told()
    assert isinstance(began, UtteranceStarted)
    assert began.start_s == pytest.approx(at_s + WORD_S)
    assert began.at_s == pytest.approx(at_s + WORD_S + 0.25, abs=FRAME_S)
    assert {message.utterance_id for message in rig.told()} == {began.utterance_id}
    assert all(isinstance(partial, Partial) for partial in partials)
    for shorter, longer in itertools.pairwise(partials):
        assert longer.text.startswith(shorter.text)
        assert longer.end_s > shorter.end_s
        assert longer.stable >= shorter.stable
    assert [partial.complete for partial in partials] == [False] * (len(partials) - 1) + [True]
    last = partials[-1]
    assert (last.text, last.stable) == ("hello kitsu what do you think", len(last.text))
    assert isinstance(final, Transcript)
    assert final.text == "hello kitsu what do you think"
    assert [word.text for word in final.words] == final.text.split()
    starts = [at_s + (1 + number) * WORD_S for number in range(6)]
    assert [word.start_s for word in final.words] == pytest.approx(starts, abs=0.001)
    assert final.end_s == pytest.approx(at_s + 7 * WORD_S, abs=0.001)
    assert final.at_s >= final.ended_s >= final.end_s


async def test_a_partial_every_quarter_of_a_second_of_speech():
    """Each word is shown while the next one is said; silence is decoded no more than it must be."""
    rig = Rig()
    at_s = await rig.hear("hello kitsu what do you think yes go on and tell me more")
    looks = [kind for kind, _ in rig.reader.calls]
    assert set(looks) == {"partial"}
    assert len(looks) == pytest.approx(13 * WORD_S / 0.24, abs=3)
    for number, word in enumerate(("hello", "kitsu", "what", "do"), 1):
        shown_s = next(partial.at_s for partial in rig.told(Partial) if word in partial.text.split())
        assert shown_s - (at_s + number * WORD_S) < 0.3
    await rig.hear("_ _ _ _ _ _")
    before = len(rig.reader.calls)
    await rig.hear("_ _ _ _ _ _")
    assert len(rig.reader.calls) == before


@pytest.mark.parametrize("takes_s", [0.0, 0.08, 0.3])
async def test_the_final_is_there_when_the_wait_is_over(takes_s):
    """The full decode begins in the pause, so that nobody waits for it."""
    rig = Rig(Paced(partial=0.02, final=takes_s))
    for _ in range(2):
        await rig.hear("hello kitsu what do you think yes _ _ _ _")
    for final in rig.told(Transcript):
        assert final.ended_s - final.end_s <= WAIT_S + FRAME_S
        assert final.at_s - final.ended_s <= 0.1
    assert rig.texts() == ["hello kitsu what do you think yes"] * 2


async def test_who_goes_on_is_heard_whole():
    """A full decode begun in a pause that was none is thrown away, and a new one made at the end."""
    rig = Rig(Paced(partial=0.02, final=0.4))
    await rig.hear("hello kitsu ~ ~ what do you think _ _ _ _")
    assert rig.texts() == ["hello kitsu what do you think"]
    lengths_s = [length_s for kind, length_s in rig.reader.calls if kind == "final"]
    assert len(lengths_s) == 2
    assert lengths_s[1] > lengths_s[0] + 4 * WORD_S
    assert rig.thread.most == 1


@pytest.mark.parametrize("takes_s", [0.7, 3.0])
async def test_a_guess_that_came_too_late(takes_s):
    """One that is older than the last words is not taken for the final, however late it is there."""
    rig = Rig(Paced(partial=0.02, final=takes_s))
    await rig.hear("hello kitsu ~ ~ what do you think _ _ _ _ _")
    await asyncio.sleep(10)
    assert rig.texts() == ["hello kitsu what do you think"]
    assert rig.thread.most == 1


async def test_a_full_decode_that_takes_long_is_not_begun_on_a_guess():
    """Who goes on speaking would wait for it."""
    rig = Rig(Paced(partial=0.1, final=0.9))
    await rig.hear("hello kitsu _ _ _ _ _ _ _")
    rig.reader.calls.clear()
    await rig.hear("hello kitsu ~ ~ what do you think _ _ _ _ _ _ _")
    assert [kind for kind, _ in rig.reader.calls].count("final") == 1
    assert rig.texts()[-1] == "hello kitsu what do you think"


@pytest.mark.parametrize("words", [2, 3, 4, 5, 6])
async def test_one_full_decode_a_pause(words):
    """A partial that waited for the guess neither replaces what is shown nor asks for another guess."""
    rig = Rig(Paced(partial=0.02, final=0.3), asr_pause_s=1.5)
    pause_s = words * WORD_S + 0.11
    asyncio.get_running_loop().call_later(pause_s, rig.thread.takes_s.update, {"partial": 0.35})
    await rig.hear(f"{' '.join(WORDS[:words])} {'_ ' * 12}")
    assert [kind for kind, _ in rig.reader.calls].count("final") == 1
    (final,) = rig.told(Transcript)
    assert final.at_s == final.ended_s


async def test_one_decode_at_a_time():
    """A slow recogniser gets fewer partials, each of the newest sound, and every final is made."""
    rig = Rig(Paced(partial=0.7, final=1.1))
    for _ in range(3):
        await rig.hear("hello kitsu what do you think yes go on _ _ _")
    await asyncio.sleep(10)
    assert rig.thread.most == 1
    assert rig.texts() == ["hello kitsu what do you think yes go on"] * 3
    partials = [length_s for kind, length_s in rig.reader.calls if kind == "partial"]
    assert 3 <= len(partials) <= 3 * 8 * WORD_S / 0.7 + 3


async def test_a_hopelessly_slow_recogniser():
    """What cannot be decoded in time is told as failed, the oldest first; the light says what to do."""
    rig = Rig(Paced(partial=6.0, final=25.0))
    for _ in range(MOST_FINALS + 4):
        await rig.hear("hello kitsu _ _ _ _")
    assert rig.codes()[0] == "failed"
    assert "slower than speech" in rig.told(NoWords)[0].reason
    await asyncio.sleep(600)
    assert len(rig.told(Transcript, NoWords)) == MOST_FINALS + 4
    assert rig.texts()


async def test_a_recogniser_that_hangs():
    """What waits for it is told as failed; when it comes back it is used again."""
    thread = Paced(partial=0.02, final=LIMIT_S + 20)
    rig = Rig(thread)
    await rig.hear("hello kitsu _ _ _ _")
    assert rig.told(Transcript, NoWords) == []
    await rig.hear("_ " * round(LIMIT_S / WORD_S + 3))
    assert rig.codes() == ["failed"]
    assert "ASR_MODEL" in fix_of(rig)
    await asyncio.sleep(30)
    assert rig.hearing.trouble is not None
    thread.takes_s["final"] = 0.1
    await rig.hear("yes go on _ _ _ _")
    assert rig.texts() == ["yes go on"]
    assert rig.hearing.trouble is None


async def test_a_cough_is_nothing():
    """Sound that is too short for a word is neither told nor decoded."""
    rig = Rig()
    await rig.hear("_ ~ _ _ _")
    short = spoken("hello")[: round(0.18 * RATE_HZ)]
    await play(rig.hearing.hear, short)
    await rig.hear("_ _ _ _")
    assert rig.told() == []
    assert rig.reader.calls == []


async def test_who_has_more_to_say_gets_time():
    """ "And" is never complete, and the wait after it is longer."""
    rig = Rig()
    await rig.hear("tell me more and _ _ _ _ _ _")
    assert not any(partial.complete for partial in rig.told(Partial))
    (final,) = rig.told(Transcript)
    assert final.ended_s - final.end_s > 1.5 * WAIT_S


@pytest.mark.parametrize("words", [None, "yes go on"])
async def test_shut_down_in_mid_decode(monkeypatch, words):
    """Neither what waits nor what the running decode would lead to is given to a thread that is gone."""
    loop, raised = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _loop, context: raised.append(context["message"]))
    with ThreadPoolExecutor(1) as thread:
        rig = Rig(thread)
        await rig.hear("hello kitsu")
        await play(rig.hearing.hear, np.zeros(round(0.1 * RATE_HZ), np.float32))  # the pause is not yet seen
        await rig.hearing.settled()
        hold, partial = threading.Event(), rig.reader.partial
        monkeypatch.setattr(rig.reader, "partial", lambda *given: hold.wait(10) and partial(*given))
        await rig.hear("_" if words is None else f"{words} _ _ _ _")
        rig.hearing.close()
        hold.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert raised == []


async def test_words_twice_the_same_are_stable():
    """What only the last decode says may still change."""
    rig = Rig()
    await rig.hear("hello kitsu what do you think")
    partials = rig.told(Partial)
    assert 0 in {partial.stable for partial in partials}
    for partial in partials[1:]:
        assert partial.text[: partial.stable] in {"", *(seen.text for seen in partials)}


# --- what is no line --------------------------------------------------------------------------------


async def test_no_words():
    """Music that passed for a voice ends as nothing."""
    rig = Rig()
    rig.reader.says = ""
    await rig.hear("hello kitsu what _ _ _ _")
    assert rig.codes() == ["no_words"]
    assert rig.told(Partial) == []


async def test_a_hallucination():
    """What the recogniser's own numbers speak against is never shown, and told with its reason."""
    rig = Rig()
    rig.reader.says = "Thanks for watching!"
    rig.reader.sure = type(rig.reader.sure)("", avg_logprob=-0.9, no_speech_prob=0.5)
    await rig.hear("hello kitsu what _ _ _ _")
    (nothing,) = rig.told(NoWords)
    assert (nothing.code, nothing.reason) == ("hallucination", "phrase")
    assert rig.told(Partial) == []


async def test_her_own_words():
    """What the microphone heard of her is neither shown nor a line; the next words of the streamer are."""
    rig = Rig(echo_mode="speakers")
    for _ in range(2):  # loud enough to be let through: as if the speakers had just been turned up
        rig.hearing._echo._levels_db.extend([-60.0] * 200)
        rig.hearing.she(HerVoice(sounding=True, text="Tell me more about the castle!", at_s=rig.now_s()))
        await rig.hear("~ tell me more about the castle")
        rig.hearing.she(HerVoice(sounding=False, at_s=rig.now_s()))
        await rig.hear("_ _ _ _")
    assert rig.codes() == ["echo", "echo"]
    assert rig.told(Partial) == []
    await rig.hear("_ yes go on _ _ _ _")
    assert rig.texts() == ["yes go on"]


async def test_while_she_sounds_the_microphone_is_held():
    """With speakers her voice starts no utterance; with headphones whatever is heard is the streamer's."""
    for mode, heard in (("speakers", []), ("headphones", ["tell me more about the castle"])):
        rig = Rig(echo_mode=mode)
        rig.hearing.she(HerVoice(sounding=True, text="Tell me more about the castle!", at_s=rig.now_s()))
        await rig.hear("tell me more about the castle")
        rig.hearing.she(HerVoice(sounding=False, at_s=rig.now_s()))
        await rig.hear("_ _ _ _")
        assert rig.texts() == heard
        assert bool(rig.told()) == bool(heard)


@pytest.fixture(scope="module")
def her():
    """What she says, and how long that takes."""
    return say(
        "I really love this game, but the dragon is not fun at all. What do you think, chat?", "en-us+f3"
    )


async def echoing(rig, her, echo_db, *others):
    """Play her voice out of speakers from 2 s on, twice, in a room; return when she is silent again."""
    again_s = 2 + her.duration_s + 3
    echo = room(loud(her.samples, echo_db), 0.08)
    sound = scene(again_s + her.duration_s + 3, (echo, 2), (echo, again_s), *others)
    told = []
    for start_s in (2, again_s):
        told.append(HerVoice(sounding=True, text=her.text, at_s=start_s))
        told.append(HerVoice(sounding=False, at_s=start_s + her.duration_s))
    for start in range(0, len(sound), 320):
        while told and told[0].at_s <= start / RATE_HZ:
            rig.hearing.she(told.pop(0))
        rig.hearing.hear(Block(sound[start : start + 320], start / RATE_HZ))
    return again_s


@pytest.mark.parametrize("echo_db", [-50, -35, -20])
async def test_her_real_voice_out_of_the_speakers(her, echo_db):
    """The real voice detector would take it for the streamer's; held, it starts nothing."""
    heard = []
    for mode in ("headphones", "speakers"):
        rig = Rig(vad=open_vad("silero"), echo_mode=mode)
        rig.reader.says = "something else"
        await echoing(rig, her, echo_db)
        heard.append(len(rig.told(UtteranceStarted)))
    assert heard[0] >= 2
    assert heard[1] == 0


@pytest.mark.parametrize("echo_db", [-50, -35])
async def test_the_streamer_barges_in_over_the_speakers(her, echo_db):
    """Whoever is well above her echo is an utterance within half a second, and alone."""
    rig = Rig(vad=open_vad("silero"), echo_mode="speakers")
    rig.reader.says = "hold on that is not what I meant"
    words = say("hold on, that is not what I meant", "en-us+m5")
    begins_s = 2 + her.duration_s + 3 + 1.0
    await echoing(rig, her, echo_db, (loud(words.samples, echo_db + 18), begins_s))
    (began,) = rig.told(UtteranceStarted)
    assert began.start_s == pytest.approx(begins_s, abs=0.3)
    assert began.at_s - begins_s < 0.6
    (final,) = rig.told(Transcript)
    assert final.end_s == pytest.approx(begins_s + words.duration_s, abs=0.6)


@pytest.mark.parametrize(
    "error", [EngineError("broken", "out of memory", fix="Choose a smaller model."), ZeroDivisionError("oh")]
)
async def test_a_recogniser_that_fails(error):
    """The utterance is told as failed with the reason, the light shows it, and the next one is heard."""
    rig = Rig()
    rig.reader.fails = error
    await rig.hear("hello kitsu what _ _ _ _")
    assert rig.codes() == ["failed"]
    assert str(error) in rig.told(NoWords)[0].reason
    assert fix_of(rig)
    rig.reader.fails = None
    await rig.hear("yes go on _ _ _ _")
    assert rig.texts() == ["yes go on"]
    assert rig.hearing.trouble is None


async def test_a_decode_that_is_worth_another_try(monkeypatch):
    """A graphics card that fails is replaced by the processor, and the utterance is not lost."""
    rig = Rig()
    final, tries = rig.reader.final, []

    def failing_once(samples, vocabulary):
        tries.append(1)
        if len(tries) == 1:
            raise EngineError("cuda_fails", "the graphics card failed", retryable=True)
        return final(samples, vocabulary)

    monkeypatch.setattr(rig.reader, "final", failing_once)
    await rig.hear("hello kitsu what _ _ _ _")
    assert rig.texts() == ["hello kitsu what"]


# --- ears off, push to talk -------------------------------------------------------------------------


async def test_ears_off_in_mid_utterance():
    """It is forgotten at once, also what is being decoded; until they are on again nothing is kept."""
    rig = Rig(Paced(partial=0.1, final=2.5))
    await rig.hear("hello kitsu _ _ ~ ~ what do you")  # the first has ended and is being decoded
    assert len(rig.told(UtteranceStarted)) == 2
    rig.hearing.listen(Ears(on=False))
    assert rig.codes() == ["forgotten", "forgotten"]
    told, calls = len(rig.told()), len(rig.reader.calls)
    await rig.hear("think yes go on _ _ _ tell me more _ _ _")
    assert len(rig.told()) == told
    assert len(rig.reader.calls) <= calls + 1  # the one that ran
    assert not rig.hearing._kept._frames
    rig.hearing.listen(Ears(on=True))
    await rig.hear("yes go on _ _ _ _")
    await asyncio.sleep(5)
    assert rig.texts() == ["yes go on"]


async def test_push_to_talk():
    """Only what is said while the key is held counts, with pauses of any length, up to the key's release."""
    rig = Rig(asr_mode="push")
    await rig.hear("tell me more _ _ _ hello")
    assert rig.told() == []
    rig.hearing.listen(Ears(on=True, push_to_talk=True, talking=True))
    await rig.hear("kitsu what _ _ _ _ _ _ do you think")
    assert rig.texts() == []
    rig.hearing.listen(Ears(on=True, push_to_talk=True))
    released_s = rig.now_s()
    await rig.hear("_ _ _ yes go on _ _ _ _")
    (final,) = rig.told(Transcript)
    assert final.text == "kitsu what do you think"
    assert final.at_s - released_s < 0.35
    assert rig.codes() == []


async def test_a_key_pressed_for_nothing():
    """Silence while the key is held is told as such, and a key that is hit decodes nothing."""
    rig = Rig(asr_mode="push")
    for pause in ("_ _ _ _", ""):
        rig.hearing.listen(Ears(on=True, push_to_talk=True, talking=True))
        if pause:
            await rig.hear(pause)
        rig.hearing.listen(Ears(on=True, push_to_talk=True))
        await rig.hear("_ _ _ _")
    assert rig.codes() == ["no_words", "no_words"]
    assert rig.told(Partial) == []


async def test_the_microphone_is_lost_while_the_key_is_held():
    """What was said ends there, and nothing more begins before there is sound again."""
    rig = Rig(asr_mode="push")
    rig.hearing.listen(Ears(on=True, push_to_talk=True, talking=True))
    await rig.hear("hello kitsu")
    for _ in range(5):
        await asyncio.sleep(1)
        rig.hearing.end()
    assert rig.texts() == ["hello kitsu"]
    assert len(rig.told(UtteranceStarted)) == 1
    await rig.hear("what do you")
    rig.hearing.listen(Ears(on=True, push_to_talk=True))
    await rig.hear("_ _ _")
    assert rig.texts() == ["hello kitsu", "what do you"]
    assert rig.codes() == []


async def test_a_key_held_where_there_is_no_microphone():
    """Nothing was said, told once, and it does not end before it began."""
    rig = Rig(asr_mode="push")
    await asyncio.sleep(10)
    rig.hearing.listen(Ears(on=True, push_to_talk=True, talking=True))
    for _ in range(3):
        await asyncio.sleep(1)
        rig.hearing.end()
    (nothing,) = rig.told(NoWords)
    assert nothing.start_s <= nothing.end_s <= nothing.at_s


async def test_ears_off_while_the_key_is_held():
    """Off is stronger; when they are on again the key is still held."""
    rig = Rig(asr_mode="push")
    talking = Ears(on=True, push_to_talk=True, talking=True)
    rig.hearing.listen(talking)
    await rig.hear("hello kitsu")
    rig.hearing.listen(Ears(on=False, push_to_talk=True, talking=True))
    await rig.hear("what do you think")
    rig.hearing.listen(talking)
    await rig.hear("yes go on")
    rig.hearing.listen(Ears(on=True, push_to_talk=True))
    await rig.hear("_ _ _")
    assert rig.codes() == ["forgotten"]
    assert rig.texts() == ["yes go on"]


# --- the sound itself -------------------------------------------------------------------------------


async def test_blocks_of_any_length():
    """What is heard does not depend on how the sound card cuts it."""
    rig = Rig()
    sound, start = spoken("hello kitsu what do you think _ _ _"), 0
    for length in itertools.cycle((1, 100, 1600, 441, 4000)):
        rig.hearing.hear(Block(sound[start : start + length], start / RATE_HZ))
        start += length
        if start >= len(sound):
            break
    (final,) = rig.told(Transcript)
    assert final.text == "hello kitsu what do you think"
    assert final.words[3].start_s == pytest.approx(3 * WORD_S, abs=0.002)


async def test_a_short_gap():
    """Times stay right across sound that was lost, and the voice detector begins anew."""
    rig = Rig()
    at_s = await rig.hear("hello kitsu")
    resets = rig.vad.resets
    missing_s = 0.4
    await rig.hear("what do _ _ _ _", at_s + 2 * WORD_S + missing_s)
    (final,) = rig.told(Transcript)
    assert final.text == "hello kitsu what do"
    assert final.words[2].start_s == pytest.approx(at_s + 2 * WORD_S + missing_s, abs=FRAME_S)
    assert rig.vad.resets == resets + 1


@pytest.mark.parametrize("jump_s", [30.0, -20.0])
async def test_a_long_gap(jump_s):
    """What was said before it ends there; what is said after it is an utterance of its own."""
    rig = Rig()
    await asyncio.sleep(100)
    at_s = await rig.hear("hello kitsu what")
    await rig.hear("do you think _ _ _ _", at_s + jump_s)
    assert rig.texts() == ["hello kitsu what", "do you think"]
    first, second = rig.told(Transcript)
    assert first.end_s == pytest.approx(at_s + 3 * WORD_S, abs=0.01)
    assert second.start_s == pytest.approx(at_s + jump_s, abs=0.01)


async def test_a_clock_that_runs_away():
    """A sound card a little slower than the computer makes no gap in hours, and times stay right."""
    rig = Rig()
    sound = spoken("hello kitsu what _ _ _ _ _ _ _")
    for number in range(100):
        rig.hearing.hear(Block(sound, number * 10 * WORD_S * 1.005))
    assert rig.vad.resets == 0
    starts = [final.words[0].start_s for final in rig.told(Transcript)]
    assert starts == pytest.approx([number * 10 * WORD_S * 1.005 for number in range(100)], abs=0.05)


async def test_the_end_of_a_recording():
    """What is being said when it ends is told without waiting, in the time of the recording."""
    rig = Rig()
    at_s = await rig.hear("_ hello kitsu")
    rig.hearing.end()
    (final,) = rig.told(Transcript)
    assert final.text == "hello kitsu"
    assert final.ended_s <= at_s + 3 * WORD_S + 0.01
    await rig.hearing.settled()


async def test_very_long_speech():
    """It is cut into several utterances, and not a word is lost or told twice."""
    rig = Rig()
    words = WORDS[:13] * 14
    text = " ".join(" ".join(words[start : start + 8]) + " ~" for start in range(0, len(words), 8))
    await rig.hear(f"{text} _ _ _ _")
    assert len(rig.texts()) >= 2
    assert " ".join(rig.texts()).split() == words
    assert max(length_s for _, length_s in rig.reader.calls) <= 30


async def test_hours_of_silence_fill_no_memory():
    """Only what the next utterance may need is kept."""
    rig = Rig()
    silence = np.zeros(10 * RATE_HZ, np.float32)
    for number in range(360):
        rig.hearing.hear(Block(silence, number * 10.0))
    assert len(rig.hearing._kept._frames) < 2 / FRAME_S


async def test_the_level_five_times_a_second():
    """For the meter, whether or not anybody listens; and who speaks."""
    rig = Rig()
    await rig.hear("_ _ _ _ _ hello kitsu what do you")
    levels = rig.told(Level)
    assert len(levels) == pytest.approx(10 * WORD_S * 5, abs=1)
    assert [level.voiced for level in (levels[0], levels[-1])] == [False, True]
    assert levels[0].rms_db <= -100
    assert levels[-1].rms_db == pytest.approx(-10, abs=3)
    rig.hearing.listen(Ears(on=False))
    await rig.hear("hello kitsu what")
    assert len(rig.told(Level)) > len(levels)


async def test_the_streamers_own_words():
    """Names from the settings and from the show are what the recogniser is helped with."""
    rig = Rig(asr_hotwords="Mika, castle ,,")
    rig.hearing.expect(("Kitsu", "castle"))
    await rig.hear("hello kitsu")
    assert rig.reader.vocabulary == ("Mika", "castle", "Kitsu")
