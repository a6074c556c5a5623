"""Voices and sound cards to test with; the Piper voice is real to its libraries, but its sound is noise."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from apps.shared.settings import Settings
from apps.tts_worker.voice import Chunk, Voice
from tests.fakes.sound_card import Card
from tests.tts_worker.player import Player

FRAMES_PER_ID = 4
HOP_LENGTH = 256
SAMPLES_PER_ID = FRAMES_PER_ID * HOP_LENGTH


@pytest.fixture
def make_settings(tmp_path):
    """Settings that neither `.env` nor another test's files reach."""

    def make(**values) -> Settings:
        return Settings(**{"_env_file": None, "aivt_data_dir": tmp_path, **values})

    return make


@pytest.fixture
def spoken():
    """What a voice gives for a text, to its end."""

    def speak(voice: Voice, text: str) -> list[Chunk]:
        chunks: list[Chunk] = []

        def give(chunk: Chunk) -> bool:
            chunks.append(chunk)
            return True

        voice.synthesize(text, give)
        return chunks

    return speak


@pytest.fixture
async def player():
    """Make players, and stop them at the end; the argument makes the output."""
    async with contextlib.AsyncExitStack() as stack:

        def make(output):
            player = Player(output)
            stack.push_async_callback(asyncio.wait, {player.task})
            stack.callback(player.task.cancel)
            return player

        yield make


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    yield card
    card.close()


@pytest.fixture
def piper_voice(tmp_path):
    """Write a Piper voice into the voices folder and return its .onnx file."""

    def write(name: str = "noise", *, aligned: bool = True, symbols: int = 256) -> Path:
        model: Path = tmp_path / "voices" / f"{name}.onnx"
        model.parent.mkdir(exist_ok=True)
        model.write_bytes(tiny_model(symbols=symbols, aligned=aligned))
        config = {
            "audio": {"sample_rate": 16_000},
            "espeak": {"voice": "en-us"},
            "num_symbols": 256,
            "num_speakers": 1,
            "hop_length": HOP_LENGTH,
            "phoneme_id_map": {symbol: list(ids) for symbol, ids in DEFAULT_PHONEME_ID_MAP.items()},
        }
        model.with_name(f"{model.name}.json").write_text(json.dumps(config), encoding="utf-8")
        return model

    return write


def tiny_model(*, symbols: int, aligned: bool) -> bytes:
    """An ONNX file with Piper's inputs and outputs: each id is SAMPLES_PER_ID samples of its own noise.

    Encoded by hand, field numbers from onnx.proto, since the `onnx` package is no dependency.
    """
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (symbols, SAMPLES_PER_ID)).astype("<f4")
    frames = np.full(symbols, FRAMES_PER_ID - 0.5, "<f4")
    outputs = [_value("output", 1, 3), *([_value("frames", 1, 2)] if aligned else [])]
    graph = b"".join(
        [
            _field(1, _node("Gather", ["noise", "input"], "gathered")),
            _field(1, _node("Reshape", ["gathered", "shape"], "output")),
            _field(1, _node("Gather", ["lengths", "input"], "raw_frames")),
            _field(1, _node("Ceil", ["raw_frames"], "frames")),
            _field(2, b"tiny"),
            _field(5, _tensor("noise", 1, noise)),
            _field(5, _tensor("lengths", 1, frames)),
            _field(5, _tensor("shape", 7, np.array([1, 1, 1, -1], "<i8"))),
            _field(11, _value("input", 7, 2)),
            _field(11, _value("input_lengths", 7, 1)),
            _field(11, _value("scales", 1, 1)),
            *(_field(12, output) for output in outputs),
        ]
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, b"") + _field(2, 15))


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    names = b"".join(_field(1, name.encode()) for name in inputs)
    return names + _field(2, output.encode()) + _field(4, operator.encode())


def _tensor(name: str, element_type: int, values: np.ndarray) -> bytes:
    shape = b"".join(_field(1, size) for size in values.shape)
    return shape + _field(2, element_type) + _field(8, name.encode()) + _field(9, values.tobytes())


def _value(name: str, element_type: int, dimensions: int) -> bytes:
    shape = b"".join(_field(1, _field(2, f"{name}_{i}".encode())) for i in range(dimensions))
    tensor_type = _field(1, element_type) + _field(2, shape)
    return _field(1, name.encode()) + _field(2, _field(1, tensor_type))


def _field(number: int, value: int | bytes) -> bytes:
    """One protobuf field: a whole number as a varint, anything else by its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])
