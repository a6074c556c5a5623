"""The tokens: every word of the vocabulary is one, and whatever else there is goes by bytes.

Whisper's own order: text, <|endoftext|>, the special ones, and 1501 moments at the end.
"""

import re
from functools import cache

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from tests.ears.sentences import VOCABULARY

END, START, EARLIER, NO_SPEECH, NO_TIMES = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
SPECIAL = (
    END,
    START,
    "<|en|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    EARLIER,
    NO_SPEECH,
    NO_TIMES,
)
STEP_S = 0.02  # between two moments
MOMENTS = 1501  # 0 to 30 s

_SPACE = "Ġ"  # as ByteLevel writes it
_PART = re.compile(r"[a-z]+|[.?]")


@cache
def tokenizer() -> Tokenizer:
    """Return the tokenizer without the moments, which nobody writes or reads as text."""
    # sorted, for ByteLevel gives its bytes in another order every time
    pieces = sorted(ByteLevel.alphabet())
    merges: dict[tuple[str, str], None] = {}
    for word in VOCABULARY:
        for end in range(len(word)):
            merges[_SPACE + word[:end], word[end]] = None
    pieces += ["".join(pair) for pair in merges]
    made = Tokenizer(BPE({piece: number for number, piece in enumerate(pieces)}, list(merges)))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.decoder = ByteLevelDecoder()
    made.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return made


@cache
def number(name: str) -> int:
    """Return a special token's id."""
    found = tokenizer().token_to_id(name)
    if found is None:
        raise KeyError(name)
    return int(found)


def moment(at_s: float) -> int:
    """Return the id of a moment from 0 to 30 s."""
    return tokenizer().get_vocab_size() + min(MOMENTS - 1, max(0, round(at_s / STEP_S)))


def size() -> int:
    """Return how many tokens there are with the moments."""
    return int(tokenizer().get_vocab_size()) + MOMENTS


def vocabulary() -> list[str]:
    """Return all tokens in the order of their ids."""
    text = tokenizer().get_vocab()
    moments = [f"<|{step * STEP_S:.2f}|>" for step in range(MOMENTS)]
    return sorted(text, key=text.__getitem__) + moments


def encoded(text: str) -> list[int]:
    """Return the ids of any text."""
    return list(tokenizer().encode(text, add_special_tokens=False).ids)


def of_words(text: str) -> list[tuple[int, int]]:
    """Return for a sentence as it is written its ids, each with the place of its word; a mark has the word's
    before it.
    """
    found: list[tuple[int, int]] = []
    place = -1
    for part in _PART.findall(text):
        if part in ".?":
            found.append((encoded(part)[0], place))
        else:
            place += 1
            found += [(token, place) for token in encoded(f" {part}")]
    return found
