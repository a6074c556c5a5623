"""Tiny real models for the real llama.cpp: each says what the test has written down.

A Llama whose layers add nothing. A token's embedding marks the token alone, and the output matrix names
the one that follows it, so that the reply is a chain of tokens, sure at any temperature. It needs no
training, under 400 KB and a few milliseconds. Try it by hand: `python -m tests.fakes.gguf model.gguf`.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

REPLY = "Oh hello there, I am a tiny fox. I like snacks!"
END = "<|im_end|>"
QUIET = "<|quiet|>"  # ends the prompt of one who shall not think, in QUIET_TEMPLATE
UNKNOWN, STARTS = "<unk>", "<|im_start|>"

TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Like those of models that think unless told not to.
QUIET_TEMPLATE = TEMPLATE.replace(
    "assistant\n",
    "assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<|quiet|>{% else %}<think>\n{% endif %}",
)

LAYERS, HEADS, WIDTH, FEED_FORWARD = 2, 2, 128, 32
SURE = 100.0  # far beyond what temperature and penalties can blur


def write_gguf(
    path: Path,
    reply: str = REPLY,
    *,
    loop: bool = False,
    thoughts: str = "",
    template: str | None = TEMPLATE,
    architecture: str = "llama",
    context_tokens: int = 8192,
    vocab_padding: int = 0,
    width: int = WIDTH,
    layers: int = LAYERS,
    **metadata: Any,
) -> Path:
    """Write a model that answers every prompt with `reply` and ends; return `path`.

    loop: it says `reply` again and again, for ever. thoughts: what it thinks aloud first, unless the prompt
    ends with QUIET. vocab_padding: tokens that are never used. metadata: more keys of the file, a dot in
    their names written as two underscores (general__license="mit"); None leaves a key out.
    Each byte may stand only once in what words cannot express (one emoji, not two).
    """
    chain, thinking = pieces(reply), pieces(f"<think>{thoughts}</think>") if thoughts else []
    words = dict.fromkeys([*thinking, *chain])
    tokens = [UNKNOWN, STARTS, END, QUIET, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += [word for word in words if word not in tokens]
    tokens += [f"[pad {number}]" for number in range(vocab_padding)]
    ids = {token: number for number, token in enumerate(tokens)}
    said = [*thinking, *chain]
    follows = dict(zip(said, [*said[1:], chain[0] if loop else END], strict=True))
    follows[QUIET] = chain[0]
    keys = {
        f"{architecture}.context_length": context_tokens,
        f"{architecture}.block_count": layers,
        "tokenizer.chat_template": template,
        **{name.replace("__", "."): value for name, value in metadata.items()},
    }
    matrices = _embedded(ids, follows, width), _following(ids, follows, said[0], width)
    return _write(path, architecture, tokens, matrices, layers, keys)


def pieces(text: str) -> list[str]:
    """Cut text into tokens of which none comes twice: words, and bytes of what is not Latin."""
    found: list[str] = []
    for piece in re.findall(r"<\w+>|</\w+>| ?[!-~]+|[\s\S]", text):
        if ord(piece[-1]) > 126:
            found += [f"<0x{byte:02X}>" for byte in piece.encode()]
        elif piece in found and not found[-1].startswith("<0x"):
            found[-1] += piece
        else:
            found.append(piece)
    if len(found) != len(set(found)):
        raise ValueError(f"{text!r} would run in a circle")
    return found


def _places(follows: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Give each token of the chain a dimension of its own; the last stays for all others."""
    return ((token, place) for place, token in enumerate(follows))


def _embedded(ids: dict[str, int], follows: dict[str, str], width: int) -> np.ndarray:
    matrix = np.zeros((len(ids), width), np.float16)
    matrix[:, -1] = 1
    for token, place in _places(follows):
        matrix[ids[token]] = 0
        matrix[ids[token], place] = 1
    return matrix


