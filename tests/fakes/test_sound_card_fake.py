import ast
import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.sound_card import STALE, Card, Device, Microphone, PortAudioError, Stream, Wasapi


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Card.query_devices, "query_devices"),
        (Card.query_hostapis, "query_hostapis"),
        (Card._terminate, "_terminate"),
        (Card._initialize, "_initialize"),
        (Wasapi.__init__, "WasapiSettings.__init__"),
        (Stream.__init__, "OutputStream.__init__"),
        (Microphone.__init__, "InputStream.__init__"),
        (Stream.start, "_StreamBase.start"),
        (Stream.close, "_StreamBase.close"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_called_as_the_library_is(ours, theirs):
    """sounddevice takes what the stand-in takes; its source is read, since PortAudio may not be there."""
    taken = {name for name in inspect.signature(ours).parameters if name not in {"self", "card"}}
    assert taken <= library_arguments(theirs)


@pytest.mark.parametrize("attribute", ["latency", "samplerate"])
def test_its_streams_have_what_the_librarys_have(attribute):
    """What is read from a stream is there in the library too."""
    assert library_arguments(f"_StreamBase.{attribute}") == {"self"}


def test_a_device_plugged_in_later():
    """It is not in the list, and has no stream, before PortAudio has started anew."""
    card = Card()
    card.plug(Device("Yeti", "ALSA", 0, 1))
    assert [device["name"] for device in card.query_devices()] == ["Speakers", "Cable"]
    card._terminate()
    with pytest.raises(PortAudioError, match="-10000"):
        card.query_devices()
    card._initialize()
    assert [device["name"] for device in card.query_devices()] == ["Yeti", "Speakers", "Cable"]


def test_sound_that_is_not_copied():
    """The buffer of a callback is PortAudio's: it is overwritten with the next sound."""
    card = Card([Device("Yeti", "ALSA", 0, 1)])
    kept = []
    stream = card.InputStream(
        device=0,
        samplerate=44_100,
        blocksize=0,
        channels=1,
        dtype="float32",
        latency="low",
        callback=lambda sound, *_: kept.append(sound),
    )
    stream.start()
    stream.hear(np.ones(4))
    assert kept[0][:, 0].tolist() == [STALE] * 4
    card.close()


def library_arguments(function: str) -> set[str]:
    spec = importlib.util.find_spec("sounddevice")
    assert spec
    assert spec.origin
    found: ast.AST = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for name in function.split("."):
        (found,) = (node for node in ast.iter_child_nodes(found) if getattr(node, "name", "") == name)
    assert isinstance(found, ast.FunctionDef)
    return {argument.arg for argument in found.args.args}
