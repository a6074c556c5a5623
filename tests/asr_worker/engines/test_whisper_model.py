import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from apps.asr_worker.engines.whisper_model import BEAMS, MOST_TOKENS, PROMPT_TOKENS, Model
from apps.asr_worker.recogniser import Hypothesis
from apps.asr_worker.sound import RATE_HZ
from tests.asr_worker.engines.babbler import babbler

NAMES = ("one", "two")
LONG_NAMES = tuple(f"name{number}" for number in range(100))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return babbler(tmp_path_factory.mktemp("models") / "babbler")


@pytest.fixture(scope="module")
def folder_of_many(tmp_path_factory):
    return babbler(tmp_path_factory.mktemp("models") / "many", languages=("en", "de", "ja"))


def noise(duration_s: float):
    return (np.random.default_rng(1).standard_normal(round(duration_s * RATE_HZ)) * 0.1).astype(np.float32)


class Watched:
    """CTranslate2's model, with a record of what it was asked; it can be told what to answer."""

    def __init__(self, real, tokenizer):
        self._real = real
        self.tokenizer = tokenizer
        self.asked: list[SimpleNamespace] = []
        self.windows: list[int] = []  # frames
        self.lengths: list[int] = []  # of its own answers, in tokens
        self.texts: list[tuple[str, float]] = []  # what to answer, and how surely; then by itself
        self.languages: list[tuple[str, float]] = []

    def __getattr__(self, name):
        return getattr(self._real, name)

    def encode(self, features, **options):
        self.windows.append(features.shape[-1])
        return self._real.encode(features, **options)

    def generate(self, encoded, prompts, **options):
        self.asked.append(SimpleNamespace(prompt=prompts[0], **options))
        if not self.texts:
            results = self._real.generate(encoded, prompts, **options)
            self.lengths.append(len(results[0].sequences_ids[0]))
            return results
        text, avg_logprob = self.texts.pop(0)
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        score = avg_logprob * (len(ids) + 1) / len(ids) if ids else float("nan")
        return [SimpleNamespace(sequences_ids=[ids], scores=[score], no_speech_prob=0.1)]

    def detect_language(self, encoded):
        if not self.languages:
            return self._real.detect_language(encoded)
        language, probability = self.languages.pop(0)
        return [[(f"<|{language}|>", probability)]]


def watched(folder):
    model = Model(folder, "cpu", "int8", 1)
    watch = model._whisper.model = Watched(model._whisper.model, model._whisper.hf_tokenizer)
    return model, watch


def names_in(watch, asked):
    """The text before the transcript."""
    end = asked.prompt.index(watch.tokenizer.token_to_id("<|startoftranscript|>"))
    return watch.tokenizer.decode(asked.prompt[1:end]) if end else ""


@pytest.mark.parametrize(
    ("duration_s", "frames"), [(0.1, 200), (0.95, 200), (2.0, 300), (2.1, 400), (30, 3000)]
)
def test_the_window_of_a_partial_follows_the_sound(folder, duration_s, frames):
    """It is a second or two longer than the sound, never 30 s without need, and never more."""
    model, watch = watched(folder)
    model.partial(noise(duration_s), ())
    assert watch.windows == [frames]


@pytest.mark.parametrize("names", [(), LONG_NAMES])
@pytest.mark.parametrize(("duration_s", "most"), [(1, 18), (3, 34), (30, 224)])
def test_a_loop_ends(folder, duration_s, most, names):
    """A model that goes on for ever is stopped when nobody can have said that much, names or not."""
    model, watch = watched(folder)
    model.partial(noise(duration_s), names)
    assert watch.lengths == [most]
    assert watch.asked[0].max_length <= MOST_TOKENS


def test_a_full_decode_tries_three_times_at_most(folder):
    """A babbler is asked with the names, without them, at random, and then believed as far as it goes."""
    model, watch = watched(folder)
    found = model.final(noise(2), NAMES)
    assert found.text
    assert [(asked.beam_size, names_in(watch, asked)) for asked in watch.asked] == [
        (BEAMS, " one, two."),
        (BEAMS, ""),
        (1, ""),
    ]
    assert watch.asked[2].sampling_temperature > 0
    assert watch.windows == [3000]


@pytest.mark.parametrize("marks", ["...", "♪♪", "!?"])
def test_marks_alone_are_no_text(folder, marks):
    """What Whisper writes over music and noise has no words."""
    model, watch = watched(folder)
    watch.texts = [(marks, -0.2), (marks, -0.2)]
    assert model.partial(noise(1), ()).text == ""
    found = model.final(noise(1), ())
    assert found == Hypothesis("", avg_logprob=found.avg_logprob, no_speech_prob=0.1)


