import pytest
from faster_whisper.utils import _MODELS

from apps.asr_worker.models.names import ADVICE, ALIASES, KNOWN, graphics_mb, known, recommended

GB = 1024**3


def test_the_table_is_that_of_faster_whisper():
    """Every name that faster-whisper knows is known here, with the same repository, and no other."""
    ours = {model.name: model.repository for model in KNOWN}
    assert ours | {alias: ours[name] for alias, name in ALIASES.items()} == _MODELS


@pytest.mark.parametrize("model", KNOWN, ids=lambda model: model.name)
def test_english_is_told_by_the_name(model):
    """Those that end with .en, and all distilled ones, which were taught nothing else."""
    assert (model.languages == "English") == (model.name.endswith(".en") or model.name.startswith("distil"))


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("small.en", "small.en"),
        (" Small.EN ", "small.en"),
        ("turbo", "large-v3-turbo"),
        ("LARGE", "large-v3"),
        ("Systran/faster-whisper-small", "small"),
        ("mobiuslabsgmbh/faster-whisper-large-v3-turbo", "large-v3-turbo"),
    ],
)
def test_ways_to_write_a_name(written, name):
    """In any case, by its short name, or by its repository."""
    found = known(written)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize("written", ["", "smal.en", "models/small.en", "small.en/", "."])
def test_what_is_no_name(written):
    """A folder or a slip of the pen is not taken for a model."""
    assert known(written) is None


@pytest.mark.parametrize(
    ("card_gb", "language", "name"),
    [
        (0, "en", "base.en"),
        (0, "de", "base"),
        (4, "en", "base.en"),
        (5.996, "en", "small.en"),
        (7.996, "en", "small.en"),
        (8, "ja", "small"),
        (16, "en", "small.en"),
        (19, "en", "small.en"),
        (19.99, "en", "distil-large-v3"),
        (24, "en", "distil-large-v3"),
        (24, "de", "large-v3-turbo"),
        (32, "", "large-v3-turbo"),
    ],
)
def test_the_recommendation(card_gb, language, name):
    """By the memory of the card and the language; a driver that keeps a few MiB changes nothing."""
    model, why = recommended(round(card_gb * GB), language)
    assert model.name == name
    assert why


def test_every_recommendation_is_in_the_table():
    """And speaks what it is recommended for."""
    for row in ADVICE:
        english, many = known(row.english), known(row.many)
        assert english is not None
        assert many is not None
        assert (english.languages, many.languages) == ("English", "many")


@pytest.mark.parametrize(
    ("size_mb", "compute_type", "measured_mb"), [(3090, "float16", 4525), (3090, "int8_float16", 2926)]
)
def test_graphics_memory_is_that_of_the_published_measurement(size_mb, compute_type, measured_mb):
    """Within five per cent for the one model of which it is published."""
    assert graphics_mb(size_mb, compute_type) == pytest.approx(measured_mb, rel=0.05)
