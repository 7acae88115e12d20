"""`person find`, `export` and `erase`, step by step: who is meant, what is held of them, what becomes of it.

It reaches over both imports, whose tables a person may be in. What it yields and reports are places, counts and row
ids; only what ``export`` hands over says anything of the person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.errors import BadInput, DataflowsError, ExitCode, SettingUnusable
from dataflows.events import Done, Event, Failed, Pending, Step, Warned
from dataflows.flows.practice.asked import PersonAsked
from dataflows.flows.practice.erasures import Erasures
from dataflows.flows.practice.passes import nowhere, target
from dataflows.flows.practice.patients import holdings as of_patients
from dataflows.flows.practice.patients.bucket import BucketClient
from dataflows.flows.practice.patients.holdings import PatientHoldings, Places
from dataflows.flows.practice.patients.objects import BackupFolder
from dataflows.flows.practice.therapists import holdings as of_therapists
from dataflows.flows.practice.therapists.holdings import TherapistHoldings
from dataflows.remote import unsent
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Job, Run
from dataflows.store.practice.compacting import compact, delete
from dataflows.store.practice.database import is_missing, lock_for, open_engine, translated, writing
from dataflows.store.practice.migrate import is_current, migrate
from dataflows.store.practice.tables import patient_tracking

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["BEYOND", "PersonAsked", "erase", "export", "find", "target"]

Export = Callable[[Mapping[str, object]], None]

BEYOND = (
    "backups of the practice database, of local copies and DATA_DIR; PostgreSQL's write-ahead log and its archive",
    "old generations and soft-deleted objects of the bucket: dataflows test-endpoint --target bucket",
    "events that were published to Kafka, and what was made of them, by the ids of the rows",
    "mail that was sent: keyed hashes and codes, no names",
    "the scraper's files in THERAPIST_IMPORT_DIR, and rows and files of other programs",
    "what other people's registrations say of the person",
)
"""What no command of this program reaches."""


class NothingHeld(BadInput):
    """Nothing is held of anybody who fits."""

    code = "nothing_held"


class StillReferred(DataflowsError):
    """Rows of another program refer to the person's, so that the database deletes neither."""

    exit_code = ExitCode.SOME_FAILED
    code = "still_referred"


def find(settings: Settings, asked: PersonAsked) -> Job:
    """Return the job that says how much is held of a person, and where.

    The job raises BadInput when there is nothing, SeveralPeople when more than one person fits, and what keeps the
    database from being read.
    """
    return lambda run: _PersonSearch(settings, asked, run).events()


def export(settings: Settings, asked: PersonAsked, take: Export) -> Job:
    """Return the job that hands all that is held of a person to ``take``, as one document. Raises as ``find``."""

    def job(run: Run) -> Iterator[Event]:
        search = _PersonSearch(settings, asked, run)
        yield from search.events()
        take(search.document())

    return job


def erase(settings: Settings, asked: PersonAsked, *, dry_run: bool = False) -> Job:
    """Return the job that erases what is held of a person; ``dry_run`` says what it would erase.

    The job raises as ``find``, and AlreadyRunning while an import works on the database.
    """

    def job(run: Run) -> Iterator[Event]:
        run.report["dry_run"] = dry_run
        yield from (_PersonSearch if dry_run else _PersonErasure)(settings, asked, run).events()

    return job


@dataclass(frozen=True)
class _Held:
    patient: PatientHoldings
    therapist: TherapistHoldings
    mails: int = 0

    def counts(self) -> dict[str, int]:
        """How much there is, by place."""
        patient, therapist = self.patient.counts(), self.therapist.counts()
        events = {"events": patient.pop("events") + therapist.pop("events")}
        return {**patient, **therapist, **events, "mails": self.mails}


