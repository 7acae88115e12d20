"""How many creates the Directory takes in one window, counted for all processes that share the journal."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from dataflows.runs.journal import Journal

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
