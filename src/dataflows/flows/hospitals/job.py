"""`hospitals-bulk`, step by step: keep the rows, wake the Directory, carry every batch to its end, tell what became."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from dataflows.errors import AlreadyRunning, BadInput, DataflowsError, ExitCode, Interrupted, SettingUnusable
from dataflows.events import Event, Failed, Pending, Planned, Skipped, Step, Warned
from dataflows.flows.hospitals.abandon import abandon
from dataflows.flows.hospitals.batch import Batch, Manner
from dataflows.flows.hospitals.copies import Content, Copies, Invalid
from dataflows.flows.hospitals.courier import Courier
from dataflows.flows.hospitals.directory import SERVICE, Directory
from dataflows.flows.hospitals.dispatch import Dispatcher, Lanes
from dataflows.flows.hospitals.entries import Entry, State
from dataflows.flows.hospitals.identity import MOST_PER_BATCH, directory_address, portions
from dataflows.flows.hospitals.ledger import COMMAND, Ledger, Leftover, Upload
from dataflows.flows.hospitals.pacing import Pace
from dataflows.flows.hospitals.report import Validation
from dataflows.flows.hospitals.taking_back import work_of
from dataflows.flows.hospitals.telling import Teller, response
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from dataflows.runs import pool
from dataflows.runs.journal import ABANDONED
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

__all__ = ["COMMAND", "Options", "check", "content_of", "first_batch", "kept", "recalled", "target", "upload"]


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


def content_of(settings: Settings, options: Options, validation: Validation) -> Content:
    """Return what a file asks for: its valid rows, and those that are left out.

    Raises:
        SettingUnusable: EXTERNAL_API_BASE_URL is missing.
    """
    settings.require("EXTERNAL_API_BASE_URL")
    address = directory_address(str(settings.external_api_base_url))
    return Content(address, options.batch_size, validation.rows, _invalid(validation), validation.invalid_rows)


def target(content: Content, *, again: bool) -> str:
    """Name what a run locks: what the file asks for, and apart from that the same once more."""
    return content.key + (" again" if again else "")


def first_batch(content: Content) -> str:
    """The id under which a content is known, unless it is to be created once more (``again``)."""
    return portions(content.address, content.rows, content.size)[0].batch_id


def upload(settings: Settings, options: Options, content: Content) -> Callable[[Run], Iterator[Event]]:
    """Return the job: bring every row of the content into the Directory, once, and activate its batches.

    The rows are kept at once, before the run is recorded, so that it can be resumed whenever it dies.

    The job raises what keeps it from that: BadInput (an earlier version of the file is unfinished), AlreadyRunning
    (here, or another client at the Directory), ForeignRecord, RowsRefused, ServiceDown, SettingUnusable,
    AccessRefused, Interrupted.
    """
    copies = Copies(settings.data_dir)
    known = copies.has(content.key)
    copies.keep(content)
    return lambda run: _Upload(settings, options, content, run, known=known).play()


def check(validation: Validation) -> Callable[[Run], Iterator[Event]]:
    """Return the job that only reports on a file (a dry run, or a bad file). It raises BadInput for any error."""
    return lambda run: _checked(validation, run)


def _checked(validation: Validation, run: Run) -> Iterator[Event]:
    run.report.update(validation.document())
    yield Planned(validation.total_rows, "rows")
    for one in _invalid(validation):
        yield Failed(str(one.row) if one.row else "file", one.code, one.message)
    if not validation.is_valid:
        count = validation.problem_count
        raise BadInput(
            f"the file has {count} error{'s' * (count != 1)}, so none of its rows is sent",
            hint="correct them; if rows may be left out: --skip-invalid"
            if not validation.refused
            else "correct the file",
        )


def _invalid(validation: Validation) -> list[Invalid]:
    """The problems of a file by row, the first one's code and all messages."""
    found: dict[int, Invalid] = {}
    for problem in validation.problems:
        row = problem.row or 0
        text = f"{problem.column}: {problem.message}" if problem.column else problem.message
        known = found.get(row)
        found[row] = (
            Invalid(row, problem.code, text) if known is None else known._replace(message=f"{known.message}; {text}")
        )
    return list(found.values())


