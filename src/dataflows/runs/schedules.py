"""When jobs start, and which ones this machine's scheduler was given: what ``status`` and ``report`` expect to find."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from dataflows.runs.journal import Journal, now

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SCHEMA = (
    """
    CREATE TABLE schedules (
        name TEXT PRIMARY KEY, command TEXT NOT NULL, recurrence TEXT NOT NULL, installed_at TEXT NOT NULL
    ) WITHOUT ROWID
    """,
)


@dataclass(frozen=True)
class Recurrence:
    """When a job starts, by the clock of its machine: at a time of every day or of one weekday, or every so often."""

    at: time = time(0, 0)
    weekday: int | None = None
    """0 is Monday."""
    every: str = ""
    """Such as ``15min`` or ``1h``; the count begins at midnight."""

    def __str__(self) -> str:
        if self.every:
            return f"every {self.every}"
        day = "daily" if self.weekday is None else f"every {DAYS[self.weekday].title()}"
        return f"{day} at {self.at:%H:%M}"

    @property
    def step(self) -> tuple[int, str]:
        """The number and the unit (``min`` or ``h``) of ``every``."""
        number = self.every.rstrip("hmin")
        return int(number), self.every.removeprefix(number)

    def last_due(self, moment: datetime) -> datetime:
        """Return when the job was to start last, at this moment or before it (both by the machine's own clock)."""
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.every:
            number, unit = self.step
            step = timedelta(minutes=number) if unit == "min" else timedelta(hours=number)
            return midnight + (moment - midnight) // step * step
        due = midnight + timedelta(hours=self.at.hour, minutes=self.at.minute)
        days = 0 if self.weekday is None else (due.weekday() - self.weekday) % 7
        due -= timedelta(days=days)
        return due if due <= moment else due - timedelta(days=1 if self.weekday is None else 7)


@dataclass(frozen=True)
class InstalledJob:
    """A job that the scheduler of this machine was given. ``installed``: since when (aware, UTC)."""

    name: str
    command: str
    recurrence: Recurrence
    installed: datetime


class InstalledJobs:
    """The jobs that were installed with this data folder."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        journal.ensure("schedules", _SCHEMA)

    def add(self, name: str, command: str, recurrence: Recurrence) -> None:
        """Note a job, in place of one of the same name."""
        written = json.dumps([f"{recurrence.at:%H:%M}", recurrence.weekday, recurrence.every])
        with self._journal.transaction() as db:
            db.execute("INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?)", (name, command, written, now()))

    def remove(self, name: str) -> None:
        """Forget a job."""
        with self._journal.transaction() as db:
            db.execute("DELETE FROM schedules WHERE name = ?", (name,))

    def all(self) -> list[InstalledJob]:
        """Return them by name."""
        with self._journal.reading() as db:
            rows = db.execute("SELECT name, command, recurrence, installed_at FROM schedules ORDER BY name").fetchall()
        return [InstalledJob(row[0], row[1], _recurrence(row[2]), datetime.fromisoformat(row[3])) for row in rows]


def _recurrence(written: str) -> Recurrence:
    at, weekday, every = json.loads(written)
    return Recurrence(time.fromisoformat(at), weekday, every)
