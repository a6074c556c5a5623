"""The journal: one SQLite file that outlives crashes, full disks and new versions."""

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from apps.orchestrator import journal as module
from apps.orchestrator.journal import Journal
from apps.shared.errors import MissingError

NOON, EVENING = "2026-01-01T12:00:00+00:00", "2026-01-01T18:00:00+00:00"
FIRST = module.MIGRATIONS[:1]
TURN = {"lane": "chat", "user": "mika", "text": "hi", "received_at": NOON}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path):
    journal = Journal(path, "show", NOON)
    yield journal
    journal.close(EVENING)


def read(path, query):
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def change(path, *statements):
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def until(what):
    """Wait for the writer's thread; the test's time limit is the deadline."""
    while not what():
        time.sleep(0.001)


def add_mood(db):
    db.execute("ALTER TABLE turns ADD COLUMN mood TEXT")


def fail_half_way(db):
    add_mood(db)
    db.execute("ALTER TABLE no_such_table ADD COLUMN mood TEXT")


def test_a_show_is_written_down(path):
    """Each turn with what became of it, each decision, each incident, and when the show began and ended."""
    journal = Journal(path, "show", NOON)
    journal.turn({"id": "t1", "outcome": None, **TURN})
    journal.decision({"id": "d1", "turn_id": "t1", "at": NOON, "action": "allow", "sha256": "abc"})
    journal.decision({"id": "d1", "turn_id": "t1", "at": NOON, "action": "allow", "sha256": "again"})
    journal.incident({"at": NOON, "module": "tts", "what": "its connection has ended"})
    journal.turn({"id": "t1", "outcome": "spoken", "heard": "Hello 🦊", "first_audio_ms": 312.5})
    journal.close(EVENING)
    assert read(path, "SELECT id, started_at, ended_at FROM shows") == [("show", NOON, EVENING)]
    assert read(path, "SELECT show_id, user, outcome, heard, first_audio_ms FROM turns") == [
        ("show", "mika", "spoken", "Hello 🦊", 312.5)
    ]
    assert read(path, "SELECT turn_id, action, sha256 FROM decisions") == [("t1", "allow", "abc")]
    assert read(path, "SELECT show_id, module FROM incidents") == [("show", "tts")]


def test_rows_are_written_in_order(path):
    """What was put first is written first, and closing waits for the last."""
    journal = Journal(path, "show", NOON)
    for number in range(500):
        journal.incident({"at": NOON, "module": "tts", "what": str(number)})
    journal.close(EVENING)
    assert read(path, "SELECT what FROM incidents ORDER BY id") == [(str(number),) for number in range(500)]


def test_turns_that_a_killed_orchestrator_left_open_have_failed(path, journal):
    """The next show finds them, says why, and leaves the others alone."""
    journal.turn({"id": "t1", "outcome": "spoken", **TURN})
    journal.turn({"id": "t2", "outcome": None, **TURN})
    until(lambda: len(read(path, "SELECT id FROM turns")) == 2)
    Journal(path, "next show", EVENING).close(EVENING)
    (spoken, cut_off) = read(path, "SELECT outcome, reason FROM turns ORDER BY id")
    assert spoken == ("spoken", None)
    assert cut_off[0] == "failed"
    assert cut_off[1].startswith("orchestrator_restarted:")


# --- versions ---


def test_an_older_file_is_brought_up_to_date_and_a_copy_kept(path, monkeypatch):
    """The show goes on with all its rows, and the file as it was lies beside the new one."""
    monkeypatch.setattr(module, "MIGRATIONS", FIRST)
    first = Journal(path, "show", NOON)
    first.turn({"id": "t1", "outcome": "spoken", **TURN})
    first.close(EVENING)
    monkeypatch.setattr(module, "MIGRATIONS", (*FIRST, add_mood))
    second = Journal(path, "next show", EVENING)
    second.turn({"id": "t2", "outcome": "spoken", "mood": "happy", **TURN})
    second.close(EVENING)
    assert read(path, "SELECT id, mood FROM turns ORDER BY id") == [("t1", None), ("t2", "happy")]
    backup = path.with_name("journal.db.schema1.backup")
    assert read(backup, "SELECT id FROM turns") == [("t1",)]
    assert read(backup, "PRAGMA user_version") == [(1,)]


