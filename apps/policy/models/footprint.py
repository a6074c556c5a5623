"""How much graphics memory a model takes, pure: estimated from its file's size and its shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from apps.policy.prompt import CONTEXT_TOKENS

NUMBER_BYTES = 2  # the KV cache holds 16-bit numbers unless Ollama is told otherwise
BATCH_TOKENS = 512  # how many tokens llama.cpp evaluates at a time
RUNTIME_BYTES = 300_000_000  # what CUDA keeps for itself in a process; 250 to 500 MB by card and driver
UNKNOWN_BYTES = 1_500_000_000  # what comes on top of the file's size when the shape is not known
LARGEST_VOCABULARY = 262_144  # in use today; Ollama does not tell it for every model

# Of these families' layers every n-th sees the whole context, the others a window of it. Others that name a
# window (phi3, mistral, qwen2) are run without it.
FULL_EVERY = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gptoss": 2, "gpt-oss": 2, "cohere2": 4, "llama4": 4}

# Above the first the game gets too little, above the second the card is full and the processor has to help.
GAME_SHARE = 0.6
FULL_SHARE = 0.9

Fit = Literal["game", "alone", "no"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model's build decides how much memory it takes beside its weights."""

    layers: int
    kv_heads: int  # in each layer
    key_length: int  # numbers in each head
    value_length: int
    embedding_length: int
    vocabulary: int = LARGEST_VOCABULARY
    window_tokens: int = 0  # 0: every layer sees the whole context
    full_every: int = 1


def vram_bytes(file_bytes: int, shape: Shape | None, context_tokens: int = CONTEXT_TOKENS) -> int:
    """Estimate the graphics memory that a model takes with all of its layers on the card.

    The weights as they lie in the file, the KV cache, the compute buffer, CUDA's own. For Llama 3.1 8B
    Q4_K_M llama.cpp's log says: weights 4403 MiB (and 282 MiB more that stay in the computer's memory),
    KV 512 MiB with 4096 tokens, compute buffer 258.5 MiB; a little high is the better side to err on.
    """
    if shape is None:
        return file_bytes + UNKNOWN_BYTES
    return file_bytes + kv_cache_bytes(shape, context_tokens) + compute_bytes(shape) + RUNTIME_BYTES


def kv_cache_bytes(shape: Shape, context_tokens: int) -> int:
    """Return the size of the KV cache: a key and a value for each token in each head of each layer.

    A layer with a window keeps the window and one batch beside it, as llama.cpp does.
    """
    token_bytes = shape.kv_heads * (shape.key_length + shape.value_length) * NUMBER_BYTES
    full = shape.layers // shape.full_every if shape.window_tokens else shape.layers
    window = min(context_tokens, shape.window_tokens + BATCH_TOKENS)
    return token_bytes * (full * context_tokens + (shape.layers - full) * window)


def compute_bytes(shape: Shape) -> int:
    """Return the size of llama.cpp's compute buffer: a batch's logits and its input, in 32-bit numbers.

    Its other intermediate results take turns in the same memory, and are smaller.
    """
    return BATCH_TOKENS * (shape.vocabulary + shape.embedding_length) * 4


def shape(info: Mapping[str, object]) -> Shape | None:
    """Read a shape from GGUF metadata, as Ollama's /api/show gives it; None when something is missing.

    Ollama empties long lists, which some models have in place of one number for all layers.
    """
    family = info.get("general.architecture")
    if not isinstance(family, str):
        return None

    def number(key: str) -> int:
        value = info.get(f"{family}.{key}")
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    embedding, heads = number("embedding_length"), number("attention.head_count")
    head_length = number("attention.key_length") or (embedding // heads if heads else 0)
    window = number("attention.sliding_window") if family in FULL_EVERY else 0
    found = Shape(
        layers=number("block_count"),
        kv_heads=number("attention.head_count_kv"),
        key_length=head_length,
        value_length=number("attention.value_length") or head_length,
        embedding_length=embedding,
        vocabulary=number("vocab_size") or LARGEST_VOCABULARY,
        window_tokens=window,
        full_every=FULL_EVERY[family] if window else 1,
    )
    needed = (found.layers, found.kv_heads, found.key_length, found.embedding_length)
    return found if all(needed) else None


def fit(needed_bytes: int, card_bytes: int) -> Fit:
    """Tell whether a model fits a card: beside a game, only without one, or not as a whole."""
    share = needed_bytes / card_bytes
    return "game" if share <= GAME_SHARE else "alone" if share <= FULL_SHARE else "no"
