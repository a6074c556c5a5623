import numpy as np
import pytest

from apps.asr_worker.echo import OPEN_S, REMEMBERED_S, TAIL_S, Echo
from apps.asr_worker.sound import FRAME_S, RATE_HZ
from apps.shared.messages import HerVoice
from tests.asr_worker.room import levels_db, loud, room, scene
from tests.ears.speech import HELD_OUT, say

HERS = "Oh hello there, chat! I really love pineapple on pizza, but my brother can't stand it."


@pytest.fixture(scope="module")
def her():
    """What she says, at full volume."""
    return np.concatenate([say(HERS, "en-us+f3").samples] * 2)


@pytest.fixture(scope="module")
def streamer():
    return say("hold on a second, that is not what I meant at all", "en-us+m5").samples


def levels_of(length_s, *sounds):
    return levels_db(scene(length_s, *sounds))


def held(echo, levels, told):
    """Which frames are held; `told`: what the ears are told, and when."""
    told = sorted(told, key=lambda message: message.at_s)
    flags = []
    for number, level_db in enumerate(levels):
        at_s = number * FRAME_S
        while told and told[0].at_s <= at_s:
            echo.she(told.pop(0))
        flags.append(echo.holds(level_db, at_s))
    return np.array(flags)


def said(start_s, end_s, text=HERS):
    return [HerVoice(sounding=True, text=text, at_s=start_s), HerVoice(sounding=False, at_s=end_s)]


# --- by loudness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [0.01, 0.08, 0.2])
@pytest.mark.parametrize("echo_db", [-50, -35, -20])
def test_her_own_voice_is_held(her, echo_db, delay_s):
    """However loud her echo is and however late it comes, not one frame of it is let through."""
    length_s = len(her) / RATE_HZ
    levels = levels_of(length_s + 2, (room(loud(her, echo_db), delay_s), 0.5))
    flags = held(Echo("speakers"), levels, said(0.5, 0.5 + length_s))
    sounds = slice(round(0.5 / FRAME_S) + 1, round((0.5 + length_s + TAIL_S) / FRAME_S) - 1)
    assert flags[sounds].all()
    assert not flags[: sounds.start - 2].any()
    assert not flags[sounds.stop + 2 :].any()


@pytest.mark.parametrize("echo_db", [-50, -40, -30])
def test_the_streamer_is_heard_over_her(her, streamer, echo_db):
    """Well above her echo a voice comes through within a syllable, and goes on through its own short gaps."""
    length_s, at_s, spoken_s = len(her) / RATE_HZ, 5.0, len(streamer) / RATE_HZ
    levels = levels_of(
        length_s + 2, (room(loud(her, echo_db), 0.08), 0.5), (loud(streamer, echo_db + 18), at_s)
    )
    flags = held(Echo("speakers"), levels, said(0.5, 0.5 + length_s))
    speaks = slice(round((at_s + 0.2) / FRAME_S), round((at_s + spoken_s) / FRAME_S))
    assert flags[speaks].mean() < 0.05
    after = slice(round((at_s + spoken_s + OPEN_S) / FRAME_S) + 2, round((0.5 + length_s) / FRAME_S))
    assert flags[after].all()


def test_a_voice_no_louder_than_her_echo_is_held(her, streamer):
    """What cannot be told from her echo waits until she is silent."""
    length_s = len(her) / RATE_HZ
    levels = levels_of(length_s + 2, (room(loud(her, -30), 0.08), 0.5), (loud(streamer, -26), 5.0))
    flags = held(Echo("speakers"), levels, said(0.5, 0.5 + length_s))
    assert flags[round(0.6 / FRAME_S) : round(length_s / FRAME_S)].all()


def test_before_anything_is_learnt_all_of_it_is_held(her):
    """The first second of her in an unknown room is never let through, be it ever so loud."""
    levels = levels_of(3, (loud(her, -6), 0))
    flags = held(Echo("speakers"), levels, [HerVoice(sounding=True, text=HERS, at_s=0)])
    assert flags[: round(1 / FRAME_S)].all()


def test_what_was_learnt_is_kept_between_her_turns(her, streamer):
    """In her second turn the streamer is heard from her first word on."""
    length_s, again_s = len(her) / RATE_HZ, len(her) / RATE_HZ + 20
    echo, words = room(loud(her, -35), 0.08), loud(streamer, -15)
    levels = levels_of(again_s + 5, (echo, 0), (echo, again_s), (words, again_s + 0.2))
    flags = held(Echo("speakers"), levels, [*said(0, length_s), *said(again_s, again_s + length_s)])
    speaks = slice(round((again_s + 0.4) / FRAME_S), round((again_s + len(streamer) / RATE_HZ) / FRAME_S))
    assert flags[speaks].mean() < 0.05


def test_louder_speakers_are_learnt(her):
    """When they are turned up in mid-sentence, her echo is held again, also when its words are not known."""
    length_s = len(her) / RATE_HZ
    quiet, louder = room(loud(her, -45), 0.08), room(loud(her, -33), 0.08)
    sounds = [(quiet, 0), (louder, length_s), (louder, 2 * length_s), (louder, 3 * length_s)]
    flags = held(Echo("speakers"), levels_of(4 * length_s, *sounds), said(0, 4 * length_s))
    assert not flags[round(length_s / FRAME_S) :].all()
    assert flags[round((4 * length_s - REMEMBERED_S) / FRAME_S) :].all()


