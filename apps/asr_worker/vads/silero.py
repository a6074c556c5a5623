"""Silero's voice detector: the network of version 6 that lies within faster-whisper's package.

faster-whisper's own class starts from nothing at every call and takes a whole recording; here it listens
frame by frame, with what it remembers handed from call to call. 0.06 ms a frame, on one thread.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from apps.asr_worker.sound import FRAME_SAMPLES, Samples
from apps.shared.errors import AivtError, MissingError

FIX = "Run `python scripts/aivt.py up` again; Windows also needs Microsoft's Visual C++ runtime."

_CONTEXT_SAMPLES = 64  # of the frame before, put in front of every frame
_MEMORY = (1, 1, 128)  # h and c of its LSTM


class Silero:
    """See Vad. Raises MissingError when the network or the library that runs it is not there."""

    name = "silero"

    def __init__(self) -> None:
        self.trouble: AivtError | None = None
        self._session = _session(_network())
        self._input: Samples
        self._h: Samples
        self._c: Samples
        self.reset()

    def probability(self, frame: Samples) -> float:
        """See Vad. It is sure of a voice 40 to 120 ms after it began, and lets go 30 to 150 ms after its end,
        in hiss up to 270 ms.
        """
        self._input[0, :_CONTEXT_SAMPLES] = self._input[0, -_CONTEXT_SAMPLES:]
        self._input[0, _CONTEXT_SAMPLES:] = frame
        given = {"input": self._input, "h": self._h, "c": self._c}
        probabilities, self._h, self._c = self._session.run(None, given)
        return float(probabilities[0])

    def reset(self) -> None:
        """See Vad."""
        self._input = np.zeros((1, _CONTEXT_SAMPLES + FRAME_SAMPLES), np.float32)
        self._h = self._c = np.zeros(_MEMORY, np.float32)


def _network() -> Path:
    """Where the network lies. faster-whisper itself is not imported: that takes half a second."""
    package = find_spec("faster_whisper")
    folders = (package and package.submodule_search_locations) or ()
    found = sorted(network for folder in folders for network in Path(folder).glob("assets/silero_vad*.onnx"))
    if not found:
        raise MissingError("silero_missing", "Silero's network is not in faster-whisper's package", fix=FIX)
    return found[-1]


def _session(network: Path) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 - a fifth of a second, and only this detector needs it
        from onnxruntime.capi import onnxruntime_pybind11_state as raised  # noqa: PLC0415 - likewise
    except (ImportError, OSError, AttributeError) as error:
        raise MissingError("onnxruntime_missing", f"onnxruntime does not load: {error}", fix=FIX) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # it would save nothing at this size
    options.log_severity_level = 3
    # onnxruntime's exceptions have no common base but Exception
    kinds = vars(raised).values()
    failures: tuple[type[Exception], ...] = (RuntimeError, OSError)
    failures += tuple(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
    try:
        session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    except failures as error:
        raise MissingError("silero_unreadable", f"{network.name} does not load: {error}", fix=FIX) from error
    if [given.name for given in session.get_inputs()] != ["input", "h", "c"]:
        raise MissingError("silero_unknown", f"{network.name} is another version than 6", fix=FIX)
    return session
