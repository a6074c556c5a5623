"""A Whisper that babbles: random weights, of any size, in one language or several.

For what a trained model does not do on request: loop without end, know several languages, be as big as a real
one. It needs no torch.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ctranslate2.specs import WhisperSpec
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

MELS = 80
LETTERS = 256
MOMENTS = 1501
POSITIONS, MOST_TOKENS = 1500, 448


def babbler(
    folder: Path,
    languages: tuple[str, ...] = (),
    width: int = 16,
    layers: int = 1,
    heads: int = 2,
    texts: int = 400,
    seed: int = 1,
) -> Path:
    """Write a model to `folder` and return it. `texts`: how many tokens are text, letters among them."""
    tokenizer = _tokenizer(languages, texts)
    size = tokenizer.get_vocab_size()
    vocabulary = [tokenizer.id_to_token(number) for number in range(size)]
    vocabulary += [f"<|{step * 0.02:.2f}|>" for step in range(MOMENTS)]
    if languages:  # CTranslate2 takes a model with an empty token for one that knows several
        vocabulary[vocabulary.index("!")] = ""
    spec = _spec(len(vocabulary), width, layers, heads, np.random.default_rng(seed))
    spec.register_vocabulary(vocabulary)
    spec.config.suppress_ids = spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [tokenizer.token_to_id(f"<|{language}|>") for language in languages]
    spec.config.alignment_heads = [(layers - 1, head) for head in range(heads)]
    spec.validate()
    spec.optimize(quantization="int8")
    folder.mkdir(parents=True, exist_ok=True)
    spec.save(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS}))
    return folder


def _tokenizer(languages: tuple[str, ...], texts: int) -> Tokenizer:
    pieces = sorted(ByteLevel.alphabet())
    pieces += [f"Ġ{number}" for number in range(texts - len(pieces))]
    special = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{language}|>" for language in languages or ("en",)),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    made = Tokenizer(BPE({piece: number for number, piece in enumerate(pieces)}, []))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.decoder = ByteLevelDecoder()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return made


def _spec(size: int, width: int, layers: int, heads: int, chance: np.random.Generator) -> Any:
    def weight(*shape: int) -> Any:
        return (chance.standard_normal(shape, np.float32) / np.sqrt(width)).astype(np.float32)

    def linear(there: Any, *shape: int) -> None:
        there.weight, there.bias = weight(*shape), np.zeros(shape[0], np.float32)

    def norm(there: Any) -> None:
        there.gamma, there.beta = np.ones(width, np.float32), np.zeros(width, np.float32)

    def attention(there: Any, *sizes: int) -> None:
        norm(there.layer_norm)
        for part, count in zip(there.linear, sizes, strict=True):
            linear(part, count, width)

    def layer(there: Any) -> None:
        attention(there.self_attention, 3 * width, width)
        if hasattr(there, "attention"):
            attention(there.attention, width, 2 * width, width)
        norm(there.ffn.layer_norm)
        linear(there.ffn.linear_0, 4 * width, width)
        linear(there.ffn.linear_1, width, 4 * width)

    spec = WhisperSpec(layers, heads, layers, heads)
    linear(spec.encoder.conv1, width, MELS, 3)
    linear(spec.encoder.conv2, width, width, 3)
    spec.encoder.position_encodings.encodings = weight(POSITIONS, width)
    tokens = weight(size, width)
    tokens[:LETTERS] = tokens[-MOMENTS:] = 0  # it babbles whole words
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = tokens
    spec.decoder.position_encodings.encodings = weight(MOST_TOKENS, width)
    for part in (*spec.encoder.layer, *spec.decoder.layer):
        layer(part)
    norm(spec.encoder.layer_norm)
    norm(spec.decoder.layer_norm)
    return spec
