"""Engines by name or import string."""

from collections import OrderedDict

import pytest

from apps.shared.engines import engine_class
from apps.shared.errors import MissingError, SettingsError

KNOWN = {"tidy": "collections:OrderedDict", "heavy": "a_library_that_is_not_installed.voice:Voice"}


@pytest.mark.parametrize("value", ["tidy", "collections:OrderedDict"])
def test_an_engine_is_chosen_by_name_or_import_string(value):
    """The built-in ones have names; one's own is named by where it lies."""
    assert engine_class("TTS_ENGINE", value, KNOWN) is OrderedDict


@pytest.mark.parametrize(
    "value",
    [
        "",
        "bogus",
        "Tidy",
        ":",
        "collections:",
        ":OrderedDict",
        "collections:Bogus",
        ".relative:Voice",
        "http://localhost:11434",
        r"C:\voices\mine.onnx",
    ],
)
def test_what_is_no_engine_is_a_setting_to_correct(value):
    """The error names the setting and its value; the fix says what to do about the setting."""
    with pytest.raises(SettingsError) as caught:
        engine_class("TTS_ENGINE", value, KNOWN)
    assert caught.value.code == "unknown_engine"
    assert f"TTS_ENGINE={value!r}" in str(caught.value)
    assert "TTS_ENGINE" in caught.value.fix


def test_the_fix_lists_the_engines_there_are():
    """Nobody has to look up the names."""
    with pytest.raises(SettingsError) as caught:
        engine_class("TTS_ENGINE", "bogus", KNOWN)
    assert "auto, tidy, heavy" in caught.value.fix


@pytest.mark.parametrize("value", ["heavy", "not_installed_either:Voice"])
def test_a_missing_library_is_named(value):
    """An engine whose library is not there says which, and leaves the choice of another."""
    with pytest.raises(MissingError, match="cannot be imported") as caught:
        engine_class("TTS_ENGINE", value, KNOWN)
    assert caught.value.exit_code == 3
    assert "choose another TTS_ENGINE" in caught.value.fix
