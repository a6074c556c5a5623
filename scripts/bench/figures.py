"""Figures, bars, and how they are printed."""

import json
import math
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import psutil


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; NaN of nothing."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)] if ranked else math.nan


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to stay under."""

    name: str
    figure: float
    limit: float
    unit: str

    @property
    def reached(self) -> bool:
        """Whether the figure is within the limit; a figure that could not be taken is not."""
        return self.figure <= self.limit


@dataclass
class Report:
    """What a bench has found."""

    bench: str
    figures: dict[str, float | None] = field(default_factory=dict)  # None: could not be taken
    notes: dict[str, str] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)

    def spread(self, name: str, values: Sequence[float]) -> None:
        """Keep p50, p95 and how many there were."""
        self.figures |= {
            f"{name}_p50": _rounded(percentile(values, 0.5)),
            f"{name}_p95": _rounded(percentile(values, 0.95)),
            f"{name}_count": len(values),
        }

    def bar(self, name: str, figure: float | None, limit: float | None, unit: str) -> None:
        """Hold a figure against its limit."""
        self.bars.append(Bar(name, _or_nan(figure), _or_nan(limit), unit))

    def show(self, *, as_json: bool) -> int:
        """Print it. Always 0: a bar that is not reached is a finding, not an error."""
        if as_json:
            bars = [
                {**asdict(bar), "figure": _rounded(bar.figure), "limit": _rounded(bar.limit)}
                | {"reached": bar.reached}
                for bar in self.bars
            ]
            head = {"bench": self.bench, "machine": machine()}
            print(json.dumps({**head, "figures": self.figures, "notes": self.notes, "bars": bars}))
            return 0
        for name, note in self.notes.items():
            print(f"{name}: {note}")
        for name, figure in self.figures.items():
            print(f"{name:<44} {'-' if figure is None else format(figure, 'g'):>10}")
        print(f"\n{'bar':<52} {'figure':>9} {'limit':>9}")
        for bar in self.bars:
            verdict = "PASS" if bar.reached else "FAIL"
            print(f"{bar.name:<52} {bar.figure:>9.2f} {bar.limit:>9.2f} {bar.unit:<3} {verdict}")
        return 0


def machine() -> dict[str, object]:
    """What the figures were taken on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": psutil.cpu_count(),
        "load_1_min": round(psutil.getloadavg()[0], 2),
    }


def progress(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
