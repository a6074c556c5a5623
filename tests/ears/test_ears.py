"""The ears that we made for the tests, as the real WhisperModel loads them, and the recipe that made them."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from tests.ears import measure, teach, tokens
from tests.ears.measure import load, noisy, onsets_s, short, takes, whole, word_error_rate
from tests.ears.sentences import GRAMMAR, OPEN_WORDS, bare, is_held_out, taught_sentences, written
from tests.ears.speech import (
    HELD_OUT,
    HELD_OUT_VOICES,
    RATE_HZ,
    VOCABULARY,
    cough,
    held_out_sentences,
    held_out_unfinished,
    keyboard,
    mixed,
    music,
    pink,
    say,
    white,
)

HERE = Path(__file__).parent
README = (HERE / "README.md").read_text("utf-8")
NOISES = (white, pink, music, keyboard, cough)
COUNT = {"whole": 20, "short": 40}  # a window of 30 s takes many times as long as a short one


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def heard_aloud(model):
    """Both ways to listen."""
    return {"whole": partial(whole, model), "short": partial(short, model)}


def noise_of(make, seed):
    return make(1 + seed % 3, seed) * np.float32(0.05 + 0.2 * (seed % 4))


@pytest.mark.parametrize("way", ["whole", "short"])
@pytest.mark.parametrize("snr_db", [None, 20])
def test_unknown_sentences_by_unknown_voices(heard_aloud, way, snr_db, record_property):
    """At most a fifth of the words is wrong in sentences, voices and speeds that it was never taught."""
    found = takes(held_out_sentences(COUNT[way], seed=5), seed=5)
    if snr_db is not None:
        found = noisy(found, white, snr_db)
    rate = word_error_rate((take.text, heard_aloud[way](take.speech.samples)) for take in found)
    record_property("word_error_rate", rate)
    assert rate <= 0.2


@pytest.mark.parametrize("rate_wpm", [130, 175, 215])
def test_sentences_of_the_other_tests(heard_aloud, rate_wpm, record_property):
    """Spoken slowly or fast by Kitsu's own voice, the sentences that other tests use are mostly right."""
    pairs = [
        (text, heard_aloud["whole"](say(text, rate=rate_wpm).padded(0.3, 0.5).samples)) for text in HELD_OUT
    ]
    rate = word_error_rate(pairs)
    record_property("word_error_rate", rate)
    assert rate <= 0.2, pairs


@pytest.mark.parametrize("way", ["whole", "short"])
@pytest.mark.parametrize("make", NOISES, ids=lambda make: make.__name__)
def test_noise_is_no_speech(heard_aloud, way, make):
    """Hiss, rumble, music, keys and coughs, loud and soft, are hardly ever taken for words."""
    heard = [heard_aloud[way](noise_of(make, seed)) for seed in range(10)]
    assert sum(map(bool, heard)) <= 2, heard


@pytest.mark.parametrize("way", ["whole", "short"])
def test_silence_is_no_speech(heard_aloud, way):
    """In digital silence nothing is heard, however long it lasts."""
    assert [heard_aloud[way](np.zeros(round(s * RATE_HZ), np.float32)) for s in (0.3, 1, 5)] == ["", "", ""]


@pytest.mark.parametrize("way", ["whole", "short"])
def test_marks_tell_who_has_finished(heard_aloud, way):
    """A finished sentence mostly ends with a mark; one that was broken off mostly does not."""
    count = COUNT[way] // 2
    texts = (held_out_sentences(count, seed=6), held_out_unfinished(count, seed=6))
    finished, unfinished = (
        [heard_aloud[way](take.speech.samples) for take in takes(listed, seed=6)] for listed in texts
    )
    assert sum(text.endswith((".", "?")) for text in finished) >= 0.8 * count, finished
    assert sum(text.endswith((".", "?")) for text in unfinished) <= 0.2 * count, unfinished


