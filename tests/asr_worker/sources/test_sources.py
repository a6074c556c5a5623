import asyncio

import pytest

from apps.asr_worker.sources import open_source, recording
from apps.asr_worker.sources.microphone import Microphone
from apps.asr_worker.sources.wav import WavSource
from apps.shared.settings import PROJECT_DIR, Settings
from tests.fakes.executor import Inline


def opened(asr_input: str):
    settings = Settings(_env_file=None, asr_input=asr_input)
    return open_source(settings, asyncio.get_running_loop().time, lambda: None, Inline())


@pytest.mark.parametrize(
    ("asr_input", "kind", "name"),
    [
        ("", Microphone, "the default microphone"),
        ("yeti", Microphone, "yeti"),
        ("data", Microphone, "data"),
        ("Line In / Mic", Microphone, "Line In / Mic"),
        ("missing.wav", WavSource, "missing.wav"),
        ("some/where/it.MP3", WavSource, "it.MP3"),
    ],
)
async def test_which_source(asr_input, kind, name):
    """What looks like a sound file is one, also one that is not there; anything else is a device's name."""
    source = opened(asr_input)
    assert type(source) is kind
    assert source.name == name


async def test_no_source():
    """With "none" there is nothing to hear."""
    assert opened("none") is None


def test_where_recordings_lie(tmp_path):
    """A whole path, or one within the project; a file of any name, and a folder only as a path."""
    (tmp_path / "it").write_bytes(b"")
    assert recording(str(tmp_path / "it")) == tmp_path / "it"
    assert recording(str(tmp_path)) == tmp_path
    assert recording("README.md") == PROJECT_DIR / "README.md"
    assert recording("apps") is None
    assert recording("") is None
