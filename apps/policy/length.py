"""Where a reply ends although the model goes on: after enough sentences. Pure."""

WORDS = 30  # in one sentence: about 12 s of speech
CHARACTERS = 8  # count as a word where no spaces part words

_MARKS = tuple(".!?…。！？")
_CLOSERS = """ "'”’»)]}」』）*_~`"""


class Length:
    """Ends a reply after a number of sentences, or after as many words as those may have together.

    Counts the pieces that a `Cutter` gives: a clause is part of its sentence, "Dr." and "3.14" end none.
    """

    def __init__(self, sentences: int) -> None:
        self._sentences = sentences
        self._words = sentences * WORDS

    def ends(self, piece: str) -> bool:
        """Whether `piece`, the next in order, is the last to be said."""
        self._sentences -= piece.rstrip(_CLOSERS).endswith(_MARKS)
        self._words -= max(len(piece.split()), len(piece) // CHARACTERS)
        return self._sentences <= 0 or self._words <= 0
