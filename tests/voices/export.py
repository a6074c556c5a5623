"""From a trained network to the files of a voice."""

import json
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from piper.patch_voice_with_alignment import add_alignment_output

from tests.voices.sizes import Size

OPSET = 15  # as public voices have
SMALLEST_HALVED = 256  # elements; what is smaller is not worth a node of its own


def graph(network: Any, size: Size) -> onnx.ModelProto:
    """Return the network as an ONNX model with piper's inputs, and the lengths as a second output."""
    network.eval()
    with torch.no_grad():
        network.dec.remove_weight_norm()

    def speak(ids: Any, count: Any, scales: Any, speaker: Any = None) -> Any:
        noise, length, rhythm = scales
        sound, *_ = network.infer(
            ids, count, noise_scale=noise, length_scale=length, noise_scale_w=rhythm, sid=speaker
        )
        return sound.unsqueeze(1)

    network.forward = speak
    ids = torch.arange(50).unsqueeze(0)
    speaker = torch.tensor([0]) if size.speakers else None
    file = BytesIO()
    with warnings.catch_warnings():  # of constants that it makes from sizes, and of its own age
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (ids, torch.tensor([50]), torch.tensor([0.667, 1.0, 0.8]), speaker),
            file,
            opset_version=OPSET,
            input_names=["input", "input_lengths", "scales", "sid"],
            output_names=["output"],
            dynamic_axes={
                "input": {0: "batch_size", 1: "phonemes"},
                "input_lengths": {0: "batch_size"},
                "output": {0: "batch_size", 2: "time"},
            },
            dynamo=False,  # the newer exporter ignores the opset and writes the weights to a second file
        )
    model = onnx.load_from_string(file.getvalue())
    add_alignment_output(model)
    return model


def halve(model: onnx.ModelProto) -> None:
    """Store the weights as 16-bit floats, cast back to 32 bits on loading: half the size."""
    casts = []
    for weights in list(model.graph.initializer):
        values = numpy_helper.to_array(weights)
        if values.dtype != np.float32 or values.size < SMALLEST_HALVED:
            continue
        name = weights.name
        weights.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def shorten(model: onnx.ModelProto) -> None:
    """Give intermediate results short names: the paths that the exporter gives are a tenth of the file."""
    kept = {weights.name for weights in model.graph.initializer}
    kept |= {one.name for one in (*model.graph.input, *model.graph.output)}
    short: dict[str, str] = {}
    for node in model.graph.node:
        node.name = ""
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name and name not in kept:
                    names[place] = short.setdefault(name, str(len(short)))


def save(model: onnx.ModelProto, settings: dict[str, Any], card: str, path: Path) -> None:
    """Write NAME.onnx and, beside it, NAME.onnx.json and NAME.MODEL_CARD."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    path.with_name(f"{path.name}.json").write_text(f"{text}\n", encoding="utf-8", newline="\n")
    path.with_suffix(".MODEL_CARD").write_text(card, encoding="utf-8", newline="\n")
