"""CUDA: what the driver says, which libraries are loaded, and what is told when they cannot be."""

import ctypes
import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from types import SimpleNamespace

import pytest

from apps.shared import cuda
from apps.shared.errors import MissingError
from apps.shared.settings import PROJECT_DIR

PYTHON = f"{sysconfig.get_platform()}-{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(params=["linux", "win32"])
def system(request, monkeypatch):
    """One of the systems that there is CUDA for."""
    monkeypatch.setattr(sys, "platform", request.param)
    monkeypatch.setattr(platform, "machine", lambda: "AMD64" if request.param == "win32" else "x86_64")
    return request.param


@pytest.fixture
def folder(tmp_path, monkeypatch, system):
    """What `aivt setup cuda` leaves behind, with empty files for libraries."""
    folder = tmp_path / ".venv-cuda"
    folder.mkdir()
    (folder / "aivt-stamp.json").write_text(json.dumps({"Python": PYTHON, "files": {}}))
    for use in cuda.USES:
        for pattern in cuda.LIBRARIES[system, use]:
            file = folder / "nvidia" / pattern.replace("*", "_any")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    monkeypatch.setattr(cuda, "FOLDER", folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    return folder


class Driver(SimpleNamespace):
    """A driver library, as ctypes would give it."""

    def __init__(self, cuda=13010, cards=("RTX 4060 Ti",), capability=(8, 9), init=0):
        values = {75: capability[0], 76: capability[1]}
        super().__init__(
            cuInit=lambda _: init,
            cuDriverGetVersion=lambda into: self._give(into, cuda),
            cuDeviceGetCount=lambda into: self._give(into, len(cards)),
            cuDeviceGet=self._give,
            cuDeviceGetName=lambda into, _, device: self._give(into, cards[device.value].encode()),
            cuDeviceGetAttribute=lambda into, which, _: self._give(into, values[which]),
        )

    @staticmethod
    def _give(into, value):
        getattr(into, "_obj", into).value = value
        return 0


@pytest.fixture
def loader(monkeypatch):
    """Stand in for the system's loader: `broken` names what it refuses, `loaded` is what it was asked for."""
    loader = SimpleNamespace(loaded=[], broken={}, driver=Driver())

    def load(name):
        if name in {"nvcuda.dll", "libcuda.so.1"}:
            if loader.driver is None:
                raise OSError(f"{name}: cannot open shared object file")
            return loader.driver
        loader.loaded.append(name)
        if reason := loader.broken.get(name.replace("\\", "/").rpartition("/")[2]):
            raise OSError(reason)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", load)
    return loader


# --- Loading ------------------------------------------------------------------------------------------


def test_without_the_libraries_nothing_happens(tmp_path, monkeypatch, loader):
    """Where `aivt setup cuda` was never run, nothing is loaded and the path stays as it is."""
    monkeypatch.setattr(cuda, "FOLDER", tmp_path / "nothing")
    before = list(sys.path)
    assert cuda.preload() == cuda.Loaded()
    assert (loader.loaded, sys.path) == ([], before)


@pytest.mark.parametrize("stamp", ["", "[]", '{"Python": "linux-x86_64-2.7"}'])
def test_an_unfinished_or_foreign_installation_is_none(folder, loader, stamp):
    """Without its stamp, or made for another Python, the folder is left alone."""
    (folder / "aivt-stamp.json").write_text(stamp)
    assert cuda.preload() == cuda.Loaded()
    assert loader.loaded == []


@pytest.mark.parametrize("use", cuda.USES)
def test_libraries_are_loaded_in_order(folder, loader, system, use):
    """Each library is loaded by its full path, after those that it is linked with."""
    result = cuda.preload(use)
    names = [pattern.rpartition("/")[2].replace("*", "_any") for pattern in cuda.LIBRARIES[system, use]]
    assert list(result.libraries) == names
    assert result.faults == ()
    assert all(name.startswith(str(folder)) for name in loader.loaded)
    order = [part for name in names for part in ("cublasLt", "cublas.so", "cublas64") if part in name]
    assert order[0] == "cublasLt"
    assert len(order) == 2


def test_all_parts_of_cudnn_are_loaded_on_windows(folder, loader, system):
    """There cuDNN finds its parts only if they are loaded already."""
    if system != "win32":
        pytest.skip("elsewhere it finds them beside it")
    for part in ("cudnn64_9.dll", "cudnn_ops64_9.dll", "cudnn_graph64_9.dll"):
        (folder / "nvidia/cudnn/bin" / part).touch()
    assert {"cudnn64_9.dll", "cudnn_ops64_9.dll", "cudnn_graph64_9.dll"} <= set(
        cuda.preload("voices").libraries
    )


def test_a_missing_library_is_named(folder, loader):
    """What a virus scanner took away is told, and the rest is loaded."""
    for file in folder.glob("nvidia/cublas/*/*cublas[6.]*"):
        file.unlink()
    result = cuda.preload("hearing")
    (fault,) = result.faults
    assert re.fullmatch(r"(cublas64_12\.dll|libcublas\.so\.12) is missing", fault)
    assert result.libraries


def test_a_library_that_does_not_load_is_told_with_the_systems_reason(folder, loader):
    """The system's own words are kept, and the rest is loaded."""
    loader.broken = dict.fromkeys(("libcublas.so.12", "cublas64_12.dll"), "invalid ELF header")
    result = cuda.preload("hearing")
    assert len(result.faults) == 1
    assert "invalid ELF header" in result.faults[0]
    assert result.libraries


def test_loading_again_changes_nothing(folder, loader):
    """A second call gives the same answer and adds nothing to the path."""
    assert cuda.preload() == cuda.preload()
    assert sys.path.count(str(folder)) == 1


def test_voices_take_the_onnxruntime_for_cuda(folder, loader):
    """The folder comes first on the path for voices, and not at all for hearing."""
    cuda.preload("hearing")
    assert str(folder) not in sys.path
    cuda.preload("voices")
    assert sys.path[0] == str(folder)


def test_it_is_told_when_onnxruntime_was_imported_too_early(folder, loader, monkeypatch):
    """The build without CUDA cannot be exchanged while it is in use."""
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__file__="/elsewhere/__init__.py"))
    assert cuda.preload("voices").faults == ("onnxruntime without CUDA is in use already",)
    own = SimpleNamespace(__file__=str(folder / "onnxruntime" / "__init__.py"))
    monkeypatch.setitem(sys.modules, "onnxruntime", own)
    assert cuda.preload("voices").faults == ()


