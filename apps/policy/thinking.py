"""What a model thinks aloud, taken out of a stream: pure, however its tags are split over tokens.

Known are <think>, <thinking>, <thought>, <reasoning> and <seed:think>, [THINK] (Magistral), ◁think▷ (Kimi),
<|START_THINKING|> (Command), <|channel>...<channel|> (Gemma) and the channels of gpt-oss, of which only
"final" is for saying:

    <|channel|>analysis<|message|>a thought<|end|><|start|>assistant<|channel|>final<|message|>the reply

In case of doubt nothing is said: a thought within a thought must be closed as well, and one that is never
closed lasts to the end.
"""

import re
from enum import Enum, auto

from apps.shared.errors import EngineError

THINKING_FIX = (
    "Choose a model that answers without thinking first (an instruct model), or turn its thinking off."
)

NAMES = ("think", "thinking", "thought", "reasoning", "seed:think")
ATTRIBUTES = 64  # characters that may stand behind a tag's name
BLANK = 16  # white space at a reply's start that waits for whether a thought follows


class _Kind(Enum):
    OPEN = auto()
    CLOSE = auto()
    HEADER = auto()  # a message's role or channel follows
    MESSAGE = auto()  # its text follows
    END = auto()
    NOTHING = auto()  # is only never said


_LITERALS = {
    "[think]": _Kind.OPEN,
    "[/think]": _Kind.CLOSE,
    "◁think▷": _Kind.OPEN,
    "◁/think▷": _Kind.CLOSE,
    "<|start_thinking|>": _Kind.OPEN,
    "<|end_thinking|>": _Kind.CLOSE,
    "<|start_response|>": _Kind.NOTHING,
    "<|end_response|>": _Kind.NOTHING,
    "<|channel>": _Kind.OPEN,
    "<channel|>": _Kind.CLOSE,
    "<|start|>": _Kind.HEADER,
    "<|channel|>": _Kind.HEADER,
    "<|message|>": _Kind.MESSAGE,
    "<|end|>": _Kind.END,
    "<|return|>": _Kind.END,
    "<|call|>": _Kind.END,
}
_SAID = ("final", "assistant")  # a message that names no channel is the assistant's reply


def _any(texts: set[str]) -> str:
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))


def _beginnings(texts: tuple[str, ...]) -> set[str]:
    return {text[:n] for text in texts for n in range(len(text))}


# No tag holds a character that begins one, so only the last of these in a text can begin an unfinished tag.
_FIRST = re.compile(r"[<\[◁]")
_FLAGS = re.IGNORECASE | re.ASCII
_BEHIND = rf"(?:\s[^<>\[◁]{{0,{ATTRIBUTES}}})?"
_SLASH = r"<\s{0,2}(/?)\s{0,2}"
_NAMED = rf"{_SLASH}(?:{_any(set(NAMES))}){_BEHIND}(/?)>"
_TAG = re.compile(rf"{_NAMED}|(?:{_any(set(_LITERALS))})", _FLAGS)
_BEGUN = re.compile(
    rf"{_SLASH}(?:{_any(_beginnings(NAMES))}|(?:{_any(set(NAMES))}){_BEHIND}/?)"
    rf"|(?:{_any(_beginnings(tuple(_LITERALS)) - {''})})",
    _FLAGS,
)


