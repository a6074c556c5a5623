"""What the journal is told, row by row."""

from datetime import UTC, datetime

import structlog

from apps.orchestrator.journal import STAGES, Journal
from apps.orchestrator.show import Turn
from apps.shared.messages import Decision, Outcome

log = structlog.get_logger()


class Record:
    """Turns what happens into rows."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def begun(self, turn: Turn) -> None:
        """A line has been taken up, or dropped; should we be killed now, its row says that it had no end."""
        self._journal.turn(
            {
                "id": turn.id,
                "received_at": _wall_time(),
                "lane": turn.lane,
                "user": turn.user,
                "text": turn.text,
                "outcome": None,
            }
        )

    def ended(self, turn: Turn, outcome: Outcome) -> None:
        """A turn is over."""
        self._journal.turn(
            {
                "id": turn.id,
                "outcome": outcome,
                "reason": turn.reason,
                "reply": turn.reply,
                "heard": turn.heard,
                "audio_ms": turn.audio_ms,
                **{f"{stage}_ms": turn.marks.get(stage) for stage in STAGES},
            }
        )

    def head_start(self, turn: Turn) -> None:
        """A guess has come true and been spoken, or was thrown away."""
        kept = not turn.guess
        saved_ms = turn.head_start_ms if kept else None
        log.info("head start", turn_id=turn.id, kept=kept, saved_ms=saved_ms)
        self._journal.head_start(
            {
                "turn_id": turn.id,
                "at": _wall_time(),
                "kept": int(kept),
                "saved_ms": saved_ms,
                "reason": "" if kept else turn.reason,
            }
        )

    def decision(self, decision: Decision) -> None:
        """The gate has decided."""
        self._journal.decision(
            {
                "id": decision.decision_id,
                "turn_id": decision.turn_id,
                "at": _wall_time(),
                "action": decision.action,
                "category": decision.category,
                "rule": decision.rule,
                "sha256": decision.sha256,
            }
        )

    def incident(self, module: str, what: str) -> None:
        """Something is wrong with a module."""
        log.info("incident", of=module, reason=what)
        self._journal.incident({"at": _wall_time(), "module": module, "what": what})


def _wall_time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
