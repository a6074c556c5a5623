"""A pull as it goes on: a bar on a terminal, a line for every tenth elsewhere."""

import sys
from types import TracebackType
from typing import Never, Protocol, Self, TextIO

from tqdm import tqdm

from apps.policy.models.pulling import Progress

STEPS = 10  # lines for a whole download, where there is no terminal


class View(Protocol):
    """Shows progress; a context manager."""

    def show(self, now: Progress) -> None:
        """Show how far it is."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def view(name: str, stream: TextIO | None = None) -> View:
    """Return the view that suits the stream (standard error, unless told)."""
    stream = stream or sys.stderr
    return Bar(name, stream) if stream.isatty() else Lines(name, stream)


class Bar:
    """One bar for all layers."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream = name, stream
        self._bar: tqdm[Never] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, now: Progress) -> None:
        """Move the bar; it appears with the first layer, where an earlier pull has left off."""
        if self._bar is None:
            if not now.total_bytes:
                return
            self._bar = tqdm(
                desc=self._name, total=now.total_bytes, initial=now.done_bytes, file=self._stream,
                unit="B", unit_scale=True, dynamic_ncols=True,
            )  # fmt: skip
        self._bar.total = now.total_bytes
        self._bar.update(now.done_bytes - self._bar.n)
        if not now.status.startswith("pulling"):
            self._bar.set_description_str(f"{self._name}: {now.status}")


class Lines:
    """A line when a new state begins, and one for every tenth of the download."""

    def __init__(self, name: str, stream: TextIO) -> None:
        self._name, self._stream = name, stream
        self._state = ""
        self._step = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def show(self, now: Progress) -> None:
        """Write a line, if it says something new."""
        if now.total_bytes and now.status.startswith("pulling"):
            step = now.done_bytes * STEPS // now.total_bytes
            if step > self._step:  # the small layers that follow the large one are no news
                self._step = step
                self._write(f"{step * 100 // STEPS} % of {now.total_bytes / 1e9:.1f} GB")
        elif now.status != self._state:
            self._state = now.status
            self._write(now.status)

    def _write(self, words: str) -> None:
        print(f"{self._name}: {words}", file=self._stream, flush=True)
