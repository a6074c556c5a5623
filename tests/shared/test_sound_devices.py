import asyncio
import sys

import pytest

from apps.shared.errors import MissingError
from apps.shared.sound_devices import WATCH_S, Pulse, choose, conversion, listed, names, portaudio, refresh
from tests.fakes.sound_card import Card, Device, PortAudioError, Wasapi

WINDOWS = (
    Device("Microphone (Yeti Stereo Microp", "MME", 0, 2),
    Device("Speakers", "MME", 2),
    Device("Microphone (Yeti Stereo Microphone)", "Windows DirectSound", 0, 2),
    Device("Speakers", "Windows DirectSound", 2),
    Device("Microphone (Yeti Stereo Microphone)", "Windows WASAPI", 0, 2),
    Device("Speakers", "Windows WASAPI", 2),
    Device("Webcam", "Windows WASAPI", 0, 1),
)


def test_what_is_listed():
    """Every device with its channels and its own rate, and what it is the default for."""
    usb = Device("USB Audio (hw:1,0)", "ALSA", 2, 1, 48_000)
    speakers, both = listed(Card([Device("Speakers", "OSS", 2), usb]))
    assert (speakers.name, speakers.host_api, speakers.outputs, speakers.inputs) == ("Speakers", "OSS", 2, 0)
    assert [set(one.default_for) for one in (speakers, both)] == [{"output"}, {"input"}]
    assert (both.index, both.host_api, both.outputs, both.inputs, both.rate_hz) == (1, "ALSA", 2, 1, 48_000)


def test_names():
    """Each once, and of the wanted kind alone."""
    devices = listed(Card(WINDOWS))
    assert names(devices, "output") == ["Speakers"]
    assert len(names(devices, "input")) == 3


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("", 0),
        ("microphone", 0),
        ("Microphone (Yeti Stereo Microphone)", 2),
        ("yeti wasapi", 4),
        ("webcam", 6),
        ("Microphone (3- Yeti", 0),
    ],
)
def test_a_microphone_that_windows_lists_more_than_once(name, index):
    """Part of a name is enough: the default device's host API, else the first one that has it."""
    assert choose(Card(WINDOWS), "input", name).index == index


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("USB Audio (hw:2,0)", "USB Audio (hw:3,0)"),
        ("Microphone (2- USB Audio)", "Microphone (3- USB Audio)"),
        ("Microphone (2- USB Audio)", "Microphone (USB Audio)"),
        ("Microphone (USB Audio)", "Microphone (4- USB Audio)"),
    ],
)
def test_a_device_in_another_socket(before, after):
    """What the system writes into a name to tell where the device is plugged in does not count."""
    card = Card([Device("HDMI (hw:0,0)", "ALSA", 0, 1), Device(after, "ALSA", 0, 1)])
    assert choose(card, "input", before).name == after


def test_two_alike():
    """The one that has the very name is taken, even when the other would do in its absence."""
    card = Card([Device(f"USB Audio (hw:{number},0)", "ALSA", 0, 1) for number in (1, 2)])
    assert choose(card, "input", "USB Audio (hw:2,0)").index == 1
    with pytest.raises(ValueError, match="Multiple input"):
        choose(card, "input", "USB Audio")


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("input", "nowhere", "No input device"),
        ("input", "speakers", "No input device"),
        ("output", "yeti", "No output device"),
        ("input", "5", "No input device"),
    ],
)
def test_no_such_device(kind, name, reason):
    """A name that nothing of this kind has is refused; a number is a name as well."""
    with pytest.raises(ValueError, match=reason):
        choose(Card(WINDOWS), kind, name)


def test_no_device_at_all():
    """Without devices there is no default one."""
    with pytest.raises(PortAudioError):
        choose(Card([]), "input", "")
    assert listed(Card([])) == ()


def test_conversion():
    """WASAPI is told to convert, and the others are not."""
    extra = [conversion(Card(WINDOWS), device) for device in listed(Card(WINDOWS))]
    assert extra == [None] * 4 + [Wasapi(auto_convert=True)] * 3


def test_a_list_that_is_read_again():
    """A refresh shows what was plugged in since, also after one that failed half-way."""
    card = Card()
    card.plug(Device("Yeti", "ALSA", 0, 1))
    card.broken = 1
    with pytest.raises(PortAudioError, match="initializing"):
        refresh(card)
    refresh(card)
    assert choose(card, "input", "yeti").index == 0


@pytest.mark.parametrize("setting", ["TTS_OUTPUT", "ASR_INPUT"])
def test_without_portaudio(monkeypatch, tmp_path, setting):
    """On Linux the library is the system's: the error names the package, and how to go without."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingError, match="PortAudio library not found") as caught:
        portaudio(setting)
    assert "libportaudio2" in caught.value.fix
    assert f"{setting}=none" in caught.value.fix


# --- whether it lives ---

virtual_time = pytest.mark.looptime


@virtual_time
async def test_the_first_callback():
    """It is waited for, and no longer than that."""
    loop, pulse = asyncio.get_running_loop(), Pulse()
    loop.call_later(3, pulse.beat)
    assert await pulse.begins(within_s=5)
    assert loop.time() == pytest.approx(3)


@virtual_time
@pytest.mark.parametrize(("ends", "after_s"), [(True, 2), (False, 5)])
async def test_a_stream_that_never_begins(ends, after_s):
    """It is given up at its end, or when the time is over."""
    loop, pulse = asyncio.get_running_loop(), Pulse()
    if ends:
        loop.call_later(2, pulse.end)
    assert not await pulse.begins(within_s=5)
    assert loop.time() == pytest.approx(after_s)


@virtual_time
@pytest.mark.parametrize("ends", [True, False])
async def test_a_stream_that_stops(ends):
    """Its end is known at once, and standing still within twice the time between two looks."""
    loop, pulse = asyncio.get_running_loop(), Pulse()
    for number in range(40):
        loop.call_later(number * WATCH_S / 4, pulse.beat)
    if ends:
        loop.call_later(9.8, pulse.end)
    while await pulse.lasts():
        pass
    assert (loop.time() == pytest.approx(9.8)) if ends else (10 < loop.time() <= 10 + 2 * WATCH_S)


def test_the_real_library():
    """Where PortAudio is, its devices are listed, and again after it was started anew."""
    try:
        library = portaudio("ASR_INPUT")
    except MissingError:
        pytest.skip("PortAudio is not installed")
    before = listed(library)
    refresh(library)
    assert {device.name for device in listed(library)} == {device.name for device in before}
    for kind in ("input", "output"):
        for device in before:
            assert (kind in device.default_for) <= bool(device.inputs if kind == "input" else device.outputs)
