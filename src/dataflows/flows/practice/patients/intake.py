"""One object at a time, steps 2 to 6: download, local copy, check, one transaction, and only then the deletion."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import sqlalchemy as sa

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown
from dataflows.events import Done, Event, Failed, Pending, Skipped
from dataflows.flows.practice.patients import names
from dataflows.flows.practice.patients.bucket import BucketClient, Deletion, ListedObject, Vanished
from dataflows.flows.practice.patients.copies import BackupFolder
from dataflows.flows.practice.patients.failures import Damaged
from dataflows.flows.practice.patients.fields import NotARegistration
from dataflows.flows.practice.patients.ledger import ImportTally
from dataflows.flows.practice.patients.recording import ReceivedRegistration, RecordingResult, copy_of, preview, record
from dataflows.flows.practice.patients.registration import Registration, read, too_large
from dataflows.flows.practice.patients.tracking import ATTEMPTS, DEAD, DONE, UNRECOGNISED, TrackedObject, Tracking
from dataflows.remote.failures import Blocked
from dataflows.remote.retry import RetryPolicy
from dataflows.runs.journal import Item
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run
from dataflows.store.practice.database import translated, writing

T = TypeVar("T")


NO_GENERATION = "the bucket's list does not say which version of the object it is"


class Conflict(ServiceDown):
    """Another program wrote the same person or the same file at this moment; a repetition sees what it wrote."""

    code = "conflict"

    def __init__(self) -> None:
        super().__init__("another program writes the same rows of the practice database", hint="run again", wait=0.0)


@dataclass
class PatientWriter:
    """The practice database as one run writes it, each write repeated while the database is away."""

    engine: sa.Engine
    tracking: Tracking
    policy: RetryPolicy
    may_write: Callable[[], None]

    def write(self, work: Callable[[], T]) -> T:
        """Do ``work`` while the run's lock is held; raises ServiceDown when the database stays away."""

        def once() -> T:
            self.may_write()
            return work()

        return self.policy.call(once, "the practice database")

    def copy_of(self, sha256: str) -> str | None:
        """The local copy of a file that was imported before."""
        with translated(), self.engine.connect() as connection:
            return copy_of(connection, sha256)

    def record(self, arrival: ReceivedRegistration) -> RecordingResult:
        """Write a registration in one transaction."""
        return self.write(lambda: self._record(arrival))

    def _record(self, arrival: ReceivedRegistration) -> RecordingResult:
        conflict = False
        with translated():
            try:
                with writing(self.engine) as connection:
                    return record(connection, arrival)
            except sa.exc.IntegrityError:
                conflict = True
        assert conflict
        raise Conflict

    def preview(self, registration: Registration, about: ListedObject) -> RecordingResult:
        """What would be written."""
        with translated(), self.engine.connect() as connection:
            return preview(connection, registration, about)


