"""Reading the recordings of a show whose voice was changed: what is lost, twice, or strange."""

import json
from itertools import pairwise

import numpy as np
import pytest

from apps.shared.messages import PiecePlayed, PieceStarted
from apps.shared.settings import Settings
from scripts.bench import switching
from scripts.bench.replies import tokens
from scripts.bench.switching import SENTENCES, Heard, Switch, recognised

LOW, HIGH = (
    {(index, name): np.arange(10) + 100 * index + start for index in range(len(SENTENCES))}
    for name, start in (("low", 1), ("high", 51))
)
MADE = {key: sound.astype(np.int16) for key, sound in (LOW | HIGH).items()}
ALL = set(range(len(SENTENCES)))


def recording(*said):
    """What was said, with silence before, between and after."""
    silence = np.zeros(7, np.int16)
    return np.concatenate([silence, *(part for one in said for part in (MADE[one], silence))])


def heard(indexes, said, starts=None):
    started_s = {index: float(index) for index in indexes}
    return Heard(started_s, starts or len(started_s), 0.0, said, 0, switched=True)


# --- recordings ---


def test_a_recording_is_read_back_as_who_said_what():
    """In order, whoever spoke; silence is nobody's."""
    said = [(0, "low"), (1, "low"), (2, "high"), (3, "high")]
    assert recognised(recording(*said), MADE) == (said, 0)


def test_a_piece_that_was_said_twice_is_found_twice():
    """By the old voice and again by the new one, as a careless change would do."""
    said, strange = recognised(recording((0, "low"), (0, "high"), (1, "high")), MADE)
    assert said == [(0, "low"), (0, "high"), (1, "high")]
    assert strange == 0


def test_half_a_piece_is_strange():
    """What was begun by one voice and not ended is no piece; all samples from there on are counted."""
    torn = np.concatenate([MADE[0, "low"], MADE[1, "low"][:4], MADE[1, "high"]])
    assert recognised(torn, MADE) == ([(0, "low")], 14)


def test_silence_is_nothing():
    """An empty recording has neither pieces nor strange samples."""
    assert recognised(np.zeros(50, np.int16), MADE) == ([], 0)


# --- what is counted ---


@pytest.mark.parametrize(
    ("turn", "lost", "twice"),
    [
        (heard(ALL, [(index, "low") for index in ALL]), 0, 0),
        (heard(ALL, [(index, "low") for index in ALL if index]), 1, 0),
        (heard(ALL - {2}, [(index, "low") for index in ALL]), 1, 0),
        (heard(ALL, [(0, "high"), *((index, "low") for index in ALL)]), 0, 1),
        (heard(ALL, [(index, "low") for index in ALL], starts=len(ALL) + 1), 0, 1),
    ],
    ids=["whole", "not recorded", "not shown", "recorded twice", "shown twice"],
)
def test_lost_and_twice(turn, lost, twice):
    """The stream and the recording each have a say."""
    assert (turn.lost, turn.twice) == (lost, twice)


def test_silence_is_found_between_pieces_and_within_them():
    """By the output's clock: from a piece's end to the next one's start, and what a piece took too long."""
    started = [PieceStarted(turn_id="t", index=index, at_s=at_s) for index, at_s in ((0, 1.0), (1, 2.5))]
    played = [
        PiecePlayed(turn_id="t", index=0, at_s=2.0, audio_ms=1000.0),
        PiecePlayed(turn_id="t", index=1, at_s=3.5, audio_ms=900.0),
    ]
    assert sorted(switching._silences_ms(started, played)) == pytest.approx([0.0, 100.0, 500.0])


def test_a_switch_is_heard_with_the_first_piece_of_the_new_voice():
    """Counted from asking for it; one that was never heard has no figure."""
    turns = [
        Heard({0: 1.0, 1: 2.0}, 2, 0.0, [(0, "low"), (1, "high")], 0, switched=True),
        Heard({0: 3.0}, 1, 0.0, [(0, "high")], 0, switched=False),
    ]
    asked = [Switch("high", 1.25, 1.5), Switch("low", 3.5, 3.6)]
    assert switching._until_heard_ms(asked, turns) == [750.0]


def test_no_sentence_has_more_tokens_than_its_predecessor_gives_time_for():
    """She speaks 15 characters a second: the slow model keeps up, so that a silence is not its fault."""
    for said, written in pairwise(SENTENCES):
        assert len(tokens(written)) * switching.COSTS.token_s < len(said) / 15 + 0.1


# --- the voices ---


def steady(tmp_path):
    return Settings(_env_file=None, aivt_data_dir=tmp_path / "steady")


def test_one_voice_alone_becomes_two(folder, voice, tmp_path):
    """The second one is slower, so that the two can be told apart; neither varies."""
    settings = Settings(_env_file=None, aivt_data_dir=folder)
    names = switching.prepare(settings, steady(tmp_path))
    assert names == (voice, f"{voice}-slower")
    made = switching.made_by(steady(tmp_path), names, 22_050)
    again = switching.made_by(steady(tmp_path), names, 22_050)
    for index in ALL:
        assert np.array_equal(made[index, voice], again[index, voice])
        assert len(made[index, f"{voice}-slower"]) > 1.1 * len(made[index, voice])


def test_of_several_voices_the_two_largest_are_changed(folder, voice, tmp_path):
    """They take the longest to load. What is installed stays as it is."""
    there = folder / "voices"
    for name in ("a-large", "b-small"):
        (there / f"{name}.onnx").write_bytes(bytes(10_000_000 if name == "a-large" else 10))
        (there / f"{name}.onnx.json").write_text("{}")
    before = (there / f"{voice}.onnx.json").read_text()
    settings = Settings(_env_file=None, aivt_data_dir=folder)
    assert switching.prepare(settings, steady(tmp_path)) == (voice, "a-large")
    copied = json.loads((tmp_path / "steady/voices" / f"{voice}.onnx.json").read_text())
    assert (copied["inference"]["noise_scale"], copied["inference"]["noise_w"]) == (0, 0)
    assert (there / f"{voice}.onnx.json").read_text() == before
