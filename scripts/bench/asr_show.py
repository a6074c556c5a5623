"""From the streamer's last word to her first sound, in real shows, with the head start and without it.

The recordings are played in by `POST /control/hear`, as a rehearsal allows, and heard in real time; model and
voice are those of fixed cost. Both shows hear the same sentences, in turn.
"""

import json
import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from apps.asr_worker.sound import FRAME_S
from apps.shared.clock import now_s
from apps.shared.errors import AivtError
from apps.shared.messages import Hearing, Level, PieceStarted, TurnState
from scripts.bench import replies, rig
from scripts.bench.asr_speech import Recording, recording, said
from scripts.bench.engines import Costs
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.latency import BLOCK
from scripts.bench.stream import Watcher

BETWEEN_S = 0.5  # so that the next recording's first level tells when it began
OVER = {"spoken", "blocked", "dropped", "failed"}


@dataclass
class Party:
    """A show, and what was measured of it."""

    show: rig.Show
    stream: Watcher
    first_ms: list[float] = field(default_factory=list)  # from the end of the last word
    decided_ms: list[float] = field(default_factory=list)  # until the endpoint was certain
    transcript_ms: list[float] = field(default_factory=list)  # until the text was there
    turns: dict[str, float] = field(default_factory=dict)  # turn id -> when the streamer fell silent
    unanswered: int = 0

    def hear(self, path: Path, heard: Recording) -> None:
        """Play one sentence and wait for her answer."""
        before = self.stream.mark()
        self.show.control("hear", {"path": str(path)})
        began_s = self.stream.wait(Level, lambda _: True, before)[1].at_s - FRAME_S
        silent_s = began_s + heard.sentences[0].end_s
        time.sleep(max(0.0, silent_s - now_s()))
        said_s = self.stream.mark()
        try:
            end = self.stream.wait(Hearing, lambda told: told.state in {"final", "nothing"}, said_s)[1]
            if end.state == "nothing":
                self.unanswered += 1
                return
            state = self.stream.wait(TurnState, lambda turn: turn.state in OVER, said_s)[1]
            if state.state != "spoken":
                self.unanswered += 1
                return
            self.turns[state.turn_id] = silent_s
            starts = self.stream.all(PieceStarted, before)
            first_s = min(piece.at_s for _, piece in starts if piece.turn_id == state.turn_id)
            self.first_ms.append(1000 * (first_s - silent_s))
        finally:
            time.sleep(max(0.0, began_s + heard.duration_s + BETWEEN_S - now_s()))

    def read(self) -> "Journal":
        """End the show, and read what it has written down."""
        self.show.program.stop()
        with closing(sqlite3.connect(self.show.folder / "journal.db")) as db:
            starts = db.execute("SELECT kept, saved_ms FROM head_starts").fetchall()
            rows = db.execute(
                "SELECT id, endpoint_ms, transcript_ms, first_audio_ms FROM turns WHERE lane = 'streamer'"
            ).fetchall()
        for turn_id, endpoint_ms, transcript_ms, first_audio_ms in rows:
            if turn_id in self.turns and first_audio_ms is not None:
                self.decided_ms.append(endpoint_ms)
                self.transcript_ms.append(transcript_ms)
        return Journal(starts)


@dataclass(frozen=True, slots=True)
class Journal:
    """What the journal says of the head starts."""

    rows: list[tuple[int, float | None]]

    @property
    def saved_ms(self) -> list[float]:
        return [saved for kept, saved in self.rows if kept and saved is not None]

    @property
    def thrown_away(self) -> int:
        return sum(not kept for kept, _ in self.rows)
