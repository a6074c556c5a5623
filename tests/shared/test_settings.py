"""Settings: where they come from, and what is said of those that cannot be used."""

from pathlib import Path

import pytest

from apps.shared.errors import SettingsError
from apps.shared.settings import PROJECT_DIR, Settings, misspelled


@pytest.fixture
def env_file(tmp_path, monkeypatch):
    """An empty environment, and the file that stands for the project's .env."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    path = tmp_path / ".env"
    monkeypatch.setitem(Settings.model_config, "env_file", path)
    return path


def test_the_environment_wins_over_the_file(env_file, monkeypatch):
    """A value comes from the environment, else from .env, else from the default."""
    env_file.write_text("AIVT_PERSONA=cozy\nTTS_CUT=sentence\n")
    monkeypatch.setenv("TTS_CUT", "clause")
    settings = Settings.load()
    assert (settings.aivt_persona, settings.tts_cut, settings.aivt_port) == ("cozy", "clause", 8710)


def test_an_empty_value_is_the_default(env_file):
    """`NAME=` in .env means that one has no wish."""
    env_file.write_text("AIVT_PORT=\nTTS_VOLUME=\n")
    assert Settings.load() == Settings(_env_file=None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_file_may_come_from_notepad(env_file, encoding):
    """With the mark that Windows puts before UTF-8, the first line counts like the others."""
    env_file.write_text("AIVT_PERSONA=cozy\n", encoding=encoding)
    assert Settings.load().aivt_persona == "cozy"
    assert misspelled(env_file) == {}


def test_a_file_that_is_not_utf_8_says_so(env_file):
    """What PowerShell's `>` writes is UTF-16; the fix is to save it as UTF-8."""
    env_file.write_text("AIVT_PERSONA=cozy\n", encoding="utf-16")
    with pytest.raises(SettingsError, match="is not UTF-8") as caught:
        Settings.load()
    assert "UTF-8" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIVT_PORT", "http"),
        ("AIVT_PORT", "-1"),
        ("AIVT_PORT", "65536"),
        ("AIVT_LOG_LEVEL", "loud"),
        ("USE_STUB_TTS", "perhaps"),
        ("POLICY_FIRST_TOKEN_S", "0"),
        ("POLICY_FIRST_TOKEN_S", "nan"),
        ("POLICY_STALL_S", "inf"),
        ("OLLAMA_HOST", "ftp://somewhere"),
        ("OLLAMA_HOST", "localhost:99999"),
        ("OLLAMA_HOST", "localhost:port"),
        ("OLLAMA_HOST", "http://[::1"),
        ("OPENAI_BASE_URL", "127.0.0.1:8080"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:99999/v1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:0"),
        ("VOICES_URL", "file:///voices"),
        ("VOICES_URL", "https://"),
        ("TTS_DEVICE", "gpu"),
        ("TTS_OUTPUT", "dir:"),
        ("TTS_VOLUME", "11"),
        ("TTS_CUT", "word"),
        ("TTS_CACHE_MB", "1.5"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(env_file, monkeypatch, name, value):
    """The error names the setting and its value, and where to correct it; exit code 2."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert f"{name}={value!r} cannot be used" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert name in caught.value.fix
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("127.0.0.1:11500", "http://127.0.0.1:11500"),
        (":11500", "http://127.0.0.1:11500"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ("[::]:11434", "http://127.0.0.1:11434"),
        ("[::1]:11434", "http://[::1]:11434"),
        ("gaming-pc", "http://gaming-pc:11434"),
        ("gaming-pc.local:80", "http://gaming-pc.local:80"),
        ("https://models.example", "https://models.example:443"),
        ("https://models.example/ollama/", "https://models.example:443/ollama"),
    ],
)
def test_ollamas_own_variable_is_understood(env_file, monkeypatch, value, url):
    """OLLAMA_HOST is set on many computers already, in every form that Ollama itself takes."""
    monkeypatch.setenv("OLLAMA_HOST", value)
    assert Settings.load().ollama_host == url


@pytest.mark.parametrize(
    ("value", "url"),
    [
        (" http://127.0.0.1:1234/v1/ ", "http://127.0.0.1:1234/v1"),
        ("http://0.0.0.0:8000/v1", "http://127.0.0.1:8000/v1"),
        ("https://models.example/v1", "https://models.example/v1"),
    ],
)
def test_an_address_that_a_server_prints_is_understood(env_file, monkeypatch, value, url):
    """Copied with blanks and a slash, or as where the server listens rather than where it is."""
    monkeypatch.setenv("OPENAI_BASE_URL", value)
    assert Settings.load().openai_base_url == url


def test_a_key_is_never_shown(env_file, monkeypatch):
    """Whoever prints the settings sees that there is one, and no more."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    settings = Settings.load()
    assert settings.openai_api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in f"{settings!r} {settings}"


@pytest.mark.parametrize("name", ["OPENAI_BASE_URL", "OLLAMA_HOST", "VOICES_URL"])
@pytest.mark.parametrize("value", ["ftp://me:hunter2@models.example", "ftp://me:hunt@er2@models.example/v1"])
def test_a_password_in_an_address_is_not_repeated(env_file, monkeypatch, name, value):
    """An error may be read by a whole stream; the rest of the value shows what to correct."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=rf"{name}='ftp://…@models.example\S*' cannot be used") as caught:
        Settings.load()
    assert "hunt" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "folder"),
    [
        ("shows", PROJECT_DIR / "shows"),
        ("~/shows", Path("~/shows").expanduser()),
        (str(PROJECT_DIR / "x"), PROJECT_DIR / "x"),
    ],
)
def test_the_data_folder_does_not_depend_on_where_one_stands(env_file, monkeypatch, value, folder):
    """A relative folder is inside the project's, from whichever folder the command is run."""
    monkeypatch.setenv("AIVT_DATA_DIR", value)
    settings = Settings.load()
    assert settings.aivt_data_dir == folder
    assert settings.logs_dir == folder / "logs"


def test_misspelled_names_are_noticed(env_file):
    """A name in .env that is nearly a setting is probably meant to be one; strangers are left alone."""
    env_file.write_text("AIVT_PROT=1\nTTS_VOLUM=1\nTTS_CUT=clause\nEDITOR=vi\n")
    assert misspelled(env_file) == {"AIVT_PROT": "AIVT_PORT", "TTS_VOLUM": "TTS_VOLUME"}


def test_without_a_file_nothing_is_misspelled(env_file):
    """.env is optional."""
    assert misspelled(env_file) == {}
