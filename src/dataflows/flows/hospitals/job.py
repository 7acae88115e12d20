"""`hospitals-bulk`, step by step: keep the rows, wake the Directory, bring every batch to its end, report on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflows.errors import DataflowsError, ExitCode, Interrupted
from dataflows.events import Event, Failed, Planned, Step, Warned
from dataflows.flows.hospitals.abandon import OtherVersions
from dataflows.flows.hospitals.batch_rows import BatchPolicy, SettleTime
from dataflows.flows.hospitals.directory import DirectoryApi, open_directory, refuse_another_directory
from dataflows.flows.hospitals.dispatch import Dispatcher, Lanes
from dataflows.flows.hospitals.ledger import CreateWindow
from dataflows.flows.hospitals.plan import Planner, UploadPlan
from dataflows.flows.hospitals.progress import ProgressReporter
from dataflows.flows.hospitals.records import ROWS_NAMED, Inventory, unsettled
from dataflows.flows.hospitals.report import response
from dataflows.flows.hospitals.rows import COMMAND, MOST_PER_BATCH, FileContent, directory_address
from dataflows.flows.hospitals.table import Validation
from dataflows.flows.hospitals.uploads import AGAIN, CopyFolder, UploadStore
from dataflows.runs import flow
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

MOST_ROUNDS = 5
"""So often what vanished meanwhile is created anew before the run is left to be resumed."""
_RANK = (
    ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN, ExitCode.ALREADY_RUNNING, ExitCode.SETTINGS, ExitCode.SOME_FAILED,
)  # fmt: skip

__all__ = ["COMMAND", "Options", "content_of", "options_from_json", "options_to_json", "target", "upload"]


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
    """Return what a file asks for: its valid rows, and those that are left out.

    Raises:
        SettingUnusable: EXTERNAL_API_BASE_URL is missing.
    """
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


class _Upload:
    def __init__(self, settings: Settings, options: Options, content: FileContent, run: Run) -> None:
        self.settings = settings
        self.options = options
        self.content = content
        self.run = run
        self.uploads = UploadStore(run.journal, run.data_dir)
        self.others = OtherVersions(run, self.uploads, content, options.path, options.replace, options.resumed)
        settle = SettleTime(settings.hospitals_settle_seconds)
        policy = BatchPolicy(settle, settings.hospitals_look_every_seconds, options.skip_invalid)
        self.plan = UploadPlan(content, policy, again=options.again)
        self.reporter = ProgressReporter(run.id, self.uploads.batches, self.plan, run.notify)
        self.lanes = Lanes(options.workers, content.size)
        self.dispatcher: Dispatcher | None = None

    def events(self, *, kept_before: bool) -> Iterator[Event]:
        """Run it; ``kept_before``: a copy of its rows was there already."""
        content, run, began = self.content, self.run, time.monotonic()
        self.others.refuse()
        foreign_since = self.uploads.introduce(content.key, kept_before=kept_before)
        planner = Planner(run.id, self.plan, self.uploads, self.options.path, foreign_since)
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

    def _bring(self, directory: DirectoryApi, planner: Planner) -> Iterator[Event]:
        """Plan and send, until everything is there for good."""
        yield Step("waking the Directory")
        directory.wake(self.settings.hospitals_wake_seconds, self.run.stop)
        yield from self.others.replace(self.settings, directory)
        planner.recall()
        inventory = directory.list_all()
        for _ in range(MOST_ROUNDS):
            planner.decide(inventory)
            yield from self._report_planned()
            if not self.plan.open:
                self._raise_errors()
                yield from self._finish(inventory)
                return
            dispatcher = self.dispatcher = self._dispatcher()
            yield from dispatcher.run(directory, self.run.stop)
            self._raise_errors()
            if self.run.stop.is_set():
                yield from self.reporter.pending("interrupted")
                return
            inventory = dispatcher.final or directory.list_all()
        raise unsettled("hospitals vanish as often as they are created")

    def _report_planned(self) -> Iterator[Event]:
        """The rows that are there already, and the batches with which that is all."""
        yield from self.reporter.already_there()
        for batch in self.plan.batches:
            if batch.over:
                yield from self.reporter.ended(batch)
        self.uploads.batches.flush()

    def _dispatcher(self) -> Dispatcher:
        window = CreateWindow(
            self.run.journal,
            directory_address(self.content.address),
            self.settings.hospitals_creates_per_minute,
            self.settings.hospitals_window_seconds,
        )
        return Dispatcher(self.plan, self.uploads.batches, window, self.lanes, self.reporter)

    def _finish(self, inventory: Inventory) -> Iterator[Event]:
        assert self.plan.is_whole, "every row has a batch or is there"
        twice = self.plan.overlapping = self.plan.too_often(inventory)
        if twice:
            rows = ", ".join(map(str, twice[:ROWS_NAMED])) + (", ..." if len(twice) > ROWS_NAMED else "")
            yield Warned(
                f"{len(twice)} row{'s' * (len(twice) != 1)} of this file came there by somebody else too in the same"
                f" moments: row {rows}",
                hint="nothing that is live was removed; look which of the two is to stay",
            )
        self.uploads.sweep(self.content.key)

    def _raise_errors(self) -> None:
        """Raise the error that matters most: what halted the run, or what a batch was given up for."""
        halted = self.dispatcher.halted if self.dispatcher else None
        found = [halted, *(batch.error for batch in self.plan.batches)]
        errors = [error for error in found if error and not isinstance(error, Interrupted)]
        if errors and not self.run.stop.is_set():
            raise min(errors, key=lambda error: _RANK.index(error.exit_code))