def test_a_good_decode_is_the_only_one(folder):
    """Nothing is decoded twice without need."""
    model, watch = watched(folder)
    watch.texts = [("good words", -0.2)]
    assert model.final(noise(2), NAMES).text == "good words"
    assert len(watch.asked) == 1


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ([("bad", -2.0), ("good", -0.5)], "good"),
        ([("bad", -2.0), ("worse", -3.0), ("good", -0.5)], "good"),
        ([("bad", -1.5), ("worse", -3.0), ("worst", -4.0)], "bad"),
        ([("go " * 50, -0.1), ("bad", -3.0), ("worse", -4.0)], "bad"),
        ([("go " * 50, -0.1), ("", 0.0)], ""),
    ],
)
def test_the_best_of_bad_decodes(folder, answers, text):
    """The first good one is taken, else the most probable that is no loop."""
    model, watch = watched(folder)
    watch.texts = list(answers)
    assert model.final(noise(2), NAMES).text == text
    assert watch.texts == []


@pytest.mark.parametrize("decode", ["partial", "final"])
@pytest.mark.parametrize(
    ("without_names", "text"),
    [("won, too", "one, two"), ("", ""), ("thanks for watching", "thanks for watching")],
)
def test_names_that_may_only_be_repeated_are_heard_again(folder, decode, without_names, text):
    """Over noise Whisper repeats its names: they count if the sound is much the same without them."""
    model, watch = watched(folder)
    watch.texts = [("one, two", -0.1), (without_names, -0.4)]
    assert getattr(model, decode)(noise(2), NAMES).text == text
    assert [names_in(watch, asked) for asked in watch.asked] == [" one, two.", ""]


def test_names_leave_room_for_the_text(folder):
    """More names than fit are cut, and marks of the model's own in them are no names."""
    model, watch = watched(folder)
    model.partial(noise(1), ("<|nospeech|>", *LONG_NAMES))
    prompt = watch.asked[0].prompt
    assert watch.tokenizer.token_to_id("<|nospeech|>") not in prompt
    assert PROMPT_TOKENS / 2 < len(prompt) <= PROMPT_TOKENS + 3


def test_a_model_that_takes_no_names(folder, tmp_path):
    """Its maker says so in its config.json, and it is never reminded of any."""
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    described = json.loads((own / "config.json").read_text("utf-8"))
    (own / "config.json").write_text(json.dumps({**described, "takes_prompts": False}), "utf-8")
    model, watch = watched(own)
    model.partial(noise(1), NAMES)
    model.final(noise(1), NAMES)
    assert {names_in(watch, asked) for asked in watch.asked} == {""}


def language_of(watch, asked):
    return watch.tokenizer.id_to_token(asked.prompt[-3])


def test_the_language_is_found_and_kept(folder_of_many):
    """It is looked for until it is clear, and from then on only in full decodes of a second or more."""
    model, watch = watched(folder_of_many)
    watch.languages = [("ja", 0.4), ("de", 0.9), ("ja", 0.5), ("ja", 0.8)]
    watch.texts = [("words", -0.2)] * 7
    for decode, duration_s in [
        (model.partial, 1),  # ja, but unsure
        (model.partial, 2),  # de
        (model.partial, 3),
        (model.final, 0.5),
        (model.final, 3),  # ja, but unsure
        (model.final, 3),  # ja
        (model.partial, 1),
    ]:
        decode(noise(duration_s), ())
    assert [language_of(watch, asked) for asked in watch.asked] == [
        "<|ja|>",
        "<|de|>",
        "<|de|>",
        "<|de|>",
        "<|de|>",
        "<|ja|>",
        "<|ja|>",
    ]
    assert watch.languages == []


def test_a_language_that_is_set_is_not_looked_for(folder_of_many):
    """Whoever sets ASR_LANGUAGE is believed."""
    model, watch = watched(folder_of_many)
    watch.languages = [("ja", 0.9)]
    watch.texts = [("words", -0.2)] * 2
    model.speak("de")
    model.partial(noise(1), ())
    model.final(noise(3), ())
    assert [language_of(watch, asked) for asked in watch.asked] == ["<|de|>", "<|de|>"]
    assert watch.languages


def test_the_language_is_told_by_the_model_itself(folder_of_many):
    """Without any stand-in a model of several languages finds one of its own."""
    model, watch = watched(folder_of_many)
    assert model.languages == ("de", "en", "ja")
    model.warm_up()
    model.final(noise(2), NAMES)
    assert language_of(watch, watch.asked[-1]) in {"<|de|>", "<|en|>", "<|ja|>"}


def test_a_model_of_one_language(folder):
    """English-only models know English only."""
    assert Model(folder, "cpu", "int8", 1).languages == ("en",)