HEARD = {"endpoint_ms", "transcript_ms"}


def columns(path, table):
    return {column[1] for column in read(path, f"PRAGMA table_info({table})")}


@pytest.fixture
def first_version(path, monkeypatch):
    """A journal as the versions without ears wrote it, with a show in it."""
    monkeypatch.setattr(module, "MIGRATIONS", FIRST)
    journal = Journal(path, "old show", NOON)
    journal.turn(
        {
            "id": "t1",
            "outcome": "spoken",
            "heard": "Hello 🦊",
            "first_audio_ms": 312.5,
            "audio_ms": 9.0,
            **TURN,
        }
    )
    journal.decision({"id": "d1", "turn_id": "t1", "at": NOON, "action": "allow", "sha256": "abc"})
    journal.incident({"at": NOON, "module": "tts", "what": "gone"})
    journal.close(EVENING)
    monkeypatch.undo()
    assert not columns(path, "turns") & HEARD
    return path


def test_a_journal_without_ears_gets_them_and_loses_nothing(first_version, path):
    """Every row of every table is there as it was, old turns have no times of hearing, new ones may."""
    tables = ("turns", "decisions", "incidents", "shows")
    before = {table: read(path, f"SELECT * FROM {table}") for table in tables}
    journal = Journal(path, "new show", EVENING)
    heard = {"lane": "streamer", "endpoint_ms": 550.0, "transcript_ms": 640.5}
    journal.turn({"id": "t2", "outcome": "spoken", **TURN, **heard})
    journal.head_start({"turn_id": "t2", "at": NOON, "kept": 1, "saved_ms": 120.5, "reason": ""})
    journal.close(EVENING)
    old = {table: columns(first_version, table) - HEARD for table in tables}
    assert columns(path, "turns") >= HEARD
    for table, rows in before.items():
        names = [column[1] for column in read(path, f"PRAGMA table_info({table})") if column[1] in old[table]]
        assert read(path, f"SELECT {', '.join(names)} FROM {table}")[: len(rows)] == rows
    assert read(path, "SELECT id, endpoint_ms, transcript_ms FROM turns ORDER BY id") == [
        ("t1", None, None),
        ("t2", 550.0, 640.5),
    ]
    assert read(path, "SELECT turn_id, show_id, kept, saved_ms, reason FROM head_starts") == [
        ("t2", "new show", 1, 120.5, "")
    ]
    backup = path.with_name("journal.db.schema1.backup")
    assert read(backup, "PRAGMA user_version") == [(1,)]
    assert {table: read(backup, f"SELECT * FROM {table}") for table in tables} == before


def test_ears_are_added_wholly_or_not_at_all(first_version, path):
    """A step that fails after its first columns takes them back: the older version can still write there."""
    change(path, "CREATE TABLE head_starts (mine TEXT)")
    with pytest.raises(MissingError, match="head_starts"):
        module.migrate(path)
    assert read(path, "PRAGMA user_version") == [(1,)]
    assert not columns(path, "turns") & HEARD
    assert columns(path, "head_starts") == {"mine"}


def test_a_head_start_is_written_down_without_its_words(path):
    """Whether it was kept and what it saved, by its turn; there is no column for what was guessed."""
    journal = Journal(path, "show", NOON)
    journal.head_start(
        {"turn_id": "g1", "at": NOON, "kept": 0, "saved_ms": None, "reason": "guessed_wrong: x"}
    )
    journal.head_start({"turn_id": "g2", "at": NOON, "kept": 1, "saved_ms": 250.0, "reason": ""})
    journal.close(EVENING)
    assert read(path, "SELECT turn_id, kept, saved_ms, reason FROM head_starts ORDER BY turn_id") == [
        ("g1", 0, None, "guessed_wrong: x"),
        ("g2", 1, 250.0, ""),
    ]
    assert columns(path, "head_starts") == {"turn_id", "show_id", "at", "kept", "saved_ms", "reason"}


