import shutil
import subprocess

import pytest

from apps.policy.models import footprint, licences
from apps.policy.models.choices import CHOICES, MIB, Card, cards, choice, default_model, vram_gb
from tests.fakes.ollama_library import FACTS


def test_the_table_grows_with_the_card():
    """A bigger card never gets a smaller model, and every model leaves half of its card to the game."""
    assert [choice.from_vram_gb for choice in CHOICES] == [0, 8, 12, 16]
    sizes = [choice.disk_gb for choice in CHOICES]
    assert sizes == sorted(sizes)
    assert all(choice.disk_gb <= choice.from_vram_gb / 1.9 for choice in CHOICES[1:])


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row.name)
def test_the_table_says_what_the_models_say_themselves(row):
    """Size, memory and licence are the same before a model is pulled and after."""
    facts = FACTS[row.name]
    needed = footprint.vram_bytes(facts.size, footprint.shape(facts.model_info))
    assert facts.size / 1e9 == pytest.approx(row.disk_gb, abs=0.06)
    assert needed / 1e9 == pytest.approx(row.vram_gb, abs=0.06)
    assert licences.name_of(facts.license) == row.licence
    assert choice(row.name) is row


@pytest.mark.parametrize("row", CHOICES[1:], ids=lambda row: row.name)
def test_every_choice_leaves_room_for_a_game_on_its_smallest_card(row):
    """What the table recommends for a card is never what the list calls too much for it."""
    assert footprint.fit(round(row.vram_gb * 1e9), row.from_vram_gb * 1024**3) == "game"


def test_a_name_that_is_not_in_the_table_has_no_row():
    """Names are compared as a whole."""
    assert choice("llama3.1") is None


@pytest.mark.parametrize(
    ("card_gb", "row"),
    [(None, 0), (0, 0), (4.0, 0), (6.0, 0), (7.996, 1), (11.0, 1), (11.994, 2), (15.996, 3), (139.8, 3)],
)
def test_a_card_gets_the_row_that_its_maker_would_name(card_gb, row):
    """What a driver keeps for itself does not make an 8 GB card a smaller one."""
    assert default_model(card_gb) is CHOICES[row]


@pytest.fixture
def driver(monkeypatch):
    """Put a driver in place that answers with the text it is given."""

    def answer(output: str) -> None:
        done = subprocess.CompletedProcess([], 0, stdout=output)
        monkeypatch.setattr(shutil, "which", lambda _: "nvidia-smi")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    return answer


@pytest.mark.parametrize(
    ("output", "expected_gb"),
    [
        ("8188, 700, NVIDIA GeForce RTX 4060\n", 8188 / 1024),
        ("4096, 0, Old\r\n24576, 0, New\r\n", 24.0),
        ("[N/A], [N/A], NVIDIA Tegra\n", None),
        ("Failed to initialize NVML: Driver/library version mismatch\n", None),
        ("", None),
    ],
)
def test_the_largest_card_counts(driver, output, expected_gb):
    """Of several cards the largest is meant; one without memory of its own is none."""
    driver(output)
    assert vram_gb() == expected_gb


def test_a_card_has_a_name_and_says_what_is_in_use(driver):
    """A comma in a card's name does not shift its numbers."""
    driver("16380, 1892, NVIDIA GeForce RTX 4060 Ti, 16 GB\n")
    assert cards() == (Card("NVIDIA GeForce RTX 4060 Ti, 16 GB", 16380 * MIB, 1892 * MIB),)


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
