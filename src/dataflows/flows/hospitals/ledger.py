"""What the journal knows of batches: every row's state, every create without an answer, and whose run they are of.

A create is committed as "sending" before it leaves. One whose outcome was not committed is unknown at the next start,
never not sent.
"""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dataflows.errors import AlreadyRunning
from dataflows.flows.hospitals.batch import Batch
from dataflows.flows.hospitals.entries import NEVER, Entry, State
from dataflows.flows.hospitals.identity import Portion
from dataflows.runs.journal import DONE, PARTIAL, RESUMABLE, RUNNING, Item, Journal
from dataflows.runs.lock import is_running

COMMAND = "hospitals-bulk"

_SCHEMA = (
    """
    CREATE TABLE hospital_directories (
        address TEXT PRIMARY KEY, started REAL NOT NULL, counted INTEGER NOT NULL, closed REAL NOT NULL
    );
    CREATE TABLE hospital_uploads (
        run_id TEXT PRIMARY KEY, upload TEXT NOT NULL, occurrence INTEGER NOT NULL, path TEXT NOT NULL,
        rows TEXT NOT NULL, size INTEGER NOT NULL
    );
    CREATE INDEX hospital_uploads_by_path ON hospital_uploads (path);
    CREATE INDEX hospital_uploads_by_rows ON hospital_uploads (rows);
    CREATE TABLE hospital_batches (
        batch_id TEXT PRIMARY KEY, holder TEXT NOT NULL, parent TEXT, place INTEGER, active INTEGER NOT NULL DEFAULT 0,
        suspect REAL, host TEXT
    );
    CREATE INDEX hospital_batches_by_parent ON hospital_batches (parent) WHERE parent IS NOT NULL;
    CREATE TABLE hospital_rows (
        batch_id TEXT NOT NULL, place INTEGER NOT NULL, state TEXT NOT NULL, hospital_id INTEGER,
        attempts INTEGER NOT NULL, unanswered INTEGER NOT NULL, given_up REAL, host TEXT, seconds REAL, code TEXT,
        PRIMARY KEY (batch_id, place)
    ) WITHOUT ROWID
    """,
)

