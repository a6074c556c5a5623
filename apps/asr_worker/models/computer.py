"""What this computer can run a speech model on: asked of NVIDIA's driver, CTranslate2 and the system."""

import ctypes
import sys
from dataclasses import dataclass
from importlib import import_module

import psutil

from apps.shared import cuda
from apps.shared.errors import MissingError
from apps.shared.settings import Settings

CUBLAS = {"win32": "cublas64_12.dll", "linux": "libcublas.so.12"}  # what CTranslate2 asks the system for


@dataclass(frozen=True, slots=True)
class Computer:
    """What there is to run on."""

    cores: int  # physical ones
    cpu_types: frozenset[str]  # CTranslate2's compute types
    cuda_types: frozenset[str] = frozenset()  # none: CUDA cannot be used, or was not asked for
    card: str = ""  # the graphics card's name
    card_bytes: int = 0  # its memory; 0: not known
    trouble: MissingError | None = None  # why CUDA cannot be used

    @property
    def usable_bytes(self) -> int:
        """The memory of the graphics card that the ears can use; 0 without one."""
        return self.card_bytes if self.cuda_types else 0


def look(settings: Settings) -> Computer:
    """Look at this computer; with ASR_DEVICE=cpu not at its graphics card.

    Blocks up to a second, and loads the CUDA libraries where they can be used. Never raises.
    """
    ctranslate2 = import_module("ctranslate2")
    cores = psutil.cpu_count(logical=False) or max((psutil.cpu_count() or 2) // 2, 1)
    cpu_types = frozenset(ctranslate2.get_supported_compute_types("cpu"))
    if settings.asr_device == "cpu":
        return Computer(cores, cpu_types)
    card, card_bytes = "", 0
    try:
        driver = cuda.driver()
        card, card_bytes = driver.cards[0].name, memory_bytes()
        cuda.check(driver, "hearing")
        load_libraries()
        types = frozenset(ctranslate2.get_supported_compute_types("cuda"))
    except MissingError as error:
        return Computer(cores, cpu_types, card=card, card_bytes=card_bytes, trouble=error)
    except RuntimeError as error:  # of CTranslate2: its own part of CUDA does not start
        trouble = MissingError("cuda_fails", _first_line(error), fix=cuda.DRIVER_FIX)
        return Computer(cores, cpu_types, card=card, card_bytes=card_bytes, trouble=trouble)
    return Computer(cores, cpu_types, types, card, card_bytes)


def card_bytes(settings: Settings) -> int:
    """Return the memory of the graphics card, also one that the ears cannot use; 0 without. Loads nothing."""
    if settings.asr_device == "cpu":
        return 0
    try:
        cuda.driver()
        return memory_bytes()
    except MissingError:
        return 0


def load_libraries() -> None:
    """Load the CUDA libraries: those of `aivt setup cuda`, else the system's own. Raises MissingError."""
    if cuda.installed():
        faults = cuda.preload("hearing").faults
    else:
        name = CUBLAS[sys.platform]
        try:
            ctypes.CDLL(name, winmode=0)  # 0: Windows looks on the PATH too, as CTranslate2 does
            faults = ()
        except OSError:
            faults = (f"{name} is missing",)
    if faults:
        raise MissingError(
            "cuda_incomplete", f"the CUDA libraries cannot be loaded: {'; '.join(faults)}", fix=cuda.SETUP_FIX
        )


def memory_bytes() -> int:
    """Return the memory of the first card; 0 when its driver, which works, does not tell."""
    library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    device, size_bytes = ctypes.c_int(), ctypes.c_size_t()
    refused = library.cuDeviceGet(ctypes.byref(device), 0)
    refused = refused or library.cuDeviceTotalMem_v2(ctypes.byref(size_bytes), device)
    return 0 if refused else size_bytes.value


def _first_line(error: Exception) -> str:
    return f"CUDA does not start: {str(error).splitlines()[0]}"
