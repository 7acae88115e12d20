"""One registration at a time: local copy, check, one transaction, and only then the deletion from the bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from dataflows.events import Event
from dataflows.flows.practice.erasures import CONTENT, OBJECT, Erasures
from dataflows.flows.practice.patients import objects
from dataflows.flows.practice.patients.bucket import BucketClient, PatientBucket
from dataflows.flows.practice.patients.objects import (
    COPIES,
    BackupFolder,
    Deletion,
    ListedObject,
    Vanished,
    read_copy,
)
from dataflows.flows.practice.patients.recording import ReceivedRegistration, copy_of, record
from dataflows.flows.practice.patients.registration import (
    NotARegistration,
    Registration,
    read,
    too_large,
    without_generation,
)
from dataflows.flows.practice.patients.reporting import ObjectReporter
from dataflows.flows.practice.patients.tracking import (
    ATTEMPTS,
    DEAD,
    DONE,
    DUPLICATE_FILE,
    UNRECOGNISED,
    TrackedObject,
    Tracking,
)  # fmt: skip

if TYPE_CHECKING:
    from dataflows.settings import Settings


@dataclass
class Intake:
    """Takes registrations in, out of the bucket or out of local copies. Every method raises what ends the run."""

    bucket: PatientBucket
    tracking: Tracking
    copies: BackupFolder
    report: ObjectReporter
    rule: objects.Rule
    max_bytes: int
    erasures: Erasures

    @classmethod
    @contextmanager
    def opened(
        cls,
        settings: Settings,
        tracking: Tracking,
        copies: BackupFolder,
        report: ObjectReporter,
        rule: objects.Rule,
        erasures: Erasures,
        broken_off: Callable[[], bool],
    ) -> Iterator[Self]:
        """An intake, with the connections to the bucket of the settings; ``broken_off`` ends a wait for it."""
        with closing(BucketClient(settings, tracking.policy, tracking.may_write, broken_off)) as client:
            yield cls(PatientBucket(client), tracking, copies, report, rule, settings.patient_max_bytes, erasures)

    def take(self, about: ListedObject, tracked: TrackedObject | None) -> Event:
        """Bring one object as far as it goes; ``tracked`` is what is known of it."""
        status = tracked.status if tracked else None
        found = self.rule(about.name)
        if not about.generation:  # without which it can neither be tracked nor deleted; it stays where it is
            return self.report.failed(about.name, without_generation())
        if status in DONE:
            return self._delete(about, str(status), "deleted")
        if found is None:
            return self._unrecognised(about, known=status == UNRECOGNISED)
        if self.erasures.has(OBJECT, about.name):
            return self.report.erased(about.name)
        if status == DEAD:
            return self.report.skipped(about.name, DEAD, DEAD)
        return self._import(about, tracked, objects.token_of(found))

    def _unrecognised(self, about: ListedObject, *, known: bool) -> Event:
        if not known and "\0" not in about.name:  # which PostgreSQL has no place for
            self.tracking.not_recognised(about)
        return self.report.skipped(about.name, UNRECOGNISED, UNRECOGNISED)

    def _import(self, about: ListedObject, tracked: TrackedObject | None, token: str | None) -> Event:
        if about.size is not None and about.size > self.max_bytes:
            return self._unfit(about, tracked, too_large(self.max_bytes))
        got = self.bucket.download(about)
        if isinstance(got, Vanished):
            return self.report.skipped(about.name, "vanished", "deleted or replaced meanwhile")
        if not isinstance(got, bytes):
            self.report.tally.counts["waiting"] += 1
            return self.report.pending(about.name, got.code)
        return self._downloaded(about, tracked, got, token)

    def _downloaded(self, about: ListedObject, tracked: TrackedObject | None, data: bytes, token: str | None) -> Event:
        sha256 = hashlib.sha256(data).hexdigest()
        if self.erasures.has(CONTENT, sha256):
            return self.report.erased(about.name)
        copy = self._keep(about, data, sha256)
        found = _checked(data, about.moment, self.max_bytes, token)
        if isinstance(found, NotARegistration):
            return self._unfit(about, tracked, found, sha256, copy)
        outcome = self.record(about, found, copy)
        return self._delete(about, outcome, outcome, found.warnings)

    def record(self, about: ListedObject, found: Registration, copy: str, bucket: str | None = None) -> str:
        """Write a registration in one transaction; returns what became of it. ``bucket``: its, if another."""
        tracking = self.tracking
        arrival = ReceivedRegistration(bucket or tracking.bucket, about, found, copy, tracking.run_id)
        recorded = tracking.write(lambda connection: record(connection, arrival))
        self.report.tally.note(self.report.key(about.name), found, recorded)
        return recorded.outcome

    def _unfit(
        self,
        about: ListedObject,
        tracked: TrackedObject | None,
        why: NotARegistration,
        sha256: str | None = None,
        copy: str | None = None,
    ) -> Event:
        attempts = (tracked.attempts if tracked else 0) + 1
        if copy is not None and attempts >= ATTEMPTS:
            key = self.report.key(about.name)
            self._put_aside(copy, {"object": key, "code": why.code, "why": why.message, "attempts": attempts})
        status = self.tracking.fail(about, why.code, sha256=sha256, copy_name=copy, attempts=attempts)
        known = tracked is not None and tracked.code == why.code
        return self.report.failed(about.name, why, status=status, known=known)

    def restore(self, file: Path) -> Event:
        """Import a local copy, unless that was done before; nothing is moved or deleted."""
        about, token, data = read_copy(file)
        name = about.name
        if self.erasures.has(CONTENT, hashlib.sha256(data).hexdigest()) or self.erasures.has(OBJECT, name):
            return self.report.erased(name)
        found = _checked(data, about.moment, self.max_bytes, token)
        if isinstance(found, NotARegistration):
            return self.report.failed(name, found)
        if copy_of(self.tracking, found.sha256) is not None:
            return self.report.skipped(name, DUPLICATE_FILE, "known")
        copy = self._keep(about, data, found.sha256)
        return self._restored(name, self.record(about, found, copy, bucket=COPIES))

    # --- what a rehearsal leaves out ----------------------------------------------------------------------------------

    def _keep(self, about: ListedObject, data: bytes, sha256: str) -> str:
        """The copy comes first; bytes that were imported before lie there already, under the name of that time."""
        before = copy_of(self.tracking, sha256)
        if before is not None and self.copies.holds(before, sha256):
            return before
        return self.copies.keep(about.name, about.generation, data, about.moment)

    def _put_aside(self, copy: str, reason: dict[str, object]) -> None:
        self.copies.put_aside(copy, reason)

    def _delete(self, about: ListedObject, outcome: str, note: str, remarks: tuple[str, ...] = ()) -> Event:
        deletion = self.bucket.delete(about)
        if not isinstance(deletion, Deletion):
            return self.report.pending(about.name, "not_deleted")
        self.tracking.gone([(about.name, about.generation)])
        self.report.tally.counts["deleted"] += deletion is not Deletion.REPLACED
        if deletion is Deletion.REPLACED:
            note += "; replaced meanwhile, the new version is left for the next pass"
        return self.report.done(about.name, outcome, note, ", ".join(remarks) or None)

    def _restored(self, name: str, outcome: str) -> Event:
        return self.report.done(name, outcome, outcome)


class RehearsedIntake(Intake):
    """The same with a writer that takes back what it wrote; bucket and copies are left as they are."""

    def _keep(self, about: ListedObject, data: bytes, sha256: str) -> str:
        return about.name

    def _put_aside(self, copy: str, reason: dict[str, object]) -> None:
        """Leave it where it is not."""

    def _delete(self, about: ListedObject, outcome: str, note: str, remarks: tuple[str, ...] = ()) -> Event:
        return self._restored(about.name, note)

    def _restored(self, name: str, outcome: str) -> Event:
        return self.report.done(name, outcome, f"would be {outcome}")


def _checked(data: bytes, made: datetime, max_bytes: int, token: str | None) -> Registration | NotARegistration:
    try:
        return read(data, max_bytes=max_bytes, token=token).dated(made)
    except NotARegistration as error:
        return NotARegistration(
            error.code, error.message, reason=error.reason
        )  # a new one: what led to the other quotes the file
