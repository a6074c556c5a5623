"""Whisper's network at a fortieth of its smallest size, which also tells where in the sound it listens."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

WIDTH = 96
HEADS = 4
GUIDED_HEADS = 2  # of the last layer: they are taught where to listen, and tell when a word was said
LAYERS = 2  # of the encoder, and as many of the decoder
MELS = 80
LONGEST = 1500  # positions of the encoder, 20 ms each
MOST_TOKENS = 448


class Module(nn.Module):  # type: ignore[misc]  # torch is not there where the types are checked
    """See torch."""


class Attention(Module):
    """Attention of one sequence on itself or on another; query, key and value as CTranslate2 packs them."""

    def __init__(self, on_itself: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.into = nn.ModuleList(
            [nn.Linear(WIDTH, 3 * WIDTH)]
            if on_itself
            else [nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH)]
        )
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Any, heard: Any = None, causal: bool = False) -> tuple[Any, Any]:
        """Return what is to be added to x, and with `heard` the weights (batch, heads, tokens, positions)."""
        normed = self.norm(x)
        if heard is None:
            query, key, value = map(_heads, self.into[0](normed).chunk(3, -1))
            seen = scaled_dot_product_attention(query, key, value, is_causal=causal)
            return self.out(_joined(seen)), None
        query = _heads(self.into[0](normed))
        key, value = map(_heads, self.into[1](heard).chunk(2, -1))
        weights = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(WIDTH / HEADS), -1)
        return self.out(_joined(weights @ value)), weights


class Layer(Module):
    """One layer of the encoder or the decoder."""

    def __init__(self, listens: bool) -> None:
        super().__init__()
        self.itself = Attention(on_itself=True)
        self.sound = Attention(on_itself=False) if listens else None
        self.norm = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any, heard: Any = None) -> tuple[Any, Any]:
        """Return the next x, and the weights if the layer listens."""
        weights = None
        x = x + self.itself(x, causal=self.sound is not None)[0]
        if self.sound is not None:
            added, weights = self.sound(x, heard)
            x = x + added
        return x + self.down(gelu(self.up(self.norm(x)))), weights


class Network(Module):
    """Mel frames to hidden states, and tokens so far to the next ones."""

    def __init__(self, tokens: int, words: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(MELS, WIDTH, 3, padding=1)
        self.conv2 = nn.Conv1d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.register_buffer("places", _sinusoids())
        self.encoder = nn.ModuleList(Layer(listens=False) for _ in range(LAYERS))
        self.encoder_norm = nn.LayerNorm(WIDTH)
        self.tokens = nn.Embedding(tokens, WIDTH)
        self.token_places = nn.Parameter(torch.randn(MOST_TOKENS, WIDTH) * 0.02)
        self.decoder = nn.ModuleList(Layer(listens=True) for _ in range(LAYERS))
        self.decoder_norm = nn.LayerNorm(WIDTH)
        # For training only: which word is being said at each position; 0 is none.
        self.word_at = nn.Linear(WIDTH, words + 1)
        nn.init.normal_(self.tokens.weight, std=0.05)

    def encode(self, mels: Any) -> Any:
        """Return hidden states (batch, positions, WIDTH) for mels (batch, MELS, 2 * positions)."""
        x = gelu(self.conv2(gelu(self.conv1(mels)))).transpose(1, 2)
        x = x + self.places[: x.shape[1]]
        for layer in self.encoder:
            x, _ = layer(x)
        return self.encoder_norm(x)

    def decode(self, ids: Any, heard: Any) -> tuple[Any, Any]:
        """Return scores (batch, tokens, vocabulary) and the last layer's weights, see Attention."""
        x = self.tokens(ids) + self.token_places[: ids.shape[1]]
        weights = None
        for layer in self.decoder:
            x, weights = layer(x, heard)
        return self.decoder_norm(x) @ self.tokens.weight.T, weights


def _heads(x: Any) -> Any:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def _joined(x: Any) -> Any:
    return x.transpose(1, 2).flatten(2)


def _sinusoids() -> Any:
    """Return Whisper's positions: sines, then cosines, of wavelengths up to 10,000."""
    pairs = WIDTH // 2
    turns = torch.exp(-math.log(10_000) / (pairs - 1) * torch.arange(pairs))
    angles = torch.arange(LONGEST)[:, None] * turns[None]
    return torch.cat([angles.sin(), angles.cos()], 1)
