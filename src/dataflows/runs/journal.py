"""The journal: runs and their items in an embedded SQLite database, so that a killed run loses nothing.

The database is in WAL mode, so another process can watch a run while it is written, and every commit is flushed
(``synchronous=FULL``): what was committed before a request left is still there after a power cut.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from dataflows.errors import BadInput, DataflowsError, ServiceDown, SettingUnusable, WrongUsage
from dataflows.store.files import private_file, private_folder, refuse_network_share, sqlite_unusable, unusable

RUNNING, DONE, PARTIAL, FAILED, RESUMABLE, ABANDONED = "running", "done", "partial", "failed", "resumable", "abandoned"

_SCHEMA = (
    """
    CREATE TABLE runs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL UNIQUE,
        command TEXT NOT NULL,
        target TEXT NOT NULL,
        batch_id TEXT,
        state TEXT NOT NULL,
        started_at TEXT NOT NULL,
        ended_at TEXT,
        pid INTEGER NOT NULL,
        host TEXT NOT NULL,
        options TEXT NOT NULL,
        counts TEXT NOT NULL DEFAULT '{}',
        total INTEGER,
        step TEXT NOT NULL DEFAULT '',
        exit_code INTEGER,
        error_code TEXT,
        error TEXT,
        hint TEXT,
        log_file TEXT,
        continued_by TEXT
    );
    CREATE INDEX runs_by_target ON runs (command, target, seq);
    CREATE TABLE items (
        run_id TEXT NOT NULL,
        key TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 0,
        started_at TEXT,
        ended_at TEXT,
        code TEXT,
        message TEXT,
        PRIMARY KEY (run_id, key)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE run_batches (
        run_id TEXT NOT NULL, place INTEGER NOT NULL, batch_id TEXT NOT NULL, PRIMARY KEY (run_id, place)
    ) WITHOUT ROWID;
    CREATE INDEX run_batches_by_id ON run_batches (batch_id);
    """,
    """
    CREATE TABLE run_reports (run_id TEXT PRIMARY KEY, report TEXT NOT NULL) WITHOUT ROWID;
    """,
)
_LARGEST_REPORT = 256 * 1024  # characters; what is larger tells of single items, and those the journal has anyway


def now() -> str:
    """Return the time as the journal writes it: UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Item(NamedTuple):
    """What became of one item of a run: ``state`` is pending, sending, unknown, done, skipped or failed."""

    key: str
    state: str
    attempts: int = 1
    code: str | None = None
    message: str | None = None
    started_at: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of ``runs``."""

    seq: int
    run_id: str
    command: str
    target: str
    batch_id: str | None
    state: str
    started_at: str
    ended_at: str | None
    pid: int
    host: str
    options: dict[str, object]
    counts: dict[str, int]
    total: int | None
    step: str
    exit_code: int | None
    error_code: str | None
    error: str | None
    hint: str | None
    log_file: str | None
    continued_by: str | None

    @classmethod
    def of(cls, row: sqlite3.Row) -> RunRecord:
        """Make a record from a row of the table."""
        values = dict(row)
        values["options"] = json.loads(values["options"])
        values["counts"] = json.loads(values["counts"])
        return cls(**values)


class Journal:
    """One open journal. Methods may be called from any thread; a transaction holds the others back."""

    def __init__(self, db: sqlite3.Connection, path: Path | None) -> None:
        self._db = db
        self._lock = threading.RLock()
        self.path = path
        self.ensure("runs", _SCHEMA)

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
        """Give the connection inside one transaction: committed at the end, rolled back when something is raised."""
        with self._lock, _explained(self.path):
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
        """Give the connection for reading, and for temporary tables, which belong to this process alone."""
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

    # --- runs -------------------------------------------------------------------------------------------------

    def start(
        self,
        command: str,
        target: str,
        *,
        options: Mapping[str, object],
        log_file: Path | None = None,
        batch_id: str | None = None,
    ) -> str:
        """Record a new run and return its id. Earlier runs of the same target that never ended become resumable."""
        run_id = str(uuid.uuid4())
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET state = ?, ended_at = coalesce(ended_at, ?)"
                " WHERE command = ? AND target = ? AND state = ?",
                (RESUMABLE, now(), command, target, RUNNING),
            )
            db.execute(
                "INSERT INTO runs (run_id, command, target, batch_id, state, started_at, pid, host, options, log_file)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (run_id, command, target, batch_id, RUNNING, now(), os.getpid(), socket.gethostname(),
                 json.dumps(options), str(log_file) if log_file else None),
            )  # fmt: skip
        return run_id

    def progress(self, run_id: str, counts: Mapping[str, int], *, total: int | None, step: str) -> None:
        """Record how far a run is."""
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET counts = ?, total = ?, step = ? WHERE run_id = ?",
                (json.dumps(counts), total, step, run_id),
            )

    def finish(
        self,
        run_id: str,
        state: str,
        exit_code: int,
        counts: Mapping[str, int],
        error: DataflowsError | None,
        report: Mapping[str, object] | None = None,
    ) -> None:
        """Record the end of a run, and its report unless that is very large.

        Earlier resumable runs of the same command and target are closed when this one came to its end or is the one
        to resume from now on; a run that was refused (settings, access) closes nothing.
        """
        said = (error.code, error.message, error.hint) if error else (None, None, None)
        text = json.dumps(report, default=str) if report else ""
        with self.transaction() as db:
            if text and len(text) <= _LARGEST_REPORT:
                db.execute("INSERT OR REPLACE INTO run_reports VALUES (?, ?)", (run_id, text))
            db.execute(
                "UPDATE runs SET state = ?, ended_at = ?, exit_code = ?, counts = ?, step = '',"
                " error_code = ?, error = ?, hint = ? WHERE run_id = ?",
                (state, now(), exit_code, json.dumps(counts), *said, run_id),
            )
            if state in (DONE, PARTIAL, RESUMABLE) or error is None:
                db.execute(
                    "UPDATE runs SET state = ?, continued_by = ? WHERE state = ? AND run_id <> ? AND (command, target)"
                    " = (SELECT command, target FROM runs WHERE run_id = ?)",
                    (PARTIAL, run_id, RESUMABLE, run_id, run_id),
                )

    def report(self, run_id: str) -> dict[str, object] | None:
        """Return the report of an ended run, None where none was kept."""
        with self.reading() as db:
            row = db.execute("SELECT report FROM run_reports WHERE run_id = ?", (run_id,)).fetchone()
        return json.loads(row[0]) if row else None

    def name_batches(self, run_id: str, batch_ids: Sequence[str]) -> None:
        """Record the batches of a run, so that it is found by each of them; the first one is shown with it.

        It is still found by those that it was known by before: somebody may have been told of them.
        """
        with self.transaction() as db:
            former = db.execute(
                "SELECT batch_id FROM run_batches WHERE run_id = ? UNION"
                " SELECT batch_id FROM runs WHERE run_id = ? AND batch_id IS NOT NULL",
                (run_id, run_id),
            ).fetchall()
            aliases = sorted({batch_id for (batch_id,) in former} - set(batch_ids))
            places = [*enumerate(batch_ids), *((-1 - place, batch_id) for place, batch_id in enumerate(aliases))]
            db.execute("UPDATE runs SET batch_id = ? WHERE run_id = ?", (batch_ids[0], run_id))
            db.execute("DELETE FROM run_batches WHERE run_id = ?", (run_id,))
            db.executemany("INSERT INTO run_batches VALUES (?, ?, ?)", [(run_id, *place) for place in places])

    def batches(self, run_id: str) -> list[str]:
        """Return the batch ids of a run, in order."""
        with self.reading() as db:
            rows = db.execute(
                "SELECT batch_id FROM run_batches WHERE run_id = ? AND place >= 0 ORDER BY place", (run_id,)
            )
            return [batch_id for (batch_id,) in rows]

    def set_state(self, run_id: str, state: str) -> None:
        """Change the state of a run that is not running any more."""
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET state = ?, ended_at = coalesce(ended_at, ?) WHERE run_id = ?", (state, now(), run_id)
            )

    def runs(
        self, *, state: str | None = None, command: str | None = None, limit: int = -1, skip: int = 0
    ) -> list[RunRecord]:
        """Return runs, newest first; only those of a state or a command where that is given."""
        with self.reading() as db:
            rows = _rows(
                db,
                "SELECT * FROM runs WHERE state = coalesce(?, state) AND command = coalesce(?, command)"
                " ORDER BY seq DESC LIMIT ? OFFSET ?",
                (state, command, limit, skip),
            )
        return [RunRecord.of(row) for row in rows]

    def run(self, run_id: str) -> RunRecord | None:
        """Return the run with just this id."""
        with self.reading() as db:
            rows = _rows(db, "SELECT * FROM runs WHERE run_id = ?", (run_id,))
        return RunRecord.of(rows[0]) if rows else None

    def run_of_batch(self, batch_id: str) -> RunRecord | None:
        """Return the latest run that carries just this batch."""
        with self.reading() as db:
            rows = _rows(
                db,
                "SELECT * FROM runs WHERE batch_id = ? OR run_id IN"
                " (SELECT run_id FROM run_batches WHERE batch_id = ?) ORDER BY seq DESC LIMIT 1",
                (batch_id, batch_id),
            )
        return RunRecord.of(rows[0]) if rows else None

    def find(self, beginning: str) -> RunRecord:
        """Return the run whose id, or one of whose batch ids, begins so; of several runs of one batch the latest.

        Raises:
            WrongUsage: none, or more than one, matches.
        """
        like = beginning.replace("%", "").replace("_", "") + "%"
        with self.reading() as db:
            names = db.execute(
                "SELECT run_id FROM runs WHERE run_id LIKE ? UNION SELECT batch_id FROM runs WHERE batch_id LIKE ?"
                " UNION SELECT batch_id FROM run_batches WHERE batch_id LIKE ?",
                (like, like, like),
            ).fetchall()
            name = names[0][0] if len(names) == 1 else ""
            rows = _rows(
                db,
                "SELECT * FROM runs WHERE run_id = ? OR batch_id = ? OR run_id IN"
                " (SELECT run_id FROM run_batches WHERE batch_id = ?) ORDER BY seq DESC LIMIT 1",
                (name, name, name),
            )
        if not beginning or not names:
            raise WrongUsage(f"no run begins with {beginning!r}", hint="dataflows runs list")
        if len(names) > 1:
            raise WrongUsage(
                f"{len(names)} runs begin with {beginning!r}",
                hint="give more characters of the run id: dataflows runs list",
            )
        return RunRecord.of(rows[0])

    def prune(
        self,
        *,
        older_than: timedelta,
        keep: frozenset[str] = frozenset({RUNNING, RESUMABLE}),
        command: str | None = None,
    ) -> int:
        """Forget runs that ended longer ago than ``older_than``; returns how many. Resumable runs are kept."""
        limit = (datetime.now(UTC) - older_than).isoformat(timespec="milliseconds")
        marks = ", ".join("?" * len(keep))
        chosen = f"ended_at < ? AND state NOT IN ({marks}) AND command = coalesce(?, command)"
        values = (limit, *keep, command)
        with self.transaction() as db:
            for table in ("items", "run_batches", "run_reports"):
                db.execute(f"DELETE FROM {table} WHERE run_id IN (SELECT run_id FROM runs WHERE {chosen})", values)  # noqa: S608
            return db.execute(f"DELETE FROM runs WHERE {chosen}", values).rowcount  # noqa: S608

    # --- items ------------------------------------------------------------------------------------------------

    def record(self, run_id: str, items: Iterable[Item], db: sqlite3.Connection | None = None) -> None:
        """Write the outcome of items; inside an open transaction when ``db`` is given."""
        if db is None:
            with self.transaction() as own:
                return self.record(run_id, items, own)
        ended = now()
        db.executemany(
            "INSERT OR REPLACE INTO items (run_id, key, state, attempts, code, message, started_at, ended_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [(run_id, *item, ended) for item in items],
        )
        return None

    def items(self, run_id: str, *, state: str | None = None, limit: int = 1000, after: str = "") -> list[Item]:
        """Return items of a run in the order of their keys, one bounded page after the key ``after``."""
        where, values = ("AND state = ?", (state,)) if state else ("", ())
        with self.reading() as db:
            rows = _rows(
                db,
                f"SELECT key, state, attempts, code, message, started_at FROM items"  # noqa: S608
                f" WHERE run_id = ? AND key > ? {where} ORDER BY key LIMIT ?",
                (run_id, after, *values, limit),
            )
        return [Item(*row) for row in rows]

    def item_counts(self, run_id: str) -> dict[str, int]:
        """Return how many items of a run are in each state."""
        with self.reading() as db:
            return dict(db.execute("SELECT state, count(*) FROM items WHERE run_id = ? GROUP BY state", (run_id,)))


def _rows(db: sqlite3.Connection, statement: str, values: tuple[object, ...]) -> list[sqlite3.Row]:
    cursor = db.cursor()
    cursor.row_factory = sqlite3.Row
    return cursor.execute(statement, values).fetchall()


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
            raise ServiceDown("the journal is locked by another process", hint="run again in a minute") from error
        if _code(error) == sqlite3.SQLITE_ERROR:  # SQLite does not understand a statement of ours: that is a bug
            raise
        if path is not None and (known := sqlite_unusable(error, path, "the journal")) is not None:
            raise known from error
        raise SettingUnusable(
            f"the journal cannot be used: {path}", hint="check DATA_DIR: does it exist, is there space, may we write?"
        ) from error
    except OSError as error:
        hint = "set DATA_DIR to a local folder that this account may write"
        raise unusable(path or Path(), error, "the data folder", hint) from error
    except sqlite3.DatabaseError as error:
        if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise  # such as a constraint of ours: a bug
        raise BadInput(
            f"the journal is damaged: {path}", hint="move it away; the next run sends full payloads"
        ) from error


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code of SQLite; 0 where the error came from elsewhere."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
