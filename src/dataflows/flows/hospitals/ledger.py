"""What the journal knows of batches: every row's state, every create without an answer, and whose run they are of.

A create is committed as "sending" before it leaves. One whose outcome was not committed is unknown at the next start,
never not sent.
"""

from __future__ import annotations

import socket
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import AlreadyRunning
from dataflows.flows.hospitals.batch import Batch
from dataflows.flows.hospitals.rows import COMMAND, NEVER, BatchEntry, Portion, State, directory_address
from dataflows.runs.journal import Item, Journal, of_values
from dataflows.runs.lock import is_running

if TYPE_CHECKING:
    from dataflows.settings import Settings

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
    """
    ALTER TABLE hospital_uploads ADD COLUMN plan TEXT;
    CREATE TABLE hospital_contents (content TEXT PRIMARY KEY, suspect REAL, host TEXT) WITHOUT ROWID;
    INSERT INTO hospital_contents
        SELECT upload, NULL, NULL FROM hospital_uploads
        UNION SELECT replace(target, ' again', ''), NULL, NULL FROM runs
        WHERE command = 'hospitals-bulk' AND state <> 'running'
    """,
)

_SAVE = (
    "INSERT OR REPLACE INTO hospital_rows"
    " (batch_id, place, state, hospital_id, attempts, unanswered, given_up, host, seconds, code)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_FLUSH_AFTER_SECONDS = 0.05
_FLUSH_AT = 500


class BatchStore:
    """The tables of this flow in the journal. Used by the main thread of a run only."""

    def __init__(self, journal: Journal, data_dir: Path) -> None:
        self._journal = journal
        self._data_dir = data_dir
        self.host = socket.gethostname()
        self._waiting: list[tuple[object, ...]] = []
        self._items: dict[str, list[Item]] = {}
        self._activated: list[tuple[str]] = []
        self._known_active: set[str] = set()
        self._flushed = 0.0
        journal.ensure("hospitals", _SCHEMA)

    # --- whose batches they are -------------------------------------------------------------------------------

    def claim(self, run_id: str, batch_ids: Sequence[str]) -> None:
        """Make sure that no living run has one of these batches. Raises AlreadyRunning."""
        with self._journal.transaction() as db:
            found = of_values(db, "SELECT holder FROM hospital_batches", "batch_id", batch_ids)
            holders = {holder for (holder,) in found} - {run_id}
            for run, target in of_values(db, "SELECT run_id, target FROM runs", "run_id", sorted(holders)):
                mine = db.execute("SELECT target FROM runs WHERE run_id = ?", (run_id,)).fetchone()
                if mine != (target,) and is_running(self._data_dir, COMMAND, target):
                    raise AlreadyRunning(
                        f"run {run[:8]} is working on a batch of this file",
                        reason="already-running",
                        hint="wait until it has finished; see: dataflows runs list",
                    )

    def hold(self, run_id: str, batch_ids: Iterable[str], foreign_since: float | None = None) -> None:
        """Make batches those of a run. ``foreign_since`` is kept of batches that were not known: see ``Batch``."""
        with self._journal.transaction() as db:
            db.executemany(
                "INSERT INTO hospital_batches (batch_id, holder, suspect, host) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (batch_id) DO UPDATE SET holder = excluded.holder",
                [(batch_id, run_id, foreign_since, self.host) for batch_id in batch_ids],
            )

    def stand_ins(self, batch_ids: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return the batches by which earlier versions replaced lost rows of these: id, parent, and place in that."""
        with self._journal.reading() as db:
            found = of_values(db, "SELECT batch_id, parent, place FROM hospital_batches", "parent", batch_ids)
            return [(batch_id, parent, place) for batch_id, parent, place in found]

    # --- rows -------------------------------------------------------------------------------------------------

    def entries(self, portions: Sequence[Portion]) -> list[list[BatchEntry]]:
        """Return the rows of batches as the journal has them."""
        found = {portion.batch_id: [BatchEntry(row) for row in portion.rows] for portion in portions}
        with self._journal.reading() as db:
            for batch_id, place, *rest in of_values(db, "SELECT * FROM hospital_rows", "batch_id", list(found)):
                if place < len(found[batch_id]):
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
        self.recall_foreign(batches)

    def recall_foreign(self, batches: Sequence[Batch]) -> None:
        """Let batches know since when somebody else's creates may be landing in them."""
        by_id, now = {batch.batch_id: batch for batch in batches}, time.monotonic()
        with self._journal.reading() as db:
            for batch_id, suspect, host in of_values(
                db, "SELECT batch_id, suspect, host FROM hospital_batches", "batch_id", list(by_id)
            ):
                if suspect is not None:
                    by_id[batch_id].foreign_since = no_later_than(suspect, host, self.host, now)

    def _recall(
        self,
        entry: BatchEntry,
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
            entry.given_up = no_later_than(given_up, host, self.host, time.monotonic())

    def note(self, batch: Batch) -> None:
        """Remember the changes of a batch for the next commit, also that it was activated."""
        if batch.was_active and batch.batch_id not in self._known_active:
            self._known_active.add(batch.batch_id)
            self._activated.append((batch.batch_id,))
        for place in batch.changed:
            entry = batch.entries[place]
            given_up = None if entry.given_up == NEVER else entry.given_up
            self._waiting.append(
                (batch.batch_id, place, entry.state.value, entry.hospital_id, entry.attempts, entry.unanswered,
                 given_up, self.host if given_up is not None else None, entry.seconds, entry.code)
            )  # fmt: skip
        batch.changed.clear()

    def window(self, settings: Settings, address: str) -> CreateWindow:
        """The window of the Directory at ``address``, of HOSPITALS_CREATES_PER_MINUTE and HOSPITALS_WINDOW_SECONDS."""
        most, seconds = settings.hospitals_creates_per_minute, settings.hospitals_window_seconds
        return CreateWindow(self._journal, directory_address(address), most, seconds)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction that also commits what was noted, at its end."""
        with self._journal.transaction() as db:
            yield
            db.executemany(_SAVE, self._waiting)
            for run_id, items in self._items.items():
                self._journal.record(run_id, items)
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

    def active(self, batch_ids: Sequence[str]) -> set[str]:
        """Return which of these batches were activated."""
        with self._journal.reading() as db:
            return {
                one
                for one, active in of_values(db, "SELECT batch_id, active FROM hospital_batches", "batch_id", batch_ids)
                if active
            }

    def forget(self, batch_ids: Sequence[str]) -> None:
        """Forget rows that were deleted at the Directory."""
        with self._journal.transaction() as db:
            for batch_id in batch_ids:
                db.execute(
                    "UPDATE hospital_rows SET state = 'pending', hospital_id = NULL, unanswered = 0, given_up = NULL,"
                    " code = 'deleted' WHERE batch_id = ? AND state NOT IN ('there', 'moved')",
                    (batch_id,),
                )
                db.execute("UPDATE hospital_batches SET active = 0 WHERE batch_id = ?", (batch_id,))


def no_later_than(given_up: float | None, host: str | None, here: str, now: float) -> float:
    """When a create was given up at the latest, in seconds of the clock as it runs now.

    That clock counts from the start of the machine. If it stands lower than it stood then, the machine was started
    anew since, so the create is at least as old as that start. Of another machine's clock nothing follows.
    """
    if given_up is None or host != here:
        return now
    return given_up if given_up <= now else 0.0


Clock = Callable[[], float]


class CreateWindow:
    """The window of one Directory: so many creates, counted from the first one.

    Seconds are those of the system's monotonic clock, the same for all processes. A count that lies in the future is
    from before a restart of the machine: it is kept, and its window begins now.

    ``per_window``: creates in one window, 0 for no limit of our own. ``window``: its length (s), longer than the
    Directory's, since its first create arrives later than it is counted.
    """

    def __init__(
        self, journal: Journal, address: str, per_window: int, window: float, clock: Clock | None = None
    ) -> None:
        self._journal = journal
        self._address = address
        self._most = per_window
        self._window = window
        self._clock = clock or time.monotonic
        self._shut_until = 0.0

    def take(self, wanted: int) -> int:
        """Count up to ``wanted`` creates that are about to be sent; returns how many may be."""
        now = self._clock()
        if not self._most:  # then only a 429 that we got ourselves can shut it
            return wanted if now >= self._shut_until else 0
        with self._journal.transaction() as db:
            started, counted, closed = self._read(db, now)
            if closed > now:
                self._write(db, started, counted, closed)
                return 0
            if now >= started + self._window:
                started, counted = now, 0
            granted = min(wanted, self._most - counted)
            self._write(db, started, counted + granted, closed)
        return granted

    def opens_at(self) -> float:
        """The second from which a create may be sent."""
        now = self._clock()
        with self._journal.reading() as db:
            started, counted, closed = self._read(db, now)
        full = self._most and counted >= self._most and now < started + self._window
        return max(closed, started + self._window if full else now)

    def refused(self) -> None:
        """Take in a 429: somebody else counts too, so nothing is sent until a window from now is over."""
        now = self._clock()
        self._shut_until = now + self._window
        with self._journal.transaction() as db:
            self._write(db, now, 0, now + self._window)

    def _read(self, db: sqlite3.Connection, now: float) -> tuple[float, int, float]:
        row = db.execute(
            "SELECT started, counted, closed FROM hospital_directories WHERE address = ?", (self._address,)
        ).fetchone()
        started, counted, closed = row or (now, 0, 0.0)
        return min(started, now), counted, min(closed, now + self._window)

    def _write(self, db: sqlite3.Connection, started: float, counted: int, closed: float) -> None:
        db.execute(
            "INSERT OR REPLACE INTO hospital_directories (address, started, counted, closed) VALUES (?, ?, ?, ?)",
            (self._address, started, counted, closed),
        )
