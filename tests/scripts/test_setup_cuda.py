"""`aivt setup cuda`: what it refuses, installs, tries and tells."""

import argparse
import ctypes
import shutil
import sys
from types import SimpleNamespace

import pytest

from apps.shared import cuda
from apps.shared.errors import EngineError, MissingError
from scripts import aivt, setup_cuda

CPU = "CPUExecutionProvider"
NO_DRIVER = MissingError("no_nvidia_driver", "there is no NVIDIA driver", fix="Install it.")


@pytest.fixture
def computer(tmp_path, monkeypatch):
    """A computer with a card, a driver, and enough space, on which everything that is installed works."""
    computer = SimpleNamespace(
        driver=cuda.Driver((13, 1), (cuda.Card("RTX 4060 Ti", (8, 9)),)),
        done=[],
        free_bytes=100e9,
        installs=True,
    )

    def driver():
        if isinstance(computer.driver, MissingError):
            raise computer.driver
        return computer.driver

    def set_up_cuda(root):
        if isinstance(computer.installs, Exception):
            raise computer.installs
        computer.done.append("installed")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    monkeypatch.setattr(aivt, "ROOT", tmp_path)
    monkeypatch.setattr(aivt, "__file__", shutil.copy(aivt.__file__, tmp_path))  # a lock of its own
    monkeypatch.setattr(aivt, "cuda_is_ready", lambda _: "installed" in computer.done)
    monkeypatch.setattr(aivt, "set_up_cuda", set_up_cuda)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=computer.free_bytes))
    monkeypatch.setattr(cuda, "driver", driver)
    monkeypatch.setattr(cuda, "supported", lambda: cuda.USES)
    monkeypatch.setattr(cuda, "preload", lambda use: cuda.Loaded((f"lib{use}.so",)))
    monkeypatch.setattr(cuda, "require", lambda use: computer.done.append(f"required {use}"))
    for use in cuda.USES:
        monkeypatch.setitem(setup_cuda.TRIALS, use, lambda use=use: computer.done.append(f"tried {use}"))
    return computer


def run(*, force: bool = False) -> int:
    return setup_cuda.main(argparse.Namespace(part="cuda", force=force))


def test_it_installs_and_tries(computer, capsys):
    """The size is told before the download, and each use is tried on the card after it."""
    assert run() == 0
    assert computer.done == [
        "installed",
        *("required voices", "tried voices"),
        *("required hearing", "tried hearing"),
    ]
    out = capsys.readouterr().out
    assert "RTX 4060 Ti" in out
    assert "1.8 GB" in out
    assert "voices: works" in out
    assert "hearing: works" in out


def test_it_checks_what_is_installed(computer, capsys):
    """Done again, it downloads nothing and tries everything."""
    computer.done.append("installed")
    assert run() == 0
    assert computer.done.count("installed") == 1
    assert "tried voices" in computer.done
    assert "Downloading" not in capsys.readouterr().out


def test_a_mac_needs_none(computer, monkeypatch, capsys):
    """Where there is no CUDA, one line says so, and that is no failure."""
    monkeypatch.setattr(cuda, "supported", lambda: ())
    assert run() == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert computer.done == []


@pytest.mark.parametrize(
    ("driver", "reason"),
    [
        (NO_DRIVER, "no NVIDIA driver"),
        (cuda.Driver((12, 8), (cuda.Card("RTX 3050", (8, 6)),)), "too old"),
        (cuda.Driver((13, 0), (cuda.Card("GTX 1060", (6, 1)),)), "GTX 1060 is too old"),
    ],
    ids=["no driver", "old driver", "old card"],
)
def test_nothing_is_downloaded_for_nothing(computer, driver, reason):
    """Without a card and a driver that can use them, the libraries are refused, with the fix."""
    computer.driver = driver
    with pytest.raises(MissingError, match=reason) as caught:
        run()
    assert caught.value.fix
    assert computer.done == []


def test_force_installs_without_a_driver(computer, capsys):
    """--force installs all the same; that the libraries load is told, and the driver's trouble after it."""
    computer.driver = NO_DRIVER
    with pytest.raises(MissingError, match="no NVIDIA driver"):
        run(force=True)
    assert computer.done == ["installed"]
    assert "voices: 1 libraries load" in capsys.readouterr().out