class _PersonSearch:
    """Looks through every place."""

    verb = "held"

    def __init__(self, settings: Settings, asked: PersonAsked, run: Run) -> None:
        self.settings = settings
        self.asked = asked
        self.run = run
        self.held = _Held(PatientHoldings(), TherapistHoldings())
        self.cipher = IdentifierCipher.of(run.data_dir)
        self.copies = BackupFolder(settings.patient_backup_dir or settings.data_dir / "patient_imports")

    def events(self) -> Iterator[Event]:
        """Look, and do with what was found what there is to do."""
        yield Step("looking through every place")
        engine = self._engine()
        with ExitStack() as stack:
            stack.callback(engine.dispose)
            bucket = stack.enter_context(closing(BucketClient(self.settings)))
            yield from self.work(engine, bucket)

    def work(self, engine: sa.Engine, bucket: BucketClient) -> Iterator[Event]:
        """Look for the person."""
        with translated():
            if not is_current(engine):
                raise SettingUnusable(
                    "the practice database has tables of an older version",
                    reason="person-old-tables",
                    hint="run an import first, or person erase",
                )
        self.look(engine, bucket)
        yield from self.told(self.held.counts())

    def look(self, engine: sa.Engine, bucket: BucketClient) -> None:
        """Find out what is held. Raises as ``find``."""
        with translated(), engine.connect() as connection:
            named = of_patients.patients_named(connection, self.asked)
            fits = {one: seen for one, seen in named.items() if self.asked.fits(seen)}
            others = of_therapists.therapists_named(connection, self.asked)
            listed = {one: next(filter(self.asked.fits, seen), None) for one, seen in others.items()}
            patients, therapists = self.asked.chosen(fits, {one: seen for one, seen in listed.items() if seen})
            patient = PatientHoldings()
            if patients or not therapists:  # a therapist who was chosen is nobody's namesake among the registrations
                client = bucket if self._has_bucket(connection) else None
                where = Places(self.copies, client, self.settings.gcs_bucket, self.settings.patient_max_bytes)
                patient = of_patients.look_for(connection, self.asked, patients, where)
            self.held = _Held(patient, of_therapists.look_for(connection, therapists))
        self.held = replace(self.held, mails=len(unsent.mentioning(self.run.data_dir, self.hashes())))
        self._report()
        if not (any(self.held.counts().values()) or patient.out_of_reach or patient.unclear):
            raise NothingHeld(
                "nothing is held of anybody who fits",
                reason="person-nothing-held",
                hint="check the spelling, or leave the e-mail, the date of birth or the postcode away",
            )

    def hashes(self) -> set[str]:
        """The keyed hashes under which the person's objects were told of."""
        return {self.cipher.fingerprint(name) for name in self.held.patient.names()}

    def told(self, counts: Mapping[str, int]) -> Iterator[Event]:
        """An item for every place that was looked at, for what could not be, and for what cannot be told."""
        for place, count in counts.items():
            yield Done(place, f"{count} {self.verb}")
        for place, error in self.held.patient.out_of_reach.items():
            yield Failed(place, error.code, error.message)
        for name in sorted(self.held.patient.unclear):
            yield Pending(self.cipher.fingerprint(name), "unclear")
        if count := len(self.held.patient.unclear):
            yield Warned(
                f"{count} files or objects may be this person's, or somebody's of the same name",
                reason="person-unclear",
                hint="look at them: dataflows patient-import --show HASH (with --from-copies DIR for local copies)",
            )

    def document(self) -> dict[str, object]:
        """All that is held, as one document: rows by table, the text of copies and objects by name."""
        rows = {**self.held.patient.rows, **self.held.therapist.rows}
        events = [*self.held.patient.rows.get(_EVENTS, ()), *self.held.therapist.rows.get(_EVENTS, ())]
        tables = {table.name: [dict(row._mapping) for row in found] for table, found in rows.items()}
        files = (*self.held.patient.copies, *self.held.patient.quarantined)
        return {
            **tables,
            _EVENTS.name: [dict(row._mapping) for row in events],
            "copies": {path.name: path.read_text(encoding="utf-8", errors="replace") for path in files},
            "bucket": [{"name": one.name, "size": one.size, "made": one.moment} for one in self.held.patient.objects],
            "not_reached": BEYOND,
        }

    def _engine(self) -> sa.Engine:
        return nowhere() if is_missing(self.settings) else open_engine(self.settings)

    def _has_bucket(self, connection: sa.Connection) -> bool:
        """Whether there is a bucket to look into: therapists alone need none, and nobody should have to set one up."""
        settings = self.settings
        if settings.storage_emulator_host or settings.google_application_credentials:
            return True
        seen = connection.execute(sa.select(patient_tracking.c.id).limit(1)).first()
        return seen is not None or settings.origin("GCS_BUCKET") != "default"

    def _report(self) -> None:
        patient, counts = self.held.patient, self.held.counts()
        self.run.report.update(
            patients=patient.ids,
            therapists=self.held.therapist.ids,
            held=counts,
            unclear=[self.cipher.fingerprint(name) for name in sorted(patient.unclear)],
            out_of_reach=[{"place": place, "why": error.message} for place, error in patient.out_of_reach.items()],
            not_reached=list(BEYOND),
        )