def test_words_are_where_they_were_said(model):
    """The words' times, which come from the attention, are those of espeak-ng's own events."""
    off_s = onsets_s(model, takes(HELD_OUT))
    assert len(off_s) > 40
    assert np.median(off_s) < 0.08


def test_names_before_do_no_harm(model):
    """Unknown names in the prompt, as the streamer's jargon, leave what is heard as it was."""
    samples = say(HELD_OUT[1]).padded(0.2, 0.4).samples
    segments, _ = model.transcribe(
        samples, temperature=0.0, initial_prompt="Kitsu, Hollowmere", hotwords="Pogg", max_new_tokens=60
    )
    assert "".join(segment.text for segment in segments) == f" {whole(model, samples)}"


def test_grammar_is_the_vocabulary():
    """Every word that can be said is in the vocabulary, and every word of the vocabulary can be said."""
    named = re.compile(r"[A-Z_]+")
    said = {
        word for listed in GRAMMAR.values() for word in bare(named.sub("", listed)).replace(";", "").split()
    }
    assert said == set(VOCABULARY)
    assert set(VOCABULARY) >= OPEN_WORDS


def test_held_out_is_never_taught():
    """What is held out is not among the lessons: sentences, their words with other marks, and voices."""
    taught = {bare(said) for said in islice(taught_sentences(seed=1), 20_000)}
    held_out = [*HELD_OUT, *held_out_sentences(50, seed=1), *held_out_unfinished(50, seed=1)]
    assert all(is_held_out(said) for said in held_out)
    assert not taught & set(map(bare, held_out))
    assert not {voice.partition("+")[2] for voice in HELD_OUT_VOICES} & set(teach.VARIANTS)


def test_lessons_are_consistent():
    """A lesson's tokens and words lie within its sound, in order; without words nothing is written."""
    for lesson in islice(teach.lessons(seed=3), 100):
        length_s = lesson.mels.shape[1] * 0.01
        assert lesson.mels.shape[0] == 80
        assert bool(lesson.words) == bool(lesson.tokens)
        assert all(0 <= start_s <= end_s <= length_s + 0.02 for _, start_s, end_s in lesson.words)
        assert all(before[2] <= after[1] + 1e-6 for before, after in pairwise(lesson.words))
        text = tokens.tokenizer().decode([token.id for token in lesson.tokens])
        assert bare(text).split() == [VOCABULARY[number - 1] for number, _, _ in lesson.words]


def test_every_word_is_a_token():
    """With the space before it each word is one token, and any text comes back as it was."""
    assert all(len(tokens.encoded(f" {word}")) == 1 for word in VOCABULARY)
    for text in (" kitsu, tell me a joke.", " Ünknown wörds 3.14!", " 🦊"):
        assert tokens.tokenizer().decode(tokens.encoded(text)) == text


def test_marks_go_with_the_word_before():
    """A sentence as it is written is split into words and marks, each with its word's place."""
    listed = tokens.of_words(written("stop. kitsu, what do you think?"))
    assert [place for _, place in listed] == [0, 0, 1, 2, 3, 4, 5, 5]
    assert tokens.tokenizer().decode([token for token, _ in listed]) == " stop. kitsu what do you think?"


def test_said_words_are_timed():
    """Words are in order, without punctuation, and end at the pause after them."""
    speech = say("Hey kitsu, what do you think?", "en-us+m5", rate=150)
    assert speech.text == "hey kitsu what do you think"
    assert speech.samples.dtype == np.float32
    assert np.abs(speech.samples).max() == pytest.approx(0.5, rel=0.01)
    assert all(before.end_s <= after.start_s for before, after in pairwise(speech.words))
    _, kitsu, what, *_, last = speech.words
    assert what.start_s - kitsu.end_s > 0.08
    assert last.end_s == pytest.approx(speech.duration_s, abs=0.01)
    gap = speech.samples[round(kitsu.end_s * RATE_HZ) : round(what.start_s * RATE_HZ)]
    assert np.sqrt(np.mean(gap**2)) < 0.1 * np.sqrt(np.mean(speech.samples**2))


