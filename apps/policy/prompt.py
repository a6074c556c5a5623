"""The prompt, pure: what the model is shown, stable prefix first.

Order: the persona's system text, then the history, which only ever grows at its end, then the line to be
answered; whatever changes from turn to turn belongs behind all that. A model server re-evaluates only what
follows the longest prefix it has seen, so one new line costs about 30 tokens; dropping the oldest line
would cost the whole prompt again (measured: 527 of 545 tokens).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from apps.policy.persona import Persona

# Limits are in bytes of UTF-8 because no tokenizer makes more than one token of a byte: whatever viewers
# write, 500 hieroglyphs each if they like, the prompt fits into 4096 tokens with 500 for the persona.
CONTEXT_TOKENS = 4096  # what every model is asked to take
NAME_LIMIT_BYTES = 64
LINE_LIMIT_BYTES = 1000  # a Twitch message has at most 500 characters
HISTORY_LIMIT_BYTES = 2300  # some twenty exchanges
TURN_TOKENS = 24  # what chat templates put around a line and its answer
SILENCE = "..."  # some templates join neighbours of one role, so every turn must say something
STREAMER = "streamer"  # the lane of what the microphone heard, and the mark that tells it from chat
_NOT_IN_NAMES = str.maketrans(":()", "   ")


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody said to her."""

    user: str  # display name
    text: str
    lane: str  # see apps.shared.messages.Lane


@dataclass(frozen=True, slots=True)
class Exchange:
    """A line and what she was really heard to answer."""

    line: Line
    reply: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """Everything a brain may know for one reply."""

    persona: Persona
    history: tuple[Exchange, ...]  # oldest first
    line: Line


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """Render for a chat API, as `{"role", "content"}`: system, then user and assistant in turns, user last.

    Byte-stable: the messages of a prompt are what those of the next begin with, once its line and her
    answer have become the newest exchange.
    """
    return list(_messages(prompt))


def _messages(prompt: Prompt) -> Iterator[dict[str, str]]:
    yield {"role": "system", "content": prompt.persona.system}
    for exchange in prompt.history:
        yield {"role": "user", "content": spoken(exchange.line)}
        yield {"role": "assistant", "content": plain(exchange.reply) or SILENCE}
    yield {"role": "user", "content": spoken(prompt.line)}


def spoken(line: Line) -> str:
    """Write a line as the model reads it: `NAME: text`, or `NAME (streamer): text` when it was spoken."""
    return f"{speaker(line)}: {_cut(plain(line.text), LINE_LIMIT_BYTES) or SILENCE}"


def speaker(line: Line) -> str:
    """Return the name as the model reads it; a colon or a mark in it would let one speak as another."""
    name = _cut(plain(line.user.translate(_NOT_IN_NAMES)), NAME_LIMIT_BYTES)
    if line.lane != STREAMER:
        return name or "someone"
    return f"{name} ({STREAMER})" if name and name.casefold() != STREAMER else STREAMER


def _cut(text: str, limit_bytes: int) -> str:
    return text.encode()[:limit_bytes].decode(errors="ignore")


def trimmed(history: tuple[Exchange, ...], limit_bytes: int = HISTORY_LIMIT_BYTES) -> tuple[Exchange, ...]:
    """Drop the oldest half, again and again, until the rest fits; unchanged when it does already.

    Half at once, so that the prefix stays the same for many turns. The caller goes on with what it gets.
    """
    while sum(map(_size_bytes, history)) > limit_bytes:
        history = history[(len(history) + 1) // 2 :]
    return history


def _size_bytes(exchange: Exchange) -> int:
    return len(f"{spoken(exchange.line)}{plain(exchange.reply)}".encode()) + TURN_TOKENS


# Control characters, halves of surrogate pairs (no UTF-8 for them), and tag characters, which people do
# not see and models read.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\U000e0000-\U000e007f]")

# What opens a control token in one chat template or another: <|im_start|>, <start_of_turn>, </s>, <<SYS>>,
# [INST]. Tokenizers read them out of plain text too. Hearts (<3) and faces (>_<) stay as they are.
_OPENING = re.compile(r"<(?=[a-z/|｜<!])|\[(?=/?[A-Z_]{4,}\])", re.IGNORECASE)


def plain(text: str) -> str:
    """Make outside text harmless: one line, nothing unseen, a zero-width space inside control tokens."""
    # In this order: what is dropped or joined here must not put a control token together.
    text = " ".join(_UNSEEN.sub("", text).split())
    return _OPENING.sub("\\g<0>\u200b", text)