_EVENTS = of_patients.TABLES[-1]


class _PersonErasure(_PersonSearch):
    """Erases. What marks the person comes first, the rows that lead to everything else come last."""

    verb = "erased"

    def work(self, engine: sa.Engine, bucket: BucketClient) -> Iterator[Event]:
        """Erase under the locks of both imports, so that nothing arrives meanwhile."""
        with ExitStack() as stack:
            for command in ("patient-import", "therapist-import"):
                lock = stack.enter_context(lock_for(engine, command))
            with translated():
                migrate(engine)
            if self.copies.folder.is_dir():
                self.copies.sweep()
            try:
                self.look(engine, bucket)
            except NothingHeld:
                if not (left := self._compacted(engine)):  # the end of an earlier call that broke off
                    raise
                yield from self._left(left)
                return
            yield Step("erasing")
            lock.check()
            yield from self._erased(engine, bucket, self.held.counts())

    def _erased(self, engine: sa.Engine, bucket: BucketClient, counts: dict[str, int]) -> Iterator[Event]:
        held, left = self.held, dict[str, str]()
        self._mark(engine)
        if refused := list(of_patients.delete_objects(bucket, held.patient.objects)):
            left["bucket"] = f"{len(refused)} objects: {refused[0].message}"
            counts["bucket"] -= len(refused)
        for place, paths in (("copies", held.patient.copies), ("quarantine", held.patient.quarantined)):
            if kept := of_patients.delete_copies(self.copies, paths):
                left[place] = f"{kept} files cannot be removed by this account"
                counts[place] -= kept
        try:
            unsent.take_out(self.run.data_dir, self.hashes())
        except DataflowsError as error:
            left["mails"], counts["mails"] = error.message, 0
        self._delete_rows(engine)
        self.run.report["erased"] = counts
        yield from self.told(counts)
        yield from self._left({**left, **self._compacted(engine)})

    def _compacted(self, engine: sa.Engine) -> dict[str, str]:
        """Empty free pages of what was deleted now or before; what could not be, and why."""
        reasons = compact(engine, (*of_patients.TABLES, *of_therapists.TABLES[:-1]))
        return {f"free pages {number}": why for number, why in enumerate(reasons, 1)}

    def _left(self, left: Mapping[str, str]) -> Iterator[Event]:
        self.run.report["left"] = [{"place": place, "why": why} for place, why in left.items()]
        yield from (Failed(place, "left", why, known=True) for place, why in left.items())

    def _mark(self, engine: sa.Engine) -> None:
        signs = [*self.held.patient.signs(), *self.held.therapist.signs()]
        with translated(), writing(engine) as connection:
            Erasures.of(engine, self.run).add(connection, self.run, signs)

    def _delete_rows(self, engine: sa.Engine) -> None:
        referred = False
        with translated():
            try:
                with writing(engine) as connection:
                    delete(connection, self.held.patient.rows, of_patients.TABLES)
                    delete(connection, self.held.therapist.rows, of_therapists.TABLES)
            except sa.exc.IntegrityError:
                referred = True
        if referred:  # raised here: what led to it quotes the row
            raise StillReferred(
                "rows of another program refer to this person: the rows in the practice database were not erased",
                reason="person-referred",
                hint="erase them there first, then run the same command again",
            )
