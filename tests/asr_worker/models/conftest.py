"""Computers to choose for, and folders with a real speech model in them."""

import shutil
from pathlib import Path

import pytest

from apps.asr_worker.models import computer
from apps.asr_worker.models.computer import Computer
from apps.shared.settings import PROJECT_DIR, Settings

TINY = PROJECT_DIR / "tests" / "ears" / "tiny"  # a real one, of 1.6 MB
GB = 1024**3
CPU_TYPES = frozenset({"int8", "int8_float32", "float32"})
CUDA_TYPES = CPU_TYPES | {"int8_float16", "float16", "bfloat16", "int8_bfloat16"}


@pytest.fixture
def make_settings(tmp_path):
    """Settings that neither `.env` nor another test's files reach."""

    def make(**values) -> Settings:
        return Settings(**{"_env_file": None, "aivt_data_dir": tmp_path / "show", **values})

    return make


@pytest.fixture
def processor():
    """A computer without a graphics card."""
    return Computer(8, CPU_TYPES)


@pytest.fixture
def card():
    """A computer with a graphics card of so many GB, on which everything works."""

    def make(size_gb: float = 16, **more) -> Computer:
        values = {"cuda_types": CUDA_TYPES, "card": "RTX", "card_bytes": round(size_gb * GB), **more}
        return Computer(8, CPU_TYPES, **values)

    return make


@pytest.fixture
def machine(monkeypatch, processor):
    """Say which computer this is; without a call, one that has no graphics card."""

    def use(this: Computer) -> None:
        monkeypatch.setattr(computer, "look", lambda _: this)

    use(processor)
    return use


@pytest.fixture
def put(make_settings):
    """Put a model into the folder of the models by hand and return its folder; `without` leaves files out."""

    def into(name: str, *, without: tuple[str, ...] = (), size_bytes: int = 0) -> Path:
        folder: Path = make_settings().hearing_dir / name
        shutil.copytree(TINY, folder)
        for file in without:
            (folder / file).unlink()
        if size_bytes:
            with (folder / "model.bin").open("r+b") as model:
                model.truncate(size_bytes)  # a hole; only its size is looked at
        return folder

    return into
