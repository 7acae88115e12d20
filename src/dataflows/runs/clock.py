"""Whether the clock can be believed when something is removed for its age.

A clock that jumped ahead makes everything old at once: one run with the clock in 2030 removed all files, all earlier
runs and the payloads of events that nobody had published. So nothing is removed while now is more than 7 days after the
newest thing that the journal, a folder or a far side shows. Runs that began so are remembered, and show nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from dataflows.runs.journal import Journal

__all__ = ["AHEAD", "Clock", "latest_start"]

AHEAD = timedelta(days=7)
_SCHEMA = ("CREATE TABLE clock_doubts (run_id TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID",)


def utc_now() -> datetime:
    """The time as the clock has it."""
    return datetime.now(UTC)


class Clock:
    """What speaks for the clock of one run. Without a journal it is believed."""

    def __init__(self, journal: Journal | None = None, run_id: str = "") -> None:
        self._journal = journal
        self._run_id = run_id
        self.now = utc_now()
        self._newest: datetime | None = None
        self._doubts: list[datetime] = []
        self._far: datetime | None = None
        if journal is not None:
            journal.ensure("clock", _SCHEMA)
            self._newest = latest_start(journal, but=run_id)
            self._doubts = _doubts(journal, self._newest)

    def shows(self, moment: datetime | None) -> None:
        """Note a moment that something beside the journal shows, such as the time of the newest object of a bucket."""
        if moment is not None and moment <= self.now + AHEAD:
            self._newest = max(self._newest or moment, moment)

    def shows_without_journal(self, moment: datetime | None) -> None:
        """The same, of something that an earlier run may have written: it counts where the journal shows nothing."""
        if self._newest is None:
            self.shows(moment)

    def is_told(self, moment: datetime | None) -> None:
        """Note the time as a far side's own clock has it: it decides."""
        if moment is not None:
            self._far = max(self._far or moment, moment)

    @property
    def jumped(self) -> bool:
        """Whether nothing is to be removed or forgotten."""
        if self._far is not None:
            return self.now - self._far > AHEAD
        return self._newest is not None and self.now - self._newest > AHEAD and not self._has_gone_on()

    def settle(self) -> None:
        """Remember at the run's end whether its time is to be believed."""
        if self._journal is None:
            return
        at = self.now.isoformat()
        with self._journal.transaction() as db:
            if self.jumped:
                db.execute("INSERT OR REPLACE INTO clock_doubts VALUES (?, ?)", (self._run_id, at))
            else:
                db.execute("DELETE FROM clock_doubts WHERE at <= ?", (at,))

    def _has_gone_on(self) -> bool:
        """Whether the clock has gone on for 7 days since it jumped: then the machine was off for that long before."""
        moments = [*(one for one in self._doubts if one <= self.now), self.now]
        return self.now - moments[0] > AHEAD and all(later - one <= AHEAD for one, later in pairwise(moments))


def latest_start(journal: Journal, *, but: str = "") -> datetime | None:
    """When the newest run of a journal began whose time is believed; None when there is none."""
    journal.ensure("clock", _SCHEMA)
    with journal.reading() as db:
        (newest,) = db.execute(
            "SELECT max(started_at) FROM runs WHERE run_id <> ?"  # of one that died, the end is noted by a later one
            " AND run_id NOT IN (SELECT run_id FROM clock_doubts)",
            (but,),
        ).fetchone()
    return datetime.fromisoformat(newest) if newest else None


def _doubts(journal: Journal, newest: datetime | None) -> list[datetime]:
    with journal.reading() as db:
        rows = db.execute("SELECT at FROM clock_doubts ORDER BY at").fetchall()
    moments = (datetime.fromisoformat(at) for (at,) in rows)
    return [one for one in moments if newest is None or one > newest]
