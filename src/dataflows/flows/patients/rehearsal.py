"""``--dry-run``: lists and checks, and says what would become of each object. Nothing is written or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dataflows.errors import ServiceDown
from dataflows.events import Done, Event, Failed, Pending, Planned, Skipped, Step
from dataflows.flows.patients import names
from dataflows.flows.patients.bucket import BucketClient, ListedObject, Vanished
from dataflows.flows.patients.copies import files_in
from dataflows.flows.patients.fields import NotARegistration
from dataflows.flows.patients.intake import NO_GENERATION, PatientWriter
from dataflows.flows.patients.ledger import ImportTally
from dataflows.flows.patients.registration import Registration, read, too_large
from dataflows.flows.patients.restoring import name_of, read_copy
from dataflows.flows.patients.tracking import DEAD, DONE, UNRECOGNISED, TrackedObject
from dataflows.remote.failures import Blocked
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run


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
