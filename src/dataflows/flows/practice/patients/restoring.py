"""Imports that are no night: out of local copies, and in rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from dataflows.errors import ServiceDown
from dataflows.events import Done, Event, Failed, Pending, Planned, Skipped, Step
from dataflows.flows.practice.patients import names
from dataflows.flows.practice.patients.bucket import BucketClient, ListedObject, Vanished
from dataflows.flows.practice.patients.copies import BackupFolder, contents, files_in
from dataflows.flows.practice.patients.fields import NotARegistration
from dataflows.flows.practice.patients.intake import NO_GENERATION, PatientWriter
from dataflows.flows.practice.patients.ledger import ImportTally
from dataflows.flows.practice.patients.recording import ReceivedRegistration
from dataflows.flows.practice.patients.registration import Registration, read, too_large
from dataflows.flows.practice.patients.tracking import DEAD, DONE, UNRECOGNISED, TrackedObject
from dataflows.remote.failures import Blocked
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


@dataclass
class Rehearsal:
    """Looks at objects as ``Intake`` would, with the database as it is now."""

    run: Run
    books: PatientWriter
    rule: names.Rule
    seal: IdentifierCipher
    max_bytes: int
    ledger: ImportTally

    def play(self, bucket: BucketClient, folder: Path | None) -> Iterator[Event]:
        """Look at the bucket, or at a folder of copies."""
        yield Step("listing")
        found = bucket.objects().objects if folder is None else files_in(folder)
        yield Planned(len(found), "objects")
        yield Step("checking; nothing is written")
        tracked = self.books.tracking.open()
        for one in found:
            if self.run.stop.is_set():
                return
            self.ledger.counts["seen"] += 1
            if isinstance(one, Path):
                yield self._copy(one)
            else:
                yield self._object(bucket, one, tracked.get((one.name, one.generation)))

    def _object(self, bucket: BucketClient, about: ListedObject, tracked: TrackedObject | None) -> Event:
        key = self.seal.mark(about.name)
        found = self.rule(about.name)
        status = tracked.status if tracked else None
        if status in DONE:
            return Done(key, "would be deleted")
        if found is None or status == DEAD:
            code = UNRECOGNISED if found is None else DEAD
            self.ledger.counts[code] += 1
            return Skipped(key, code)
        try:
            registration = self._read(bucket, about, names.token_of(found))
        except NotARegistration as error:
            return self._unfit(key, error)
        except Vanished:
            return Skipped(key, "deleted or replaced meanwhile")
        except ServiceDown as error:
            if isinstance(error, Blocked):
                raise
            self.ledger.counts["waiting"] += 1
            return Pending(key, error.code)
        return self._fit(key, registration, about)

    def _copy(self, file: Path) -> Event:
        key, found = self.seal.mark(name_of(file)), read_copy(file, self.max_bytes)
        return self._unfit(key, found) if isinstance(found, NotARegistration) else self._fit(key, found[2], found[0])

    def _read(self, bucket: BucketClient, about: ListedObject, token: str | None) -> Registration:
        if not about.generation:
            raise NotARegistration("no_generation", NO_GENERATION)
        if about.size is not None and about.size > self.max_bytes:
            raise too_large(self.max_bytes)
        return read(bucket.download(about), max_bytes=self.max_bytes, token=token).dated(about.moment)

    def _unfit(self, key: str, error: NotARegistration) -> Event:
        self.ledger.counts["failed"] += 1
        return Failed(key, error.code, error.message)

    def _fit(self, key: str, registration: Registration, about: ListedObject) -> Event:
        recorded = self.books.preview(registration, about)
        self.ledger.note(key, registration, recorded)
        return Done(key, f"would be {recorded.outcome}")