@pytest.mark.parametrize("above_db", [18, 24])
def test_who_speaks_over_her_for_long_is_heard_to_the_end(above_db):
    """Twenty seconds of the streamer, while she goes on, are not learnt as her echo."""
    hers = np.concatenate([say(text, "en-us+f3").samples for text in HELD_OUT])[: 28 * RATE_HZ]
    his = np.concatenate([say(text, "en-us+m5").samples for text in HELD_OUT])[: 20 * RATE_HZ]
    his = loud(his, -40 + above_db)
    flags = held(Echo("speakers"), levels_of(30, (room(loud(hers, -40), 0.08), 0.5), (his, 6)), said(0.5, 30))
    voiced = levels_db(his.astype(np.float32)) > -40 + above_db - 15
    first = round(6 / FRAME_S)
    assert flags[first : first + len(voiced)][voiced].mean() < 0.05
    assert flags[round(27 / FRAME_S) :].all()


def test_words_that_were_hers_teach_how_loud_she_is(her):
    """Once an utterance has turned out to be her echo, the same loudness is held."""
    length_s = len(her) / RATE_HZ
    quiet, louder = room(loud(her, -45), 0.08), room(loud(her, -25), 0.08)
    levels = levels_of(2 * length_s, (quiet, 0), (louder, length_s))
    echo = Echo("speakers")
    change, told_s = round(length_s / FRAME_S), length_s + 2
    told = round(told_s / FRAME_S)
    flags = held(echo, levels[:told], said(0, 2 * length_s)[:1])
    assert not flags[change:].all()
    echo.learn(length_s)
    rest = np.array([echo.holds(level, at * FRAME_S) for at, level in enumerate(levels[told:], told)])
    assert rest[round(OPEN_S / FRAME_S) + 1 :].all()


def test_a_click_does_not_open(her):
    """One loud frame, a key or a mouse, is no voice."""
    echo = Echo("speakers")
    levels = np.full(200, -40.0)
    levels[100::20] = -5
    assert held(echo, levels, said(0, 10)).all()


def test_with_headphones_nothing_is_held():
    """Where no echo can be she and the streamer may talk at once."""
    assert not held(Echo("headphones"), np.full(100, -30.0), said(0, 10)).any()


# --- by words ----------------------------------------------------------------------------------------

ONE = "Oh hello there, chat!"
TWO = "I really love pineapple on pizza, but my brother can't stand it."
YES = "Yes."


def spoken(mode="speakers"):
    """She has said three pieces, from 10 to 11, to 14 and to 14.5 s."""
    echo = Echo(mode)
    echo.she(HerVoice(sounding=True, text=ONE, at_s=10))
    echo.she(HerVoice(sounding=True, text=TWO, at_s=11))
    echo.she(HerVoice(sounding=True, text=YES, at_s=14))
    echo.she(HerVoice(sounding=False, at_s=14.5))
    return echo


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("I really love pineapple on pizza.", 11.2),
        ("really love pine apple on pizza but my brother", 11.4),  # as recognisers hear echoes
        ("I really loved pineapple on a pizza, but my brother can stand it", 11.1),
        ("hello there chat I really love", 10.2),  # over the border between two pieces
        ("can't stand it, yes", 13.5),
        ("Yes", 14.1),
        ("yes.", 14.6),  # the room sounds on
        ("my brother can't stand it", 14.7),  # a late sound card
        ("I really love pineapple on pizza but my brother can't stand it", 20),  # the stream, seconds later
        ("PINEAPPLE ON PIZZA!", 12.5),
    ],
)
def test_her_own_words_match(text, at_s):
    """What she says or has just said, however a recogniser spells it, is her echo."""
    assert spoken().matches(text, at_s)


@pytest.mark.parametrize(
    ("text", "at_s"),
    [
        ("yes", 17.5),  # three seconds after she said it: an answer
        ("hello chat", 17),
        ("on pizza", 16),
        ("stand", 13),  # one word of hers is everybody's
        ("no", 14.1),
        ("stop", 12),
        ("you really love pineapple on pizza?", 15.5),
        ("why would you love pineapple on pizza", 15.2),
        ("what do you think about the boss fight", 12),
        ("my brother can stand up", 16),
        ("oh hello there, I was about to say that we should go to the castle next", 11.2),
        ("I really love pineapple on pizza, but my brother can't stand it", 25.5),  # eleven seconds later
        ("hello there chat", 9),  # before she said it
        ("", 12),
        ("...", 12),
    ],
)
def test_other_words_do_not(text, at_s):
    """What she has not said, or what anybody may say, is the streamer's."""
    assert not spoken().matches(text, at_s)


def test_a_partial_is_suspect_from_its_first_word_on():
    """It may yet become more of her words, and would have stopped her by then; later it is not."""
    echo = spoken()
    assert echo.matches("stand", 13, whole=False)
    assert echo.matches("I", 11.2, whole=False)
    assert not echo.matches("stand", 16, whole=False)
    assert not echo.matches("wait", 13, whole=False)


def test_with_headphones_nothing_matches():
    """The streamer may repeat her word by word."""
    assert not spoken("headphones").matches(TWO, 11.2)


def test_only_what_was_said_lately_is_kept():
    """A show of hours fills no memory."""
    echo = Echo("speakers")
    for number in range(10_000):
        echo.she(HerVoice(sounding=True, text=f"piece {number}", at_s=number))
    assert len(echo._said) < 100
    assert echo.matches("piece 9999", 9999.5)
