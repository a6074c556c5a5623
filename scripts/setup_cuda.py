"""`aivt setup cuda`: what voices and hearing need to use an NVIDIA card. Done again, it checks and mends."""

import argparse
import ctypes
import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from apps.shared import cuda
from apps.shared.errors import EngineError, MissingError
from scripts import aivt

# Measured for requirements-cuda.lock; hard links let the packages lie on the disk once.
DOWNLOAD_GB = {"win32": 1.6, "linux": 1.8}
DISK_GB = 2.7
SPARE_GB = 1.0  # what a computer needs to go on
FLOAT = 1  # onnx.TensorProto.FLOAT
FAULT_FIX = f"{cuda.DRIVER_FIX} Until then, leave everything on cpu."


def main(options: argparse.Namespace) -> int:
    """Install what is missing, then try it on the card. Raises MissingError, EngineError."""
    if not cuda.supported():
        print("There is no CUDA for this system, and nothing to install: everything runs without it.")
        return 0
    if Path(sys.prefix).resolve() != (aivt.ROOT / ".venv").resolve():
        raise MissingError(
            "not_in_venv", f"this AIVT does not run in {aivt.ROOT / '.venv'}", fix=cuda.SETUP_FIX
        )
    ready = aivt.cuda_is_ready(aivt.ROOT)
    trouble = look_at_card()
    if trouble and not options.force and not ready:
        raise trouble
    if not ready:
        install()
    for use in cuda.supported():
        loaded = cuda.preload(use)
        print(f"{use}: {len(loaded.libraries)} libraries load", *loaded.faults, sep="; ")
    if trouble:
        raise trouble
    for use in cuda.supported():
        cuda.require(use)
        TRIALS[use]()
        print(f"{use}: works on the card")
    print("TTS_DEVICE=cuda in .env lets Piper's voices use it.")
    return 0


def look_at_card() -> MissingError | None:
    """Show the graphics card; return why it cannot be used."""
    try:
        driver = cuda.driver()
        print(", ".join(card.name for card in driver.cards))
        for use in cuda.supported():
            cuda.check(driver, use)
    except MissingError as error:
        return error
    return None


def install() -> None:
    """Download and install, where there is space for it. Raises MissingError."""
    cache = aivt.cuda_cache(aivt.ROOT)
    kept_bytes = sum(aivt.listing(cache).values()) if cache.exists() else 0
    free_gb = (shutil.disk_usage(aivt.ROOT).free + kept_bytes) / 1e9
    if free_gb < DISK_GB + SPARE_GB:
        raise MissingError(
            "disk_full",
            f"the disk has {free_gb:.1f} GB free, and the CUDA libraries need {DISK_GB + SPARE_GB:.1f} GB",
            fix=f"Free some space on the drive of {aivt.ROOT}, then start again.",
        )
    folder = aivt.cuda_folder(aivt.ROOT)
    print(f"Downloading {DOWNLOAD_GB[sys.platform]} GB, which take {DISK_GB} GB in {folder}", flush=True)
    try:
        with aivt.only_installer(os.open(str(aivt.__file__), os.O_RDONLY)):
            if not aivt.cuda_is_ready(aivt.ROOT):  # another terminal may have done it meanwhile
                aivt.set_up_cuda(aivt.ROOT)
    except aivt.SetupError as error:
        raise MissingError("cuda_not_installed", error.reason, fix=error.fix) from error
    except OSError as error:
        raise MissingError(
            "cuda_not_installed",
            f"the CUDA libraries cannot be installed: {error}",
            fix="Free the disk space or the file that it names, then start again.",
        ) from error


def convolve(provider: str) -> None:
    """Let onnxruntime run a convolution, of which voices are made. Raises EngineError if it cannot."""
    onnxruntime, helper = import_module("onnxruntime"), import_module("onnx.helper")
    shapes = {"x": (1, 1, 8), "w": (1, 1, 3), "y": (1, 1, 6)}
    x, w, y = (helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in shapes.items())
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "trial", [x, w], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    kinds = vars(import_module("onnxruntime.capi.onnxruntime_pybind11_state")).values()
    raised = (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Exception))
    failures: tuple[type[Exception], ...] = (*raised, RuntimeError)
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=[provider], enable_fallback=0
        )
        if provider not in session.get_providers():  # it takes the processor all the same, and logs why
            raise _fault("onnxruntime cannot load its part for the card (it says why above)")
        ones = {name: np.ones(shapes[name], np.float32) for name in ("x", "w")}
        (result,) = session.run(None, ones)
    except failures as error:
        # CUDA's own words stand in the middle of a page of C++
        found = re.search(r"CU\w+ failure [^;]+|$", str(error))
        raise _fault(f"onnxruntime: {(found and found[0].strip()) or str(error)[:300]}") from error
    if not np.allclose(result, 3):
        raise _fault("onnxruntime computes wrong numbers on the card")


def start_cublas() -> None:
    """Start cuBLAS the way CTranslate2 does: found by its bare name. Raises EngineError if it does not."""
    name = "cublas64_12.dll" if sys.platform == "win32" else "libcublas.so.12"
    handle = ctypes.c_void_p()
    try:
        library = ctypes.CDLL(name)
        status = library.cublasCreate_v2(ctypes.byref(handle))
    except OSError as error:
        raise _fault(str(error)) from error
    if status:
        raise _fault(f"cuBLAS does not start on the card (its status {status})")
    library.cublasDestroy_v2(handle)


TRIALS: dict[cuda.Use, Callable[[], None]] = {
    "voices": lambda: convolve("CUDAExecutionProvider"),
    "hearing": start_cublas,
}


def _fault(reason: str) -> EngineError:
    return EngineError("cuda_fails", reason, fix=FAULT_FIX)