@dataclass
class Intake:
    """Takes objects in. ``ledger`` is filled on the way; events name objects by their keyed hash."""

    run: Run
    bucket: BucketClient
    bucket_name: str
    books: PatientWriter
    copies: BackupFolder
    rule: names.Rule
    seal: IdentifierCipher
    max_bytes: int
    ledger: ImportTally = field(default_factory=ImportTally)

    def take(self, about: ListedObject, tracked: TrackedObject | None) -> Iterator[Event]:
        """Bring one object as far as it goes. Raises what ends the run."""
        status = tracked.status if tracked else None
        found = self.rule(about.name)
        if not about.generation:
            yield self._unlisted(about)
        elif status in DONE:
            yield from self._delete(about, str(status), known=True)
        elif found is None:
            yield from self._unrecognised(about, known=status == UNRECOGNISED)
        elif status == DEAD:
            yield self._skipped(about, "dead", DEAD)
        else:
            yield from self._import(about, tracked, names.token_of(found))

    # --- what is not imported -----------------------------------------------------------------------------------------

    def _unrecognised(self, about: ListedObject, *, known: bool) -> Iterator[Event]:
        if not known and "\0" not in about.name:  # which PostgreSQL has no place for
            self.books.write(lambda: self.books.tracking.not_recognised(about))
        yield self._skipped(about, UNRECOGNISED, UNRECOGNISED)

    def _unlisted(self, about: ListedObject) -> Event:
        """Without its generation an object can neither be tracked nor deleted; it stays where it is."""
        self.ledger.counts["failed"] += 1
        key, code = self.seal.mark(about.name), "no_generation"
        return self._event(about, Failed(key, code, NO_GENERATION), "failed", code, NO_GENERATION)

    def _skipped(self, about: ListedObject, count: str, code: str) -> Event:
        self.ledger.counts[count] += 1
        return self._event(about, Skipped(self.seal.mark(about.name), code), "skipped", code)

    def _unfit(
        self,
        about: ListedObject,
        tracked: TrackedObject | None,
        why: NotARegistration,
        sha256: str | None,
        copy: str | None,
    ) -> Event:
        attempts = (tracked.attempts if tracked else 0) + 1
        key = self.seal.mark(about.name)
        tracking = self.books.tracking
        if copy is not None and attempts >= ATTEMPTS:
            self.copies.put_aside(copy, {"object": key, "code": why.code, "why": why.message, "attempts": attempts})
        status = self.books.write(
            lambda: tracking.fail(about, why.code, sha256=sha256, copy_name=copy, attempts=attempts)
        )
        self.ledger.counts[status] += 1
        known = tracked is not None and tracked.code == why.code
        return self._event(about, Failed(key, why.code, why.message, known=known), "failed", why.code, why.message)

    # --- steps 2 to 5 -------------------------------------------------------------------------------------------------

    def _import(self, about: ListedObject, tracked: TrackedObject | None, token: str | None) -> Iterator[Event]:
        if about.size is not None and about.size > self.max_bytes:
            yield self._unfit(about, tracked, too_large(self.max_bytes), None, None)
            return
        got = self._download(about)
        if not isinstance(got, bytes):
            yield got
            return
        sha256 = hashlib.sha256(got).hexdigest()
        copy = self._keep(about, got, sha256)
        unfit: NotARegistration | None = None
        try:
            registration = read(got, max_bytes=self.max_bytes, token=token).dated(about.moment)
        except NotARegistration as error:
            unfit = error
        if unfit is not None:
            yield self._unfit(about, tracked, unfit, sha256, copy)
            return
        recorded = self.books.record(ReceivedRegistration(self.bucket_name, about, registration, copy, self.run.id))
        self.ledger.note(self.seal.mark(about.name), registration, recorded)
        yield from self._delete(about, recorded.outcome, known=False, remarks=registration.warnings)

    def _download(self, about: ListedObject) -> bytes | Event:
        try:
            data = self.bucket.download(about)
        except Vanished:
            return self._skipped(about, "vanished", "deleted or replaced meanwhile")
        except Damaged as error:
            return self._waiting(about, error)
        except Blocked:
            raise
        except (ServiceDown, AccessRefused) as error:
            self.ledger.unanswered(error)
            return self._waiting(about, error)
        self.ledger.answered()
        return data

    def _keep(self, about: ListedObject, data: bytes, sha256: str) -> str:
        """The copy comes first; bytes that were imported before lie there already, under the name of that time."""
        before = self.books.copy_of(sha256)
        if before is not None and self.copies.holds(before, sha256):
            return before
        return self.copies.keep(about.name, about.generation, data, about.moment)

    # --- step 6 -------------------------------------------------------------------------------------------------------

    def _delete(
        self, about: ListedObject, outcome: str, *, known: bool, remarks: tuple[str, ...] = ()
    ) -> Iterator[Event]:
        key = self.seal.mark(about.name)
        try:
            deletion = self.bucket.delete(about.name, about.generation)
        except Blocked:
            raise
        except (ServiceDown, AccessRefused) as error:
            self.ledger.unanswered(error)
            yield self._event(about, Pending(key, "not_deleted"), "pending", "not_deleted")
            return
        self.ledger.answered()
        self.books.write(lambda: self.books.tracking.gone([(about.name, about.generation)]))
        self.ledger.counts["deleted"] += deletion is not Deletion.REPLACED
        note = "deleted" if known else outcome
        if deletion is Deletion.REPLACED:
            note += "; replaced meanwhile, the new version is left for the next pass"
        yield self._event(about, Done(key, note), "done", outcome, ", ".join(remarks) or None)

    # --- telling ------------------------------------------------------------------------------------------------------

    def _waiting(self, about: ListedObject, error: DataflowsError) -> Event:
        self.ledger.counts["waiting"] += 1
        return self._event(about, Pending(self.seal.mark(about.name), error.code), "pending", error.code)

    def _event(self, about: ListedObject, event: Event, state: str, code: str, message: str | None = None) -> Event:
        self.run.journal.record(self.run.id, [Item(self.seal.mark(about.name), state, 1, code, message)])
        return event
