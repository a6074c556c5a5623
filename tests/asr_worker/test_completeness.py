"""How a text ends."""

import pytest

from apps.asr_worker.completeness import completeness
from tests.ears.sentences import bare, held_out_sentences, held_out_unfinished


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What do you think about the boss?", "finished"),
        ("I think we should go left.", "finished"),
        ("Stop!", "finished"),
        ("No.", "finished"),
        ("Kitsu?", "finished"),
        ("She said “stop.”", "finished"),
        ("And?", "finished"),
        ("Yes I do.", "finished"),
        ("I think so.", "finished"),
        ("yes", "finished"),
        ("Okay", "finished"),
        ("stop", "finished"),
        ("never mind", "finished"),
        ("what do you think about the boss", "open"),
        ("hey kitsu", "open"),
        ("kitsu", "open"),
        ("i think so", "open"),
        ("yes i do", "open"),
        ("come on", "open"),
        ("what are you looking at", "open"),
        ("hey kitsu what are you looking at", "open"),
        ("what was that", "open"),
        ("why not", "open"),
        ("", "open"),
        ("I want to go to.", "open"),
        ("So I think.", "open"),
        ("Kitsu.", "open"),
        ("Wait.", "open"),
        ("and", "unfinished"),
        ("my health is low and", "unfinished"),
        ("MY HEALTH IS LOW BECAUSE", "unfinished"),
        ("i want to go to the", "unfinished"),
        ("I want to go to the.", "unfinished"),
        ("the boss was like", "unfinished"),
        ("what is", "unfinished"),
        ("where is", "unfinished"),
        ("i", "unfinished"),
        ("so", "unfinished"),
        ("my health is low so i think", "unfinished"),
        ("um i think", "unfinished"),
        ("okay i want", "unfinished"),
        ("that was really", "unfinished"),
        ("um", "unfinished"),
        ("Uh.", "unfinished"),
        ("so we go left, um", "unfinished"),
        ("I’m", "unfinished"),
        ("well", "unfinished"),
        ("hey kitsu,", "unfinished"),
        ("I mean...", "unfinished"),
        ("I mean…", "unfinished"),
        ("I wan-", "unfinished"),
        ("listen —", "unfinished"),
        ("I met Dr.", "unfinished"),
    ],
)
def test_how_an_english_text_ends(text, expected):
    """By its last words and its punctuation, of which the words know better."""
    assert completeness(text) == expected


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("これは何ですか？", "ja", "finished"),
        ("そうです。", "ja", "finished"),
        ("そうですが、", "ja", "unfinished"),
        ("你好。", "zh", "finished"),
        ("你好，", "zh", "unfinished"),
        ("wo warst du an", "de", "open"),
        ("Was will er so.", "de", "finished"),
        ("und dann…", "de-DE", "unfinished"),
        ("¿Qué es esto?", "es", "finished"),
        ("and then the", "en-GB", "unfinished"),
        ("and then the", "", "unfinished"),
    ],
)
def test_other_languages_go_by_their_punctuation(text, language, expected):
    """English words mean nothing in them; an unknown language is read as English."""
    assert completeness(text, language) == expected


def test_sentences_without_punctuation():
    """None that is whole is taken for unfinished, and nine of ten unfinished ones are found out."""
    whole = [completeness(bare(text)) for text in held_out_sentences(200, seed=1)]
    broken = [completeness(bare(text)) for text in held_out_unfinished(200, seed=1)]
    assert whole.count("unfinished") == 0
    assert broken.count("unfinished") >= 180
    assert broken.count("finished") == 0
