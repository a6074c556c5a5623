"""Recorded voice probabilities of whole scenes, and how well an endpointer divides them into utterances."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from apps.asr_worker.endpoint import Began, Ended, Endpointer, Event, Patience
from apps.asr_worker.sound import FRAME_S

FOLDER = Path(__file__).parent.parent / "data" / "traces"
TOUCHES_S = 0.05  # an utterance that lies over so much of a line is of it

Spans = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Trace:
    """One scene: what was said when, and what the detectors made of each frame of FRAME_S."""

    spoken: Spans  # seconds
    silero: list[float]  # 0..1
    webrtc: list[float]
    level_db: list[int]  # RMS, of full scale

    def save(self, name: str) -> None:
        rows = {
            "spoken": " ".join(f"{start:.3f}-{end:.3f}" for start, end in self.spoken),
            "silero": " ".join(f"{100 * value:.0f}" for value in self.silero),
            "webrtc": " ".join(f"{100 * value:.0f}" for value in self.webrtc),
            "level_db": " ".join(map(str, self.level_db)),
        }
        (FOLDER / f"{name}.json").write_text(json.dumps(rows, indent=0) + "\n", "utf-8")

    @classmethod
    def load(cls, name: str) -> "Trace":
        rows = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        spans = [span.split("-") for span in rows["spoken"].split()]
        return cls(
            spoken=[(float(start), float(end)) for start, end in spans],
            silero=[int(value) / 100 for value in rows["silero"].split()],
            webrtc=[int(value) / 100 for value in rows["webrtc"].split()],
            level_db=[int(value) for value in rows["level_db"].split()],
        )


def follow(probabilities: Iterable[float], patience: Patience | None = None) -> list[Event]:
    """Return what happens in a scene and three seconds of silence behind it; nobody reads what is said."""
    endpointer = Endpointer(patience or Patience())
    frames = [*probabilities, *[0.0] * round(3 / FRAME_S)]
    return [event for place, value in enumerate(frames) for event in endpointer.feed(value, place * FRAME_S)]


@dataclass(frozen=True, slots=True)
class Score:
    """found: lines that an utterance lies over; false: utterances without a line; merged: lines too many in
    one utterance; split: utterances too many in one line; late_s: medians over the lines found one to one.
    """

    lines: int
    found: int
    false: int
    merged: int
    split: int
    start_late_s: float  # from the first sound to the start that is told,
    began_late_s: float  # and to the telling
    end_late_s: float  # from the last sound to the end that is told,
    ended_late_s: float  # and to the telling

    def __str__(self) -> str:
        late = [f"{1000 * value:4.0f}" for name, value in asdict(self).items() if name.endswith("_s")]
        return f"{self.found:2}/{self.lines} {self.false:5} {self.merged:6} {self.split:5}   {' '.join(late)}"


def score(events: list[Event], spoken: Spans) -> Score:
    began = [event for event in events if isinstance(event, Began)]
    ended = [event for event in events if isinstance(event, Ended)]
    lines = [_touched(utterance, spoken) for utterance in ended]
    in_line = Counter(line for touched in lines for line in touched)
    late: dict[str, list[float]] = {"start": [], "began": [], "end": [], "ended": []}
    for start, utterance, touched in zip(began, ended, lines, strict=True):
        if len(touched) != 1 or in_line[touched[0]] != 1:
            continue
        first_s, last_s = spoken[touched[0]]
        late["start"].append(utterance.start_s - first_s)
        late["began"].append(start.at_s - first_s)
        late["end"].append(utterance.end_s - last_s)
        late["ended"].append(utterance.at_s - last_s)
    medians: dict[str, Any] = {
        f"{name}_late_s": median(values) if values else float("nan") for name, values in late.items()
    }
    return Score(
        lines=len(spoken),
        found=len(in_line),
        false=sum(not touched for touched in lines),
        merged=sum(max(0, len(touched) - 1) for touched in lines),
        split=sum(count - 1 for count in in_line.values()),
        **medians,
    )


def _touched(utterance: Ended, spoken: Spans) -> list[int]:
    return [
        place
        for place, (start_s, end_s) in enumerate(spoken)
        if min(end_s, utterance.end_s) - max(start_s, utterance.start_s) > TOUCHES_S
    ]