@pytest.mark.parametrize(
    ("system_name", "machine", "uses"),
    [
        ("darwin", "arm64", ()),
        ("linux", "aarch64", ("voices",)),
        ("linux", "x86_64", cuda.USES),
        ("win32", "AMD64", cuda.USES),
        ("win32", "ARM64", cuda.USES),  # the x64 Python, emulated
    ],
)
def test_supported_systems(monkeypatch, system_name, machine, uses):
    """There is CUDA for a system where the engines' wheels have it."""
    monkeypatch.setattr(sys, "platform", system_name)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert cuda.supported() == uses


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs Linux and a C compiler"
)
def test_real_libraries_are_found_by_their_bare_names(tmp_path):
    """A library that only its full path reaches is found by name after preload, as are those it needs."""
    nvrtc, lt, blas = (tmp_path / "nvidia" / path for path in cuda.LIBRARIES["linux", "hearing"])
    for file, source, needs in [
        (nvrtc, "int nvrtc() { return 1; }", []),
        (lt, "int lt() { return 2; }", []),
        (blas, "int lt(); int blas() { return 10 * lt(); }", [str(lt)]),
    ]:
        file.parent.mkdir(parents=True, exist_ok=True)
        command = ["cc", "-shared", "-fPIC", "-xc", "-", "-xnone", *needs]
        command += [f"-Wl,-soname,{file.name}", "-o", str(file)]
        subprocess.run(command, input=source.encode(), check=True)
    (tmp_path / "aivt-stamp.json").write_text(json.dumps({"Python": PYTHON}))
    script = f"""
import ctypes, pathlib
from apps.shared import cuda
cuda.FOLDER = pathlib.Path({str(tmp_path)!r})
cuda.supported = lambda: cuda.USES  # whatever this processor is
try:
    ctypes.CDLL("libcublas.so.12")
except OSError as error:
    print("not found" if "libcublas.so.12" in str(error) else error)
print(cuda.preload("hearing"))
print(ctypes.CDLL("libcublas.so.12").blas())
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PROJECT_DIR, capture_output=True, text=True, check=True)
    before, loaded, after = done.stdout.splitlines()
    assert (before, after) == ("not found", "20")
    assert loaded == str(cuda.Loaded(("libnvrtc.so.12", "libcublasLt.so.12", "libcublas.so.12")))


# --- The driver ---------------------------------------------------------------------------------------


def test_a_driver_is_described(loader, system):
    """The driver tells which CUDA it knows, and its cards."""
    loader.driver = Driver(cuda=13010, cards=("RTX 4060 Ti", "RTX 3050"))
    card = cuda.Card("RTX 4060 Ti", (8, 9))
    assert cuda.driver() == cuda.Driver((13, 1), (card, cuda.Card("RTX 3050", (8, 9))))


def test_no_driver(loader, system):
    """Without NVIDIA's driver its library is named, and what to install."""
    loader.driver = None
    with pytest.raises(MissingError, match=r"no NVIDIA driver.*(nvcuda\.dll|libcuda\.so\.1)") as caught:
        cuda.driver()
    assert "nvidia.com/drivers" in caught.value.fix
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (Driver(init=100), "it sees no NVIDIA card"),
        (Driver(cards=()), "it sees no NVIDIA card"),
        (Driver(init=803), "its error 803"),
    ],
    ids=["no device", "no cards", "restart needed"],
)
def test_a_driver_that_does_not_work(loader, driver, reason):
    """A driver without a card, or at odds with itself, is an error with a fix."""
    loader.driver = driver
    with pytest.raises(MissingError, match=reason) as caught:
        cuda.driver()
    assert caught.value.fix


