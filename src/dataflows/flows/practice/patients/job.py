"""`patient-import`, step by step: list, take in one object after the other; around it what both imports do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.events import Event, Planned, Step, Warned
from dataflows.flows.practice import passes
from dataflows.flows.practice.erasures import Erasures, said_of_erasures
from dataflows.flows.practice.passes import UNANSWERED_IN_A_ROW, ImportPass, Job, Notice, target
from dataflows.flows.practice.patients import objects
from dataflows.flows.practice.patients.emptiness import emptiness
from dataflows.flows.practice.patients.intake import Intake, RehearsedIntake
from dataflows.flows.practice.patients.objects import BackupFolder, files_in
from dataflows.flows.practice.patients.reporting import ObjectReporter
from dataflows.flows.practice.patients.tracking import Tracking

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


def bring_in(settings: Settings, options: Options) -> Job:
    """Return the job: one pass over the bucket (or over a folder of local copies).

    The job raises what ends a run early: SettingUnusable, AccessRefused, ServiceDown, AlreadyRunning, Interrupted;
    BadInput for a ``--retry`` that fits nothing.
    """
    return _PatientImport.job(settings, options)


def check(_: Settings, options: Options) -> None:
    """Make sure that the options make sense.

    Raises:
        WrongUsage: the pattern is no regular expression.
    """
    objects.rule(options.pattern)


def backup_dir(settings: Settings) -> Path:
    """The folder of local copies."""
    return settings.patient_backup_dir or settings.data_dir / "patient_imports"


class _PatientImport(ImportPass[Options]):
    command, topic = COMMAND, TOPIC

    @cached_property
    def report(self) -> ObjectReporter:
        """What is told of the objects."""
        return ObjectReporter(self.run, rehearsal=self.options.dry_run)

    @cached_property
    def copies(self) -> BackupFolder:
        """The local copies."""
        return BackupFolder(backup_dir(self.settings))

    def prepare(self, engine: sa.Engine, may_write: Callable[[], None]) -> None:
        """Set up what writes the database."""
        if not self.options.dry_run:
            self.copies.sweep()
        self.tracking = Tracking.of(engine, self.settings, self.run, may_write, keep=not self.options.dry_run)
        self.erasures = Erasures.of(engine, self.run)

    def work(self) -> Iterator[Event]:
        """Import the local copies, or what is in the bucket."""
        kind, rule = RehearsedIntake if self.options.dry_run else Intake, objects.rule(self.options.pattern)
        rest = self.tracking, self.copies, self.report, rule, self.erasures, self.run.stop.grace_is_over
        with kind.opened(self.settings, *rest) as intake:
            if self.options.from_copies is not None:
                yield from self._from_copies(self.options.from_copies, intake)
                return
            if not self.options.dry_run:
                yield from emptiness(self.tracking.engine, self.copies, self.run, self.post)
                self._forgive()
            yield from self._from_bucket(intake)
            yield from self._remove_old_copies()

    def _forgive(self) -> None:
        if self.options.retry_dead:
            self.tracking.forgive(None)
        if self.options.retry is not None:
            self.tracking.forgive_one(self.options.retry, self.report.key)

    def _from_bucket(self, intake: Intake) -> Iterator[Event]:
        yield Step("listing the bucket")
        bucket, listing = intake.bucket, intake.bucket.objects()
        if not self.options.dry_run:
            self.run.clock.shows(max((one.moment for one in listing.objects), default=None))
        tracked = self.tracking.of_listed(listing)
        yield Planned(len(listing.objects), "objects")
        yield self._begun()
        for about in listing.objects:
            if self.run.stop.is_set() or bucket.unanswered >= UNANSWERED_IN_A_ROW:
                break
            self.report.tally.counts["seen"] += 1
            yield intake.take(about, tracked.get((about.name, about.generation)))
        if not self.run.stop.is_set():
            bucket.check()

    def _remove_old_copies(self) -> Iterator[Event]:
        """Remove copies older than PATIENT_KEEP_DAYS, unless the clock cannot be believed."""
        days, now = self.settings.patient_keep_days, self.run.clock.now
        if not days or self.options.dry_run or self.run.clock.jumped or self.run.stop.is_set():
            return
        old = self.copies.older_than(now - timedelta(days=days))
        kept = sum(not self.copies.remove(path) for path in old)
        self.report.tally.counts["copies_removed"] = len(old) - kept
        if kept:
            yield Warned(
                f"{kept} local copies are older than PATIENT_KEEP_DAYS and could not be removed", reason="copies-kept"
            )

    def _from_copies(self, folder: Path, intake: Intake) -> Iterator[Event]:
        yield Step("reading the folder")
        files = files_in(folder)
        yield Planned(len(files), "copies")
        yield self._begun()
        for file in files:
            if self.run.stop.is_set():
                return
            self.report.tally.counts["seen"] += 1
            yield intake.restore(file)

    def _begun(self) -> Step:
        return Step("checking; nothing is written" if self.options.dry_run else "importing")

    def remarks(self) -> Iterator[Event]:
        """One warning for each kind of oddity."""
        yield from self.report.tally.remarks()
        yield from said_of_erasures(self.erasures, self.erasures.returned(self.tracking.engine))

    def news(self) -> Notice | None:
        """Objects that fail, that were given up or that came right again, since somebody was told."""
        news = self.tracking.news()
        if not news:
            return None
        return Notice(self.report.message(news, self.tracking.bucket), lambda: self.tracking.told(news))

    def fill_report(self) -> None:
        """The figures so far."""
        self.run.report.update(self.report.tally.figures())


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``: nothing that names a person."""
    return passes.options_to_json(options, without={"retry"})


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal."""
    return passes.options_from_json(Options, options)
