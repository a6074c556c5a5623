"""Where a reply ends although the model goes on: at a stop word, in a stream, pure.

Servers have stop words of their own; but there they are options of the request, and ours names the viewer,
so that every request would have other options than the warm-up.
"""


class StopWord:
    """Lets a stream through up to `word`, however the word is split over tokens."""

    def __init__(self, word: str) -> None:
        self._word = word
        self._held = ""  # may be the word's beginning
        self.reached = False

    def before(self, text: str) -> str:
        """Return what may be said now that `text` has come."""
        text = self._held + text
        said, found, _ = text.partition(self._word)
        if found:
            self.reached = True
            self._held = ""
            return said
        begun = next(n for n in range(len(self._word) - 1, -1, -1) if text.endswith(self._word[:n]))
        self._held = text[len(text) - begun :]
        return text[: len(text) - begun]

    def rest(self) -> str:
        """Return what was held back, at the end of the stream."""
        return self._held
