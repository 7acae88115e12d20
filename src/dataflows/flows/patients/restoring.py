"""``--from-copies``: registrations from a folder of local copies, after a restore. The bucket is not asked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dataflows.events import Done, Event, Failed, Planned, Skipped, Step
from dataflows.flows.patients import names
from dataflows.flows.patients.bucket import ListedObject
from dataflows.flows.patients.copies import BackupFolder, contents, files_in
from dataflows.flows.patients.fields import NotARegistration
from dataflows.flows.patients.intake import PatientWriter
from dataflows.flows.patients.ledger import ImportTally
from dataflows.flows.patients.recording import ReceivedRegistration
from dataflows.flows.patients.registration import Registration, read
from dataflows.runs.journal import Item
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run

_NEAR, _LAST = timedelta(days=2), 250_000_000_000.0  # the latter in seconds: the year 9892
BUCKET = "file:"
"""What stands in the place of a bucket's name; no bucket can be called so."""


@dataclass
class Restoring:
    """Takes copies in. What was imported before is skipped; nothing is moved or deleted."""

    run: Run
    books: PatientWriter
    copies: BackupFolder
    seal: IdentifierCipher
    max_bytes: int
    ledger: ImportTally

    def play(self, folder: Path) -> Iterator[Event]:
        """Import every copy in a folder, oldest first."""
        yield Step("reading the folder")
        files = files_in(folder)
        yield Planned(len(files), "copies")
        yield Step("importing")
        for file in files:
            if self.run.stop.is_set():
                return
            self.ledger.counts["seen"] += 1
            yield self._take(file)

    def _take(self, file: Path) -> Event:
        found = read_copy(file, self.max_bytes)
        key = self.seal.mark(name_of(file))
        if isinstance(found, NotARegistration):
            self.ledger.counts["failed"] += 1
            return self._event(Failed(key, found.code, found.message), key, "failed", found.code, found.message)
        about, data, registration = found
        if self.books.copy_of(registration.sha256) is not None:
            self.ledger.counts["duplicate_file"] += 1
            return self._event(Skipped(key, "known"), key, "skipped", "known")
        copy = self.copies.keep(about.name, about.generation, data, about.moment)
        recorded = self.books.record(ReceivedRegistration(BUCKET, about, registration, copy, self.run.id))
        self.ledger.note(key, registration, recorded)
        return self._event(Done(key, recorded.outcome), key, "done", recorded.outcome)

    def _event(self, event: Event, key: str, state: str, code: str, message: str | None = None) -> Event:
        self.run.journal.record(self.run.id, [Item(key, state, 1, code, message)])
        return event


def name_of(file: Path) -> str:
    """The name of a copy; bytes that are no text, as archives of other systems leave them, are replaced."""
    return file.name.encode(errors="replace").decode()


def read_copy(file: Path, max_bytes: int) -> tuple[ListedObject, bytes, Registration] | NotARegistration:
    """Read a copy; the time of its object stands in for the generation too (microseconds, as there)."""
    data, seconds = contents(file)
    name = name_of(file)
    found = names.usual(name)
    moment = _made(seconds, names.day_of(found) if found else None)
    try:
        registration = read(data, max_bytes=max_bytes, token=names.token_of(found) if found else None)
    except NotARegistration as error:
        return NotARegistration(error.code, error.message)
    about = ListedObject(name, int(moment.timestamp() * 1_000_000), len(data), "", moment)
    return about, data, registration.dated(moment)


def _made(seconds: float, day: date | None) -> datetime:
    """When the object was made: the time of the copy, or the end of the day in its name where a restore has lost it.

    Copies carry the time of their object. One that is not within two days of the day in the name is by a restore.
    """
    changed = datetime.fromtimestamp(min(max(seconds, 0.0), _LAST), UTC)
    if day is None:
        return changed
    ends = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return changed if abs(changed - ends) <= _NEAR else ends
