"""Trying a speech model: loaded as the show loads it, and given a second of silence."""

from importlib import import_module
from pathlib import Path

import numpy as np

from apps.shared.errors import EngineError

FRAMES = 100  # of 10 ms
START = "<|startoftranscript|>"


def try_out(folder: Path, compute_type: str) -> None:
    """Load the model on the processor and decode with it. Takes as long as loading it does.

    Raises EngineError "asr_model_broken".
    """
    faster_whisper, ctranslate2 = import_module("faster_whisper"), import_module("ctranslate2")
    try:
        model = faster_whisper.WhisperModel(
            str(folder), device="cpu", compute_type=compute_type, cpu_threads=1
        )
        features = model.feature_extractor(np.zeros(FRAMES * 160, np.float32))[:, :FRAMES]
        encoded = model.model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(features[None])))
        start = model.hf_tokenizer.token_to_id(START)
        model.model.generate(encoded, [[start]], beam_size=1, max_length=8)
    except Exception as error:  # a broken file makes tokenizers raise Exception itself
        lines = str(error).splitlines() or [type(error).__name__]
        raise EngineError("asr_model_broken", lines[0][:200]) from error