class Thoughts:
    """Lets through what stands outside of thoughts.

    Text without tags passes unchanged. A thought takes the white space with it that stood at the reply's
    start, and leaves a space where it parted two words. Held back are at most an unfinished tag (the longest,
    with its attributes, has 83 characters) and 16 characters of white space at the start.
    """

    def __init__(self) -> None:
        self.orphan = (
            False  # words were let through that turned out to be a thought: one ended, none had begun
        )
        self.dropped = 0  # characters of thoughts and tags so far
        self._depth = 0  # thoughts within thoughts
        self._header: str | None = None  # the beginning of a message's role or channel
        self._silent = False  # the message's channel is not for saying
        self._opened = False  # a thought or a message has begun
        self._closed = False  # a thought ended that had not begun
        self._held = ""  # may be the beginning of a tag
        self._spoken = _Spoken()

    @property
    def inside(self) -> bool:
        """Whether what comes next belongs to a thought."""
        return self._depth > 0 or self._silent or self._header is not None

    def outside(self, text: str) -> str:
        """Return what may be said now that `text` has come.

        When `orphan` turns true in this call, what is returned is only what stands after the thought.
        """
        text, self._held = self._held + text, ""
        if not _FIRST.search(text):
            return self._pass(text)
        said: list[str] = []
        done = 0
        for tag in _TAG.finditer(text):
            said.append(self._pass(text[done : tag.start()]))
            done = tag.end()
            if self._meet(tag):
                said.clear()
        begun = max(text.rfind(first, done) for first in "<[◁")
        if begun >= 0 and _BEGUN.fullmatch(text, begun):
            text, self._held = text[:begun], text[begun:]
        said.append(self._pass(text[done:]))
        return "".join(said)

    def rest(self) -> str:
        """Return what was held back and became no tag, at the end of the stream."""
        text, self._held = self._held, ""
        return self._pass(text) + self._spoken.rest()

    def _pass(self, text: str) -> str:
        if not self.inside:
            return self._spoken.goes_on(text)
        self.dropped += len(text)
        if self._header is not None:
            self._header = (self._header + text).lstrip()[: len("assistant")]
        return ""

    def _meet(self, tag: re.Match[str]) -> bool:
        """Go into or out of a thought; return whether what was said so far turns out to be one."""
        self.dropped += len(tag[0])
        self._spoken.tag()
        kind = _LITERALS.get(tag[0].lower()) or (_Kind.CLOSE if tag[1] else _Kind.OPEN)
        if kind is _Kind.OPEN and not tag[2]:
            self._depth += 1
            self._opened = True
        elif kind is _Kind.CLOSE and self._depth:
            self._depth -= 1
        elif kind is _Kind.CLOSE and not self.inside:
            return self._is_orphan()
        elif kind is _Kind.HEADER:
            self._header = ""
        elif kind is _Kind.MESSAGE and self._header is not None:
            return self._message(self._header.lower())
        elif kind is _Kind.END:
            self._header, self._silent = None, False
        return False

    def _message(self, name: str) -> bool:
        self._header, self._silent = None, not name.startswith(_SAID)
        first, self._opened = not self._opened, True
        return first and not self._silent and self._spoken.begun and self._is_orphan()

    def _is_orphan(self) -> bool:
        if self._closed:  # the template opens one thought; a second such tag is a slip
            return False
        self._closed = True
        self.orphan = self._spoken.begun
        if self.orphan:
            self._spoken = _Spoken()
            self._spoken.tag()
        return self.orphan


class _Spoken:
    """The white space around thoughts."""

    def __init__(self) -> None:
        self.begun = False
        self._blank = ""  # held at the start
        self._tagged = False
        self._seam = False  # a tag stood between what was said and what comes
        self._spaced = False  # what was said ends with white space

    def tag(self) -> None:
        """Note that a tag stood here."""
        self._tagged = self._seam = True
        self._blank = ""

    def goes_on(self, text: str) -> str:
        """Return what may be said of `text`."""
        if not self.begun:
            text = self._start(text)
        elif text and self._seam and not self._spaced and not text[0].isspace():
            text = f" {text}"
        if text:
            self.begun, self._seam, self._spaced = True, False, text[-1].isspace()
        return text

    def rest(self) -> str:
        """Return the white space of a reply that is nothing else."""
        return self._blank

    def _start(self, text: str) -> str:
        if self._tagged:
            return text.lstrip()
        text, self._blank = self._blank + text, ""
        if text.isspace() and len(text) <= BLANK:
            text, self._blank = "", text
        return text


def thinks_aloud() -> EngineError:
    """Say that there were thoughts, which are never spoken, where an answer should have been."""
    return EngineError(
        "thinks_aloud", "the model thinks aloud, and did not come to an answer", fix=THINKING_FIX
    )
