"""NVIDIA's driver, and the CUDA libraries that `aivt setup cuda` installed: found and loaded for the engines.

CTranslate2 and onnxruntime ask the system for the libraries by bare name. It looks in places that know
nothing of Python packages ("cublas64_12.dll not found", "Could not load library libcudnn_ops"), but what this
process has loaded already it finds. Which names they ask for was read from their own wheels: CTranslate2 4.8
asks for CUDA 12 and no cuDNN, onnxruntime 1.31 for CUDA 13 and cuDNN 9.
"""

import ctypes
import json
import platform
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from apps.shared.errors import MissingError
from apps.shared.settings import PROJECT_DIR

Use = Literal["voices", "hearing"]  # Piper on onnxruntime, faster-whisper on CTranslate2
USES: tuple[Use, ...] = get_args(Use)

FOLDER = PROJECT_DIR / ".venv-cuda"  # scripts/aivt.py fills it
# A driver runs every minor version of the CUDA that it knows, so the 13.1 of the lock too.
CUDA: dict[Use, tuple[int, int]] = {"voices": (13, 0), "hearing": (12, 0)}
DRIVER: dict[Use, int] = {"voices": 580, "hearing": 525}  # the first one that knows it
OLDEST_CARD: dict[Use, tuple[int, int]] = {"voices": (7, 5), "hearing": (5, 0)}  # compute capability
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
SETUP_FIX = "Run: python scripts/aivt.py setup cuda"
DRIVER_FIX = "Install the newest driver from nvidia.com/drivers and restart the computer."

# By operating system and use, in the order of loading: each library after those that it is linked with.
LIBRARIES: dict[tuple[str, Use], tuple[str, ...]] = {
    ("linux", "voices"): (
        "cu13/lib/libcublasLt.so.13",
        "cu13/lib/libcublas.so.13",
        "cu13/lib/libcudart.so.13",
        "cu13/lib/libnvrtc.so.13",
        "cu13/lib/libcurand.so.10",
        "cudnn/lib/libcudnn.so.9",  # loads its other parts itself, from beside it
    ),
    ("linux", "hearing"): (
        "cuda_nvrtc/lib/libnvrtc.so.12",
        "cublas/lib/libcublasLt.so.12",
        "cublas/lib/libcublas.so.12",
    ),
    ("win32", "voices"): (
        "cu13/bin/x86_64/cublasLt64_13.dll",
        "cu13/bin/x86_64/cublas64_13.dll",
        "cu13/bin/x86_64/cudart64_13.dll",
        "cu13/bin/x86_64/nvrtc-builtins64_*.dll",
        "cu13/bin/x86_64/nvrtc64_130_0.dll",
        "cudnn/bin/cudnn*64_9.dll",
    ),
    ("win32", "hearing"): (
        "cuda_nvrtc/bin/nvrtc-builtins64_*.dll",
        "cuda_nvrtc/bin/nvrtc64_120_0.dll",
        "cublas/bin/cublasLt64_12.dll",
        "cublas/bin/cublas64_12.dll",
    ),
}


@dataclass(frozen=True, slots=True)
class Card:
    """A graphics card."""

    name: str
    capability: tuple[int, int]  # "compute capability": (8, 9) is an RTX 40


@dataclass(frozen=True, slots=True)
class Driver:
    """NVIDIA's driver."""

    cuda: tuple[int, int]  # the newest that it knows
    cards: tuple[Card, ...]  # at least one; the engines take the first


@dataclass(frozen=True, slots=True)
class Loaded:
    """What preload() did. libraries: file names in the order of loading; faults: why others were not."""

    libraries: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


def installed() -> bool:
    """Tell whether `aivt setup cuda` has finished here, for this version of Python."""
    try:
        stamp = json.loads((FOLDER / "aivt-stamp.json").read_bytes())
    except (OSError, ValueError):
        return False
    python = f"{sysconfig.get_platform()}-{sys.version_info[0]}.{sys.version_info[1]}"
    return isinstance(stamp, dict) and stamp.get("Python") == python