def test_a_full_disk(computer):
    """Too little space is told before the download, with both numbers."""
    computer.free_bytes = 2.5e9
    with pytest.raises(MissingError, match=r"2\.5 GB free.*3\.7 GB") as caught:
        run()
    assert caught.value.fix
    assert computer.done == []


def test_downloads_that_were_kept_count_as_space(computer, tmp_path):
    """What an interrupted download left needs no space again."""
    computer.free_bytes = 3.6e9
    cache = aivt.cuda_cache(tmp_path)
    cache.mkdir()
    with (cache / "wheel").open("wb") as file:
        file.truncate(200_000_000)
    assert run() == 0


@pytest.mark.parametrize(
    ("raised", "reason", "fix"),
    [
        (
            aivt.SetupError("installing failed.", "Check the connection."),
            "installing failed",
            "Check the connection.",
        ),
        (OSError(28, "No space left on device"), "No space left", "Free the disk space"),
    ],
)
def test_a_failed_installation(computer, raised, reason, fix):
    """What stops the installation is told with its fix."""
    computer.installs = raised
    with pytest.raises(MissingError, match=reason) as caught:
        run()
    assert fix in caught.value.fix
    assert caught.value.exit_code == 3


def test_outside_of_its_environment(computer, monkeypatch):
    """Started by another Python, it names the command that finds the right one."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    with pytest.raises(MissingError, match="does not run in") as caught:
        run()
    assert caught.value.fix == "Run: python scripts/aivt.py setup cuda"


def test_faults_of_the_libraries_are_shown(computer, monkeypatch, capsys):
    """A library that does not load is named beside those that do."""
    monkeypatch.setattr(cuda, "preload", lambda _: cuda.Loaded(("a.so",), ("b.so is missing",)))
    run()
    assert "1 libraries load; b.so is missing" in capsys.readouterr().out


# --- The trials ---------------------------------------------------------------------------------------


def test_a_convolution_runs_on_the_processor():
    """The trial itself is sound: where onnxruntime works, it passes."""
    setup_cuda.convolve(CPU)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_the_processor_instead_of_the_card_is_a_failure():
    """onnxruntime takes the processor where it has no CUDA; that does not pass for the card."""
    with pytest.raises(EngineError, match="cannot load its part for the card") as caught:
        setup_cuda.convolve("CUDAExecutionProvider")
    assert caught.value.fix


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            "void f() [with T = int] CUDA failure 36: not supported ; GPU=0 ; line=3",
            "onnxruntime: CUDA failure 36: not supported",
        ),
        ("CUDNN failure 1001: no engine ; GPU=0", "onnxruntime: CUDNN failure 1001: no engine"),
        ("out of memory", "onnxruntime: out of memory"),
    ],
)
def test_cudas_own_words_are_told(monkeypatch, words, reason):
    """Of onnxruntime's page of C++ only CUDA's reason is shown."""

    def session(*_, **__):
        raise RuntimeError(words)

    monkeypatch.setattr("onnxruntime.InferenceSession", session)
    with pytest.raises(EngineError) as caught:
        setup_cuda.convolve(CPU)
    assert str(caught.value) == reason


def test_wrong_numbers_are_a_failure(monkeypatch):
    """A card that computes nonsense is not called good."""
    broken = SimpleNamespace(get_providers=lambda: [CPU], run=lambda *_: ([0.0],))
    monkeypatch.setattr("onnxruntime.InferenceSession", lambda *_, **__: broken)
    with pytest.raises(EngineError, match="wrong numbers"):
        setup_cuda.convolve(CPU)


def test_cublas_is_asked_for_by_its_bare_name(monkeypatch):
    """As CTranslate2 asks, so that the trial finds what it would find."""
    asked = []

    def load(name):
        asked.append(name)
        return SimpleNamespace(cublasCreate_v2=lambda _: 0, cublasDestroy_v2=lambda _: 0)

    monkeypatch.setattr(ctypes, "CDLL", load)
    for system in ("linux", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        setup_cuda.start_cublas()
    assert asked == ["libcublas.so.12", "cublas64_12.dll"]


def test_cublas_that_is_not_found_or_does_not_start(monkeypatch):
    """Both are failures with a fix."""
    refusing = SimpleNamespace(cublasCreate_v2=lambda _: 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: refusing)
    with pytest.raises(EngineError, match="its status 1"):
        setup_cuda.start_cublas()

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(EngineError, match="cublas") as caught:
        setup_cuda.start_cublas()
    assert caught.value.fix
