"""What a voice's model card says of its licence, and what that means for a stream that earns money.

Cards are short Markdown with a line `* License: ...` about the recordings, and a word on the training. Both
count: most of Piper's voices with free recordings were trained further from `lessac`, whose recordings
are for research only, so that nobody can promise that they are free.
Not legal advice: what the words leave open is UNKNOWN.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

LONGEST_WORDS = 60  # of a licence, as shown

# Trained from scratch on public-domain recordings, by their own cards: what is trained further from them
# is as free as its own recordings.
FREE_BASES = {"cori", "kristin", "ljspeech", "norman"}

_LICENCE = re.compile(r"^[\s*_-]*licen[cs]e[\s*_]*:(.*)$", re.IGNORECASE | re.MULTILINE)
_BASE = re.compile(r"(?:fine-?\s?tuned|trained further)\b[^\n]{0,60}?\bfrom\b([^\n]*)", re.IGNORECASE)

# On lower-case words with blanks for hyphens, slashes and underscores.
_NON_COMMERCIAL = re.compile(
    r"\bnc\b|non ?commercial|\bno[tn]?\b[a-z ]*\bcommercial|blizzard"
    r"|(?:research|academic|educational|personal)(?: use| purposes?)? only"
    r"|only for (?:research|academic|educational|personal)|\bresearch (?:licen[cs]e|purposes)"
)
_UNCLEAR = re.compile(r"\bnd\b|no ?deriv|\ba?gpl|\bnot\b|all rights reserved|\bexcept\b")
_ATTRIBUTION = re.compile(
    r"\bcc ?by\b|licenses by\b|\battribution\b|share ?alike|\bodc by\b|credit (?:is )?(?:required|must)"
)
_FREE = re.compile(
    r"public ?domain|\bcc ?0\b|(?:cc|commons) zero\b|librivox|\bunlicen[cs]e\b|\bpddl\b"
    r"|\bapache\b|\bbsd\b|\bisc\b|^mit\b(?: licen[cs]e)?$|\bmit licen[cs]e\b"
)


class Terms(StrEnum):
    """Whether a stream that earns money may use the voice."""

    FREE = "free"
    ATTRIBUTION = "attribution"  # when the recordings are credited
    NON_COMMERCIAL = "non-commercial"  # it may not
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Licence:
    """What a card says."""

    words: str  # the card's own, on one line; "unknown" where it has none
    terms: Terms
    why: str  # one sentence for the streamer


NO_CARD = Licence("unknown", Terms.UNKNOWN, "Its model card could not be read.")

_WHY = {
    Terms.FREE: "Free, also on a stream that earns money.",
    Terms.ATTRIBUTION: "Free, also on a stream that earns money, when you credit the recordings.",
    Terms.NON_COMMERCIAL: "Not for a stream that earns money, advertising and subscriptions included.",
    Terms.UNKNOWN: "Its licence is not clear: ask its makers before a stream earns money with it.",
}
_STRICTEST_FIRST = (Terms.NON_COMMERCIAL, Terms.UNKNOWN, Terms.ATTRIBUTION, Terms.FREE)


def licence(card: str) -> Licence:
    """Return what a model card says of the licence; of several lines the strictest counts."""
    said = [line.strip(" *_`\t\r") for line in _LICENCE.findall(card)]
    said = [line for line in said if line]
    if not said:
        return Licence("unknown", Terms.UNKNOWN, _WHY[Terms.UNKNOWN])
    words = _printable("; ".join(dict.fromkeys(said)))
    found = [terms(line) for line in said]
    if _NON_COMMERCIAL.search(_plain(card)):  # wherever it stands: under "Dataset", in the link
        found.append(Terms.NON_COMMERCIAL)
    strictest = min(found, key=_STRICTEST_FIRST.index)
    base = _foreign_base(card)
    if base and strictest in {Terms.FREE, Terms.ATTRIBUTION}:
        why = f"Its own recordings are free, but it was trained further from {base}, which may not be."
        return Licence(words, Terms.UNKNOWN, why)
    return Licence(words, strictest, _WHY[strictest])


def terms(words: str) -> Terms:
    """Return what a licence's name or address means; unknown words are UNKNOWN."""
    plain = _plain(words)
    for pattern, meaning in (
        (_NON_COMMERCIAL, Terms.NON_COMMERCIAL),
        (_UNCLEAR, Terms.UNKNOWN),
        (_ATTRIBUTION, Terms.ATTRIBUTION),
        (_FREE, Terms.FREE),
    ):
        if pattern.search(plain):
            return meaning
    return Terms.UNKNOWN


def _foreign_base(card: str) -> str:
    """Return the voice that this one was trained further from, unless that is free: "" then."""
    for rest in _BASE.findall(card):
        names = set(re.findall(r"\w+", rest.lower()))
        if not names & FREE_BASES:
            known = next((name for name in ("lessac", "ryan") if name in names), "")
            return known or "another voice"
    return ""


def _plain(text: str) -> str:
    return re.sub(r"[-_/\s]+", " ", text.lower()).strip()


def _printable(words: str) -> str:
    """On one line and of a bearable length; a card may hold anything, also a terminal's commands."""
    line = " ".join("".join(char if char.isprintable() else " " for char in words).split())
    return line if len(line) <= LONGEST_WORDS else f"{line[: LONGEST_WORDS - 1]}…"
