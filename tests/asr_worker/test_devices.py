import argparse
import json
import sys

import pytest

from apps.asr_worker.devices import devices
from apps.shared.errors import MissingError
from apps.shared.settings import Settings
from tests.fakes.sound_card import Card, Device

WINDOWS = (
    Device("Microphone (Yeti)", "MME", 0, 2),
    Device("Speakers", "MME", 2),
    Device("Microphone (Yeti)", "Windows WASAPI", 0, 2),
    Device("CABLE Input", "Windows WASAPI", 2),
)


@pytest.fixture
def card(monkeypatch):
    card = Card(WINDOWS)
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    yield card
    card.close()


@pytest.fixture
def run(monkeypatch, capsys):
    """`aivt devices` with such settings: what it prints."""

    def run(*, as_json: bool = False, **settings) -> str:
        chosen = Settings(_env_file=None, **settings)
        monkeypatch.setattr(Settings, "load", lambda: chosen)
        assert devices(argparse.Namespace(json=as_json, test=False)) == 0
        printed: str = capsys.readouterr().out
        return printed

    return run


def test_the_list(card, run):
    """Both kinds, those in use marked, and how to choose another one."""
    assert run() == (
        "MICROPHONES (ASR_INPUT)\n"
        "*  Microphone (Yeti)  MME             44100 Hz  2 channels  ASR_INPUT, the system's default\n"
        "   Microphone (Yeti)  Windows WASAPI  48000 Hz  2 channels\n"
        "\n"
        "LOUDSPEAKERS (TTS_OUTPUT, TTS_MONITOR)\n"
        "*  Speakers     MME             44100 Hz  2 channels  TTS_OUTPUT, the system's default\n"
        "   CABLE Input  Windows WASAPI  48000 Hz  2 channels\n"
        "\n"
        "* in use. To choose another one, set the name above to part of its name.\n"
    )


def test_json(card, run):
    """Everything that the list shows, for programs."""
    found = json.loads(run(as_json=True, asr_input="yeti wasapi", tts_monitor="cable"))
    assert [one["used_as"] for one in found["inputs"]] == ["", "ASR_INPUT"]
    assert [one["used_as"] for one in found["outputs"]] == ["TTS_OUTPUT", "TTS_MONITOR"]
    assert found["inputs"][1] == {
        "name": "Microphone (Yeti)",
        "host_api": "Windows WASAPI",
        "channels": 2,
        "rate_hz": 48_000,
        "default": False,
        "used_as": "ASR_INPUT",
    }


@pytest.mark.parametrize(("asr_input", "tts_output"), [("none", "none"), ("it.wav", "dir:out")])
def test_settings_that_need_no_device(card, run, asr_input, tts_output):
    """Then none is in use."""
    found = json.loads(run(as_json=True, asr_input=asr_input, tts_output=tts_output))
    assert {one["used_as"] for kind in found.values() for one in kind} == {""}


def test_a_name_that_no_device_has(card, run):
    """It is said, and nothing is marked."""
    printed = run(asr_input="blue snow")
    assert "ASR_INPUT=blue snow names no device, or several." in printed
    assert printed.count("ASR_INPUT") == 2


def test_without_any_device(card, run):
    """The list is empty, and says so."""
    card.devices = ()
    assert run().count("  none") == 2


def test_without_portaudio(monkeypatch, tmp_path, run):
    """The error tells how to get it, and how to go without."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError) as caught:
        run()
    assert "ASR_INPUT=none and TTS_OUTPUT=none" in caught.value.fix
