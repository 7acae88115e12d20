"""`cqc-fetch`, step by step: sweep, fetch all sources at once, compare, merge, remove what is out of date."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import DataflowsError, ExitCode, Interrupted, ServiceDown
from dataflows.events import Done, Event, Failed, Planned, Skipped, Step, Warned
from dataflows.flows.cqc.derived import Table, write_changes, write_merged
from dataflows.flows.cqc.fetching import ExportSource, Fetched, Fetcher, Missed, chosen, configured
from dataflows.flows.cqc.folder import Clock, Folder, not_written, stamp_of, target, utc_now
from dataflows.flows.cqc.history import (
    Fetch,
    History,
    Result,
    came_and_went,
    counted,
    of_fetch,
    recorded,
    repetitions,
    suspicions,
)
from dataflows.runs import flow
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["Options", "fetch", "options_from_json", "options_to_json", "target"]


class Shrunk(DataflowsError):
    """A file has under half the records of the last good one: valid, but perhaps not what it should be."""

    exit_code = ExitCode.SOME_FAILED
    code = "shrunk"


class Suspect(DataflowsError):
    """A file is valid, and something about it is not as it should be."""

    exit_code = ExitCode.SOME_FAILED
    code = "suspect"


@dataclass(frozen=True)
class Options:
    """How the operator asked for the run; the fields are the options of ``cqc-fetch``."""

    output: Path
    sources: tuple[str, ...] = ()
    keep_days: int = 30
    changes: bool = False
    merged: bool = False
    skip_unchanged: bool = False
    accept_shrink: bool = False
    allow_ragged: int = 0
    dry_run: bool = False
    workers: int | None = None


def fetch(settings: Settings, options: Options, clock: Clock = utc_now) -> Callable[[Run], Iterator[Event]]:
    """Return the job: fetch the CSV exports into the output folder.

    The job raises WrongUsage for an unknown source, SettingUnusable for a folder that cannot be written, ServiceDown
    when no source could be reached, Shrunk, Interrupted.
    """
    return lambda run: _Fetch(settings, options, run, clock).events()


class _Fetch:
    def __init__(self, settings: Settings, options: Options, run: Run, clock: Clock) -> None:
        self.settings = settings
        self.options = options
        self.run = run
        self.sources = chosen(settings, options.sources)
        self.folder = Folder(options.output, run.data_dir, clock, run.stop)
        self.history = History(run.journal, target(options.output))
        self.before = {source.name: self.history.last_good(source.name) for source in self.sources}
        self.results: dict[str, Result] = {}
        self.files: dict[str, Path] = {}  # of this run, or the last good one where nothing had changed
        self.errors: dict[str, DataflowsError] = {}
        self.shrunk: list[str] = []

    def events(self) -> Iterator[Event]:
        """Run it from the first step to the last."""
        if self.options.dry_run:
            self._fill_plan()
            return
        self.run.report.update(status="error", saved_to=str(self.options.output), results={})
        self.folder.prepare()
        clock = self.run.clock
        clock.shows_without_journal(self.folder.newest())
        self.folder.sweep(own_only=clock.jumped)
        try:
            yield from self._fetch_all()
            yield from self._derive()
            if not self.run.stop.is_set():
                yield from self._prune()
        finally:
            self._fill_report()
        self._end()

    def _fill_plan(self) -> None:
        folder = self.options.output
        self.run.report.update(
            status="ok",
            saved_to=str(folder),
            would_fetch=[
                {"source": s.name, "from": s.url, "to": str(folder / f"cqc_{s.name}_YYYYMMDD_HHMMSSZ.csv")}
                for s in self.sources
            ],
            would_prune=[path.name for path in self._outdated(renewed=[s.name for s in self.sources])],
        )

    # --- fetching ---------------------------------------------------------------------------------------------

    def _fetch_all(self) -> Iterator[Event]:
        yield Planned(len(self.sources), "sources")
        yield Step("fetching")
        workers, ragged = self.options.workers or len(self.sources), self.options.allow_ragged
        fetcher = Fetcher(self.settings, self.folder, self.run, self._need_not_be_saved(), allow_ragged=ragged)
        for outcome in fetcher.fetch_all(self.sources, workers):
            yield from self._arrived(outcome) if isinstance(outcome, Fetched) else self._missed(outcome)

    def _need_not_be_saved(self) -> dict[str, str]:
        if not self.options.skip_unchanged:
            return {}
        return {name: last.sha256 for name, last in self.before.items() if last and self._path(last).is_file()}

    def _path(self, fetch: Fetch) -> Path:
        return self.options.output / fetch.file

    def _arrived(self, got: Fetched) -> Iterator[Event]:
        name, content, last = got.source.name, got.content, self.before[got.source.name]
        self.run.clock.is_told(_date(got.headers.get("Date")))
        unchanged = last is not None and last.sha256 == content.sha256
        path = got.path or (self._path(last) if last else None)
        assert path is not None, "only what is the same as an earlier file is not saved"
        self.files[name] = path
        result = self.results[name] = of_fetch(got, path, unchanged=unchanged)
        doubts = [*self._shrunk(got), *suspicions(content)]
        result.warning = "; ".join([*doubts, *repetitions(content), *self._columns(got)]) or None
        self.history.add(self.run.id, recorded(got, path, good=not doubts))
        if got.path is None:
            yield Skipped(name, "not saved again")
        else:
            yield Done(name, f"{path.name}: {content.rows} records{', unchanged' if unchanged else ''}")
        if result.warning:
            yield Warned(f"{name}: {result.warning}", reason="cqc-suspect")
        if content.ragged or content.blank or content.nameless:
            odd = {"ragged": content.ragged, "blank": content.blank, "without any identifier": content.nameless}
            counts = ", ".join(f"{count} {what}" for what, count in odd.items() if count)
            yield Warned(f"{name}: odd rows: {counts}; the file was kept unchanged", reason="cqc-odd-rows")

    def _shrunk(self, got: Fetched) -> Iterator[str]:
        last, rows = self.before[got.source.name], got.content.rows
        if last is not None and rows * 2 < last.rows and not self.options.accept_shrink:
            self.shrunk.append(got.source.name)
            yield f"{rows} records, under half of the {last.rows} of the last good file"

    def _columns(self, got: Fetched) -> Iterator[str]:
        """Which columns came and went since the last good file."""
        last = self.before[got.source.name]
        before = self._columns_of(last) if last else None
        if before is not None and (words := came_and_went(before, got.content.columns)):
            yield words

    def _columns_of(self, last: Fetch) -> Sequence[str] | None:
        if last.columns:
            return [str(column) for column in json.loads(last.columns)]
        try:
            return Table(self._path(last)).columns
        except (OSError, ValueError, csv.Error):
            return None

    def _missed(self, missed: Missed) -> Iterator[Event]:
        error = missed.error
        if isinstance(error, Interrupted):
            return  # the run says so
        name = missed.source.name
        self.errors[name] = error
        self.results[name] = Result(error=error.message, code=error.code, tries=missed.tries)
        self.history.failed(self.run.id, name, missed.tries, error.code, error.message)
        yield Failed(name, error.code, error.message, reason=error.reason)

    # --- what is made from the files --------------------------------------------------------------------------

    def _derive(self) -> Iterator[Event]:
        if self.options.changes:
            yield Step("comparing")
            for source in self.sources:
                if source.name in self.files and not self.run.stop.is_set():
                    yield from self._compare(source)
        if self.options.merged and self.files and not self.run.stop.is_set():
            yield Step("merging")
            yield from self._merge()

    def _compare(self, source: ExportSource) -> Iterator[Event]:
        name, last = source.name, self.before[source.name]
        path = self.files[name]
        if last is None or not self._path(last).is_file():
            yield Warned(
                f"{name}: no earlier file to compare with; the next run will use this one", reason="cqc-odd-rows"
            )
            return
        if self._path(last) == path:
            return  # unchanged, and not saved again
        try:
            with self.folder.temporary(f"changes_{name}") as temporary:
                changes = write_changes(self._path(last), path, temporary)
                final = self.folder.publish(temporary, f"changes_{name}", stamp_of(path))
        except (OSError, ValueError, csv.Error) as error:
            yield self._not_derived(f"{name} changes", error)
            return
        self.results[name].changes = counted(changes, final)

    def _merge(self) -> Iterator[Event]:
        files = [(source.name, self.files[source.name]) for source in self.sources if source.name in self.files]
        try:
            with self.folder.temporary("merged") as temporary:
                rows = write_merged(files, temporary)
                final = self.folder.publish(temporary, "merged")
        except (OSError, ValueError, csv.Error) as error:
            yield self._not_derived("merged", error)
            return
        self.run.report["merged"] = {"file": final.name, "rows": rows, "sources": [name for name, _ in files]}

    def _not_derived(self, what: str, error: Exception) -> Failed:
        if isinstance(error, OSError):
            message = not_written(error, f"the file of {what}").message
        else:
            message = "an earlier file is not as it was when it was fetched"
        self.history.failed(self.run.id, what, 1, "not_written", message)
        return Failed(what, "not_written", message)

    # --- the end ----------------------------------------------------------------------------------------------

    def _outdated(self, renewed: Collection[str] = ()) -> list[Path]:
        sources = {*configured(self.settings), *self.history.sources()}
        good = self.history.good_files(sources.difference(renewed))
        return self.folder.outdated(self.options.keep_days, sources, good, renewed=renewed)

    def _prune(self) -> Iterator[Event]:
        if self.run.clock.jumped:
            return  # which the run says
        outdated = self._outdated()
        if outdated:
            yield Step("removing old files")
            self.run.report["pruned"] = self.folder.prune(outdated)
        days = timedelta(days=self.settings.runs_keep_days)
        self.history.forget([source.name for source in self.sources], older_than=days)

    def _fill_report(self) -> None:
        order = [source.name for source in self.sources if source.name in self.results]
        good = [name for name in order if self.results[name].error is None]
        whole = len(good) == len(self.sources) and not any(self.results[name].warning for name in order)
        self.run.report["status"] = "ok" if whole else "partial" if good else "error"
        self.run.report["results"] = {name: asdict(self.results[name]) for name in order}

    def _end(self) -> None:
        if self.run.stop.is_set():
            return
        if len(self.errors) == len(self.sources) and all(isinstance(e, ServiceDown) for e in self.errors.values()):
            first = next(iter(self.errors.values()))
            raise ServiceDown(
                f"no source could be fetched; {first.message}",
                reason="cqc-nothing-fetched",
                hint=f"{first.hint}; the files of earlier runs are as they were",
            )
        if self.shrunk:
            raise Shrunk(
                f"under half the records of the last good file: {', '.join(self.shrunk)}",
                reason="cqc-shrunk",
                hint="the new file was kept: check it; if it is right: dataflows cqc-fetch --accept-shrink",
            )
        suspect = [f"{name}: {result.warning}" for name, result in sorted(self.results.items()) if result.warning]
        if suspect:
            raise Suspect(
                "; ".join(suspect),
                reason="cqc-suspect",
                hint="the file was kept: check it before others build on it",
            )


def _date(header: str | None) -> datetime | None:
    """The time of a Date header, as the far side's own clock has it."""
    with suppress(TypeError, ValueError):
        moment = parsedate_to_datetime(header or "")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return None


def options_to_json(options: Options) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``."""
    return flow.options_to_json(options)


def options_from_json(options: Mapping[str, object]) -> Options:
    """Return the options of an earlier run, from the journal."""
    return flow.options_from_json(Options, options)
