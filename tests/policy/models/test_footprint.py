"""The estimate against what llama.cpp and Ollama report of known models."""

from dataclasses import replace

import pytest

from apps.policy.models import footprint
from apps.policy.models.footprint import Shape
from tests.fakes.ollama_library import FACTS

MIB = 1024**2
LLAMA_8B = Shape(
    layers=32, kv_heads=8, key_length=128, value_length=128, embedding_length=4096, vocabulary=128256
)
GEMMA_12B = footprint.shape(FACTS["gemma3:12b"].model_info)


def test_the_parts_of_llama_31_8b_are_what_llama_cpp_logs():
    """KV 512 MiB with 4096 tokens, 64 with 512; a compute buffer of 258.5 MiB."""
    assert footprint.kv_cache_bytes(LLAMA_8B, 4096) == 512 * MIB
    assert footprint.kv_cache_bytes(LLAMA_8B, 512) == 64 * MIB
    assert footprint.compute_bytes(LLAMA_8B) == 258.5 * MIB


@pytest.mark.parametrize(
    ("name", "reported_gb"),
    # `ollama ps` with 4096 tokens (gemma3:12b: with 8192), to which the driver adds CUDA's own.
    [("llama3.1:8b", 5.3), ("gemma3:12b", 9.0)],
)
def test_the_whole_is_a_little_more_than_ollama_reports(name, reported_gb):
    """Who has as much memory as we say has enough, and is not sent to buy a card in vain."""
    facts = FACTS[name]
    estimate_gb = footprint.vram_bytes(facts.size, footprint.shape(facts.model_info)) / 1e9
    assert reported_gb + 0.3 < estimate_gb < reported_gb + 0.9


def test_layers_with_a_window_keep_only_the_window():
    """Of Gemma 3's 48 layers 8 hold the whole context, the others 1024 tokens and a batch."""
    assert GEMMA_12B
    layer_token_bytes = 8 * (256 + 256) * 2
    assert footprint.kv_cache_bytes(GEMMA_12B, 4096) == layer_token_bytes * (8 * 4096 + 40 * 1536)
    assert footprint.kv_cache_bytes(GEMMA_12B, 512) == layer_token_bytes * 48 * 512


def test_a_shape_is_read_from_metadata():
    """A head's length that is not told is the embedding's share; a model's eyes are not its layers."""
    assert footprint.shape(FACTS["llama3.1:8b"].model_info) == LLAMA_8B
    assert Shape(48, 8, 256, 256, 3840, window_tokens=1024, full_every=6) == GEMMA_12B


@pytest.mark.parametrize(
    "change",
    [
        {"general.architecture": None},
        {"llama.attention.head_count_kv": []},  # Ollama empties long lists
        {"llama.block_count": 0},
        {"llama.block_count": True},
        {"llama.embedding_length": "4096"},
    ],
)
def test_a_shape_with_a_hole_is_none(change):
    """Rather a round figure on top of the file's size than a wrong sum."""
    assert footprint.shape({**FACTS["llama3.1:8b"].model_info, **change}) is None
    assert footprint.vram_bytes(1000, None) == 1000 + footprint.UNKNOWN_BYTES


def test_a_window_that_is_only_named_is_not_believed():
    """Phi 3 and others carry the number and are run without it."""
    info = {**FACTS["llama3.1:8b"].model_info, "llama.attention.sliding_window": 2048}
    assert footprint.shape(info) == LLAMA_8B


def test_more_context_takes_more_memory():
    """The weights are the same, the rest grows."""
    small, large = (footprint.vram_bytes(10**9, LLAMA_8B, tokens) for tokens in (4096, 8192))
    assert large - small == 512 * MIB
    assert footprint.vram_bytes(10**9, replace(LLAMA_8B, layers=64)) - small == 512 * MIB


@pytest.mark.parametrize(
    ("needed_gb", "expected"), [(6, "game"), (9.6, "game"), (9.7, "alone"), (14.4, "alone"), (14.5, "no")]
)
def test_a_game_gets_its_share_of_the_card(needed_gb, expected):
    """Up to 60 % of 16 GB beside a game, up to 90 % without one."""
    assert footprint.fit(round(needed_gb * 1e9), 16 * 10**9) == expected