@pytest.mark.parametrize(
    ("driver", "use", "reason"),
    [
        (Driver(cuda=12080), "voices", r"too old for voices: it knows CUDA 12\.8, and 13\.0 is needed"),
        (Driver(cuda=11080), "hearing", r"too old for hearing: it knows CUDA 11\.8, and 12\.0 is needed"),
        (Driver(cards=("GTX 1060",), capability=(6, 1)), "voices", "the GTX 1060 is too old for voices"),
    ],
)
def test_too_old(folder, loader, driver, use, reason):
    """A driver or card that the libraries do not run on is told before anything is loaded."""
    loader.driver = driver
    with pytest.raises(MissingError, match=reason) as caught:
        cuda.require(use)
    assert caught.value.fix
    assert loader.loaded == []


def test_old_drivers_and_cards_hear(folder, loader):
    """Hearing takes CUDA 12, which older drivers and cards know."""
    loader.driver = Driver(cuda=12080, capability=(6, 1))
    cuda.require("hearing")
    assert loader.loaded


# --- What an engine asks for --------------------------------------------------------------------------


@pytest.mark.parametrize("use", cuda.USES)
def test_all_is_well(folder, loader, use):
    """With driver, card and libraries an engine may go ahead."""
    cuda.require(use)
    assert loader.loaded


def test_not_installed_names_the_command(tmp_path, monkeypatch, loader):
    """Without the libraries the command that installs them is the fix."""
    monkeypatch.setattr(cuda, "FOLDER", tmp_path)
    with pytest.raises(MissingError, match="not installed") as caught:
        cuda.require("voices")
    assert "setup cuda" in caught.value.fix


def test_faults_are_an_error(folder, loader):
    """A library that does not load is named in the error, and installing again is the fix."""
    loader.broken = dict.fromkeys(("libcudart.so.13", "cudart64_13.dll"), "no such module")
    with pytest.raises(MissingError, match=r"cudart.*no such module") as caught:
        cuda.require("voices")
    assert "setup cuda" in caught.value.fix


def test_hearing_on_arm(folder, loader, monkeypatch):
    """Where CTranslate2 knows no CUDA, installing is not offered as the fix."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(MissingError, match="no CUDA for hearing") as caught:
        cuda.require("hearing")
    assert "setup" not in caught.value.fix


# --- The lock -----------------------------------------------------------------------------------------


def pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==([\w.]+)", (PROJECT_DIR / name).read_text("utf-8"), re.MULTILINE))


def test_the_lock_is_what_the_project_asks_for():
    """The lock pins the group's own versions, hashed, without addresses, and nothing for a Mac."""
    group = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text("utf-8"))["dependency-groups"]["cuda"]
    lock = (PROJECT_DIR / "requirements-cuda.lock").read_text("utf-8")
    assert pins("requirements-cuda.lock") == dict(one.split(" ;")[0].split("==") for one in group)
    blocks = re.split(r"\n(?=\w)", lock)
    assert len(blocks) == len(group)
    assert all("--hash=sha256:" in block for block in blocks)
    assert all("'darwin'" in block or "== 'linux'" in block for block in blocks)
    assert "://" not in lock


def test_both_builds_of_onnxruntime_have_one_version():
    """A voice sounds the same on the card: its engine differs in nothing else."""
    assert pins("requirements-cuda.lock")["onnxruntime-gpu"] == pins("requirements.lock")["onnxruntime"]


def test_the_libraries_asked_for_are_those_of_the_lock():
    """The names end in the major versions that the lock pins."""
    pinned = pins("requirements-cuda.lock")
    names = " ".join(name for names in cuda.LIBRARIES.values() for name in names)
    for package, asked in [
        ("nvidia-cublas", ("libcublas.so.{}", "cublas64_{}.dll")),
        ("nvidia-cublas-cu12", ("libcublas.so.{}", "cublas64_{}.dll")),
        ("nvidia-cuda-runtime", ("libcudart.so.{}", "cudart64_{}.dll")),
        ("nvidia-cuda-nvrtc", ("libnvrtc.so.{}", "nvrtc64_{}0_0.dll")),
        ("nvidia-cuda-nvrtc-cu12", ("libnvrtc.so.{}", "nvrtc64_{}0_0.dll")),
        ("nvidia-cudnn-cu13", ("libcudnn.so.{}", "cudnn*64_{}.dll")),
        ("nvidia-curand", ("libcurand.so.{}",)),
    ]:
        major = pinned[package].partition(".")[0]
        assert all(name.format(major) in names for name in asked), package
