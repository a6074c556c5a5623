"""The mouth: shapes for sounds, and a timeline that any avatar can follow."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.shared.messages import Viseme
from apps.tts_worker.engines.espeak import Espeak
from apps.tts_worker.visemes import NEUTRAL, SHAPES, SILENT, STOP_S, VISEMES, timeline
from apps.tts_worker.voice import Phoneme

# every letter that espeak-ng's English voices emitted over 60,000 characters of prose
ENGLISH = "abdefhijklmnoprstuvwxzæðŋɐɑɒɔəɚɛɜɡɪɹɾʃʉʊʌʍʒʔθᵻ"


def shapes_of(ipa: str) -> list[str]:
    return [move.viseme for move in timeline([Phoneme(ipa, 0.0)], 0.05)[:-1]]


def test_silence():
    """Without phonemes the mouth rests, from the first sample to the last."""
    assert timeline([], 0.5) == [Viseme(0.0, SILENT, 0.0, ""), Viseme(0.5, SILENT, 0.0, "")]


def test_no_sound_at_all():
    """A sound of no length has one moment, at rest."""
    assert timeline([], 0.0) == [Viseme(0.0, SILENT, 0.0, "")]


def test_a_word():
    """ "pie" closes the lips, opens wide, then narrows, and rests in the pause."""
    moves = timeline([Phoneme("p", 0.01), Phoneme("aɪ", 0.07), Phoneme("", 0.27)], 0.39)
    assert [(round(move.t, 3), move.viseme, move.phoneme) for move in moves] == [
        (0.0, "sil", ""),
        (0.01, "PP", "p"),
        (0.07, "aa", "a"),
        (0.17, "ih", "ɪ"),
        (0.27, "sil", ""),
        (0.39, "sil", ""),
    ]


@pytest.mark.parametrize(
    ("ipa", "expected"),
    [
        ("p", ["PP"]),
        ("b", ["PP"]),
        ("m", ["PP"]),
        ("f", ["FF"]),
        ("v", ["FF"]),
        ("θ", ["TH"]),
        ("ð", ["TH"]),
        ("t", ["DD"]),
        ("ɾ", ["DD"]),
        ("ɡ", ["kk"]),
        ("ŋ", ["kk"]),
        ("ʔ", ["kk"]),
        ("tʃ", ["CH"]),
        ("t͡ʃ", ["CH"]),
        ("dʒ", ["CH"]),
        ("ʃ", ["CH"]),
        ("s", ["SS"]),
        ("l", ["nn"]),
        ("n̩", ["nn"]),
        ("ɹ", ["RR"]),
        ("ɚ", ["RR"]),
        ("ɑː", ["aa"]),
        ("ˈæ", ["aa"]),
        ("ɛ", ["E"]),
        ("ᵻ", ["ih"]),
        ("ɔ", ["oh"]),
        ("uː", ["ou"]),
        ("w", ["ou"]),
        ("eɪ", ["E", "ih"]),
        ("oʊ", ["oh", "ou"]),
        ("ɔɪ", ["oh", "ih"]),
        ("aɪɚ", ["aa", "ih", "RR"]),
        ("ɔːɹ", ["oh", "RR"]),
        ("əl", ["E", "nn"]),
        ("ts", ["DD", "SS"]),
        ("ç", ["CH"]),
        ("ã", ["aa"]),
        ("tʰ", ["DD"]),
        ("a˥˩", ["aa"]),
    ],
)
def test_shape_of_a_sound(ipa, expected):
    """Each sound has the shape the Oculus reference gives it; marks change nothing."""
    assert shapes_of(ipa) == expected


def test_english_is_complete():
    """Every letter that espeak-ng's English uses is in the table."""
    assert set(ENGLISH) <= set(SHAPES)


def test_espeak_sentences_are_known(make_settings, spoken):
    """The shapes of a whole pangram, as espeak-ng speaks it now, are all from the table."""
    text = "The quick brown fox jumps over the lazy dog; she measured a button, boy, near the pure fire."
    found = [phoneme for chunk in spoken(Espeak(make_settings()), text) for phoneme in chunk.phonemes]
    moves = timeline(found, found[-1].start_s + 0.25)
    assert {move.viseme for move in moves} == set(VISEMES)
    assert all(move.phoneme in SHAPES for move in moves if move.phoneme)


@pytest.mark.parametrize("ipa", ["Ж", "ʭ", "本"])
def test_unknown_letter_opens_the_mouth_a_little(ipa):
    """A letter outside the table moves the mouth neutrally."""
    (move, _) = timeline([Phoneme(ipa, 0.0)], 0.1)
    assert (move.viseme, move.weight) == NEUTRAL


@pytest.mark.parametrize("ipa", ["ˈ", "ː", "˥", "?", "5", "\u0303"])
def test_a_mark_alone_moves_nothing(ipa):
    """Something that is no letter leaves the mouth as it is."""
    moves = timeline([Phoneme("a", 0.0), Phoneme(ipa, 0.1)], 0.2)
    assert [move.viseme for move in moves] == ["aa", "sil"]


def test_long_stop_lets_go():
    """A stop closes the mouth for 80 ms at most; the rest of its time is breath."""
    closed, released, _ = timeline([Phoneme("p", 0.0)], 0.2)
    assert (closed.viseme, closed.weight) == ("PP", 1.0)
    assert released.t == STOP_S
    assert released.weight < closed.weight / 2


def test_open_vowels_open_wider():
    """The weight of a vowel grows with its openness: "ah" over "eh" over "ee"."""
    assert SHAPES["ɑ"][1] > SHAPES["ɛ"][1] > SHAPES["i"][1]


def test_shapes_are_visemes():
    """The table knows no shape but the fifteen, with weights an avatar can take."""
    assert len(VISEMES) == 15
    assert {viseme for viseme, _ in SHAPES.values()} == set(VISEMES) - {SILENT}
    assert all(0 < weight <= 1 for _, weight in SHAPES.values())


letters = st.one_of(st.sampled_from([*SHAPES, ""]), st.text(max_size=4))
times_s = st.floats(0, 30, allow_nan=False)


@given(
    st.lists(st.tuples(times_s, letters)).map(lambda pairs: sorted(pairs, key=lambda pair: pair[0])),
    times_s,
)
def test_timeline_is_always_playable(pairs, duration_s):
    """Whatever an engine reports, time rises from 0 to exactly the end, where the mouth rests."""
    moves = timeline([Phoneme(ipa, at_s) for at_s, ipa in pairs], duration_s)
    assert moves[0].t == 0
    assert moves[-1] == Viseme(duration_s, SILENT, 0.0, "")
    assert all(a.t <= b.t for a, b in pairwise(moves))
    assert all(move.viseme in VISEMES and 0 <= move.weight <= 1 for move in moves)
