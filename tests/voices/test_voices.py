"""The voice that we made for the tests, as the real PiperVoice loads it, and the recipe that made it."""

import json
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession, SessionOptions
from piper import PiperVoice, SynthesisConfig

from tests.voices.describe import card, config
from tests.voices.lessons import lessons
from tests.voices.measure import onsets, speak
from tests.voices.sentences import HELD_OUT, remarks
from tests.voices.sizes import SYMBOLS, TINY
from tests.voices.teach import TEACHERS, Sound, groups, say, symbols

VOICE = Path(__file__).parent / "en_US-aivt-tiny.onnx"
CONFIG = VOICE.with_name(f"{VOICE.name}.json")
CARD = VOICE.with_suffix(".MODEL_CARD")

VOWELS = frozenset("aeiouæɐɑɔəɛɜɪʊʌ")
SIBILANTS = frozenset("sʃ")
PAUSES = frozenset("^,.!?$")

# Measured: 19 and 20 ms, 44 and 49 ms; a frame is 8 ms, and errors add up along the sentence.
MEAN_ERROR_S = 0.025
P90_ERROR_S = 0.06


def load():
    """The voice, on one thread: piper's own sessions would keep every core busy."""
    voice = PiperVoice.load(VOICE)
    options = SessionOptions()
    options.intra_op_num_threads = 1
    voice.session = InferenceSession(VOICE, options, providers=["CPUExecutionProvider"])
    return voice


@pytest.fixture(scope="module")
def voice():
    return load()


def symbol_sounds(sentence):
    """Each of the sentence's symbols with its stretch of sound."""
    ends = np.cumsum([part.num_samples for part in sentence.phoneme_alignments])
    stretches = np.split(sentence.audio_float_array, ends[:-1])
    return [(part.phoneme, sound) for part, sound in zip(sentence.phoneme_alignments, stretches, strict=True)]


def loudness(sounds):
    return float(np.sqrt(np.mean(np.concatenate(sounds) ** 2)))


def brightness_hz(sound, rate_hz):
    """The middle of the spectrum's energy."""
    energy = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    return float(np.sum(np.fft.rfftfreq(len(sound), 1 / rate_hz) * energy) / np.sum(energy))


def pitch_hz(sound, rate_hz):
    """The period at which the sound is most like itself."""
    likeness = np.correlate(sound, sound, "full")[len(sound) - 1 :]
    shortest, longest = rate_hz // 400, rate_hz // 80
    return rate_hz / (shortest + int(np.argmax(likeness[shortest:longest])))


def test_loads_without_the_onnx_package():
    """The alignment output is in the file, so nothing has to be patched, and `onnx` is not imported."""
    program = """if True:
        import sys
        from piper import PiperVoice
        voice = PiperVoice.load(sys.argv[1])
        (sentence,) = voice.synthesize("Hello.", include_alignments=True)
        print(len(sentence.phoneme_alignments), "onnx" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", program, VOICE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["9", "False"]  # ^ h ə l ˈ o ʊ . $


@pytest.mark.parametrize("speaker", range(len(TINY.speakers)))
def test_lengths_add_up(voice, speaker):
    """Whatever is said and however, the lengths of its symbols are the length of the sound, to the sample."""
    manners = (
        SynthesisConfig(speaker_id=speaker, noise_scale=0, noise_w_scale=0),
        SynthesisConfig(speaker_id=speaker),
        SynthesisConfig(speaker_id=speaker, length_scale=0.6, noise_w_scale=1.5),
    )
    texts = [
        *HELD_OUT[::2],
        *islice(remarks(seed=2), 6),
        "Hm",
        "3.14",
        "?!",
        "Well... yes: one; two - (three)",
    ]
    for text in texts:
        for manner in manners:
            for sentence in voice.synthesize(text, manner, include_alignments=True):
                assert sentence.phoneme_id_samples.sum() == len(sentence.audio_float_array)
                assert sentence.phoneme_id_samples.min() >= TINY.frame_samples


@pytest.mark.parametrize("text", HELD_OUT)
def test_symbols_are_the_sentence(voice, text):
    """Every symbol of the sentence has its place in the sound, in order, between beginning and end."""
    told = [symbol for symbol, _ in symbol_sounds(speak(voice, text, 0))]
    assert told == ["^", *symbols(text), "$"]


def test_without_noise_it_repeats_itself(voice):
    """Without noise the same text is the same sound, bit for bit, also from the file loaded once more."""
    first, again, elsewhere = (speak(one, HELD_OUT[0], 0) for one in (voice, voice, load()))
    assert np.array_equal(first.audio_float_array, again.audio_float_array)
    assert np.array_equal(first.audio_float_array, elsewhere.audio_float_array)


@pytest.mark.parametrize("noise", [{"noise_scale": 0.667}, {"noise_w_scale": 0.8}])
def test_both_noises_do_something(voice, noise):
    """Noise of the sound and noise of the lengths each make every take another one."""
    manner = SynthesisConfig(**({"noise_scale": 0, "noise_w_scale": 0} | noise))
    first, second = (next(iter(voice.synthesize(HELD_OUT[3], manner))).audio_float_array for _ in range(2))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("name", TINY.speakers)
def test_lengths_are_the_teachers(voice, name):
    """In sentences it was never taught, sounds begin where espeak-ng's own events say, scaled to its pace."""
    found = [onsets(voice, text, name) for text in HELD_OUT]
    errors_s = np.concatenate([one.errors_s for one in found])
    evenly_s = np.concatenate([np.abs(one.even - one.taught) * one.length_s for one in found])
    assert errors_s.mean() < MEAN_ERROR_S
    assert np.quantile(errors_s, 0.9) < P90_ERROR_S
    assert errors_s.mean() < evenly_s.mean() / 2.5


