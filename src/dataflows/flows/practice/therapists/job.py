"""`therapist-import`, step by step: lock, migrate, choose the newest files, import them one by one, tell, publish."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.errors import DataflowsError, ExitCode
from dataflows.events import Event, Step, Warned
from dataflows.flows.practice.therapists import files, reporting, tracking
from dataflows.flows.practice.therapists.choosing import Look, choose, in_order, is_settled, look
from dataflows.flows.practice.therapists.files import Found
from dataflows.flows.practice.therapists.importing import Importer
from dataflows.flows.practice.therapists.reporting import Reporter
from dataflows.flows.practice.therapists.tracking import TrackedFile
from dataflows.remote import kafka, mail
from dataflows.runs import flow, pool
from dataflows.runs.garbage import rare_collections
from dataflows.runs.runner import Run
from dataflows.store.locks import DatabaseLock
from dataflows.store.practice import outbox
from dataflows.store.practice.database import is_missing, lock_for, open_engine, target, translated
from dataflows.store.practice.migrate import is_current, migrate

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["COMMAND", "Options", "bring_in", "check", "options_from_json", "options_to_json", "others", "target"]

COMMAND = "therapist-import"
TOPIC = "therapist-events"
_PAGE = 500
_TICK = 0.5  # seconds; on Windows a longer wait would keep Ctrl-C from being seen


class MassDeletion(DataflowsError):
    """A file deletes so many therapists at once that it is not believed."""

    exit_code = ExitCode.SOME_FAILED
    code = "suspicious"


@dataclass(frozen=True)
class Options:
    """How the operator asked for the run; the fields are the options of ``therapist-import``."""

    paths: tuple[Path, ...] = ()
    dry_run: bool = False
    reprocess: bool = False
    allow_mass_delete: bool = False
    workers: int = 2


def bring_in(settings: Settings, options: Options) -> Callable[[Run], Iterator[Event]]:
    """Return the job: one pass over the files.

    The job raises what ends a run early: SettingUnusable, AccessRefused, ServiceDown, AlreadyRunning, Interrupted;
    WrongUsage for a path that is not there; MassDeletion, at its end.
    """
    return lambda run: _TherapistImport(settings, options, run).play()


def check(settings: Settings, options: Options) -> None:
    """Make sure that there is something to look at.

    Raises:
        WrongUsage: a path is not there.
        SettingUnusable: there is no path, and THERAPIST_IMPORT_DIR is not set or no folder.
    """
    files.check(options.paths, settings.therapist_import_dir)


def others(settings: Settings, options: Options) -> list[str]:
    """The names of files that are left alone, for a terminal: they may be anything, such as the names of patients."""
    return files.find(options.paths, settings.therapist_import_dir).others


class _TherapistImport:
    def __init__(self, settings: Settings, options: Options, run: Run) -> None:
        self.settings = settings
        self.options = options
        self.run = run
        self.reporter = Reporter(run)
        self.current: set[str] = set()
        """ZIP codes whose newest file is in the database."""
        self.stopped: DataflowsError | None = None

    # --- the story --------------------------------------------------------------------------------------------

    def play(self) -> Iterator[Event]:
        """Tell the story of one pass."""
        kafka.require_kafka(self.settings)
        with ExitStack() as closing:
            yield Step("opening the practice database")
            engine = self._engine()
            closing.callback(engine.dispose)  # Windows deletes and moves no file that is open
            try:
                with rare_collections():
                    yield from self._rehearse(engine) if self.options.dry_run else self._import(engine)
            finally:
                self.reporter.fill()
        self._end()

    def _engine(self) -> sa.Engine:
        if self.options.dry_run and is_missing(self.settings):
            return _nowhere()
        return open_engine(self.settings)

    def _import(self, engine: sa.Engine) -> Iterator[Event]:
        with lock_for(engine, COMMAND) as lock:
            with translated():
                migrate(engine)
            importer = Importer(engine, self.run.id, lock.check, allow_mass_delete=self.options.allow_mass_delete)
            try:
                yield from self._pass(importer)
            except DataflowsError as error:
                self.stopped = error
            yield from self._tell(importer)
            yield from self._publish(engine, lock)

    def _rehearse(self, engine: sa.Engine) -> Iterator[Event]:
        with translated():
            current = is_current(engine)
        if not current:
            yield Warned("the practice database would be made, or brought to the newest version of its tables")
            engine = _nowhere()
        with lock_for(engine, COMMAND):
            importer = Importer(engine, self.run.id, lambda: None, allow_mass_delete=self.options.allow_mass_delete)
            with importer.rehearsing():
                yield from self._pass(importer)

    # --- one pass ---------------------------------------------------------------------------------------------

    def _pass(self, importer: Importer) -> Iterator[Event]:
        yield Step("looking at the files")
        listing = files.find(self.options.paths, self.settings.therapist_import_dir)
        self.reporter.files.update(seen=len(listing.files), other=len(listing.others))
        if listing.closed:
            yield Warned(f"{listing.closed} folders cannot be read", hint="let the account that runs this read them")
        choice = choose(listing.files, self._looks)
        with importer.transaction() as connection:
            known = tracking.latest(connection, [one.found.name for one in choice.newest])
        wanted: list[Look] = []
        yield self.reporter.planned(len(choice.newest))
        for one in choice.newest:
            why = self._due(one, known)
            if why == "import":
                wanted.append(one)
                continue
            if why == "done":
                self.current.add(one.found.zip_code)
            yield self.reporter.skipped(one.found.name, why, known.get(one.found.name))
        yield from self._wait(wanted)
        yield from self._each(importer, wanted, known)
        self._supersede(importer, choice.older)

    def _looks(self, found: Sequence[Found]) -> dict[str, Look]:
        workers = min(self.options.workers, len(found))
        looks = pool.each(look, found, workers=workers, stop=self.run.stop)
        return {one.found.path: one for one in looks}

    def _due(self, one: Look, known: Mapping[str, TrackedFile]) -> tracking.Due:
        options, now = self.options, datetime.now(UTC)
        return tracking.due(
            one,
            known.get(one.found.name),
            now,
            reprocess=options.reprocess,
            allow_mass_delete=options.allow_mass_delete,
        )

    def _wait(self, wanted: list[Look]) -> Iterator[Event]:
        """Wait once for files that were changed just now; those that still grow are left to the next run."""
        seconds = self.settings.therapist_settle_seconds
        fresh = [one for one in wanted if not is_settled(one, seconds)]
        if not fresh:
            return
        yield Step("waiting for files that may still be written")
        until = time.monotonic() + seconds
        while not self.run.stop.is_set() and (left := until - time.monotonic()) > 0:
            self.run.stop.wait(min(left, _TICK))
        now = self._looks([one.found for one in fresh])
        for one in fresh:
            again = now.get(one.found.path)
            if again is None or not is_settled(again, seconds, before=one):
                wanted.remove(one)
                yield self.reporter.not_ready(one.found.name)

    def _each(self, importer: Importer, wanted: Sequence[Look], known: Mapping[str, TrackedFile]) -> Iterator[Event]:
        """Import the files by their dates. The lock is asked for before each commit."""
        yield Step("importing")
        for read in in_order(wanted, self.options.workers, self.run.stop):
            outcome = importer.bring_in(read, known.get(read.look.found.name))
            if outcome.is_imported:
                self.current.add(read.look.found.zip_code)
            yield from self.reporter.ended(outcome)
            if self.run.stop.is_set():
                return

    def _supersede(self, importer: Importer, older: Mapping[str, Sequence[Found]]) -> None:
        """Note older files that were never imported, where a newer one of their ZIP code was."""
        passed = [one for zip_code in sorted(self.current & older.keys()) for one in older[zip_code]]
        for start in range(0, len(passed), _PAGE):
            page = passed[start : start + _PAGE]
            with importer.transaction() as connection:
                rows = tracking.latest(connection, [one.name for one in page])
                new = [one for one in page if one.name not in rows or rows[one.name].status == tracking.FAILED]
                tracking.supersede(connection, self._looks(new).values(), self.run.id)
            self.reporter.files["superseded"] += len(new)

    # --- the end ----------------------------------------------------------------------------------------------

    def _tell(self, importer: Importer) -> Iterator[Event]:
        """One mail at most; one that cannot be sent never fails the run, and is tried again by the next one."""
        settings, folder, stop = self.settings, self.run.data_dir, self.run.stop
        try:
            with importer.transaction() as connection:
                news = tracking.news(connection)
            if not news:
                sent = mail.deliver(settings, folder, stop=stop)
            else:
                sent = mail.post(settings, reporting.message(news, self.run.id), folder, stop=stop)
                if sent.sent or sent.kept or sent.file:
                    with importer.transaction() as connection:
                        tracking.told(connection, news)
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
            yield Warned(f"{drained.refused} events are refused by the brokers; those of the same therapists wait")
        if drained.why and not self.run.stop.is_set():
            yield Warned(f"events were not published: {drained.why}", hint="they are tried again by the next run")

    def _end(self) -> None:
        if self.stopped is not None:
            raise self.stopped
        if self.reporter.suspicious and not self.run.stop.is_set():
            raise MassDeletion(
                f"too many therapists would be deleted at once: {', '.join(self.reporter.suspicious[:5])}",
                hint="look at the scraper; if it is right: dataflows therapist-import --allow-mass-delete",
            )


def _nowhere() -> sa.Engine:
    """A database of its own that is forgotten: nothing is known, and nothing is written."""
    engine = sa.create_engine("sqlite://", hide_parameters=True, poolclass=sa.StaticPool)
    migrate(engine)
    return engine


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``."""
    return flow.options_to_json(options)


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal."""
    return flow.options_from_json(Options, options)
