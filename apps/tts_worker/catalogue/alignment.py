"""Teaching a downloaded voice to tell how long each of its sounds is, once and for good.

Piper's voices know it, but do not give it out. Naming it as an output of the model's graph is all it takes,
so that the live show needs no `onnx`, which costs half a second to import.
"""

from importlib import import_module
from pathlib import Path

from apps.shared.download import told_disk_errors
from apps.shared.errors import EngineError


def add_alignment(source: Path, target: Path) -> bool:
    """Write the model `source` to `target`, with the lengths as its second output.

    Returns False, and writes nothing, for a model whose graph does not show where they are.
    Raises EngineError for a file that is no model, MissingError when `target` cannot be written.
    """
    onnx = import_module("onnx")
    patch = import_module("piper.patch_voice_with_alignment")
    decode_error = import_module("google.protobuf.message").DecodeError
    try:
        model = onnx.load(str(source))
    except (decode_error, ValueError) as error:
        raise EngineError(
            "voice_broken", f"{source.name} is no model: {error}", fix="Choose another voice: aivt voices"
        ) from error
    if len(model.graph.output) < 2:
        try:
            patch.add_alignment_output(model)
        except ValueError:
            return False
    with told_disk_errors(target):
        target.write_bytes(model.SerializeToString())
    return True
