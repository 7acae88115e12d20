"""`therapist-import`, step by step: choose the newest files, import them one by one; around it what both imports do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.errors import DataflowsError, ExitCode
from dataflows.events import Event, Step, Warned
from dataflows.flows.practice import passes
from dataflows.flows.practice.erasures import Erasures, said_of_erasures
from dataflows.flows.practice.passes import ImportPass, Job, Notice, target
from dataflows.flows.practice.therapists import files, tracking
from dataflows.flows.practice.therapists.choosing import Look, choose, in_order, is_settled, look_at
from dataflows.flows.practice.therapists.files import Found
from dataflows.flows.practice.therapists.importing import Importer
from dataflows.flows.practice.therapists.reporting import Reporter, message
from dataflows.flows.practice.therapists.tracking import FileNews, TrackedFile
from dataflows.runs.gc_tuning import rare_collections

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


def bring_in(settings: Settings, options: Options) -> Job:
    """Return the job: one pass over the files.

    The job raises what ends a run early: SettingUnusable, AccessRefused, ServiceDown, AlreadyRunning, Interrupted;
    WrongUsage for a path that is not there; MassDeletion, at its end.
    """
    return _TherapistImport.job(settings, options)


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


class _TherapistImport(ImportPass[Options]):
    command, topic = COMMAND, TOPIC
    rehearses_alone = True

    @cached_property
    def reporter(self) -> Reporter:
        """What is told of the files."""
        return Reporter(self.run)

    @cached_property
    def current(self) -> set[str]:
        """ZIP codes whose newest file is in the database."""
        return set()

    def prepare(self, engine: sa.Engine, may_write: Callable[[], None]) -> None:
        """Set up what imports a file."""
        allow = self.options.allow_mass_delete
        self.erasures = Erasures.of(engine, self.run)
        self.importer = Importer(engine, self.run.id, may_write, allow_mass_delete=allow, erasures=self.erasures)

    def rehearse(self) -> Iterator[Event]:
        """Do the same inside one transaction that is taken back."""
        with self.importer.rehearsing():
            yield from self.work()

    def work(self) -> Iterator[Event]:
        """Import the files that are new or have changed."""
        with rare_collections():
            yield from self._pass(self.importer)

    def remarks(self) -> Iterator[Event]:
        """What there is to say of erasures."""
        yield from said_of_erasures(self.erasures)

    def fill_report(self) -> None:
        """The figures so far."""
        self.reporter.fill()

    def news(self) -> Notice | None:
        """Files that fail, that were given up or that came right again, since somebody was told."""
        with self.importer.transaction() as connection:
            news = tracking.news(connection)
        return Notice(message(news, self.run.id), lambda: self._note_told(news)) if news else None

    def _note_told(self, news: Sequence[FileNews]) -> None:
        with self.importer.transaction() as connection:
            tracking.told(connection, news)

    def end(self) -> None:
        """Raise what ended the pass early, or that files were not believed."""
        super().end()
        if self.reporter.suspicious and not self.run.stop.is_set():
            raise MassDeletion(
                f"too many therapists would be deleted at once: {', '.join(self.reporter.suspicious[:5])}",
                reason="therapists-mass-delete",
                hint="check the scraper; if it is right: dataflows therapist-import --allow-mass-delete",
            )

    # --- one pass ---------------------------------------------------------------------------------------------

    def _pass(self, importer: Importer) -> Iterator[Event]:
        yield Step("looking at the files")
        listing = files.find(self.options.paths, self.settings.therapist_import_dir)
        self.reporter.files.update(seen=len(listing.files), other=len(listing.others))
        if listing.closed:
            yield Warned(
                f"{listing.closed} folders cannot be read",
                reason="folders-unreadable",
                hint="give the account that runs this the right to read them",
            )
        if not listing.files and not listing.closed:
            yield Warned(
                f"no file of the scraper was found in {self._where()}",
                reason="therapists-no-files",
                hint="check THERAPIST_IMPORT_DIR: a drive or share that is not connected looks like an empty folder",
            )
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

    def _where(self) -> str:
        """The folders that were looked into."""
        return ", ".join(map(str, self.options.paths)) or str(self.settings.therapist_import_dir)

    def _looks(self, found: Sequence[Found]) -> dict[str, Look]:
        return look_at(found, self.options.workers, self.run.stop)

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


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``."""
    return passes.options_to_json(options)


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal."""
    return passes.options_from_json(Options, options)
