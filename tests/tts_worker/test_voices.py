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
def test_the_wanted_voice_without_trouble(make_settings, values, engine):
    """A voice that loads is not explained; that `auto` chose espeak is no trouble either."""
    loaded = voices.load(make_settings(**values), fall_back=True)
    assert (loaded.voice.engine, loaded.trouble) == (engine, None)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"piper_voice": "nowhere"}, "voice_missing"),
        ({"tts_engine": "piper"}, "voice_missing"),
        ({"tts_engine": "no_such_package.voice:Mine"}, "engine_not_importable"),
    ],
)
def test_espeak_stands_in(make_settings, values, code):
    """A voice that cannot be loaded is replaced live, with the reason; alone it is an error with its fix."""
    settings = make_settings(**values)
    loaded = voices.load(settings, fall_back=True)
    assert loaded.voice.engine == "espeak"
    assert loaded.trouble is not None
    assert loaded.trouble.code == code
    assert loaded.trouble.fix
    with pytest.raises(MissingError) as caught:
        voices.load(settings, fall_back=False)
    assert caught.value.code == code


@pytest.mark.parametrize("fall_back", [True, False])
@pytest.mark.parametrize(
    "values",
    [
        {"tts_engine": "robot"},
        {"tts_engine": "apps.tts_worker.engines.tone:Nothing"},
        {"tts_engine": "espeak", "espeak_voice": "en-us+nobody"},
    ],
)
def test_a_wrong_setting_is_never_covered_up(make_settings, values, fall_back):
    """An unknown engine or espeak voice is the streamer's to correct: it names the setting."""
    with pytest.raises(SettingsError, match=r"TTS_ENGINE|ESPEAK_VOICE") as caught:
        voices.load(make_settings(**values), fall_back=fall_back)
    assert caught.value.fix
