"""The journal: runs, their items and what flows remember, in an embedded SQLite database: a killed run loses nothing.

The database is in WAL mode, so another process can watch a run while it is written, and every commit is flushed
(``synchronous=FULL``): what was committed before a request left is still there after a power cut.

Each subject has a store, the only place with SQL on its tables (tests/test_layers.py), which takes and returns values:
the runs themselves in ``records``. Whoever needs several stores to change together opens a transaction around them. All
that a store promises is in tests/runs/contract, so that it can be kept in a second kind of database too.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dataflows.errors import BadInput, ServiceDown, SettingUnusable
from dataflows.runs.records import (
    ABANDONED,
    DONE,
    FAILED,
    PARTIAL,
    RESUMABLE,
    RUNNING,
    SCHEMA,
    Item,
    RunRecord,
    RunStore,
    now,
)
from dataflows.store.files import private_file, private_folder, refuse_network_share, sqlite_unusable, unusable

__all__ = [
    "ABANDONED",
    "DONE",
    "FAILED",
    "PARTIAL",
    "RESUMABLE",
    "RUNNING",
    "Item",
    "Journal",
    "RunRecord",
    "now",
    "of_values",
]


_VALUES = 500  # in one statement


class Journal(RunStore):
    """One open journal. Methods may be called from any thread; a transaction holds the others back."""

    def __init__(self, db: sqlite3.Connection, path: Path | None) -> None:
        self._db = db
        self._lock = threading.RLock()
        self.path = path
        self.ensure("runs", SCHEMA)

    @classmethod
    def open(cls, data_dir: Path) -> Journal:
        """Open (or make) the journal of a data folder.

        Raises:
            SettingUnusable: the folder is on a network share (WAL corrupts there), cannot be written, or is another
                account's.
            ServiceDown: the disk is full.
            BadInput: the file is there but is no SQLite database.
        """
        refuse_network_share(data_dir)
        path = data_dir / "journal.db"
        with _explained(path):
            if not os.path.lexists(path):  # to close a file would let go of the locks that SQLite has on it here
                private_file(private_folder(data_dir) / path.name)
            db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "temp_store=FILE", "cache_size=-16000"):
                db.execute(f"PRAGMA {pragma}")
            return cls(db, path)

    @classmethod
    def in_memory(cls) -> Journal:
        """Return a journal that is forgotten with its process (for rehearsals)."""
        return cls(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False), None)

    def close(self) -> None:
        """Close the database; later calls fail."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction: committed at its end, rolled back when something is raised.

        Inside another transaction of this thread it is part of that one. Only stores use the connection.
        """
        with self._lock, _explained(self.path):
            if self._db.in_transaction:
                yield self._db
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                if self._db.in_transaction:  # a full disk has ended it already
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The same for reading, and for temporary tables, which belong to this process alone."""
        with self._lock, _explained(self.path):
            yield self._db

    def ensure(self, part: str, steps: Sequence[str]) -> None:
        """Bring the tables of one part of the program to their newest form; each step runs once, in order."""
        if self._version(part) == len(steps):
            return  # as a rule: whoever only looks does not wait for those that write
        with self.transaction() as db:
            db.execute("CREATE TABLE IF NOT EXISTS parts (part TEXT PRIMARY KEY, version INTEGER NOT NULL)")
            row = db.execute("SELECT version FROM parts WHERE part = ?", (part,)).fetchone()
            have = row[0] if row else 0
            if have > len(steps):
                raise SettingUnusable(
                    f"the journal was written by a newer version of dataflows ({part} {have})",
                    reason="journal-newer",
                    hint="install that version again, or name another DATA_DIR",
                )
            for step in steps[have:]:
                _run_script(db, step)
            if have < len(steps):
                db.execute("INSERT OR REPLACE INTO parts VALUES (?, ?)", (part, len(steps)))

    def _version(self, part: str) -> int | None:
        with self.reading() as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'parts'").fetchone():
                return None
            row = db.execute("SELECT version FROM parts WHERE part = ?", (part,)).fetchone()
        return row[0] if row else None


def of_values(
    db: sqlite3.Connection,
    select: str,
    column: str,
    values: Sequence[object],
    more: str = "",
    more_values: Sequence[object] = (),
) -> Iterator[Any]:
    """The rows of a select whose column has one of these values, however many they are. ``more``: what else counts."""
    for start in range(0, len(values), _VALUES):
        part = values[start : start + _VALUES]
        marks = ", ".join("?" * len(part))
        yield from db.execute(f"{select} WHERE {column} IN ({marks}){more}", (*part, *more_values)).fetchall()


def _run_script(db: sqlite3.Connection, script: str) -> None:
    # executescript would commit first and so tear the step out of its transaction
    for statement in script.split(";"):
        if statement.strip():
            db.execute(statement)


@contextmanager
def _explained(path: Path | None) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ServiceDown(
                "the journal is locked by another process", reason="journal-locked", hint="run again in a minute"
            ) from error
        if _code(error) == sqlite3.SQLITE_ERROR:  # SQLite does not understand a statement of ours: that is a bug
            raise
        if path is not None and (known := sqlite_unusable(error, path, "the journal")) is not None:
            raise known from error
        raise SettingUnusable(
            f"the journal cannot be used: {path}",
            reason="data-folder-unusable",
            hint="check DATA_DIR: does it exist, is there free space, may this account write there?",
        ) from error
    except OSError as error:
        hint = "set DATA_DIR to a local folder that this account may write"
        raise unusable(path or Path(), error, "the data folder", hint) from error
    except sqlite3.DatabaseError as error:
        if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise  # such as a constraint of ours: a bug
        raise BadInput(
            f"the journal is damaged: {path}",
            reason="journal-damaged",
            hint="move it away; the next run sends full payloads",
        ) from error


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite; 0 where the error came from elsewhere."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
