"""What workers do for batches: one request each, and no more creates at a time than the Directory bears."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dataflows.errors import DataflowsError
from dataflows.flows.hospitals.batch import Ask, QuestionKind
from dataflows.flows.hospitals.directory import CreateOutcome, DirectoryApi, DirectoryRecord, NotSent
from dataflows.flows.hospitals.inventory import Inventory
from dataflows.runs.journal import Journal
from dataflows.runs.pool import Flag

Clock = Callable[[], float]


class CreateWindow:
    """The window of one Directory: so many creates, counted from the first one.

    Seconds are those of the system's monotonic clock (since the machine started, the same for all processes), so the
    wall clock may step as it likes. A count that lies in the future is from before a restart of the machine: it is
    kept, and its window begins now.

    Args:
        journal: where the count is kept; its tables are the ledger's.
        address: the Directory.
        per_window: creates in one window, 0 for no limit of our own.
        window: its length (s); longer than the Directory's, since its first create arrives later than it is counted.
        clock: monotonic seconds.
    """

    def __init__(
        self, journal: Journal, address: str, per_window: int, window: float, clock: Clock = time.monotonic
    ) -> None:
        self._journal = journal
        self._address = address
        self._most = per_window
        self._window = window
        self._clock = clock
        self._shut_until = 0.0

    def take(self, db: sqlite3.Connection, wanted: int) -> int:
        """Count up to ``wanted`` creates that are about to be sent, inside a transaction; returns how many may be."""
        now = self._clock()
        if not self._most:  # then only a 429 that we got ourselves can shut it
            return wanted if now >= self._shut_until else 0
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


class RequestFailure(NamedTuple):
    """The request could not be made, or got no answer although it was repeated."""

    error: DataflowsError


class Answered(NamedTuple):
    """What came of a request: of a create its outcome, of a look what it saw, else a status (None: no answer).

    ``started`` and ``ended`` are seconds of the monotonic clock.
    """

    ask: Ask
    outcome: CreateOutcome | list[DirectoryRecord] | Inventory | int | RequestFailure | None
    started: float
    ended: float


@dataclass
class RequestWorker:
    """``creating`` lets so many creates through at a time; other calls go beside them. ``halt``: no new create."""

    directory: DirectoryApi
    creating: threading.Semaphore
    halt: Flag

    def __post_init__(self) -> None:
        self._door = threading.Lock()
        self._closed = False

    def carry(self, ask: Ask) -> Answered:
        """Make one request."""
        if ask.kind is QuestionKind.CREATE:
            with self.creating:
                return self._create(ask)
        started = time.monotonic()
        outcome: list[DirectoryRecord] | Inventory | int | RequestFailure | None
        try:
            outcome = self._single(ask)
        except DataflowsError as error:
            outcome = RequestFailure(error)
        return Answered(ask, outcome, started, time.monotonic())

    def _create(self, ask: Ask) -> Answered:
        started = time.monotonic()
        if not self._lets_out(ask):
            return Answered(ask, NotSent("stopped"), started, started)
        outcome: CreateOutcome | RequestFailure
        try:
            outcome = self.directory.create(ask.batch.batch_id, ask.batch.entries[ask.place].row.hospital)
        except DataflowsError as error:
            outcome = RequestFailure(error)
        return Answered(ask, outcome, started, time.monotonic())

    def _lets_out(self, ask: Ask) -> bool:
        with self._door:
            ask.left = not self._closed and not self.halt.is_set()
            return ask.left

    def close(self) -> None:
        """Let no create out any more: whatever has not left by now never will."""
        with self._door:
            self._closed = True

    def _single(self, ask: Ask) -> list[DirectoryRecord] | Inventory | int | None:
        match ask.kind:
            case QuestionKind.LOOK:
                return self.directory.look(ask.batch.batch_id)
            case QuestionKind.LIST:
                return inventory_of(self.directory)
            case QuestionKind.ACTIVATE:
                return self.directory.activate(ask.batch.batch_id)
            case QuestionKind.DELETE_BATCH:
                return self.directory.delete_batch(ask.batch.batch_id)
            case _:
                return self.directory.delete(ask.record_id)


def inventory_of(directory: DirectoryApi) -> Inventory:
    """What the Directory holds now. Raises as ``DirectoryApi.look`` does."""
    started = time.monotonic()
    return Inventory(directory.list_all(), started)
