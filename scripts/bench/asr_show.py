"""From the streamer's last word to her first sound, in real shows, with the head start and without it.

The recordings are played in by `POST /control/hear`, as a rehearsal allows, and heard in real time; model and
voice are those of fixed cost. Both shows hear the same sentences, in turn.
"""

import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from apps.asr_worker.sound import FRAME_S
from apps.shared.clock import now_s
from apps.shared.messages import Hearing, Level, PieceStarted, TurnState
from scripts.bench import replies, rig
from scripts.bench.asr_speech import Recording, recording, said
from scripts.bench.engines import Costs
from scripts.bench.figures import Report, percentile, progress
from scripts.bench.latency import BLOCK
from scripts.bench.stream import Watcher

BETWEEN_S = 0.5  # so that the next recording's first level tells when it began
OVER = {"spoken", "blocked", "dropped", "failed"}
SAVED = "SELECT saved_ms FROM head_starts WHERE kept ORDER BY rowid"
THROWN_AWAY = "SELECT count(*) FROM head_starts WHERE NOT kept"
TIMES = "SELECT endpoint_ms, transcript_ms, first_audio_ms FROM turns WHERE id = ?"


@dataclass(frozen=True, slots=True)
class Answered:
    """A turn that was spoken."""

    turn_id: str
    silent_s: float  # when the last word was over
    first_s: float  # her first frame


@dataclass
class Party:
    """A show, and what was measured of it; milliseconds count from the end of the last word."""

    show: rig.Show
    stream: Watcher
    answered: list[Answered] = field(default_factory=list)
    unanswered: int = 0
    decided_ms: list[float] = field(default_factory=list)  # until it was certain that it was the last
    transcript_ms: list[float] = field(default_factory=list)  # until the final text was there
    saved_ms: list[float] = field(default_factory=list)  # by the head starts that were kept
    thrown_away: int = 0

    @property
    def first_ms(self) -> list[float]:
        """Until she was heard."""
        return [1000 * (turn.first_s - turn.silent_s) for turn in self.answered]

    def hear(self, path: Path, heard: Recording) -> None:
        """Play one sentence and wait for her answer."""
        before = self.stream.mark()
        self.show.hear(path)
        began_s = self.stream.wait(Level, lambda _: True, before)[1].at_s - FRAME_S
        silent_s = began_s + heard.sentences[0].end_s
        time.sleep(max(0.0, silent_s - now_s()))
        turn_id = self._answer(self.stream.mark())
        starts = [piece for _, piece in self.stream.all(PieceStarted, before) if piece.turn_id == turn_id]
        if starts:
            self.answered.append(Answered(turn_id, silent_s, min(piece.at_s for piece in starts)))
        else:
            self.unanswered += 1
        time.sleep(max(0.0, began_s + heard.duration_s + BETWEEN_S - now_s()))

    def _answer(self, since: int) -> str:
        """Wait for the end of what comes of the words; return the turn's id, "" if there is none."""
        told = self.stream.wait(Hearing, lambda told: told.state in {"final", "nothing"}, since)[1]
        if told.state == "nothing":
            return ""
        turn = self.stream.wait(TurnState, lambda turn: turn.state in OVER, since)[1]
        return turn.turn_id if turn.state == "spoken" else ""

    def read(self) -> None:
        """End the show, and read what it has written down."""
        self.show.program.stop()
        with closing(sqlite3.connect(self.show.folder / "journal.db")) as db:
            self.saved_ms = [saved_ms for (saved_ms,) in db.execute(SAVED)]
            self.thrown_away = db.execute(THROWN_AWAY).fetchone()[0]
            for turn in self.answered:
                endpoint_ms, transcript_ms, first_audio_ms = db.execute(TIMES, (turn.turn_id,)).fetchone()
                # The journal counts from where voice detection heard the end, some frames late.
                late_ms = 1000 * (turn.first_s - turn.silent_s) - first_audio_ms
                self.decided_ms.append(late_ms + endpoint_ms)
                self.transcript_ms.append(late_ms + transcript_ms)


def measure(model: str, turns: int, report: Report) -> None:
    """Let both shows answer this many sentences. model: ASR_MODEL."""
    progress(f"asr: {turns} turns of each show, with the head start and without")
    with ExitStack() as running:
        place = Path(running.enter_context(tempfile.TemporaryDirectory(prefix="aivt-bench-")))
        engines = running.enter_context(rig.engines())
        engines.set_up(Costs(), [replies.FIXED])
        parties = {
            name: _party(running, engines, model, head_start)
            for name, head_start in (("head_start", "1"), ("no_head_start", "0"))
        }
        recordings = [recording([take]) for take in said(turns)]
        paths = [one.write(place / f"{number}.wav") for number, one in enumerate(recordings)]
        for party in parties.values():
            party.hear(paths[0], recordings[0])  # the model is loaded with the first sound
            party.answered.clear()
            party.unanswered = 0
        for start in range(0, turns, BLOCK):
            for party in parties.values():
                for path, one in list(zip(paths, recordings, strict=True))[start : start + BLOCK]:
                    party.hear(path, one)
        for party in parties.values():
            party.read()
    _write(report, parties["head_start"], parties["no_head_start"])


def _party(running: ExitStack, engines: rig.Engines, model: str, head_start: str) -> Party:
    show = running.enter_context(
        rig.on(
            engines,
            "discard",
            USE_STUB_ASR="0",
            ASR_ENGINE="whisper",
            ASR_MODEL=model,
            ASR_INPUT="none",
            ASR_MODE="open",
            ASR_ANSWER="always",
            ASR_HEAD_START=head_start,
            ECHO_MODE="headphones",
        )
    )
    return Party(show, running.enter_context(show.watch()))


def engines_ms() -> float:
    """What the engines of fixed cost need to the first sound, by arithmetic: model, first clause, voice."""
    costs, clause = Costs(), replies.FIRST_CLAUSE
    model_s = costs.first_token_s + (len(replies.tokens(clause)) - 1) * costs.token_s
    return 1000 * (model_s + costs.voice_s + len(clause) * costs.voice_character_s)


def _write(report: Report, quick: Party, slow: Party) -> None:
    for name, party in (("head_start", quick), ("no_head_start", slow)):
        for what, values_ms in (
            ("first_sound", party.first_ms),
            ("endpoint", party.decided_ms),
            ("transcript", party.transcript_ms),
        ):
            report.spread(f"{name}_{what}_ms", values_ms)
        report.figures[f"{name}_unanswered"] = party.unanswered
    report.spread("head_start_saved_ms", quick.saved_ms)
    report.figures |= {
        "head_starts_kept": len(quick.saved_ms),
        "head_starts_thrown_away": quick.thrown_away,
        "engines_alone_ms": round(engines_ms(), 1),
        "engines_and_endpoint_ms": round(percentile(slow.decided_ms, 0.5) + engines_ms(), 1),
    }
    report.bar(
        "first sound p50 with the head start (without it)",
        percentile(quick.first_ms, 0.5),
        percentile(slow.first_ms, 0.5),
        "ms",
    )
