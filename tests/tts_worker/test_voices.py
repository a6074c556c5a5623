import pytest

from apps.shared.errors import MissingError, SettingsError
from apps.tts_worker import voices


@pytest.mark.parametrize(
    ("values", "voice_there", "engine"),
    [
        ({}, False, "espeak"),
        ({}, True, "piper"),
        ({"piper_voice": "amy"}, False, "piper"),
        ({"tts_engine": "espeak"}, True, "espeak"),
        ({"tts_engine": "piper"}, False, "piper"),
        ({"tts_engine": "my.own:Voice"}, True, "my.own:Voice"),
        ({"use_stub_tts": True, "tts_engine": "espeak"}, True, "tone"),
    ],
)
def test_which_voice_is_wanted(make_settings, piper_voice, values, voice_there, engine):
    """The stub switch comes first, then the engine named; `auto` is Piper when a voice is named or there."""
    if voice_there:
        piper_voice()
    assert voices.wanted(make_settings(**values)) == engine


@pytest.mark.parametrize(
    ("values", "engine"),
    [({"tts_engine": "tone"}, "tone"), ({"tts_engine": "espeak"}, "espeak"), ({}, "espeak")],
)
def test_loading_the_wanted_voice(make_settings, values, engine):
    """The voice that the settings want is the one that is loaded."""
    assert voices.load(make_settings(**values)).engine == engine


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"piper_voice": "nowhere"}, "voice_missing"),
        ({"tts_engine": "piper"}, "voice_missing"),
        ({"tts_engine": "no_such_package.voice:Mine"}, "engine_not_importable"),
    ],
)
def test_a_voice_that_is_not_there(make_settings, values, code):
    """A voice that cannot be loaded is an error with its fix; espeak can stand in for each."""
    settings = make_settings(**values)
    with pytest.raises(MissingError) as caught:
        voices.load(settings)
    assert caught.value.code == code
    assert caught.value.fix
    assert voices.load(voices.standing_in(settings)).engine == "espeak"


@pytest.mark.parametrize(
    "values",
    [
        {"tts_engine": "robot"},
        {"tts_engine": "apps.tts_worker.engines.tone:Nothing"},
        {"tts_engine": "espeak", "espeak_voice": "en-us+nobody"},
    ],
)
def test_a_wrong_setting_names_itself(make_settings, values):
    """An unknown engine or espeak voice is the streamer's to correct."""
    with pytest.raises(SettingsError, match=r"TTS_ENGINE|ESPEAK_VOICE") as caught:
        voices.load(make_settings(**values))
    assert caught.value.fix


def test_what_there_is_to_choose(make_settings, piper_voice):
    """Every whole voice in the folder, and espeak; with the stub switched on nothing but the stub."""
    piper_voice("zoe")
    piper_voice("amy")
    piper_voice("half").with_name("half.onnx.json").unlink()
    assert voices.names(make_settings()) == ("amy", "zoe", "espeak")
    assert voices.names(make_settings(use_stub_tts=True)) == ("tone",)


@pytest.mark.parametrize(("name", "engine"), [("amy", "piper"), ("espeak", "espeak"), ("", "tone")])
def test_choosing(make_settings, piper_voice, name, engine):
    """A name chooses that voice whatever the settings want, "" what they want; it is called what it was."""
    piper_voice("amy")
    voice = voices.load(voices.chosen(make_settings(tts_engine="tone"), name))
    assert voice.engine == engine
    assert voices.name_of(voice) == name or not name


@pytest.mark.parametrize("name", ["bob", "../voices/amy", "amy.onnx", "Amy", "tone", "auto", " "])
def test_choosing_what_is_not_there(make_settings, piper_voice, name):
    """A name that is not on the list is refused, with the list; it is never taken for a path."""
    piper_voice("amy")
    with pytest.raises(SettingsError) as caught:
        voices.chosen(make_settings(), name)
    assert caught.value.code == "unknown_name"
    assert "amy, espeak" in caught.value.fix


def test_the_stub_stays(make_settings, piper_voice):
    """While the stub is switched on no style brings another voice, and the fix names the switch."""
    piper_voice("amy")
    settings = make_settings(use_stub_tts=True)
    with pytest.raises(SettingsError) as caught:
        voices.chosen(settings, "amy")
    assert "USE_STUB_TTS" in caught.value.fix
    assert voices.load(voices.chosen(settings, "tone")).engine == "tone"


def test_a_long_list_is_cut(make_settings, piper_voice):
    """A message names at most twenty voices."""
    for number in range(25):
        piper_voice(f"voice{number:02}")
    with pytest.raises(SettingsError) as caught:
        voices.chosen(make_settings(), "bob")
    assert "voice19" in caught.value.fix
    assert "voice20" not in caught.value.fix
