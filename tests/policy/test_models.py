import shutil
import subprocess

import pytest

from apps.policy.models import CHOICES, default_model, vram_gb


def test_the_table_grows_with_the_card():
    """A bigger card never gets a smaller model, and every model leaves half of its card to the game."""
    assert [choice.from_vram_gb for choice in CHOICES] == [0, 8, 12, 16]
    sizes = [choice.disk_gb for choice in CHOICES]
    assert sizes == sorted(sizes)
    assert all(choice.disk_gb <= choice.from_vram_gb / 1.9 for choice in CHOICES[1:])


@pytest.mark.parametrize(
    ("card_gb", "row"),
    [(None, 0), (0, 0), (4.0, 0), (6.0, 0), (7.996, 1), (11.0, 1), (11.994, 2), (15.996, 3), (139.8, 3)],
)
def test_a_card_gets_the_row_that_its_maker_would_name(card_gb, row):
    """What a driver keeps for itself does not make an 8 GB card a smaller one."""
    assert default_model(card_gb) is CHOICES[row]


@pytest.mark.parametrize(
    ("output", "expected_gb"),
    [("8188\n", 8188 / 1024), ("4096\r\n24576\r\n", 24.0), ("[N/A]\n", None), ("", None)],
)
def test_the_largest_card_counts(monkeypatch, output, expected_gb):
    """Of several cards the largest is meant; one without memory of its own is none."""
    answer = subprocess.CompletedProcess([], 0, stdout=output)
    monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    assert vram_gb() == expected_gb


@pytest.mark.parametrize(
    "failure",
    [
        subprocess.TimeoutExpired("nvidia-smi", 2.0),
        subprocess.CalledProcessError(9, "nvidia-smi"),
        OSError("not executable"),
    ],
)
def test_a_broken_driver_is_no_card(monkeypatch, failure):
    """A driver that hangs or fails is treated as a computer without a card."""

    def fail(*_, **__):
        raise failure

    monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi")
    monkeypatch.setattr(subprocess, "run", fail)
    assert vram_gb() is None


def test_no_driver_is_no_card(monkeypatch):
    """Without nvidia-smi nothing is started."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert vram_gb() is None
