"""Personas: presets in TOML files."""

from pathlib import Path

import pytest

from apps.policy import persona
from apps.shared.errors import SettingsError

WHOLE = {
    "name": '"Kitsu"',
    "style": '"grumpy"',
    "system": '"You are Kitsu."',
    "hiccups": '["a", "b", "c", "d", "e"]',
}


def write(folder: Path, **changes: str | None) -> Path:
    """Write grumpy.toml, with some keys changed or (None) left out."""
    rows = [f"{key} = {value}" for key, value in (WHOLE | changes).items() if value is not None]
    path = folder / "grumpy.toml"
    path.write_text("\n".join(rows), "utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(persona, "FOLDER", tmp_path)
    return tmp_path


def test_shipped_names():
    """Three presets are shipped, and files of lines are not taken for presets."""
    assert persona.names() == ["cozy", "hype", "kitsu"]


@pytest.mark.parametrize("name", persona.names())
def test_shipped_presets(name: str):
    """Every preset is Kitsu, with a prompt that a small model can hold and hiccups that can be spoken."""
    preset = persona.load(name)
    assert (preset.id, preset.name) == (name, "Kitsu")
    assert 150 < len(preset.system.split()) < 450
    assert preset.system == preset.system.strip()
    assert preset.system.isascii()
    assert len(set(preset.hiccups)) >= 5
    assert all(hiccup.isascii() and 30 <= len(hiccup) <= 120 for hiccup in preset.hiccups)


@pytest.mark.parametrize("name", persona.names())
def test_prompts_state_the_rules(name: str):
    """Every system text asks for a short spoken answer, owns up to being an AI and turns bad themes away."""
    system = persona.load(name).system
    for rule in ("One to three short", "eight words or fewer", "No emoji", "You are an AI", "No sexual"):
        assert rule in system


def test_case_of_an_id_does_not_matter():
    """`!style Cozy` finds cozy."""
    assert persona.load("CoZy").id == "cozy"


@pytest.mark.parametrize(
    "name", ["", "nobody", "../kitsu", "lines/kitsu", "kitsu.toml", "/etc/passwd", "a\0b"]
)
def test_unknown_id(name: str):
    """An id is looked up among the presets and never becomes a path; the error lists the ids."""
    with pytest.raises(SettingsError) as caught:
        persona.load(name)
    assert caught.value.code == "unknown_persona"
    assert caught.value.fix == "Set AIVT_PERSONA to one of cozy, hype, kitsu."


def test_own_preset(folder: Path):
    """A streamer's own file is found by its name; what it leaves out is as usual; numbers may be whole."""
    write(
        folder,
        sampling="{ temperature = 1 }",
        reply="{ sentences = 2 }",
        voice='{ name = "amber", speed = 1.2, speaker = "low" }',
    )
    preset = persona.load("grumpy")
    assert (preset.id, preset.style) == ("grumpy", "grumpy")
    assert preset.sampling == persona.Sampling(temperature=1.0)
    assert preset.reply == persona.Reply(sentences=2)
    assert preset.voice == persona.Voice(name="amber", speed=1.2, speaker="low")


def test_byte_order_mark(folder: Path):
    """A file saved by Notepad with a byte order mark is read."""
    path = write(folder)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert persona.load("grumpy").name == "Kitsu"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"system": None}, "system"),
        ({"style": "5"}, "style"),
        ({"name": '""'}, "name"),
        ({"sampling": "{ temperature = 3 }"}, "sampling.temperature"),
        ({"sampling": '{ top_p = "high" }'}, "sampling.top_p"),
        ({"sampling": "{ temprature = 1 }"}, "temprature"),
        ({"reply": "{ sentences = 0 }"}, "reply.sentences"),
        ({"voice": "{ speed = 5 }"}, "voice.speed"),
        ({"voice": "{ pitch = -13 }"}, "voice.pitch"),
        ({"voice": "{ volum = 1 }"}, "volum"),
        ({"hiccups": '["only one"]'}, "hiccups"),
        ({"hiccups": "[1, 2, 3, 4, 5]"}, "hiccups"),
        ({"system": '"no end'}, "line 3"),
    ],
)
def test_broken_file(folder: Path, changes: dict[str, str | None], named: str):
    """A preset that cannot be used is reported with its file and what is wrong in it."""
    path = write(folder, **changes)
    with pytest.raises(SettingsError) as caught:
        persona.load("grumpy")
    assert caught.value.code == "broken_persona"
    assert str(path) in str(caught.value)
    assert named in str(caught.value)
    assert "grumpy.toml" in caught.value.fix


def test_file_that_is_not_utf_8(folder: Path):
    """A file in another encoding is reported, not misread."""
    write(folder).write_bytes(b'name = "K\xe9"')
    with pytest.raises(SettingsError, match="utf-8"):
        persona.load("grumpy")
