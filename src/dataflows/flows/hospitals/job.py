"""`hospitals-bulk`, step by step: keep the rows, wake the Directory, bring every batch to its end, report on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflows.errors import AlreadyRunning, BadInput, DataflowsError, ExitCode, Interrupted
from dataflows.events import Event, Failed, Planned, Step, Warned
from dataflows.flows.hospitals.directory import DirectoryApi, open_directory, refuse_another_directory
from dataflows.flows.hospitals.dispatch import Dispatcher, Lanes
from dataflows.flows.hospitals.earlier import EarlierRun, take_back
from dataflows.flows.hospitals.plan import UploadPlan, UploadPlanner
from dataflows.flows.hospitals.progress import ProgressReporter
from dataflows.flows.hospitals.report import response
from dataflows.flows.hospitals.rows import COMMAND, MOST_PER_BATCH, FileContent, directory_address
from dataflows.flows.hospitals.table import Validation
from dataflows.flows.hospitals.uploads import AGAIN, CopyFolder, Leftover, UploadStore
from dataflows.runs import flow
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

_RANK = (
    ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN, ExitCode.ALREADY_RUNNING, ExitCode.SETTINGS, ExitCode.SOME_FAILED,
)  # fmt: skip

__all__ = ["COMMAND", "Options", "check_file", "content_of", "options_from_json", "options_to_json", "target", "upload"]


@dataclass(frozen=True)
class Options:
    """How the operator asked for the run. ``path`` is the file in full, as it was read."""

    path: str
    batch_size: int = MOST_PER_BATCH
    skip_invalid: bool = False
    again: bool = False
    replace: bool = False
    workers: int = 20
    resumed: bool = False
    """The rows come from the kept copy, whatever the file holds by now."""


def content_of(settings: Settings, options: Options, validation: Validation) -> FileContent:
    """Return what a file asks for. Raises SettingUnusable: EXTERNAL_API_BASE_URL is missing."""
    settings.require("EXTERNAL_API_BASE_URL")
    address = directory_address(str(settings.external_api_base_url))
    return FileContent(address, options.batch_size, validation.rows, validation.left_out(), validation.invalid_rows)


def target(content: FileContent, *, again: bool) -> str:
    """Name what a run locks: what the file asks for, and apart from that the same once more."""
    return content.key + (AGAIN if again else "")


def options_to_json(options: Options, content: FileContent) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``."""
    return {**flow.options_to_json(options), "key": content.key}


def options_from_json(options: Mapping[str, object], settings: Settings) -> tuple[Options, FileContent]:
    """Return the options of an earlier run, from the journal, and what it carries, from the kept copy.

    Raises:
        BadInput: the copy is missing or damaged.
        SettingUnusable: the run was for another Directory.
    """
    content = CopyFolder(settings.data_dir).read(str(options["key"]))
    refuse_another_directory(settings, content.address)
    return replace(flow.options_from_json(Options, options), resumed=True), content


def upload(settings: Settings, options: Options, content: FileContent) -> Callable[[Run], Iterator[Event]]:
    """Return the job: bring every row of the content into the Directory, once, and activate its batches.

    The rows are kept at once, before the run is recorded, so that it can be resumed whenever it dies.

    The job raises what keeps it from that: BadInput (an earlier version of the file is unfinished, or the Directory
    would have to forget others), AlreadyRunning (here, or another client at the Directory), ForeignRecord, RowsRefused,
    ServiceDown, SettingUnusable, AccessRefused, Interrupted.
    """
    copies = CopyFolder(settings.data_dir)
    known = copies.has(content.key)
    copies.keep(content)
    return lambda run: _Upload(settings, options, content, run).events(kept_before=known)


def check_file(validation: Validation, *, skip_invalid: bool = False) -> Callable[[Run], Iterator[Event]]:
    """Return the job that only reports on a file; it raises BadInput unless ``skip_invalid`` covers all errors."""
    return lambda run: _checked(validation, run, skip_invalid=skip_invalid)


def _checked(validation: Validation, run: Run, *, skip_invalid: bool) -> Iterator[Event]:
    run.report.update(validation.document())
    yield Planned(validation.total_rows, "rows")
    for one in validation.left_out():
        yield Failed(str(one.row) if one.row else "file", one.code, one.message)
    if not validation.is_valid and (validation.refused or not skip_invalid):
        count = validation.problem_count
        raise BadInput(
            f"the file has {count} error{'s' * (count != 1)}, so none of its rows is sent",
            reason="csv-errors",
            hint=_hint(validation),
        )


def _hint(validation: Validation) -> str:
    if any(one.code == "too_many_rows" for one in validation.problems):
        return "split it, or raise the limit: --max-rows N"
    if validation.refused or not validation.rows:
        return "correct the file"
    return "correct them; if rows may be left out: --skip-invalid"