def test_a_new_file_needs_no_copy(path, monkeypatch):
    """All steps are taken one after the other, and nothing is left lying about."""
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, add_mood))
    module.migrate(path)
    assert read(path, "PRAGMA user_version") == [(len(module.MIGRATIONS),)]
    assert list(path.parent.glob("*.backup")) == []


def test_a_step_that_fails_changes_nothing(path, monkeypatch):
    """The file stays as it was, for the version that can read it."""
    module.migrate(path)
    as_it_was = read(path, "PRAGMA user_version")
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, fail_half_way))
    with pytest.raises(MissingError, match="cannot be used"):
        module.migrate(path)
    assert read(path, "PRAGMA user_version") == as_it_was
    assert "mood" not in [column[1] for column in read(path, "PRAGMA table_info(turns)")]


def test_a_file_of_a_newer_version_is_not_touched(path):
    """An old program does not write into a new journal."""
    change(path, "PRAGMA user_version = 99")
    with pytest.raises(MissingError, match="written by a newer AIVT") as caught:
        Journal(path, "show", NOON)
    assert caught.value.code == "journal_too_new"
    assert "Update AIVT" in caught.value.fix


@pytest.mark.parametrize("damage", ["not a database", "a folder"])
def test_a_damaged_file_is_named_with_the_fix(path, damage):
    """The streamer can move it away and begin a new one."""
    if damage == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(MissingError, match="cannot be used") as caught:
        Journal(path, "show", NOON)
    assert caught.value.fix.startswith("Move journal.db away")


# --- trouble ---


def test_trouble_with_the_disk_is_told_and_passes(path, journal):
    """A row that cannot be written is lost, the show goes on, and the next that can be ends the trouble."""
    full = "CREATE TRIGGER full BEFORE INSERT ON incidents BEGIN SELECT RAISE(FAIL, 'disk is full'); END"
    until(lambda: read(path, "SELECT id FROM shows"))
    change(path, full)
    journal.incident({"at": NOON, "module": "tts", "what": "lost"})
    until(lambda: journal.trouble)
    assert journal.trouble == "journal_not_written: disk is full"
    change(path, "DROP TRIGGER full")
    journal.incident({"at": NOON, "module": "tts", "what": "kept"})
    until(lambda: not journal.trouble)
    assert read(path, "SELECT what FROM incidents") == [("kept",)]


def test_a_text_that_sqlite_cannot_hold_costs_only_its_row(path, journal):
    """Half an emoji does not end the writer."""
    journal.incident({"at": NOON, "module": "tts", "what": "half \ud83e"})
    until(lambda: journal.trouble)
    journal.incident({"at": NOON, "module": "tts", "what": "whole"})
    until(lambda: not journal.trouble)
    assert read(path, "SELECT what FROM incidents") == [("whole",)]


def test_a_disk_that_does_not_keep_up_delays_nobody(path, monkeypatch):
    """With the queue full, rows are lost and that is told; nobody waits."""
    monkeypatch.setattr(module, "QUEUE_LIMIT", 2)
    journal = Journal(path, "show", NOON)
    until(lambda: read(path, "SELECT id FROM shows"))
    slow = threading.Event()
    journal._put(lambda _: slow.wait())
    until(journal._rows.empty)
    for number in range(3):
        journal.incident({"at": NOON, "module": "tts", "what": str(number)})
    assert journal.trouble.startswith("journal_behind:")
    slow.set()
    until(lambda: not journal.trouble)
    journal.close(EVENING)
    assert read(path, "SELECT what FROM incidents") == [("0",), ("1",)]
