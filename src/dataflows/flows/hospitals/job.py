"""`hospitals-bulk`, step by step: keep the rows, wake the Directory, carry every batch to its end, tell what became."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from dataflows.errors import AlreadyRunning, BadInput, DataflowsError, ExitCode, Interrupted
from dataflows.events import Event, Failed, Pending, Planned, Step, Warned
from dataflows.flows.hospitals.batch import ROWS_NAMED, BatchPolicy, WiderLook, unsettled
from dataflows.flows.hospitals.copies import (
    MOST_PER_BATCH,
    CopyFolder,
    FileContent,
    SkippedRow,
    directory_address,
    first_portion,
    portions,
)
from dataflows.flows.hospitals.directory import MOST_KEPT, DirectoryApi
from dataflows.flows.hospitals.dispatch import Dispatcher, Lanes
from dataflows.flows.hospitals.inventory import Inventory
from dataflows.flows.hospitals.ledger import COMMAND, BatchStore
from dataflows.flows.hospitals.plan import UploadPlan
from dataflows.flows.hospitals.table import Validation
from dataflows.flows.hospitals.taking_back import base_url, refuse_another_directory, take_back, work_of
from dataflows.flows.hospitals.telling import ProgressReporter, response
from dataflows.flows.hospitals.uploads import AGAIN, Leftover, Upload, UploadStore, names_of
from dataflows.flows.hospitals.workers import CreateWindow, RequestWorker, inventory_of
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from dataflows.runs import flow, pool
from dataflows.runs.flow import Halt
from dataflows.runs.journal import ABANDONED
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

MOST_ROUNDS = 5
"""So often what vanished meanwhile is created anew before the run is left to be resumed."""

__all__ = [
    "COMMAND",
    "Options",
    "check",
    "content_of",
    "first_batch",
    "options_from_json",
    "options_to_json",
    "target",
    "upload",
]


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
    return FileContent(address, options.batch_size, validation.rows, _invalid(validation), validation.invalid_rows)


def target(content: FileContent, *, again: bool) -> str:
    """Name what a run locks: what the file asks for, and apart from that the same once more."""
    return content.key + (AGAIN if again else "")


def first_batch(content: FileContent) -> str:
    """The id under which a content is known, unless it is to be created once more (``again``)."""
    return first_portion(content.address, content.rows, content.size)


def upload(settings: Settings, options: Options, content: FileContent) -> Callable[[Run], Iterator[Event]]:
    """Return the job: bring every row of the content into the Directory, once, and activate its batches.

    The rows are kept at once, before the run is recorded, so that it can be resumed whenever it dies.

    The job raises what keeps it from that: BadInput (an earlier version of the file is unfinished, or the Directory
    would have to forget others), AlreadyRunning (here, or another client at the Directory), ForeignRecord, RowsRefused,
    ServiceDown, SettingUnusable,
    AccessRefused, Interrupted.
    """
    copies = CopyFolder(settings.data_dir)
    known = copies.has(content.key)
    copies.keep(content)
    return lambda run: _Upload(settings, options, content, run, known=known).play()


def check(validation: Validation, *, skip_invalid: bool = False) -> Callable[[Run], Iterator[Event]]:
    """Return the job that only reports on a file (a dry run, or a bad file).

    It raises BadInput for any error, unless wrong rows are left out (``skip_invalid``) and the file as a whole is
    right.
    """
    return lambda run: _checked(validation, run, skip_invalid=skip_invalid)


def _checked(validation: Validation, run: Run, *, skip_invalid: bool) -> Iterator[Event]:
    run.report.update(validation.document())
    yield Planned(validation.total_rows, "rows")
    for one in _invalid(validation):
        yield Failed(str(one.row) if one.row else "file", one.code, one.message)
    if not validation.is_valid and (validation.refused or not skip_invalid):
        count = validation.problem_count
        raise BadInput(
            f"the file has {count} error{'s' * (count != 1)}, so none of its rows is sent", hint=_hint(validation)
        )


def _hint(validation: Validation) -> str:
    if any(one.code == "too_many_rows" for one in validation.problems):
        return "split it, or say how many rows it may have: --max-rows N"
    if validation.refused or not validation.rows:
        return "correct the file"
    return "correct them; if rows may be left out: --skip-invalid"


def _invalid(validation: Validation) -> list[SkippedRow]:
    """The problems of a file by row, the first one's code and all messages."""
    found: dict[int, SkippedRow] = {}
    for problem in validation.problems:
        row = problem.row or 0
        text = f"{problem.column}: {problem.message}" if problem.column else problem.message
        known = found.get(row)
        found[row] = (
            SkippedRow(row, problem.code, text) if known is None else known._replace(message=f"{known.message}; {text}")
        )
    return list(found.values())