def preload(*uses: Use) -> Loaded:
    """Load the libraries for `uses`, by default for all; does nothing where none are installed.

    Never raises: `faults` tells what is wrong, and `require` makes an error of it. For "voices" it has to
    come before the first `import onnxruntime`, whose build for CUDA it puts first on the path. Doing it
    again costs nothing. Blocks up to a second when the files are read for the first time, and takes about
    0.2 GB of memory per use.
    """
    if not installed():
        return Loaded()
    libraries: list[str] = []
    faults: list[str] = []
    uses = tuple(use for use in uses or USES if use in supported())
    for use in uses:
        for pattern in LIBRARIES[sys.platform, use]:
            files = sorted((FOLDER / "nvidia").glob(pattern))
            if not files:
                faults.append(f"{Path(pattern).name} is missing")
            for file in files:
                if fault := _load(file):
                    faults.append(fault)
                else:
                    libraries.append(file.name)
    if "voices" in uses and (fault := _choose_onnxruntime()):
        faults.append(fault)
    return Loaded(tuple(libraries), tuple(faults))


def require(use: Use) -> None:
    """Get everything ready for `use`: see preload. Raises MissingError where the card cannot be used."""
    if not installed():
        raise MissingError("no_cuda", "the CUDA libraries are not installed", fix=SETUP_FIX)
    check(driver(), use)
    if faults := preload(use).faults:
        raise MissingError(
            "cuda_incomplete", f"the CUDA libraries cannot be loaded: {'; '.join(faults)}", fix=SETUP_FIX
        )


def supported() -> tuple[Use, ...]:
    """Return for what there is CUDA on this system."""
    arm = platform.machine() == "aarch64"  # CTranslate2's wheels for it know no CUDA
    return tuple(use for use in USES if (sys.platform, use) in LIBRARIES and not (arm and use == "hearing"))


def check(driver: Driver, use: Use) -> None:
    """Raise MissingError if there is no CUDA for `use` on this system, this driver or this card."""
    if use not in supported():
        raise MissingError("no_cuda", f"there is no CUDA for {use} on this system", fix="Leave it on cpu.")
    if driver.cuda < CUDA[use]:
        knows, needs = (".".join(map(str, version)) for version in (driver.cuda, CUDA[use]))
        raise MissingError(
            "nvidia_driver_old",
            f"the NVIDIA driver is too old for {use}: it knows CUDA {knows}, and {needs} is needed",
            fix=f"{DRIVER_FIX} It has to be {DRIVER[use]} or newer.",
        )
    card = driver.cards[0]
    if card.capability < OLDEST_CARD[use]:
        raise MissingError(
            "nvidia_card_old", f"the {card.name} is too old for {use} with CUDA", fix="Leave it on cpu."
        )


def driver() -> Driver:
    """Ask NVIDIA's driver about itself. Raises MissingError if there is none, or it sees no card."""
    name = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        library = ctypes.CDLL(name)
    except OSError as error:
        raise MissingError(
            "no_nvidia_driver",
            f"there is no NVIDIA driver on this computer ({name} is missing)",
            fix=f"{DRIVER_FIX} If the card is not NVIDIA's, leave everything on cpu.",
        ) from error
    _ask(library.cuInit, 0)
    number = ctypes.c_int()
    _ask(library.cuDriverGetVersion, ctypes.byref(number))  # 13010 is 13.1
    count = ctypes.c_int()
    _ask(library.cuDeviceGetCount, ctypes.byref(count))
    cards = tuple(_card(library, index) for index in range(count.value))
    if not cards:
        raise _trouble("it sees no NVIDIA card")
    return Driver((number.value // 1000, number.value % 1000 // 10), cards)


def _card(library: ctypes.CDLL, index: int) -> Card:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(256)
    _ask(library.cuDeviceGet, ctypes.byref(device), index)
    _ask(library.cuDeviceGetName, text, len(text), device)
    capability = ctypes.c_int(), ctypes.c_int()
    for number, attribute in zip(capability, (75, 76), strict=True):
        _ask(library.cuDeviceGetAttribute, ctypes.byref(number), attribute, device)
    return Card(text.value.decode(errors="replace"), (capability[0].value, capability[1].value))


def _ask(function: Callable[..., int], *arguments: object) -> None:
    if code := function(*arguments):
        raise _trouble("it sees no NVIDIA card" if code == NO_DEVICE else f"its error {code}")


def _trouble(what: str) -> MissingError:
    return MissingError("nvidia_driver_fails", f"the NVIDIA driver does not work: {what}", fix=DRIVER_FIX)


def _load(file: Path) -> str:
    """Load one library; return why it does not load, or ""."""
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        return f"{file.name}: {error}"
    return ""


def _choose_onnxruntime() -> str:
    """Let `import onnxruntime` find the build for CUDA; return why it is too late, or ""."""
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))
    there = getattr(sys.modules.get("onnxruntime"), "__file__", None)
    if there and not Path(there).is_relative_to(FOLDER):
        return "onnxruntime without CUDA is in use already"
    return ""
