"""Which model is used, and what is said where there is none."""

import pytest

from apps.asr_worker.models import shelf
from apps.asr_worker.models.folder import FileMark, Mark
from apps.asr_worker.models.mark import write_mark
from apps.asr_worker.models.names import recommended
from apps.asr_worker.models.shelf import best_of, find, installed
from apps.shared.errors import MissingError, SettingsError

MB = 1_000_000


@pytest.fixture
def refused(make_settings, machine):
    """Look for a model that cannot be had; returns the error."""

    def run(kind=MissingError, **values):
        with pytest.raises(kind) as raised:
            find(make_settings(**values))
        assert "\n" not in str(raised.value)
        assert raised.value.fix
        return raised.value

    return run


@pytest.mark.parametrize("wanted", ["small.en", "Small.en", "Systran/faster-whisper-small.en"])
def test_by_name(make_settings, put, wanted):
    """However it is written, in the folder of the models."""
    folder = put("small.en")
    assert find(make_settings(asr_model=wanted)) == folder


def test_by_a_short_name(make_settings, put):
    """The folder has the full one."""
    folder = put("large-v3-turbo")
    assert find(make_settings(asr_model="turbo")) == folder


def test_an_own_model_by_name(make_settings, put):
    """A folder that was put there by hand under any name."""
    folder = put("my-voice-2026")
    assert find(make_settings(asr_model="my-voice-2026")) == folder


def test_a_local_folder(make_settings, put, tmp_path):
    """With a separator in it, it is a path."""
    folder = put("small.en").rename(tmp_path / "elsewhere")
    assert find(make_settings(asr_model=str(folder))) == folder


def test_a_folder_of_the_project(make_settings, put, monkeypatch, tmp_path):
    """A path that begins nowhere begins in the project, wherever the program was started."""
    folder = put("small.en")
    monkeypatch.setattr(shelf, "PROJECT_DIR", tmp_path / "show")
    assert find(make_settings(asr_model="./hearing/small.en")) == folder
    assert find(make_settings(asr_model="hearing/small.en")) == folder


def test_a_folder_that_is_not_there(refused, tmp_path):
    """Names the folder."""
    error = refused(SettingsError, asr_model=str(tmp_path / "gone"))
    assert str(tmp_path / "gone") in str(error)
    assert "aivt setup ears" in error.fix


@pytest.mark.parametrize("file", ["tokenizer.json", "config.json", "model.bin"])
def test_a_folder_that_lacks_a_file(refused, put, tmp_path, file):
    """Is refused with the file's name, above all a tokenizer.json that would be fetched from the internet."""
    folder = put("small.en", without=(file,)).rename(tmp_path / "elsewhere")
    error = refused(asr_model=str(folder))
    assert error.code == "asr_model_incomplete"
    assert file in str(error)
    assert str(folder) in str(error)
    assert file in error.fix


def test_a_named_model_that_lacks_a_file(refused, put):
    """Is completed by the command that gets models."""
    put("small.en", without=("tokenizer.json",))
    error = refused(asr_model="small.en")
    assert error.code == "asr_model_incomplete"
    assert "aivt setup ears --model small.en" in error.fix


def test_a_known_model_that_is_not_there(refused):
    """Names the command and the size."""
    error = refused(asr_model="medium")
    assert error.code == "asr_model_missing"
    assert "medium" in str(error)
    assert error.fix == "Run: aivt setup ears --model medium (1530 MB)"


@pytest.mark.parametrize(
    ("wanted", "fix"),
    [
        ("smal.en", "Did you mean small.en"),
        ("large-v4", "large-v1"),
        ("parakeet", "aivt setup ears --list"),
    ],
)
def test_an_unknown_name(refused, wanted, fix):
    """Those that resemble it are named, else the list."""
    error = refused(SettingsError, asr_model=wanted)
    assert f"ASR_MODEL={wanted}" in str(error)
    assert fix in error.fix


def test_a_download_that_was_stopped(refused, put):
    """Is gone on with by the same command."""
    folder = put("small.en")
    write_mark(folder, Mark("", "", {}, finished=False))
    error = refused(asr_model="small.en")
    assert error.code == "asr_model_unfinished"
    assert "aivt setup ears --model small.en" in error.fix


