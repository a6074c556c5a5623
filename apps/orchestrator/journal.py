"""The journal: every turn, every stage's time, every decision, in one SQLite file with one writer.

The writer is a thread of its own, so that a slow disk never delays a turn.
"""

import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from apps.shared.errors import MissingError

if TYPE_CHECKING:
    import sqlite_utils

QUEUE_LIMIT = 2000  # rows, an hour of a busy show; a disk that is so far behind loses the newest
CLOSING_LIMIT_S = 3.0
FIRST_STAGES = ("first_token", "first_sentence", "tts_first_chunk", "first_audio", "last_audio")
HEARD_STAGES = (
    "endpoint",
    "transcript",
)  # of the streamer's words, counted from their end as the others then are
STAGES = (*HEARD_STAGES, *FIRST_STAGES)

log = structlog.get_logger()
Row = dict[str, object]
Write = Callable[["sqlite_utils.Database"], object]


def _first_tables(db: "sqlite_utils.Database") -> None:
    db.table("shows").create({"id": str, "started_at": str, "ended_at": str}, pk="id")
    db.table("turns").create(
        {
            "id": str,
            "show_id": str,
            "received_at": str,
            "lane": str,
            "user": str,
            "text": str,
            "outcome": str,
            "reason": str,
            "reply": str,
            "heard": str,
            "audio_ms": float,
            **{f"{stage}_ms": float for stage in FIRST_STAGES},
        },
        pk="id",
    )
    db.table("turns").create_index(["show_id", "received_at"])
    db.table("decisions").create(
        {"id": str, "turn_id": str, "at": str, "action": str, "category": str, "rule": str, "sha256": str},
        pk="id",
    )
    db.table("incidents").create({"id": int, "show_id": str, "at": str, "module": str, "what": str}, pk="id")


def _ears(db: "sqlite_utils.Database") -> None:
    for stage in HEARD_STAGES:
        db.table("turns").add_column(f"{stage}_ms", float)
    db.table("head_starts").create(
        {"turn_id": str, "show_id": str, "at": str, "kept": int, "saved_ms": float, "reason": str},
        pk="turn_id",
    )


# Step n takes a file of schema version n to n + 1. Steps are never edited once released, only added.
MIGRATIONS: tuple[Write, ...] = (_first_tables, _ears)


def migrate(path: Path) -> None:
    """Bring the file to this version's schema, with a copy of the old one beside it first.

    Raises MissingError when the file cannot be used or was written by a newer AIVT.
    """
    fix = f"Move {path.name} away to begin a new journal, or set AIVT_DATA_DIR."
    try:
        connection = sqlite3.connect(path)
        try:
            _migrate(connection, path)
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise MissingError("journal_unusable", f"{path} cannot be used: {error}", fix=fix) from error


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise MissingError(
            "journal_too_new",
            f"{path} was written by a newer AIVT (schema {version}, this one knows {len(MIGRATIONS)})",
            fix="Update AIVT, or set AIVT_DATA_DIR to another folder.",
        )
    connection.execute("PRAGMA journal_mode=WAL")
    if 0 < version < len(MIGRATIONS):
        copy = sqlite3.connect(path.with_name(f"{path.name}.schema{version}.backup"))
        connection.backup(copy)
        copy.close()
    if version == len(MIGRATIONS):
        return
    db = _database(connection)
    for number, change in enumerate(MIGRATIONS[version:], start=version + 1):
        with connection:
            connection.execute("BEGIN")
            change(db)
            connection.execute(f"PRAGMA user_version = {number}")


def _database(connection: sqlite3.Connection) -> "sqlite_utils.Database":
    import sqlite_utils  # noqa: PLC0415 - brings numpy along, 0.2 s: imported by the writer, not by the start

    return sqlite_utils.Database(connection)


class Journal:
    """Writes rows in the order in which they were put. `trouble` tells why it cannot, else ""."""

    def __init__(self, path: Path, show_id: str, now: str) -> None:
        migrate(path)
        self.trouble = ""
        self._path = path
        self._show_id = show_id
        self._rows: queue.Queue[Write | None] = queue.Queue(QUEUE_LIMIT)
        self._writer = threading.Thread(target=self._write_all, name="journal", daemon=True)
        self._writer.start()
        self._put(lambda db: self._begin_show(db, now))

    def turn(self, row: Row) -> None:
        """Write a turn, or what has become of it: `id` and the columns that are known by now."""
        full = {"show_id": self._show_id, **row}
        self._put(lambda db: db.table("turns", pk="id").upsert(full))

    def decision(self, row: Row) -> None:
        """Write one decision of the gate."""
        self._put(lambda db: db.table("decisions", pk="id").insert(row, ignore=True))

    def head_start(self, row: Row) -> None:
        """Write what became of a guess at the streamer's words; never the words."""
        full = {"show_id": self._show_id, **row}
        self._put(lambda db: db.table("head_starts", pk="turn_id").upsert(full))

    def incident(self, row: Row) -> None:
        """Write what went wrong with a module."""
        full = {"show_id": self._show_id, **row}
        self._put(lambda db: db.table("incidents").insert(full))

    def close(self, now: str) -> None:
        """Write what waits, and the show's end."""
        end = {"id": self._show_id, "ended_at": now}
        self._put(lambda db: db.table("shows", pk="id").upsert(end))
        try:
            self._rows.put(None, timeout=CLOSING_LIMIT_S)
        except queue.Full:
            log.warning("journal does not keep up; its last rows are lost")
        self._writer.join(CLOSING_LIMIT_S)

    def _begin_show(self, db: "sqlite_utils.Database", now: str) -> None:
        """Open the show; turns that a killed orchestrator left open have failed."""
        db.execute(
            "UPDATE turns SET outcome = 'failed', reason = 'orchestrator_restarted: the orchestrator was"
            " stopped in the middle of this turn' WHERE outcome IS NULL"
        )
        db.table("shows", pk="id").insert({"id": self._show_id, "started_at": now, "ended_at": None})

    def _put(self, write: Write) -> None:
        try:
            self._rows.put_nowait(write)
        except queue.Full:
            self.trouble = "journal_behind: the disk does not keep up; rows are being lost"

    def _write_all(self) -> None:
        connection = sqlite3.connect(self._path)
        connection.execute("PRAGMA synchronous=NORMAL")  # with WAL: safe against a crash of ours
        db = _database(connection)
        while write := self._rows.get():
            try:
                with connection:
                    write(db)
                self.trouble = ""
            except (sqlite3.Error, UnicodeError) as error:  # a full disk, a damaged file: the show goes on
                self.trouble = f"journal_not_written: {error}"
                log.error("journal row lost", reason=str(error))
        connection.close()