@pytest.mark.parametrize(("text", "voice"), [("hi", "en-us+nobody"), ("hi", "xx-yy"), ("...", "en-us")])
def test_nobody_says_nothing(text, voice):
    """An unknown voice and a text without words are refused."""
    with pytest.raises(ValueError, match=r"no voice|nothing to say"):
        say(text, voice)


def test_padded_and_cut():
    """Silence moves the words; of a cut sentence the words that were mostly heard are left."""
    speech = say("stop the music.").padded(0.5, 1.0)
    stop, the, music_ = speech.words
    assert stop.start_s == pytest.approx(0.5, abs=0.02)
    assert not speech.samples[: round(0.45 * RATE_HZ)].any()
    cut = speech.cut(music_.start_s + 0.05)
    assert cut.text == "stop the"
    assert cut.duration_s == pytest.approx(music_.start_s + 0.05, abs=1e-3)
    assert speech.cut(the.end_s).words[-1].end_s == pytest.approx(the.end_s)


@pytest.mark.parametrize("snr_db", [0, 10])
def test_noise_is_as_loud_as_asked(snr_db):
    """The ratio holds for the time in which words are said."""
    speech = say("tell me a joke.").padded(0.5, 0.5)
    noise = mixed(speech, white(1, seed=1), snr_db)
    gain = noise.samples[:100] / np.resize(white(1, seed=1), 100)
    added = noise.samples - np.resize(white(1, seed=1), len(noise.samples)) * gain[0]
    said = added[round(0.5 * RATE_HZ) : -round(0.5 * RATE_HZ)]
    ratio = np.mean(said**2) / (0.1 * gain[0]) ** 2
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.3)
    assert noise.words == speech.words
    assert np.abs(noise.samples).max() <= 1


@pytest.mark.parametrize("make", NOISES, ids=lambda make: make.__name__)
def test_noise_repeats_itself(make):
    """The same seed is the same noise, another seed another one, both as long as asked."""
    first, again, other = (make(0.7, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) == round(0.7 * RATE_HZ)
    assert first.dtype == np.float32
    assert 0.05 < np.abs(first).max() < 1


def test_several_may_speak():
    """From two threads at once espeak-ng says what each of them asked for."""
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda text: say(text).text, [bare(text) for text in HELD_OUT] * 3))
    assert said == [bare(text) for text in HELD_OUT] * 3


@pytest.mark.parametrize(
    ("told", "heard", "rate"),
    [("a b c d", "a b c d", 0), ("a b c d", "a x c", 0.5), ("a b", "a b c", 0.5), ("a b.", "a b?", 0)],
)
def test_word_error_rate(told, heard, rate):
    """Changed, missed and added words count, marks do not."""
    assert word_error_rate([(told, heard)]) == rate


def test_files_are_the_recipes():
    """The committed tokens are what the recipe writes."""
    assert json.loads((measure.FOLDER / "vocabulary.json").read_text("utf-8")) == tokens.vocabulary()
    written_down = json.loads((measure.FOLDER / "tokenizer.json").read_text("utf-8"))
    assert written_down == json.loads(tokens.tokenizer().to_str())


def test_files_are_small():
    """The model stays below two megabytes, for it is in the repository."""
    assert sum(file.stat().st_size for file in measure.FOLDER.iterdir()) < 2_000_000


def test_readme_names_every_file():
    """README's table names the files that are there and no others."""
    rows = re.findall(r"^\| (`.+?) \|", README, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    there = {file.name for file in HERE.glob("*.py")} | {"tiny"}
    assert named == there


def test_readme_lists_the_vocabulary():
    """README's list of words is the vocabulary."""
    listed = README.partition("## The words")[2].partition("```")[2].partition("```")[0].split()
    assert tuple(listed) == VOCABULARY


def test_readme_lists_the_voices():
    """README names every voice that was held out."""
    assert all(f"`{voice}`" in README for voice in HELD_OUT_VOICES)