@dataclass(frozen=True)
class OtherVersions:
    """The unfinished runs of a file as it was before, of which one at most may be on its way.

    ``run`` is the one that wants to begin, ``content`` what the file holds now. For a resumed run, only those from
    before its time count.
    """

    run: Run
    uploads: UploadStore
    content: FileContent
    options: Options

    def refuse(self) -> None:
        """Raise AlreadyRunning or BadInput when another version is on its way and is not to be replaced."""
        for left in self._found():
            short = left.run_id[:8]
            if left.alive:
                raise AlreadyRunning(
                    f"run {short} is working on an earlier version of this file",
                    reason="already-running",
                    hint="wait until it has finished",
                )
            if not self.options.replace:
                raise BadInput(
                    f"an earlier version of this file (run {short}) is unfinished; nothing was sent",
                    reason="hospitals-earlier-run",
                    hint=f"remove what it created: add --replace; or finish it: dataflows runs resume {short}",
                )

    def replace(self, settings: Settings, directory: DirectoryApi) -> Iterator[Event]:
        """Take back what they created. Raises as ``refuse`` and ``take_back``, and BadInput where one is live."""
        self.refuse()  # one of them may have been resumed meanwhile
        for left in self._found():
            short = left.run_id[:8]
            yield Step(f"removing what run {short} created")
            done = take_back(EarlierRun.of(settings, self.run, left.upload, directory), delete_active=False)
            if done.live:
                raise BadInput(
                    f"an earlier version of this file (run {short}) is active at the Directory; nothing was sent",
                    reason="hospitals-earlier-run",
                    hint=f"keep its hospitals: dataflows runs abandon {short}; to remove them add --delete-active",
                )
            self.uploads.close(left.run_id, done.state)
            yield Warned(f"run {short} abandoned, {done.deleted} records removed", reason="hospitals-repaired")

    def _found(self) -> list[Leftover]:
        if self.options.resumed and not self.options.replace:
            return []
        names = self.content.known_names
        found = self.uploads.leftovers(self.options.path, names, self.run.id if self.options.resumed else None)
        return [
            left
            for left in found
            if left.run_id != self.run.id and not (left.upload.rows in names and left.upload.size == self.content.size)
        ]


class _Upload:
    def __init__(self, settings: Settings, options: Options, content: FileContent, run: Run) -> None:
        self.settings = settings
        self.options = options
        self.content = content
        self.run = run
        self.uploads = UploadStore(run.journal, run.data_dir)
        self.others = OtherVersions(run, self.uploads, content, options)
        self.plan = UploadPlan.of(settings, content, skip_refused=options.skip_invalid, again=options.again)
        self.reporter = ProgressReporter(run.id, self.uploads.batches, self.plan, run.notify)
        self.lanes = Lanes(options.workers, content.size)
        self.dispatcher: Dispatcher | None = None

    def events(self, *, kept_before: bool) -> Iterator[Event]:
        """Run it; ``kept_before``: a copy of its rows was there already."""
        content, run, began = self.content, self.run, time.monotonic()
        self.others.refuse()
        foreign_since = self.uploads.introduce(content.key, kept_before=kept_before)
        planner = UploadPlanner(run.id, self.plan, self.uploads, self.options.path, foreign_since)
        if not self.options.again:
            run.journal.name_batches(run.id, [content.first_batch])
        yield Planned(len(content.rows) + content.invalid_count, "rows")
        for one in content.invalid:
            yield Failed(str(one.row), one.code, one.message)
        with open_directory(self.settings, run, self.lanes.threads) as directory:
            try:
                yield from self._bring(directory, planner)
            except DataflowsError as error:
                error.resumable = error.resumable or self.dispatcher is not None  # something may have been sent
                yield from self.reporter.pending(error.code)
                raise
            finally:
                run.report.update(response(self.plan, content.first_batch, time.monotonic() - began))

    def _bring(self, directory: DirectoryApi, planner: UploadPlanner) -> Iterator[Event]:
        """Plan and send, until everything is there for good."""
        yield Step("waking the Directory")
        directory.wake(self.settings.hospitals_wake_seconds, self.run.stop)
        yield from self.others.replace(self.settings, directory)
        planner.recall()
        window = self.uploads.batches.window(self.settings, self.content.address)
        inventory = directory.list_all()
        while True:
            planner.decide(inventory)
            yield from self._report_planned()
            if not self.plan.open:
                self._raise_errors()
                planner.finish(inventory)
                yield from self.reporter.overlapping(self.plan.overlapping)
                return
            dispatcher = self.dispatcher = Dispatcher(
                self.plan, self.uploads.batches, window, self.lanes, self.reporter
            )
            yield from dispatcher.run(directory, self.run.stop)
            self._raise_errors()
            if self.run.stop.is_set():
                yield from self.reporter.pending("interrupted")
                return
            inventory = dispatcher.final or directory.list_all()

    def _report_planned(self) -> Iterator[Event]:
        """The rows that are there already, and the batches with which that is all."""
        yield from self.reporter.already_there()
        for batch in self.plan.batches:
            if batch.over:
                yield from self.reporter.ended(batch)
        self.uploads.batches.flush()

    def _raise_errors(self) -> None:
        """Raise the error that matters most: what halted the run, or what a batch was given up for."""
        halted = self.dispatcher.halted if self.dispatcher else None
        found = [halted, *(batch.error for batch in self.plan.batches)]
        errors = [error for error in found if error and not isinstance(error, Interrupted)]
        if errors and not self.run.stop.is_set():
            raise min(errors, key=lambda error: _RANK.index(error.exit_code))