class _Upload:
    def __init__(self, settings: Settings, options: Options, content: FileContent, run: Run, *, known: bool) -> None:
        self.known = known
        self.settings = settings
        self.options = options
        self.content = content
        self.run = run
        self.began = time.monotonic()
        self.ledger = BatchStore(run.journal, run.data_dir)
        self.uploads = UploadStore(run.journal, run.data_dir, self.ledger)
        self.copies = CopyFolder(run.data_dir)
        self.names = names_of(content)
        self.dispatcher: Dispatcher | None = None
        self.manner = BatchPolicy(self._settle, settings.hospitals_look_every_seconds, options.skip_invalid)
        self.plan = UploadPlan(content, self.manner, again=options.again)
        self.teller = ProgressReporter(run.id, self.ledger, self.plan, run.notify)
        self.lanes = Lanes(options.workers, content.size)
        self.slowest = 0.0

    # --- the story --------------------------------------------------------------------------------------------

    def play(self) -> Iterator[Event]:
        """Tell the story of one run."""
        content = self.content
        self._refuse_leftovers()
        self.suspect = self.uploads.introduce(content.key, kept_before=self.known)
        if not self.options.again:
            self.run.journal.name_batches(self.run.id, [first_batch(content)])
        yield Planned(len(content.rows) + content.invalid_count, "rows")
        for one in content.invalid:
            yield Failed(str(one.row), one.code, one.message)
        self.session = make_session(self.settings, self.lanes.threads, self.run.stop.grace_is_over)
        self.policy = RetryPolicy.of(self.settings, self.run.stop, self.run.notify)
        self.directory = DirectoryApi(base_url(self.settings), self.session, self.policy)
        try:
            yield from self._story()
        except DataflowsError as error:
            error.resumable = error.resumable or self.dispatcher is not None  # something was sent, or may have been
            yield from self._untold(error.code)
            raise
        finally:
            self.session.close()
            seconds = time.monotonic() - self.began
            self.run.report.update(response(content, self.plan, first_batch(content), seconds))

    def _untold(self, code: str) -> Iterator[Event]:
        """The rows of which nothing was told yet: they wait."""
        for row in self.content.rows:
            if row.number not in self.teller.told:
                yield Pending(str(row.number), code)

    def _story(self) -> Iterator[Event]:
        yield Step("waking the Directory")
        self.directory.wake(self.settings.hospitals_wake_seconds, self.run.stop)
        yield from self._replace()
        self._recall()
        inventory = inventory_of(self.directory)
        for _ in range(MOST_ROUNDS):
            yield from self._decide(inventory)
            if not self.plan.open:
                self._raise_errors()
                assert self.plan.is_whole, "every row has a batch or is there"
                yield from self._done(inventory)
                return
            yield from self._carry()
            self._raise_errors()
            if self.run.stop.is_set():
                yield from self._untold("interrupted")
                return
            assert self.dispatcher is not None
            inventory = self.dispatcher.final or inventory_of(self.directory)
        raise unsettled("hospitals vanish as often as they are created")

    def _done(self, inventory: Inventory) -> Iterator[Event]:
        twice = self.plan.overlapping = self.plan.too_often(inventory)
        if twice:
            rows = ", ".join(map(str, twice[:ROWS_NAMED])) + (", ..." if len(twice) > ROWS_NAMED else "")
            yield Warned(
                f"{len(twice)} row{'s' * (len(twice) != 1)} of this file came there by somebody else too in the same"
                f" moments: row {rows}",
                hint="nothing that is live was removed; look which of the two is to stay",
            )
        self.copies.sweep(self.uploads.sweep() | {self.content.key})

    # --- earlier runs -----------------------------------------------------------------------------------------

    def _refuse_leftovers(self) -> None:
        """Stop when another version of this file is on its way, unless it is to be replaced."""
        for left in self._leftovers():
            short = left.run_id[:8]
            if left.alive:
                raise AlreadyRunning(f"run {short} is at work on this file as it was before", hint="wait for its end")
            if not self.options.replace:
                raise BadInput(
                    f"run {short} of this file, as it was before, is unfinished; nothing was sent",
                    hint=f"remove what it created: add --replace; or finish it: dataflows runs resume {short}",
                )

    def _leftovers(self) -> list[Leftover]:
        """Other versions of this file that are unfinished; a resumed run replaces only those from before its time."""
        if self.options.resumed and not self.options.replace:
            return []
        before = self.run.id if self.options.resumed else None
        found = self.uploads.leftovers(self.options.path, self.names, before)
        return [left for left in found if not self._is_mine(left.upload) and left.run_id != self.run.id]

    def _is_mine(self, upload: Upload) -> bool:
        return upload.rows in self.names and upload.size == self.content.size

    def _replace(self) -> Iterator[Event]:
        self._refuse_leftovers()  # one of them may have been resumed meanwhile
        for left in self._leftovers():
            short = left.run_id[:8]
            yield Step(f"removing what run {short} created")
            work = work_of(self.settings, self.run, left.upload, self.session)
            done = take_back(work, delete_active=False)
            if done.live:
                raise BadInput(
                    f"run {short} of this file, as it was before, is active at the Directory; nothing was sent",
                    hint=f"keep its hospitals: dataflows runs abandon {short}; to remove them add --delete-active",
                )
            self.uploads.close(left.run_id, ABANDONED)
            yield Warned(f"run {short} abandoned, {done.deleted} records removed")

    def _recall(self) -> None:
        """Take over the plan of the run that this one goes on with."""
        again = self.options.again
        found = self.uploads.unfinished(self.run.id, self.names, self.content.size, again=again)
        self.earlier, kept = None, None
        if found is not None:
            self.earlier, upload = found
            kept, self.plan.number = self.uploads.plan(upload), upload.occurrence
            for batch_id, places in kept.batches:
                self.plan.add(batch_id, places)
            self.ledger.fill(self.plan.batches)
        self.is_new = kept is None

    # --- the plan ---------------------------------------------------------------------------------------------

    def _decide(self, inventory: Inventory) -> Iterator[Event]:
        """Bring the plan to what is there now: which rows are there already, and which batches make the others."""
        plan = self.plan
        if self.is_new and self.options.again:
            plan.number = self._next_occurrence(inventory)
        elif self.is_new and inventory.total:
            known = (batch for kept in self.uploads.plans(self.names) for batch in kept.batches)
            plan.adopt(inventory, chain(known, plan.candidates()), self.ledger.fill)
        self.is_new = False
        self._look_at_live(inventory)
        fresh = plan.settle(inventory, self.ledger.active)
        self._refuse_too_many(inventory)
        self._write_down()
        self.ledger.fill(fresh)
        for batch in fresh:
            batch.take_back()
        self.ledger.suspect([batch for batch in plan.batches if batch.is_new])
        plan.index()
        yield from self.teller.there()
        yield from self._first_look(inventory)

    def _look_at_live(self, inventory: Inventory) -> None:
        """First what was activated before: rows that it lost are to be created elsewhere."""
        active = self.ledger.active([batch.batch_id for batch in self.plan.batches])
        for batch in self.plan.batches:
            records = inventory.batch(batch.batch_id)
            batch.was_active = batch.was_active or batch.batch_id in active
            if batch.over:
                batch.lose(records)
                self.ledger.note(batch)
            elif batch.was_active or inventory.is_active(batch.batch_id):
                batch.seen(records, inventory.started, time.monotonic(), WiderLook(inventory, {}))

    def _first_look(self, inventory: Inventory) -> Iterator[Event]:
        """Let every batch see what is there of it; tell of those with which that is all."""
        for batch in self.plan.batches:
            if batch.is_new:
                sight = self.plan.sight(batch, inventory)
                batch.seen(inventory.batch(batch.batch_id), inventory.started, time.monotonic(), sight)
            self.ledger.note(batch)
            if batch.over:
                yield from self.teller.ended(batch)
        self.ledger.flush()

    def _refuse_too_many(self, inventory: Inventory) -> None:
        plan = self.plan
        more = sum(max(0, len(one.wanted) - len(inventory.batch(one.batch_id))) for one in plan.open)
        if more and inventory.total + more > MOST_KEPT:
            raise BadInput(
                f"the Directory holds {inventory.total:,} hospitals and keeps {MOST_KEPT:,}:"
                f" {more:,} more would make it forget the oldest",
                hint="remove hospitals there that nobody wants, or send fewer rows",
            )

    def _write_down(self) -> None:
        content, plan = self.content, self.plan
        upload = Upload(
            content.key, plan.number, self.options.path, content.rows_key, content.size, plan.kept().to_json()
        )
        ids = [batch.batch_id for batch in plan.batches]
        self.uploads.begin(self.run.id, upload, ids, self.suspect, first_batch(content))
        if self.earlier is not None:
            self.uploads.take_over(self.run.id, self.earlier)

    def _next_occurrence(self, inventory: Inventory) -> int:
        """The first occurrence of which no batch was ever activated, as far as Directory and journal know."""
        content, occurrence = self.content, 0
        while True:
            ids = [part.batch_id for part in portions(content.address, content.rows, content.size, occurrence)]
            finished = self.uploads.is_finished(content.key, occurrence)
            if not (finished or any(map(inventory.is_active, ids)) or self.ledger.active(ids)):
                return occurrence
            occurrence += 1

    def _settle(self) -> float:
        """How long a create without an answer may still land: longer where creates were seen to take long."""
        slowest = max(self.slowest, self.dispatcher.slowest if self.dispatcher else 0.0)
        return max(self.settings.hospitals_settle_seconds, 2 * slowest)

    # --- carrying ---------------------------------------------------------------------------------------------

    def _carry(self) -> Iterator[Event]:
        settings, run = self.settings, self.run
        times = [entry.seconds for batch in self.plan.batches for entry in batch.entries if entry.seconds]
        self.slowest = max([self.slowest, *times])
        pace = CreateWindow(
            run.journal,
            directory_address(self.content.address),
            settings.hospitals_creates_per_minute,
            settings.hospitals_window_seconds,
        )
        dispatcher = self.dispatcher = Dispatcher(self.plan, self.ledger, pace, self.lanes, self.teller, self._settle)
        halt = Halt(lambda: dispatcher.halted is not None or run.stop.is_set(), run.stop)
        courier = RequestWorker(self.directory, threading.Semaphore(self.lanes.creates), halt)
        try:
            for answered in pool.each(courier.carry, dispatcher.asks(), workers=self.lanes.threads, stop=halt):
                yield from dispatcher.take(answered)
        finally:
            courier.close()
            left = list(dispatcher.close())
        yield from left

    # --- the end ----------------------------------------------------------------------------------------------

    def _raise_errors(self) -> None:
        halted = self.dispatcher.halted if self.dispatcher else None
        found = [halted, *(batch.error for batch in self.plan.batches)]
        errors = [error for error in found if error and not isinstance(error, Interrupted)]
        if errors and not self.run.stop.is_set():
            raise min(errors, key=lambda error: _RANK.index(error.exit_code))


_RANK = (
    ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN, ExitCode.ALREADY_RUNNING, ExitCode.SETTINGS, ExitCode.SOME_FAILED,
)  # fmt: skip


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
    refuse_another_directory(settings, content)
    return replace(flow.options_from_json(Options, options), resumed=True), content
