"""What a voice should say for a written line of English.

    speakable("GG @Dark_Fox99!!! that's a 3-0 *waves* https://example.com/x?y=1")
    -> "good game Dark Fox! that's a three to zero a link to example dot com"

The stages run in this order, each a file of its own: `clean` (code points), `markup.audible` (what is never
said goes), `numbers.in_words`, `chat.plain_words`, and `tidy`, which lets only letters and a voice's
punctuation through. Whatever a stage takes out leaves a space, so that no stage can make work for an earlier
one: `speakable(speakable(x)) == speakable(x)`.
"""

import re
import unicodedata

import emoji

from apps.shared.speakable import chat, markup, numbers

__all__ = ["letters", "speakable", "warm"]

warm = numbers.warm

_LETTER = r"[^\W\d_]"
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛`´ʼ", "'"),
        **dict.fromkeys("“”„‟«»", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        **dict.fromkeys("—―", " - "),
        **dict.fromkeys("。｡", ". "),
        **dict.fromkeys("、،", ", "),
        **dict.fromkeys("\r\v\f\x85\u2028\u2029", "\n"),
        "؟": "?",
        "؛": ";",
        "⁄": "/",
        "²": " squared",  # NFKC would make "10²" into 102
        "³": " cubed",
    }
)
del _TYPOGRAPHY[ord("`")]  # a code span's; markup knows better
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_VULGAR_FRACTION = re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])")
_UNVOICED = re.compile(r"[^\w\s.,!?;:'-]|_")
_LOOSE = re.compile(rf"(?<!{_LETTER})['-]|['-](?!{_LETTER})")
_ELLIPSIS_INSIDE = re.compile(r"\.{2,}(?=\s*[a-z])")
_DASH = re.compile(r"\s-{1,3}\s|--+")
_PUNCTUATION = re.compile(r"[ .,!?;:]+")


def speakable(text: str) -> str:
    """Return the words to say, "" when there are none.

    Takes any str (lone surrogates and control characters too), never raises, and needs time in proportion
    to the text. The result has letters of any script, single spaces, `'` and `-` inside words, and
    `. , ! ? ; :` before a space or the end; no digits.
    """
    text = markup.audible(clean(text))
    if not any(map(str.isalnum, text)):
        return ""
    return tidy(chat.plain_words(numbers.in_words(text)))


def letters(text: str) -> int:
    """Return how many letters and digits of `text` are for saying: 0 exactly when nothing is.

    Cheaper than `speakable` (no numbers, no `inflect`): made for asking while text still streams in.
    """
    return sum(map(str.isalnum, markup.audible(clean(text))))


def clean(text: str) -> str:
    """Return plain characters: emoji and controls gone, fancy letters, quotes, dashes and digits plain."""
    if text.isascii():
        return _CONTROL.sub(" ", text.replace("\r", "\n")).strip()
    text = emoji.replace_emoji(markup.without_faces(text), " ")  # before NFKC, which makes letters of some
    text = _VULGAR_FRACTION.sub(" ", text).translate(_TYPOGRAPHY)
    text = unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY)
    return _CONTROL.sub(" ", _only_characters(text)).strip()


def tidy(text: str) -> str:
    """Return letters and a voice's punctuation: runs reduced to one mark, one space after it.

    Brackets become commas and an ellipsis inside a sentence too: espeak-ng, which Piper's voices read
    with, makes no pause at either.
    """
    text = _ELLIPSIS_INSIDE.sub(", ", text.replace("\n", " . "))
    text = _DASH.sub(", ", re.sub(r"[()]", ", ", text))
    text = _UNVOICED.sub(" ", text) if text.isascii() else "".join(map(_voiced, text))
    text = _LOOSE.sub(" ", text)
    text = _PUNCTUATION.sub(_strongest, " ".join(text.split())).strip(" ").lstrip(" .,!?;:")
    return text if text.isascii() else unicodedata.normalize("NFKC", _only_characters(text))


def _strongest(run: re.Match[str]) -> str:
    return next((f"{mark} " for mark in "?!.;:," if mark in run[0]), " ")


def _voiced(character: str) -> str:
    category = unicodedata.category(character)[0]
    return character if category in "LM" or character in " \t.,!?;:'-" else " "


def _only_characters(text: str) -> str:
    """Drop what has no sound, and the marks that would pile up: at most two, and only on a letter."""
    kept: list[str] = []
    marks = 2  # as if full: a mark at the start has no letter to sit on
    for character in text:
        category = unicodedata.category(character)
        if category[0] == "M":
            marks += 1
            if marks <= 2:
                kept.append(character)
        elif category == "Nd":
            marks = 2
            kept.append(str(unicodedata.digit(character)))
        elif category != "Cf":  # zero-width and direction marks part nothing
            marks = 0 if category[0] == "L" else 2
            kept.append(" " if category in {"Cs", "Co", "Cn"} else character)
    return "".join(kept)
