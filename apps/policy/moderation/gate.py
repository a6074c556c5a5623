"""The output gate: the only way from the model to a voice, a screen, the chat or memory.

It alone makes `Approved`. What it decides by today is whether the text can be said at all.
"""

import itertools
import unicodedata

from apps.shared.messages import Approved, Decision, fingerprint
from apps.shared.speakable import speakable

_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # of Unicode's bidi algorithm


class Gate:
    """Decides on one piece of text after the other, in one turn."""

    def __init__(self, turn_id: str) -> None:
        self._turn_id = turn_id
        self._numbers = itertools.count()

    def decide(self, text: str) -> tuple[Decision, Approved] | None:
        """Return the decision on record and the text that may pass; None when nothing in it can be said."""
        shown = _printable(text)
        spoken = speakable(shown)
        if not spoken:
            return None
        approved = Approved(
            text=shown,
            spoken=spoken,
            decision_id=f"{self._turn_id}.{next(self._numbers)}",
            sha256=fingerprint(shown, spoken),
        )
        decision = Decision(
            turn_id=self._turn_id,
            decision_id=approved.decision_id,
            action="allow",
            sha256=approved.sha256,
            rule="sayable",
        )
        return decision, approved


def _printable(text: str) -> str:
    """The text on one line, without what would disturb a caption."""
    return " ".join("".join(" " if _disturbs(char) else char for char in text).split())


def _disturbs(char: str) -> bool:
    """Controls, lone surrogates, unassigned, private use; and what turns the text after it around."""
    return unicodedata.category(char) in {"Cc", "Cs", "Cn", "Co"} or char in _TURNING