_SAVE = (
    "INSERT OR REPLACE INTO hospital_rows"
    " (batch_id, place, state, hospital_id, attempts, unanswered, given_up, host, seconds, code)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPLOAD = "u.upload, u.occurrence, u.path, u.rows, u.size"
_FLUSH_AFTER_SECONDS = 0.05
_FLUSH_AT = 500


class Upload(NamedTuple):
    """What one run carries: the name of its content, which time it is created, the file that it came from, the name
    of the rows alone, and the size of the batches.
    """

    key: str
    occurrence: int
    path: str
    rows: str
    size: int


class Leftover(NamedTuple):
    """An earlier run that did not come to its end, and whether its process lives."""

    run_id: str
    upload: Upload
    alive: bool


class Ledger:
    """The tables of this flow in the journal. Used by the main thread of a run only."""

    def __init__(self, journal: Journal, data_dir: Path) -> None:
        self._journal = journal
        self._data_dir = data_dir
        self._host = socket.gethostname()
        self._waiting: list[tuple[object, ...]] = []
        self._items: dict[str, list[Item]] = {}
        self._activated: list[tuple[str]] = []
        self._flushed = 0.0
        journal.ensure("hospitals", _SCHEMA)

    # --- whose batches they are -------------------------------------------------------------------------------

    def begin(self, run_id: str, upload: Upload, portions: Sequence[Portion], *, history_lost: bool) -> None:
        """Make the batches those of this run.

        ``history_lost``: they were carried before, and the journal forgot what was sent. Batches that it does not know
        are suspect from now on, also for later runs.

        Raises:
            AlreadyRunning: a living run has one of them (two files may share a batch).
        """
        ids = [portion.batch_id for portion in portions]
        with self._journal.transaction() as db:
            self.claim(db, run_id, ids)
            db.execute("INSERT OR REPLACE INTO hospital_uploads VALUES (?, ?, ?, ?, ?, ?)", (run_id, *upload))
            self._hold(db, run_id, ids, time.monotonic() if history_lost else None)
        self._journal.name_batches(run_id, ids)

    def claim(self, db: sqlite3.Connection, run_id: str, batch_ids: Sequence[str]) -> None:
        """Make sure that no living run has one of these batches. Raises AlreadyRunning."""
        holders = {holder for (holder,) in _of(db, "SELECT holder FROM hospital_batches", batch_ids)} - {run_id}
        for run, target in _of(db, "SELECT run_id, target FROM runs", sorted(holders), "run_id"):
            mine = db.execute("SELECT target FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if mine != (target,) and is_running(self._data_dir, COMMAND, target):
                raise AlreadyRunning(
                    f"run {run[:8]} is at work on a batch of this file",
                    hint="wait for its end, or: dataflows runs list",
                )

    def _hold(
        self, db: sqlite3.Connection, run_id: str, batch_ids: Iterable[str], suspect: float | None = None
    ) -> None:
        db.executemany(
            "INSERT INTO hospital_batches (batch_id, holder, suspect, host) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (batch_id) DO UPDATE SET holder = excluded.holder",
            [(batch_id, run_id, suspect, self._host) for batch_id in batch_ids],
        )

    def introduce(self, run_id: str, batch_ids: Iterable[str], *, carried_before: bool) -> bool:
        """Note batches that the journal does not know; return whether it should have known them.

        ``carried_before``: a copy of their rows was kept. Then the journal forgot what was sent, and creates of which
        nothing is known may still land: the batches are suspect from now on, also if this run dies before it begins.
        """
        suspect = time.monotonic() if carried_before else None
        with self._journal.transaction() as db:
            unknown = db.executemany(
                "INSERT OR IGNORE INTO hospital_batches (batch_id, holder, suspect, host) VALUES (?, ?, ?, ?)",
                [(batch_id, run_id, suspect, self._host) for batch_id in batch_ids],
            ).rowcount
        return carried_before and unknown > 0

    def adopt(self, batch: Batch, place: int, run_id: str) -> None:
        """Take in a batch that stands in for a lost row, and bring its entry to what is known of it."""
        assert batch.parent is not None
        with self._journal.transaction() as db:
            self._hold(db, run_id, [batch.batch_id])
            db.execute(
                "UPDATE hospital_batches SET parent = ?, place = ? WHERE batch_id = ?",
                (batch.parent.batch_id, place, batch.batch_id),
            )

    def repairs(self, batch_ids: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Return the batches that stand in for lost rows of these: parent and place by batch id."""
        with self._journal.reading() as db:
            found = _of(db, "SELECT batch_id, parent, place FROM hospital_batches", batch_ids, "parent")
            return {batch_id: (parent, place) for batch_id, parent, place in found}

    def leftovers(self, path: str, rows: str, before: str | None = None) -> list[Leftover]:
        """Return the runs of a file, or of the same rows, that did not come to their end, latest first.

        ``before``: only those that are older than every unfinished run of the same target as this one.
        """
        older = (
            " AND r.seq < (SELECT min(o.seq) FROM runs o JOIN runs mine USING (command, target)"
            " WHERE mine.run_id = ? AND o.state IN (?, ?))"
        )
        with self._journal.reading() as db:
            found = db.execute(
                f"SELECT r.run_id, r.target, {_UPLOAD} FROM hospital_uploads u JOIN runs r USING (run_id)"  # noqa: S608
                f" WHERE (u.path = ? OR u.rows = ?) AND r.state IN (?, ?){older if before else ''} ORDER BY r.seq DESC",
                (path, rows, RESUMABLE, RUNNING, *((before, RESUMABLE, RUNNING) if before else ())),
            ).fetchall()
        return [
            Leftover(run_id, Upload(*upload), is_running(self._data_dir, COMMAND, target))
            for run_id, target, *upload in found
        ]

    def finished(self, rows: str) -> list[Upload]:
        """Return the uploads of these rows, in whatever batches, that came to their end."""
        with self._journal.reading() as db:
            found = db.execute(
                f"SELECT DISTINCT {_UPLOAD} FROM hospital_uploads u JOIN runs r USING (run_id)"  # noqa: S608
                " WHERE u.rows = ? AND r.state IN (?, ?)",
                (rows, DONE, PARTIAL),
            ).fetchall()
        return [Upload(*upload) for upload in found]

    def unfinished(self, key: str) -> int | None:
        """Return the latest occurrence of an upload whose run did not come to its end."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT max(u.occurrence) FROM hospital_uploads u JOIN runs r USING (run_id)"
                " WHERE u.upload = ? AND r.state IN (?, ?)",
                (key, RESUMABLE, RUNNING),
            ).fetchone()
        return None if row is None or row[0] is None else int(row[0])

    def upload_of(self, run_id: str) -> Upload | None:
        """Return what a run carried; of one that was killed too early, what another run of its target did."""
        with self._journal.reading() as db:
            found = db.execute(
                f"SELECT {_UPLOAD} FROM hospital_uploads u JOIN runs r USING (run_id) WHERE (r.command, r.target) ="  # noqa: S608
                " (SELECT command, target FROM runs WHERE run_id = ?) ORDER BY r.run_id = ? DESC, r.seq DESC LIMIT 1",
                (run_id, run_id),
            ).fetchone()
        return Upload(*found) if found else None

    # --- rows -------------------------------------------------------------------------------------------------

    def entries(self, portions: Sequence[Portion]) -> list[list[Entry]]:
        """Return the rows of batches as the journal has them."""
        found = {portion.batch_id: [Entry(row) for row in portion.rows] for portion in portions}
        with self._journal.reading() as db:
            for batch_id, place, *rest in _of(db, "SELECT * FROM hospital_rows", list(found)):
                self._recall(found[batch_id][place], *rest)
        return list(found.values())

    def slowest(self, portions: Sequence[Portion]) -> float:
        """The longest create of these batches that was answered (s)."""
        return max((entry.seconds or 0.0 for entries in self.entries(portions) for entry in entries), default=0.0)

    def fill(self, batches: Sequence[Batch]) -> None:
        """Bring new batches to what the journal knows of them.

        A refused row is sent again, since the Directory may think better of it by now. A create that was under way
        when its process died may have left at the last moment.
        """
        now = time.monotonic()
        portions = [Portion(batch.batch_id, [entry.row for entry in batch.entries]) for batch in batches]
        for batch, entries in zip(batches, self.entries(portions), strict=True):
            for entry in entries:
                if entry.state is State.SENDING:
                    entry.state, entry.given_up = State.UNKNOWN, now
                elif entry.state is State.REFUSED:
                    entry.state = State.PENDING
            batch.recall(entries)
        self._suspect({batch.batch_id: batch for batch in batches}, now)

    def recall(self, batches: Sequence[Batch]) -> None:
        """Bring new batches to what the journal knows of them, refused rows too: they are only to be looked at."""
        portions = [Portion(batch.batch_id, [entry.row for entry in batch.entries]) for batch in batches]
        for batch, known in zip(batches, self.entries(portions), strict=True):
            batch.recall(known)

    def _suspect(self, batches: dict[str, Batch], now: float) -> None:
        with self._journal.reading() as db:
            for batch_id, suspect, host in _of(
                db, "SELECT batch_id, suspect, host FROM hospital_batches", list(batches)
            ):
                if suspect is not None:
                    batches[batch_id].suspect = _no_later_than(suspect, host, self._host, now)

    def _recall(
        self,
        entry: Entry,
        state: str,
        hospital_id: int | None,
        attempts: int,
        unanswered: int,
        given_up: float | None,
        host: str | None,
        seconds: float | None,
        code: str | None,
    ) -> None:
        entry.state, entry.hospital_id, entry.code = State(state), hospital_id, code
        entry.attempts, entry.unanswered, entry.seconds = attempts, unanswered, seconds
        if unanswered:
            entry.given_up = _no_later_than(given_up, host, self._host, time.monotonic())

    def note(self, batch: Batch) -> None:
        """Remember the changes of a batch for the next commit."""
        for place in batch.changed:
            entry = batch.entries[place]
            given_up = None if entry.given_up == NEVER else entry.given_up
            self._waiting.append(
                (batch.batch_id, place, entry.state.value, entry.hospital_id, entry.attempts, entry.unanswered,
                 given_up, self._host if given_up is not None else None, entry.seconds, entry.code)
            )  # fmt: skip
        batch.changed.clear()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that also commits what was noted, at its end."""
        with self._journal.transaction() as db:
            yield db
            db.executemany(_SAVE, self._waiting)
            for run_id, items in self._items.items():
                self._journal.record(run_id, items, db)
            if self._activated:
                db.executemany("UPDATE hospital_batches SET active = 1 WHERE batch_id = ?", self._activated)
        self._waiting.clear()
        self._items.clear()
        self._activated.clear()
        self._flushed = time.monotonic()

    def flush(self, *, now: bool = True) -> None:
        """Commit what was noted; with ``now=False`` only when it has waited long enough or is much."""
        due = now or time.monotonic() - self._flushed > _FLUSH_AFTER_SECONDS or len(self._waiting) >= _FLUSH_AT
        if due and (self._waiting or self._items or self._activated):
            with self.transaction():
                pass

    def record(self, run_id: str, items: Iterable[Item]) -> None:
        """Remember the outcome of rows, for ``runs show``, until the next commit."""
        self._items.setdefault(run_id, []).extend(items)

    def close_siblings(self, run_id: str, state: str) -> None:
        """Set the state of a run, and of all others of its target that wait to be resumed: they are one upload."""
        self._journal.set_state(run_id, state)
        with self._journal.reading() as db:
            others = db.execute(
                "SELECT run_id FROM runs WHERE state = ? AND (command, target) ="
                " (SELECT command, target FROM runs WHERE run_id = ?)",
                (RESUMABLE, run_id),
            ).fetchall()
        for (other,) in others:
            self._journal.set_state(other, state)

    def activated(self, batch_id: str) -> None:
        """Remember that a batch is active and complete, until the next commit."""
        self._activated.append((batch_id,))

    def active(self, batch_ids: Sequence[str]) -> set[str]:
        """Return which of these batches were seen active and complete."""
        with self._journal.reading() as db:
            return {
                one for one, active in _of(db, "SELECT batch_id, active FROM hospital_batches", batch_ids) if active
            }

    def forget(self, batch_ids: Sequence[str]) -> None:
        """Forget rows that were deleted at the Directory."""
        with self._journal.transaction() as db:
            for batch_id in batch_ids:
                db.execute(
                    "UPDATE hospital_rows SET state = 'pending', hospital_id = NULL, unanswered = 0, given_up = NULL,"
                    " code = 'deleted' WHERE batch_id = ?",
                    (batch_id,),
                )
                db.execute("UPDATE hospital_batches SET active = 0 WHERE batch_id = ?", (batch_id,))

    def uploads(self) -> set[str]:
        """Forget what belongs to runs that are pruned; return the keys of the uploads that remain."""
        gone = "holder NOT IN (SELECT run_id FROM runs)"
        with self._journal.transaction() as db:
            db.execute("DELETE FROM hospital_uploads WHERE run_id NOT IN (SELECT run_id FROM runs)")
            db.execute(
                f"DELETE FROM hospital_rows WHERE batch_id IN (SELECT batch_id FROM hospital_batches WHERE {gone})"  # noqa: S608
            )
            db.execute(f"DELETE FROM hospital_batches WHERE {gone}")  # noqa: S608
            return {key for (key,) in db.execute("SELECT upload FROM hospital_uploads")}


def _no_later_than(given_up: float | None, host: str | None, here: str, now: float) -> float:
    """When a create was given up at the latest, in seconds of the clock as it runs now.

    That clock counts from the start of the machine. If it stands lower than it stood then, the machine was started
    anew since, so the create is at least as old as that start. Of another machine's clock nothing follows.
    """
    if given_up is None or host != here:
        return now
    return given_up if given_up <= now else 0.0


def _of(db: sqlite3.Connection, select: str, values: Sequence[str], column: str = "batch_id") -> Iterator[Any]:
    """The rows of a select whose column has one of these values, however many they are."""
    for start in range(0, len(values), 500):
        part = values[start : start + 500]
        marks = ", ".join("?" * len(part))
        yield from db.execute(f"{select} WHERE {column} IN ({marks})", part).fetchall()