class _Upload:
    def __init__(self, settings: Settings, options: Options, content: Content, run: Run, *, known: bool) -> None:
        self.known = known
        self.settings = settings
        self.options = options
        self.content = content
        self.run = run
        self.began = time.monotonic()
        self.ledger = Ledger(run.journal, run.data_dir)
        self.copies = Copies(run.data_dir)
        self.dispatcher: Dispatcher | None = None
        self.manner = Manner(self._settle, settings.hospitals_look_every_seconds, options.skip_invalid)
        self.lanes = Lanes(options.workers, content.size)
        self.slowest_before = 0.0
        self.occurrence = 0
        self.batches = self._planned(content.size, 0)

    # --- the story --------------------------------------------------------------------------------------------

    def play(self) -> Iterator[Event]:
        """Tell the story of one run."""
        content = self.content
        self._refuse_leftovers()
        self.history_lost = self.ledger.introduce(
            self.run.id, [batch.batch_id for batch in self.batches], carried_before=self.known
        )
        if not self.options.again:
            self.run.journal.name_batches(self.run.id, [batch.batch_id for batch in self.batches])
        yield Planned(len(content.rows) + content.invalid_count, "rows")
        for one in content.invalid:
            yield Failed(str(one.row), one.code, one.message)
        self.session = make_session(self.settings, self.lanes.threads, self.run.stop.grace_is_over)
        self.policy = RetryPolicy.of(self.settings, self.run.stop, self.run.notify)
        self.directory = Directory(content.address, self.session, self.policy)
        try:
            yield from self._story()
        except DataflowsError as error:
            error.resumable = error.resumable or self.dispatcher is not None  # something was sent, or may have been
            yield from self._untouched(error)
            raise
        finally:
            self.session.close()
            self.run.report.update(response(content, self.batches, time.monotonic() - self.began))

    def _untouched(self, error: DataflowsError) -> Iterator[Event]:
        """The rows of a run that ended before any of them was looked after."""
        if self.dispatcher is None:
            for row in self.content.rows:
                yield Pending(str(row.number), error.code)

    def _story(self) -> Iterator[Event]:
        yield Step("waking the Directory")
        self.directory.wake(self.settings.hospitals_wake_seconds, self.run.stop)
        yield from self._replace()
        if self._is_elsewhere():
            yield from self._there_already()
            return
        self._begin()
        yield from self._carry()
        self.copies.sweep(self.ledger.uploads() | {self.content.key})
        self._end()

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
        found = self.ledger.leftovers(self.options.path, self.content.rows_key, before)
        return [left for left in found if left.upload.key != self.content.key and left.run_id != self.run.id]

    def _replace(self) -> Iterator[Event]:
        self._refuse_leftovers()  # one of them may have been resumed meanwhile
        for left in self._leftovers():
            short = left.run_id[:8]
            yield Step(f"removing what run {short} created")
            work = work_of(self.settings, self.run, left.upload, self.session)
            done = abandon(work, delete_active=False)
            if done.live:
                raise BadInput(
                    f"run {short} of this file, as it was before, is active at the Directory; nothing was sent",
                    hint=f"keep its hospitals: dataflows runs abandon {short}; to remove them add --delete-active",
                )
            self.ledger.close_siblings(left.run_id, ABANDONED)
            yield Warned(f"run {short} abandoned, {done.deleted} records removed")

    # --- the batches ------------------------------------------------------------------------------------------

    def _planned(self, size: int, occurrence: int) -> list[Batch]:
        content = self.content
        return [
            Batch(part.batch_id, [Entry(row) for row in part.rows], self.manner)
            for part in portions(content.address, content.rows, size, occurrence)
        ]

    def _is_elsewhere(self) -> bool:
        """Whether an earlier run brought the same rows there in batches of another size, and they are there still."""
        if self.options.again:
            return False
        for upload in self.ledger.finished(self.content.rows_key):
            batches = self._planned(upload.size, upload.occurrence)
            if upload.key != self.content.key and self._are_complete(batches):
                self.batches = batches
                self._hold(upload)
                return True
        return False

    def _there_already(self) -> Iterator[Event]:
        for entry in (entry for batch in self.batches for entry in batch.entries):
            key = str(entry.row.number)
            if entry.state is State.REFUSED:
                yield Failed(key, "refused", f"{SERVICE} refused this row in an earlier run (422)")
            else:
                yield Skipped(key, "already there, in other batches")

    def _are_complete(self, batches: list[Batch]) -> bool:
        """Look at all batches: whether each is there, active, and nothing has to be done about it."""

        def look(batch: Batch) -> bool:
            now = time.monotonic()
            batch.seen(self.directory.look(batch.batch_id), now, now)
            if batch.repairs:
                return all(look(one) for one in batch.repairs.values())
            return batch.over and batch.active and batch.error is None

        self.ledger.recall(batches)
        workers = min(self.lanes.threads, len(batches))
        return all(list(pool.each(look, batches, workers=workers, stop=self.run.stop))) and not self.run.stop.is_set()

    def _begin(self) -> None:
        """Make the batches those of this run, and bring them to what is known of them."""
        if self.options.again:
            self.occurrence = self._next_occurrence()
            self.batches = self._planned(self.content.size, self.occurrence)
        content = self.content
        self._hold(Upload(content.key, self.occurrence, self.options.path, content.rows_key, content.size))
        self.ledger.fill(self.batches)
        times = [entry.seconds for batch in self.batches for entry in batch.entries if entry.seconds]
        self.slowest_before = max(times, default=0.0)

    def _hold(self, upload: Upload) -> None:
        parts = portions(self.content.address, self.content.rows, upload.size, upload.occurrence)
        self.ledger.begin(self.run.id, upload, parts, history_lost=self.history_lost)

    def _next_occurrence(self) -> int:
        """The first occurrence that is not complete at the Directory, or the one that an earlier run left unfinished.

        Only the journal knows of a run that ended between activation and its own end.
        """
        unfinished = self.ledger.unfinished(self.content.key)
        if unfinished is not None:
            return unfinished
        occurrence = 0
        while self._are_complete(self._planned(self.content.size, occurrence)):
            occurrence += 1
        return occurrence

    def _settle(self) -> float:
        """How long a create without an answer may still land: longer where creates were seen to take long."""
        slowest = max(self.slowest_before, self.dispatcher.slowest if self.dispatcher else 0.0)
        return max(self.settings.hospitals_settle_seconds, 2 * slowest)

    # --- carrying ---------------------------------------------------------------------------------------------

    def _carry(self) -> Iterator[Event]:
        settings, run = self.settings, self.run
        pace = Pace(
            run.journal,
            self.content.address,
            settings.hospitals_creates_per_minute,
            settings.hospitals_window_seconds,
        )
        teller = Teller(run.id, self.ledger, len(self.content.rows), run.notify)
        dispatcher = self.dispatcher = Dispatcher(
            self.batches, self.ledger, pace, self.lanes, teller, settings.http_max_wait_seconds
        )
        halt = _Halt(lambda: dispatcher.halted is not None or run.stop.is_set(), run.stop)
        courier = Courier(self.directory, threading.Semaphore(self.lanes.creates), halt)
        try:
            for answered in pool.each(courier.carry, dispatcher.asks(), workers=self.lanes.threads, stop=halt):
                yield from dispatcher.take(answered)
        finally:
            courier.close()
            left = list(dispatcher.close())
        yield from left

    # --- the end ----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        assert self.dispatcher is not None
        errors = [batch.error for batch in self.batches if batch.error is not None]
        errors = [error for error in [self.dispatcher.halted, *errors] if error and not isinstance(error, Interrupted)]
        if errors and not self.run.stop.is_set():
            raise min(errors, key=lambda error: _RANK.index(error.exit_code))


