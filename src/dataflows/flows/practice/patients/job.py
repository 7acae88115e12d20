"""`patient-import`, step by step: lock, migrate, list, take in one object after the other, tell, publish."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.errors import BadInput, DataflowsError, ExitCode, ServiceDown
from dataflows.events import Event, Planned, Step, Warned
from dataflows.flows.practice.patients import names, notices
from dataflows.flows.practice.patients.bucket import BucketClient, ObjectListing
from dataflows.flows.practice.patients.copies import BackupFolder
from dataflows.flows.practice.patients.intake import Intake, PatientWriter
from dataflows.flows.practice.patients.ledger import ImportTally, figures, remarks
from dataflows.flows.practice.patients.notices import EmptyDatabase
from dataflows.flows.practice.patients.restoring import Rehearsal, Restoring
from dataflows.flows.practice.patients.tracking import TrackedObject, Tracking
from dataflows.remote import kafka, mail
from dataflows.remote.retry import RetryPolicy
from dataflows.runs import flow
from dataflows.runs.flow import UNANSWERED_IN_A_ROW
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run
from dataflows.runs.trouble import Trouble, TroubleNews
from dataflows.store.locks import DatabaseLock
from dataflows.store.practice import outbox
from dataflows.store.practice.database import is_missing, lock_for, open_engine, target, translated
from dataflows.store.practice.migrate import is_current, migrate

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["COMMAND", "Options", "backup_dir", "bring_in", "check", "options_from_json", "options_to_json", "target"]

COMMAND = "patient-import"
TOPIC = "patient-events"


@dataclass(frozen=True)
class Options:
    """How the operator asked for the run; the fields are the options of ``patient-import``."""

    dry_run: bool = False
    pattern: str | None = None
    retry: str | None = None
    retry_dead: bool = False
    from_copies: Path | None = None


def bring_in(settings: Settings, options: Options) -> Callable[[Run], Iterator[Event]]:
    """Return the job: one pass over the bucket (or over a folder of local copies).

    The job raises what ends a run early: SettingUnusable, AccessRefused, ServiceDown, AlreadyRunning, Interrupted;
    BadInput for a ``--retry`` that fits nothing.
    """
    return lambda run: _PatientImport(settings, options, run).play()


def check(options: Options) -> None:
    """Make sure that the options make sense.

    Raises:
        WrongUsage: the pattern is no regular expression.
    """
    names.rule(options.pattern)


def backup_dir(settings: Settings) -> Path:
    """The folder of local copies."""
    return settings.patient_backup_dir or settings.data_dir / "patient_imports"


class _PatientImport:
    def __init__(self, settings: Settings, options: Options, run: Run) -> None:
        self.settings = settings
        self.options = options
        self.run = run
        self.rule = names.rule(options.pattern)
        self.seal = IdentifierCipher.of(run.data_dir)
        self.ledger = ImportTally()
        self.stopped: DataflowsError | None = None

    # --- the story ----------------------------------------------------------------------------------------------------

    def play(self) -> Iterator[Event]:
        """Tell the story of one pass."""
        self._fill_report()
        kafka.require_kafka(self.settings)
        policy = RetryPolicy.of(self.settings, stop=self.run.stop, on_retry=self.run.notify)
        with ExitStack() as closing:
            yield Step("opening the practice database")
            engine = self._engine()
            closing.callback(engine.dispose)  # Windows deletes and moves no file that is open
            try:
                if self.options.dry_run:
                    yield from self._rehearse(engine, policy)
                else:
                    yield from self._import(engine, policy, closing)
            finally:
                self._fill_report()
        self._end()

    def _engine(self) -> sa.Engine:
        if self.options.dry_run and is_missing(self.settings):
            return _nowhere()
        return open_engine(self.settings)

    def _import(self, engine: sa.Engine, policy: RetryPolicy, closing: ExitStack) -> Iterator[Event]:
        lock = lock_for(engine, COMMAND)
        closing.enter_context(lock)
        with translated():
            migrate(engine)
        books = PatientWriter(engine, Tracking(engine, self.settings.gcs_bucket, self.run.id), policy, lock.check)
        copies = BackupFolder(backup_dir(self.settings))
        copies.sweep()
        try:
            if self.options.from_copies is not None:
                restoring = Restoring(self.run, books, copies, self.seal, self.settings.patient_max_bytes, self.ledger)
                yield from restoring.play(self.options.from_copies)
            else:
                bucket = self._bucket(policy, may_delete=lock.check)
                closing.callback(bucket.close)
                yield from self._from_bucket(bucket, books, copies)
        except DataflowsError as error:
            self.stopped = error
        yield from remarks(self.ledger)
        yield from self._tell(books)
        yield from self._publish(engine, lock)

    # --- from the bucket ----------------------------------------------------------------------------------------------

    def _from_bucket(self, bucket: BucketClient, books: PatientWriter, copies: BackupFolder) -> Iterator[Event]:
        yield from self._emptiness(books, copies)
        self._forgive(books.tracking)
        yield Step("listing the bucket")
        listing = bucket.objects()
        self.run.clock.shows(max((one.moment for one in listing.objects), default=None))
        tracked = self._settled(books, listing)
        yield Planned(len(listing.objects), "objects")
        yield Step("importing")
        intake = Intake(
            self.run, bucket, self.settings.gcs_bucket, books, copies, self.rule, self.seal,
            self.settings.patient_max_bytes, self.ledger,
        )  # fmt: skip
        for about in listing.objects:
            if self.run.stop.is_set() or self.ledger.silent >= UNANSWERED_IN_A_ROW:
                break
            self.ledger.counts["seen"] += 1
            yield from intake.take(about, tracked.get((about.name, about.generation)))
        if not self.run.stop.is_set():
            self._end_of_answers()

    def _emptiness(self, books: PatientWriter, copies: BackupFolder) -> Iterator[Event]:
        """Say loudly, and mail once, that nothing is in the database although something was imported before."""
        empty = EmptyDatabase.found(books.engine, copies, self.run)
        if empty is not None:
            self.run.report["empty_database"] = True
            yield Warned(f"the practice database holds no registration, but {empty.signs}", hint=empty.hint)

        def tell(_: TroubleNews) -> bool:
            if empty is None:
                return True  # it was told, and no mail is needed to say that it is over
            sent = mail.post(self.settings, notices.empty(empty), self.run.data_dir, stop=self.run.stop)
            return bool(sent.sent or sent.kept or sent.file)

        code = ExitCode.OK if empty is None else ExitCode.SETTINGS
        Trouble(self.run.journal, f"{COMMAND}, empty database").note(code, tell)

    def _end_of_answers(self) -> None:
        ledger = self.ledger
        if ledger.refused is not None:
            raise ledger.refused
        if ledger.silent and ledger.why is not None:
            raise ServiceDown(
                f"the bucket does not answer (the last {ledger.silent} objects in a row): {ledger.why.message}",
                hint="nothing is lost: run the same command again later; dataflows test-endpoint --target bucket",
            )

    def _bucket(self, policy: RetryPolicy, may_delete: Callable[[], None] | None = None) -> BucketClient:
        return BucketClient(self.settings, policy, may_delete, self.run.stop.grace_is_over)

    def _settled(self, books: PatientWriter, listing: ObjectListing) -> dict[tuple[str, int], TrackedObject]:
        """What is known of the objects; generations that are gone are noted as gone, where all were listed."""
        tracked = books.tracking.open()
        gone = tracked.keys() - {(one.name, one.generation) for one in listing.objects}
        if gone and listing.whole:
            books.write(lambda: books.tracking.gone(sorted(gone)))
        return tracked

    def _forgive(self, tracking: Tracking) -> None:
        """``--retry`` takes an object's name or its keyed hash: a hash leaves no name in the shell's history."""
        if self.options.retry_dead:
            tracking.forgive(None)
        if self.options.retry is None:
            return
        wanted = self.options.retry
        chosen = [name for name in tracking.names() if wanted in (name, self.seal.mark(name))]
        if not chosen or not tracking.forgive(chosen):
            raise BadInput(
                "no object of that name or hash has failed", hint="give the hash that a mail or `runs show` names"
            )

    # --- rehearsal ----------------------------------------------------------------------------------------------------

    def _rehearse(self, engine: sa.Engine, policy: RetryPolicy) -> Iterator[Event]:
        with translated():
            current = is_current(engine)
        if not current:
            yield Warned("the practice database would be made, or brought to the newest version of its tables")
            engine.dispose()
            engine = _nowhere()
        bucket = self._bucket(policy)
        try:
            books = PatientWriter(engine, Tracking(engine, self.settings.gcs_bucket, self.run.id), policy, lambda: None)
            rehearsal = Rehearsal(self.run, books, self.rule, self.seal, self.settings.patient_max_bytes, self.ledger)
            yield from rehearsal.play(bucket, self.options.from_copies)
            yield from remarks(self.ledger)
        finally:
            bucket.close()
            engine.dispose()

    # --- the end ------------------------------------------------------------------------------------------------------

    def _tell(self, books: PatientWriter) -> Iterator[Event]:
        """One mail at most; one that cannot be sent never fails the run, and is tried again by the next one."""
        settings, stop = self.settings, self.run.stop
        try:
            news = books.write(books.tracking.news)  # whoever has the lock by now tells it
            if news:
                text = notices.message(news, self.seal, self.run.id, settings.gcs_bucket)
                sent = mail.post(settings, text, self.run.data_dir, stop=stop)
                if sent.sent or sent.kept or sent.file:
                    books.write(lambda: books.tracking.told(news))
            else:
                sent = mail.deliver(settings, self.run.data_dir, stop=stop)
        except DataflowsError as error:
            self.stopped = self.stopped or error
            return
        if sent.why:
            yield Warned(f"a mail was not sent: {sent.why}", hint="it is tried again by the next run")

    def _publish(self, engine: sa.Engine, lock: DatabaseLock) -> Iterator[Event]:
        try:
            with translated():
                clock = self.run.clock
                clock.shows_without_journal(outbox.newest(engine))
                drained = kafka.drain(
                    self.settings, engine, TOPIC, self.run.stop, may_publish=lock.check, forget=not clock.jumped
                )
        except DataflowsError as error:
            self.stopped = self.stopped or error
            return
        self.run.report["events"] = {"published": drained.published, "waiting": drained.waiting}
        if drained.refused:
            yield Warned(f"{drained.refused} events are refused by the brokers; those of the same patients wait")
        if drained.why and not self.run.stop.is_set():
            yield Warned(f"events were not published: {drained.why}", hint="they are tried again by the next run")

    def _fill_report(self) -> None:
        self.run.report.update(figures(self.ledger))

    def _end(self) -> None:
        if self.stopped is not None:
            raise self.stopped


def _nowhere() -> sa.Engine:
    """A database of its own that is forgotten: nothing is known, and nothing is written."""
    engine = sa.create_engine("sqlite://", hide_parameters=True, poolclass=sa.StaticPool)
    migrate(engine)
    return engine


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``: nothing that names a person."""
    return flow.options_to_json(options, without={"retry"})


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal."""
    return flow.options_from_json(Options, options)
