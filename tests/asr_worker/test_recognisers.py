import sys
import types

import pytest

from apps.asr_worker import recognisers
from apps.asr_worker.engines.scripted import Scripted
from apps.shared.errors import MissingError, SettingsError
from apps.shared.settings import PROJECT_DIR, Settings

TINY = str(PROJECT_DIR / "tests" / "ears" / "tiny")


@pytest.fixture
def make_settings(tmp_path):
    """Settings that neither `.env` nor another test's files reach."""

    def make(**values) -> Settings:
        return Settings(**{"_env_file": None, "aivt_data_dir": tmp_path, "asr_device": "cpu", **values})

    return make


@pytest.mark.parametrize(
    ("values", "engine"),
    [
        ({}, "whisper"),
        ({"asr_engine": "whisper"}, "whisper"),
        ({"asr_engine": "scripted"}, "scripted"),
        ({"asr_engine": "my.own:Ears"}, "my.own:Ears"),
        ({"use_stub_asr": True}, "scripted"),
        ({"use_stub_asr": True, "asr_engine": "whisper"}, "scripted"),
    ],
)
def test_which_recogniser_is_wanted(make_settings, values, engine):
    """The stub switch comes first, then the engine named; `auto` is Whisper."""
    assert recognisers.wanted(make_settings(**values)) == engine


@pytest.mark.parametrize(
    ("values", "engine"),
    [
        ({"asr_model": TINY}, "whisper"),
        ({"asr_engine": "scripted"}, "scripted"),
        ({"asr_engine": "whisper", "asr_model": TINY, "use_stub_asr": True}, "scripted"),
    ],
)
def test_loading_the_wanted_recogniser(make_settings, values, engine):
    """The recogniser that the settings want is the one that is loaded."""
    recogniser = recognisers.load(make_settings(**values))
    assert recogniser.engine == engine
    recogniser.close()


def test_a_recogniser_of_ones_own(make_settings, monkeypatch):
    """Any class that can be imported and fulfils the Protocol will do."""
    module = types.ModuleType("my_ears")
    module.Mine = type("Mine", (Scripted,), {"engine": "mine"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_ears", module)
    assert recognisers.load(make_settings(asr_engine="my_ears:Mine")).engine == "mine"


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ({"asr_engine": "parrot"}, SettingsError, "ASR_ENGINE"),
        ({"asr_engine": "no_such_package.ears:Mine"}, MissingError, "ASR_ENGINE"),
        ({}, MissingError, "aivt setup ears"),
        ({"asr_model": "small.en"}, MissingError, "aivt setup ears"),
        ({"asr_model": TINY, "asr_language": "de"}, SettingsError, "ASR_LANGUAGE"),
    ],
)
def test_what_cannot_be_loaded_names_its_fix(make_settings, values, kind, said):
    """An engine, a model or a language that is not there is one clear error."""
    with pytest.raises(kind) as caught:
        recognisers.load(make_settings(**values))
    assert said in f"{caught.value} {caught.value.fix}"
    assert caught.value.fix
