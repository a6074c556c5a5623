"""Voices and sound cards to test with; the Piper voice is real to its libraries, but it only hums."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from piper.phoneme_ids import DEFAULT_PHONEME_ID_MAP

from apps.shared.messages import Delivery
from apps.shared.settings import Settings
from apps.tts_worker.voice import Chunk, Voice
from tests.fakes.sound_card import Card
from tests.tts_worker.player import Player

HOP_LENGTH = 256
LENGTHS = np.random.default_rng(1).uniform(0.5, 5, 1000).astype("<f4")  # of each id, in frames
VARIATION = np.float32(0.618)  # times its place, what is over whole frames: the same id is not always as long
HUM_CYCLES = 3  # per frame: 187.5 Hz


@pytest.fixture
def make_settings(tmp_path):
    """Settings that neither `.env` nor another test's files reach."""

    def make(**values) -> Settings:
        return Settings(**{"_env_file": None, "aivt_data_dir": tmp_path, **values})

    return make


@pytest.fixture
def spoken():
    """What a voice gives for a text, to its end."""

    def speak(voice: Voice, text: str, **delivery) -> list[Chunk]:
        chunks: list[Chunk] = []

        def give(chunk: Chunk) -> bool:
            chunks.append(chunk)
            return True

        voice.synthesize(text, Delivery(**delivery), give)
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

    def write(
        name: str = "noise",
        *,
        aligned: bool = True,
        symbols: int = 256,
        speakers: tuple[str, ...] = (),
        rate_hz: int = 16_000,
        **config,
    ) -> Path:
        model: Path = tmp_path / "voices" / f"{name}.onnx"
        model.parent.mkdir(exist_ok=True)
        model.write_bytes(tiny_model(symbols=symbols, aligned=aligned, speakers=len(speakers) or 1))
        whole = {
            "audio": {"sample_rate": rate_hz},
            "espeak": {"voice": "en-us"},
            "num_symbols": 256,
            "num_speakers": len(speakers) or 1,
            "speaker_id_map": {speaker: number for number, speaker in enumerate(speakers)},
            "hop_length": HOP_LENGTH,
            "phoneme_id_map": {symbol: list(ids) for symbol, ids in DEFAULT_PHONEME_ID_MAP.items()},
            **config,
        }
        model.with_name(f"{model.name}.json").write_text(json.dumps(whole), encoding="utf-8")
        return model

    return write


def tiny_model(*, symbols: int, aligned: bool, speakers: int) -> bytes:
    """An ONNX file with Piper's inputs and outputs: it hums, each speaker a third higher than the one before.

    Like a real voice it rounds the length of each id up to whole frames after the length scale, and adds
    noise by the noise scale.
    """
    random = np.random.default_rng(1)
    turns = np.arange(HOP_LENGTH) / HOP_LENGTH
    hums = [0.5 * np.sin(2 * np.pi * (HUM_CYCLES + speaker) * turns) for speaker in range(speakers)]
    constants = {
        "hums": np.array(hums, "<f4"),
        "hiss": random.uniform(-0.1, 0.1, (symbols, HOP_LENGTH)).astype("<f4"),
        "lengths": LENGTHS[:symbols],
        "first": np.array([0], "<i8"),
        "second": np.array([1], "<i8"),
        "flat": np.array([-1], "<i8"),
        "channels": np.array([1, 1, 1, -1], "<i8"),
        "none": np.array(0, "<i8"),
        "each": np.array(1, "<i8"),
        "variation": np.array(VARIATION, "<f4"),
        "zero": np.array(0, "<f4"),
        "one": np.array(1, "<f4"),
        "speaker": np.array([0], "<i8"),
    }
    if speakers > 1:
        del constants["speaker"]
    speaker = "sid" if speakers > 1 else "speaker"
    nodes = [
        helper.make_node("Gather", ["scales", "second"], ["length_scale"]),
        helper.make_node("Gather", ["lengths", "input"], ["lengths_of_ids"]),
        helper.make_node("Shape", ["input"], ["shape"], start=1),
        helper.make_node("Squeeze", ["shape"], ["count"]),
        helper.make_node("Range", ["none", "count", "each"], ["order"]),
        helper.make_node("Cast", ["order"], ["steps"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["steps", "variation"], ["spread"]),
        helper.make_node("Floor", ["spread"], ["whole"]),
        helper.make_node("Sub", ["spread", "whole"], ["varied"]),
        helper.make_node("Add", ["lengths_of_ids", "varied"], ["unscaled"]),
        helper.make_node("Mul", ["unscaled", "length_scale"], ["scaled"]),
        helper.make_node("Ceil", ["scaled"], ["frames"]),
        helper.make_node("CumSum", ["frames", "second"], ["ends"]),
        helper.make_node("ReduceSum", ["frames"], ["total"], keepdims=0),
        helper.make_node("Range", ["zero", "total", "one"], ["positions"]),
        helper.make_node("Unsqueeze", ["positions", "second"], ["column"]),
        helper.make_node("LessOrEqual", ["ends", "column"], ["over"]),
        helper.make_node("Cast", ["over"], ["counted"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["counted", "second"], ["places"], keepdims=0),
        helper.make_node("Reshape", ["input", "flat"], ["ids"]),
        helper.make_node("Gather", ["ids", "places"], ["ids_of_frames"]),
        helper.make_node("Gather", ["hiss", "ids_of_frames"], ["whole_hiss"]),
        helper.make_node("Gather", ["scales", "first"], ["noise_scale"]),
        helper.make_node("Mul", ["whole_hiss", "noise_scale"], ["scaled_hiss"]),
        helper.make_node("Gather", ["hums", speaker], ["hum"]),
        helper.make_node("Add", ["scaled_hiss", "hum"], ["sound"]),
        helper.make_node("Reshape", ["sound", "channels"], ["output"]),
    ]
    inputs = [
        helper.make_tensor_value_info("input", TensorProto.INT64, ["batch", "ids"]),
        helper.make_tensor_value_info("input_lengths", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("scales", TensorProto.FLOAT, [3]),
        *([helper.make_tensor_value_info("sid", TensorProto.INT64, ["batch"])] if speakers > 1 else []),
    ]
    outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 1, 1, "samples"])]
    if aligned:
        outputs.append(helper.make_tensor_value_info("frames", TensorProto.FLOAT, ["batch", "ids"]))
    tensors = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
