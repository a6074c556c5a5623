"""Downloads on the terminal: a bar where somebody watches, plain lines where a file or a pipe does."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from tqdm import tqdm

from apps.shared.download import Progress

STEPS = 4  # plain lines from the first byte to the last


@contextlib.contextmanager
def shown(name: str) -> Iterator[Callable[[Progress], None]]:
    """Show how far the download called `name` is, on standard error, by what the given function is told."""
    if sys.stderr.isatty():
        with tqdm(desc=name, unit="B", unit_scale=True, leave=True) as bar:
            yield lambda progress: _draw(bar, progress)
    else:
        lines = _Lines(name)
        yield lines.tell


@contextlib.contextmanager
def counted(name: str) -> Iterator[Callable[[int, int], None]]:
    """Show how many of how many there are, to somebody who watches; nothing where nothing is told."""
    with contextlib.ExitStack() as stack:
        bars: list[tqdm[Any]] = []

        def tell(done: int, of: int) -> None:
            if not bars:
                bar = tqdm(desc=name, total=of, leave=False, disable=not sys.stderr.isatty())
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].n)

        yield tell


def _draw(bar: "tqdm[Any]", progress: Progress) -> None:
    if progress.trouble:
        bar.write(f"{progress.trouble}; trying again", file=sys.stderr)
        return
    if bar.total is None:  # what an earlier call got says nothing about the speed of this one
        bar.reset(progress.total_bytes)
        bar.n = bar.initial = progress.done_bytes
        bar.refresh()
    bar.update(progress.done_bytes - bar.n)


class _Lines:
    """Says how far it is at every quarter, and every trouble."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._step = -1

    def tell(self, progress: Progress) -> None:
        if progress.trouble:
            print(f"{self._name}: {progress.trouble}; trying again", file=sys.stderr)
        if not progress.total_bytes:
            return
        step = progress.done_bytes * STEPS // progress.total_bytes
        if step != self._step:
            self._step = step
            print(
                f"{self._name}: {100 * step // STEPS} % of {progress.total_bytes / 1e6:.1f} MB",
                file=sys.stderr,
            )