_RANK = (
    ExitCode.ACCESS_REFUSED, ExitCode.SERVICE_DOWN, ExitCode.ALREADY_RUNNING, ExitCode.SETTINGS, ExitCode.SOME_FAILED,
)  # fmt: skip


@dataclass(frozen=True)
class _Halt:
    """Lets the pool stop when the run is over, for whatever reason."""

    is_set: Callable[[], bool]
    stop: pool.Stop

    @property
    def hurry(self) -> bool:
        return self.stop.hurry


def kept(options: Options, content: Content) -> dict[str, object]:
    """Return the options as the journal keeps them for ``runs resume``."""
    return {**asdict(options), "key": content.key}


def recalled(options: Mapping[str, object], settings: Settings) -> tuple[Options, Content]:
    """Return the options of an earlier run, from the journal, and what it carries, from the kept copy.

    Raises:
        BadInput: the copy is missing or damaged.
        SettingUnusable: the run was for another Directory.
    """
    values: dict[str, Any] = {one.name: options[one.name] for one in fields(Options) if one.name in options}
    content = Copies(settings.data_dir).read(str(options["key"]))
    settings.require("EXTERNAL_API_BASE_URL")
    if content.address != directory_address(str(settings.external_api_base_url)):
        raise SettingUnusable(
            f"this run was for the Directory at {content.address}",
            hint="set EXTERNAL_API_BASE_URL to that address, or run the file anew",
        )
    return Options(**{**values, "resumed": True}), content