def _following(ids: dict[str, int], follows: dict[str, str], first: str, width: int) -> np.ndarray:
    if len(follows) >= width:
        raise ValueError("the reply is too long")
    matrix = np.zeros((len(ids), width), np.float16)
    matrix[ids[first], -1] = SURE
    for token, place in _places(follows):
        matrix[ids[follows[token]], place] = SURE
    return matrix


def _write(
    path: Path,
    architecture: str,
    tokens: Sequence[str],
    matrices: tuple[np.ndarray, np.ndarray],
    layers: int,
    more: dict[str, Any],
) -> Path:
    embedding, output = matrices
    width = embedding.shape[1]
    writer = gguf.GGUFWriter(path, architecture)
    keys: dict[str, Any] = {
        "general.type": "model",
        "general.name": "Tiny Fox",
        "general.license": "cc0-1.0",
        "general.size_label": "50K",
        f"{architecture}.embedding_length": width,
        f"{architecture}.feed_forward_length": FEED_FORWARD,
        f"{architecture}.attention.head_count": HEADS,
        f"{architecture}.attention.head_count_kv": HEADS,
        f"{architecture}.rope.dimension_count": width // HEADS,
        f"{architecture}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{architecture}.vocab_size": len(tokens),
        "general.file_type": int(gguf.LlamaFileType.MOSTLY_F16),
        **more,
    }
    for name, value in keys.items():
        _add(writer, name, value)
    _add_tokenizer(writer, tokens)
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(width, np.float32))
    for layer in range(layers):
        _add_layer(writer, f"blk.{layer}", width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, name: str, value: Any) -> None:
    match value:
        case None:
            pass
        case str():
            writer.add_string(name, value)
        case int():
            writer.add_uint32(name, value)
        case float():
            writer.add_float32(name, value)
        case _:
            writer.add_array(name, value)


def _add_tokenizer(writer: gguf.GGUFWriter, tokens: Sequence[str]) -> None:
    """One of SentencePiece's kind, so that bytes stand in for whatever is no token."""
    kinds = {UNKNOWN: gguf.TokenType.UNKNOWN} | dict.fromkeys((STARTS, END, QUIET), gguf.TokenType.CONTROL)
    kinds |= {f"<0x{byte:02X}>": gguf.TokenType.BYTE for byte in range(256)}
    writer.add_tokenizer_model("llama")
    writer.add_token_list(list(tokens))
    writer.add_token_scores([0.0] * len(tokens))
    # Words of the user's are found in a prompt as a whole: her reply is in the history what it was before.
    writer.add_token_types([kinds.get(token, gguf.TokenType.USER_DEFINED) for token in tokens])
    writer.add_unk_token_id(tokens.index(UNKNOWN))
    writer.add_bos_token_id(tokens.index(STARTS))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(value=False)
    writer.add_add_space_prefix(value=False)


def _add_layer(writer: gguf.GGUFWriter, name: str, width: int) -> None:
    for norm in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"{name}.{norm}.weight", np.ones(width, np.float32))
    for square in ("attn_q", "attn_k", "attn_v", "attn_output"):
        writer.add_tensor(f"{name}.{square}.weight", np.zeros((width, width), np.float16))
    writer.add_tensor(f"{name}.ffn_gate.weight", np.zeros((FEED_FORWARD, width), np.float16))
    writer.add_tensor(f"{name}.ffn_up.weight", np.zeros((FEED_FORWARD, width), np.float16))
    writer.add_tensor(f"{name}.ffn_down.weight", np.zeros((width, FEED_FORWARD), np.float16))


def write_adapter(path: Path) -> Path:
    """Write a LoRA adapter: a GGUF, but no model."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 16.0)
    writer.add_tensor("blk.0.attn_q.weight.lora_a", np.zeros((4, WIDTH), np.float32))
    writer.add_tensor("blk.0.attn_q.weight.lora_b", np.zeros((WIDTH, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def main() -> None:
    """Write one for a run by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--reply", default=REPLY)
    args = parser.parse_args()
    print(write_gguf(args.path, args.reply), args.path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
