"""Looking at a computer: with a driver, a card and libraries that a test can take away."""

import ctypes
import sys

import ctranslate2
import psutil
import pytest

from apps.asr_worker.models import computer
from apps.shared import cuda
from apps.shared.cuda import Card, Driver, Loaded
from apps.shared.errors import MissingError

NEW = Driver((12, 9), (Card("RTX 4060 Ti", (8, 9)),))


class Library:
    """NVIDIA's driver, as far as it is asked for memory."""

    def __init__(self, refuses: bool = False) -> None:
        self.refuses = refuses

    def cuDeviceGet(self, device, index):  # noqa: N802 - the driver's name
        device._obj.value = index + 7
        return 0

    def cuDeviceTotalMem_v2(self, size, device):  # noqa: N802
        assert device.value == 7, "the first card, by the driver's own number"
        size._obj.value = 16 * 1024**3
        return 1 if self.refuses else 0


@pytest.fixture
def cuda_works(monkeypatch):
    """Everything that CUDA needs; returns what can be changed."""
    monkeypatch.setattr(cuda, "driver", lambda: NEW)
    monkeypatch.setattr(cuda, "supported", lambda: ("voices", "hearing"))
    monkeypatch.setattr(cuda, "installed", lambda: True)
    monkeypatch.setattr(cuda, "preload", lambda *_: Loaded(("libcublas.so.12",)))
    monkeypatch.setattr(computer, "memory_bytes", lambda: 16 * 1024**3)
    own = ctranslate2.get_supported_compute_types
    there = {"cuda": {"float16", "int8"}}
    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", lambda on: there.get(on) or own(on))
    return monkeypatch


def test_this_computer_as_it_is(make_settings):
    """Never raises; the processor's types are those of CTranslate2 and always hold float32."""
    found = computer.look(make_settings())
    assert found.cpu_types == ctranslate2.get_supported_compute_types("cpu") >= {"float32"}
    assert found.cores >= 1
    assert bool(found.cuda_types) != bool(found.trouble)


def test_a_card_that_works(make_settings, cuda_works):
    """Its name, its memory and its types."""
    found = computer.look(make_settings())
    assert found.cuda_types == {"float16", "int8"}
    assert (found.card, found.trouble) == ("RTX 4060 Ti", None)
    assert found.usable_bytes == found.card_bytes == 16 * 1024**3


def test_nobody_looks_for_a_card_that_is_not_wanted(make_settings, cuda_works):
    """Not even at the driver, which may hang where it is broken."""

    def never():
        raise AssertionError

    cuda_works.setattr(cuda, "driver", never)
    found = computer.look(make_settings(asr_device="cpu"))
    assert (found.cuda_types, found.card, found.trouble) == (frozenset(), "", None)


def no_driver():
    raise MissingError("no_nvidia_driver", "there is no NVIDIA driver on this computer", fix="Install it.")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("driver", no_driver), "no_nvidia_driver"),
        (("driver", lambda: Driver((11, 8), NEW.cards)), "nvidia_driver_old"),
        (("driver", lambda: Driver((12, 9), (Card("GTX 680", (3, 0)),))), "nvidia_card_old"),
        (("supported", lambda: ("voices",)), "no_cuda"),
        (("preload", lambda *_: Loaded((), ("libcublas.so.12 is missing",))), "cuda_incomplete"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_cuda_that_cannot_be_had(make_settings, cuda_works, change, code):
    """Is a trouble that says why, and not an error; the card is not counted on."""
    cuda_works.setattr(cuda, *change)
    found = computer.look(make_settings())
    assert found.trouble is not None
    assert (found.trouble.code, bool(found.trouble.fix)) == (code, True)
    assert (found.cuda_types, found.usable_bytes) == (frozenset(), 0)
    assert bool(found.card) == (code != "no_nvidia_driver")


def test_ctranslate2_whose_cuda_does_not_start(make_settings, cuda_works):
    """Its first line is told, with the driver's fix."""

    def fails(on):
        if on == "cuda":
            raise RuntimeError("CUDA failed with error unknown error\nand a second line")
        return {"float32"}

    cuda_works.setattr(ctranslate2, "get_supported_compute_types", fails)
    found = computer.look(make_settings())
    assert found.trouble is not None
    assert found.trouble.code == "cuda_fails"
    assert str(found.trouble) == "CUDA does not start: CUDA failed with error unknown error"


@pytest.mark.parametrize(("platform", "name"), [("win32", "cublas64_12.dll"), ("linux", "libcublas.so.12")])
def test_a_missing_library_is_named_with_its_fix(monkeypatch, platform, name):
    """Where `aivt setup cuda` was never run, and the system has none of its own."""

    def load(wanted, **how):
        assert (wanted, how) == (name, {"winmode": 0})
        raise OSError("not found")

    monkeypatch.setattr(cuda, "installed", lambda: False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(MissingError, match=name) as raised:
        computer.load_libraries()
    assert (raised.value.code, raised.value.fix) == ("cuda_incomplete", cuda.SETUP_FIX)


def test_the_systems_own_libraries_will_do(monkeypatch):
    """A streamer who has NVIDIA's toolkit needs no `aivt setup cuda`."""
    asked = []
    monkeypatch.setattr(cuda, "installed", lambda: False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name, **_: asked.append(name))
    computer.load_libraries()
    assert asked == ["libcublas.so.12"]


@pytest.mark.parametrize(("refuses", "size_bytes"), [(False, 16 * 1024**3), (True, 0)])
def test_the_memory_of_the_card(monkeypatch, refuses, size_bytes):
    """Of the first one, which the engines take; not known where the driver does not tell."""
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library(refuses))
    assert computer.memory_bytes() == size_bytes


@pytest.mark.parametrize(
    ("physical", "logical", "cores"), [(6, 12, 6), (None, 12, 6), (None, 1, 1), (None, None, 1)]
)
def test_cores(monkeypatch, make_settings, physical, logical, cores):
    """The physical ones; where the system does not tell, half of what it calls processors."""
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True, both=(physical, logical): both[logical])
    assert computer.look(make_settings(asr_device="cpu")).cores == cores