def test_a_damaged_model(refused, put):
    """The damaged file is named."""
    folder = put("small.en")
    write_mark(folder, Mark("", "", {"model.bin": FileMark(5, "")}, finished=True))
    error = refused(asr_model="small.en")
    assert error.code == "asr_model_damaged"
    assert "model.bin" in str(error)
    assert "aivt setup ears --model small.en" in error.fix


def test_a_model_that_does_not_know_the_language(refused, put):
    """Would write English words for what is said: it is refused, with the one that knows it."""
    put("small.en")
    error = refused(SettingsError, asr_model="small.en", asr_language="de")
    assert "ASR_LANGUAGE is de" in str(error)
    assert "ASR_MODEL=small," in error.fix


@pytest.mark.parametrize(
    ("wanted", "instead"),
    [
        ("distil-medium.en", "medium"),
        ("distil-large-v3", "large-v3"),
        ("distil-large-v3.5", "large-v3-turbo"),
    ],
)
def test_what_to_take_for_another_language(refused, wanted, instead):
    """The model of the same size that knows many."""
    assert f"ASR_MODEL={instead}," in refused(SettingsError, asr_model=wanted, asr_language="fr").fix


@pytest.mark.parametrize("language", ["en", " EN", "", "auto"])
def test_an_english_model_where_no_language_is_demanded(make_settings, put, language):
    """Is used."""
    folder = put("small.en")
    assert find(make_settings(asr_model="small.en", asr_language=language)) == folder


# --- ASR_MODEL is empty ---


def test_the_recommended_one(make_settings, put, machine, card):
    """By the graphics card of this computer, if it is there."""
    base, small = put("base.en"), put("small.en")
    machine(card(16))
    assert find(make_settings()) == small
    machine(card(4))
    assert find(make_settings()) == base


def test_a_card_that_cannot_be_used_does_not_count(make_settings, put, machine, card):
    """Its memory is of no use to the processor."""
    base, _ = put("base.en"), put("small.en")
    machine(card(16, cuda_types=frozenset()))
    assert find(make_settings()) == base


@pytest.mark.parametrize(
    ("there", "language", "chosen"),
    [
        ({"small.en": 484, "base.en": 145, "large-v3": 3090}, "en", "small.en"),
        ({"tiny.en": 75, "base.en": 145, "large-v3": 3090}, "en", "base.en"),
        ({"medium.en": 1530, "large-v3": 3090}, "en", "medium.en"),
        ({"tiny.en": 75, "mine": 400}, "en", "mine"),
        ({"tiny.en": 75, "mine": 900}, "en", "tiny.en"),
        ({"tiny.en": 75, "small": 487}, "en", "small"),
        ({"mine": 900}, "en", "mine"),
        ({"small": 484, "small.en": 484}, "en", "small.en"),
        ({"small": 484, "base.en": 145}, "en", "small"),
        ({"small.en": 484, "base": 145}, "de", "base"),
        ({"small.en": 484}, "", "small.en"),
        ({"small.en": 484}, "de", None),
        ({}, "en", None),
    ],
    ids=str,
)
def test_another_one_that_is_there(make_settings, put, there, language, chosen):
    """The largest up to the recommended one, else the smallest beyond it; one that knows the language."""
    for name, size_mb in there.items():
        put(name, size_bytes=size_mb * MB)
    settings = make_settings(asr_language=language)
    wanted, _ = recommended(16 * 1024**3, language)
    best = best_of(installed(settings), wanted, language)
    assert (best.name if best else None) == chosen


def test_what_is_not_whole_is_passed_over(make_settings, put, machine):
    """Also the recommended one."""
    machine_default = put("base.en", without=("tokenizer.json",))
    stopped = put("small.en")
    write_mark(stopped, Mark("", "", {}, finished=False))
    tiny = put("tiny.en")
    (machine_default.parent / "notes.txt").write_text("mine")
    assert [each.name for each in installed(make_settings())] == ["tiny.en"]
    assert find(make_settings()) == tiny


def test_none_at_all(refused, make_settings):
    """What she cannot do, the command, and the name and the size of what it gets."""
    assert installed(make_settings()) == []
    error = refused()
    assert error.code == "asr_model_missing"
    assert "she cannot hear" in str(error)
    assert error.fix == "Run: aivt setup ears (it gets base.en, 145 MB, which suits this computer)"


def test_none_for_the_language(refused, put):
    """The language is named, and a model that knows it."""
    put("base.en")
    error = refused(asr_language="ja")
    assert "knows ja" in str(error)
    assert "it gets base, 145 MB" in error.fix