@pytest.mark.parametrize("name", TINY.speakers)
def test_sound_is_where_the_lengths_say(voice, name):
    """Vowels are loud, pauses quiet, and a hiss is brighter than a vowel: not so with random weights."""
    number = voice.config.speaker_id_map[name]
    parts = [part for text in HELD_OUT for part in symbol_sounds(speak(voice, text, number))]
    kinds = [[sound for symbol, sound in parts if symbol in kind] for kind in (VOWELS, PAUSES, SIBILANTS)]
    vowels, pauses, sibilants = kinds
    assert loudness(vowels) > 10 * loudness(pauses)
    bright = [brightness_hz(sound, TINY.sample_rate_hz) for sound in sibilants]
    dark = [brightness_hz(sound, TINY.sample_rate_hz) for sound in vowels]
    assert np.quantile(bright, 0.25) > 2 * np.quantile(dark, 0.75)


@pytest.mark.parametrize(("name", "note_hz"), [("low", 125), ("high", 250)])
def test_speakers_have_their_note(voice, name, note_hz):
    """Each speaker speaks on one note, so that a change of pitch can be measured."""
    number = voice.config.speaker_id_map[name]
    notes = [
        pitch_hz(sound, TINY.sample_rate_hz)
        for text in HELD_OUT
        for symbol, sound in symbol_sounds(speak(voice, text, number))
        if symbol in VOWELS and len(sound) > 0.05 * TINY.sample_rate_hz
    ]
    assert np.median(notes) == pytest.approx(note_hz, rel=0.02)


def test_files_are_the_recipes():
    """The committed JSON and model card are what the recipe writes, and the model has its dimensions."""
    assert json.loads(CONFIG.read_text("utf-8")) == config(TINY)
    assert CARD.read_text("utf-8") == card(TINY, TINY.steps)
    weights = {one.name: tuple(one.dims) for one in onnx.load(VOICE).graph.initializer}
    assert weights["enc_p.emb.weight.half"] == (SYMBOLS, TINY.hidden)
    assert weights["dec.conv_pre.weight.half"] == (TINY.upsample_initial, TINY.hidden, 7)
    layers = {name.split(".")[3] for name in weights if name.startswith("enc_p.encoder.attn_layers.")}
    assert len(layers) == TINY.layers


def test_files_are_small():
    """The voice stays a few megabytes, for it is in the repository."""
    assert sum(file.stat().st_size for file in (VOICE, CONFIG, CARD)) < 3_500_000


@pytest.mark.parametrize("name", TINY.speakers)
@pytest.mark.parametrize("text", HELD_OUT)
def test_teacher_and_piper_read_alike(name, text):
    """Every symbol of Piper's goes to one sound of the teacher's, and the sounds are in order."""
    speech = say(text, TEACHERS[name])
    shared = groups(symbols(text), speech.sounds)
    assert shared is not None
    assert [symbol for part in shared for symbol in part.symbols] == ["^", *symbols(text), "$"]
    assert all(before.start <= after.start for before, after in pairwise(shared))
    assert len(speech.samples) >= shared[-1].start


def test_another_reading_is_refused():
    """Where the two tell a sentence differently nothing is taught."""
    assert groups(list("kˈæt."), [Sound("k", 0), Sound("ˈɛ", 9), Sound("t", 20), Sound("", 30)]) is None
    assert groups(list("kˈæt."), [Sound("k", 0), Sound("ˈæ", 9), Sound("", 30)]) is None


def test_pauses_and_glides():
    """A pause takes the punctuation there, a glide its own pause; a lone space goes to the sound before."""
    sounds = [
        Sound(ipa, 10 * place) for place, ipa in enumerate(["ð", "ɪ", "", "ˈoʊ", "", "", "n", "oʊ", ""])
    ]
    shared = groups(list("ðɪʲ ˈoʊ, n oʊ."), sounds)
    assert shared is not None
    parts = [("".join(part.symbols), part.start) for part in shared]
    assert parts == [
        ("^", 0),
        ("ð", 0),
        ("ɪ", 10),
        ("ʲ ", 20),
        ("ˈoʊ", 30),
        (", ", 40),
        ("n ", 60),
        ("oʊ", 70),
        (".$", 80),
    ]


def test_lessons_fit_their_sound():
    """Every id of a lesson lasts a frame or more, and all of them together as long as its sound."""
    for lesson in islice(lessons(TINY, seed=3), 30):
        assert len(lesson.ids) == len(lesson.frames)
        assert lesson.frames.min() >= 1
        assert lesson.frames.sum() * TINY.frame_samples == len(lesson.sound)
