"""Gives a batch up: what of it is live, what is deleted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import Interrupted, SettingUnusable, WrongUsage
from dataflows.events import Event, Waiting
from dataflows.flows.hospitals.batch import Batch, BatchPolicy, foreign, unsettled
from dataflows.flows.hospitals.copies import CopyFolder, FileContent, directory_address
from dataflows.flows.hospitals.directory import DirectoryApi, DirectoryRecord
from dataflows.flows.hospitals.inventory import match
from dataflows.flows.hospitals.ledger import COMMAND, BatchStore
from dataflows.flows.hospitals.plan import KeptPlan
from dataflows.flows.hospitals.rows import NEVER, BatchEntry
from dataflows.flows.hospitals.uploads import Upload, UploadStore
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import Session, make_session
from dataflows.runs import pool
from dataflows.runs.journal import ABANDONED, DONE, PARTIAL, Journal, RunRecord
from dataflows.runs.lock import only_one
from dataflows.runs.pool import Stop
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings


_MOST_PASSES = 10


@dataclass(frozen=True)
class CarriedWork:
    """What a finished or unfinished run carried, and how to reach it."""

    directory: DirectoryApi
    ledger: BatchStore
    content: FileContent
    plan: KeptPlan
    manner: BatchPolicy
    workers: int
    stop: pool.Stop
    notify: Callable[[Event], None]

    def batches(self) -> list[Batch]:
        """All batches of the run, as the journal knows them."""
        found = [
            Batch(part.batch_id, [BatchEntry(row) for row in part.rows], self.manner)
            for part in self.plan.portions(self.content.rows)
        ]
        self.ledger.fill(found)
        return found

    def claim(self, run_id: str) -> None:
        """Make sure that no living run has one of these batches. Raises AlreadyRunning."""
        with self.ledger.transaction() as db:
            self.ledger.claim(db, run_id, [batch.batch_id for batch in self.batches()])

    def looks(self, batches: Sequence[Batch]) -> list[tuple[Batch, list[DirectoryRecord]]]:
        """Look at batches, side by side. Raises Interrupted when the run is to stop."""

        def look(batch: Batch) -> tuple[Batch, list[DirectoryRecord]]:
            return batch, self.directory.look(batch.batch_id)

        found = list(pool.each(look, batches, workers=min(self.workers, len(batches) or 1), stop=self.stop))
        if self.stop.is_set():
            raise Interrupted("stopped before its end", hint="the run is as it was: the same command goes on")
        return found


@dataclass
class Abandoned:
    """What became of the batches of a run: records that were deleted, and batches that are live and were left."""

    deleted: int = 0
    live: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def take_back(work: CarriedWork, *, delete_active: bool) -> Abandoned:
    """Remove what a run created: nothing of its batches is left, and nothing will land any more.

    A batch of which any record is active is left as it is, unless ``delete_active``.

    Raises:
        ForeignRecord: a batch holds what is no row of the run; nothing was deleted.
        ServiceDown: the Directory does not answer, or does not come to rest.
        Interrupted: the wait was cut short.
    """
    done = Abandoned()
    looked = work.looks(work.batches())
    for batch, records in looked:
        _refuse_foreign(batch, records)
    open_batches: list[tuple[Batch, list[DirectoryRecord]]] = []
    for batch, records in looked:
        if any(record.active for record in records) and not delete_active:
            done.live.append(batch.batch_id)
        else:
            open_batches.append((batch, records))
    _empty(work, open_batches, done, delete_active=delete_active)
    work.ledger.forget(done.gone)
    return done


def _empty(
    work: CarriedWork, looked: list[tuple[Batch, list[DirectoryRecord]]], done: Abandoned, *, delete_active: bool
) -> None:
    """Delete, wait until nothing can land any more, look; again where something is there."""
    settled_from = max((batch.settled_at() for batch, _ in looked), default=NEVER)
    for _ in range(_MOST_PASSES):
        for batch, records in looked:
            done.deleted += _deleted(work, batch, records, delete_active=delete_active, stale=len(looked) > 1)
        _wait(work, settled_from)
        began = time.monotonic()
        again = work.looks([batch for batch, _ in looked])
        live = [batch.batch_id for batch, records in again if any(record.active for record in records)]
        done.live += [] if delete_active else live
        done.gone += [batch.batch_id for batch, records in again if not records and began >= settled_from]
        settled = {*done.gone, *done.live}
        looked = [(batch, records) for batch, records in again if batch.batch_id not in settled]
        if not looked:
            return
        _wait(work, time.monotonic() + work.manner.look_every)
    raise unsettled("its records do not go away")


def _deleted(
    work: CarriedWork, batch: Batch, records: list[DirectoryRecord], *, delete_active: bool, stale: bool
) -> int:
    """Delete what a batch holds, unless it is live; returns how many records.

    Where many batches were looked at before (``stale``), this one is looked at once more: it may have come to life.
    """
    if records and stale:
        records = work.directory.look(batch.batch_id)
        _refuse_foreign(batch, records)
    if not records or (not delete_active and any(record.active for record in records)):
        return 0
    work.directory.delete_batch(batch.batch_id)
    return len(records)


def _wait(work: CarriedWork, until: float) -> None:
    seconds = until - time.monotonic()
    if seconds <= 0:
        return
    if seconds >= 1:
        work.notify(Waiting(seconds, "creates without an answer may still land"))
    if work.stop.wait(seconds):
        raise Interrupted("stopped before its end", hint="the run is as it was: the same command goes on")


def _refuse_foreign(batch: Batch, records: Sequence[DirectoryRecord]) -> None:
    found = match([entry.row.hospital for entry in batch.entries], records, {})
    if found.foreign:
        raise foreign(found.foreign, batch.batch_id)


@dataclass(frozen=True)
class BatchFinding:
    """What is not as it should be in one batch of a run."""

    batch_id: str
    late: list[int]
    """Ids of records that should not be there: creates that landed late."""
    missing: list[int]
    """Rows of the file that have no record, or none that is active although the batch is."""
    foreign: list[int]
    """Ids of records that equal no row."""
    inactive: bool
    """Nothing of the batch is active, and it should be."""
    left_over: bool
    """The batch was abandoned, so it should be empty."""

    @property
    def says(self) -> str:
        """What is not as it should be, in words."""
        parts = [
            f"{len(self.late)} surplus cop{'y' if len(self.late) == 1 else 'ies'}" if self.late else "",
            f"{len(self.missing)} missing row{'s' * (len(self.missing) != 1)}" if self.missing else "",
            f"{len(self.foreign)} record(s) that are no row of the file" if self.foreign else "",
            "nothing of it is active" if self.inactive else "",
        ]
        return ", ".join(part for part in parts if part)

    def advice(self, run: str) -> str:
        """What to do about it."""
        if self.foreign:
            return "find out who created them; this program touches nothing there as long as they are in the batch"
        if self.left_over:
            return f"dataflows runs abandon {run}, once more"
        return "run the same command with the same file again: it removes what is surplus and creates what is missing"


def look_over(work: CarriedWork, *, abandoned: bool) -> list[BatchFinding]:
    """Compare the Directory with the run; returns the batches that are not as they should be.

    Raises:
        ServiceDown: the Directory does not answer.
    """
    judge = _left_over if abandoned else _finding
    return [found for batch, records in work.looks(work.batches()) if (found := judge(batch, records))]


def _left_over(batch: Batch, records: Sequence[DirectoryRecord]) -> BatchFinding | None:
    ids = [record.id for record in records]
    return BatchFinding(batch.batch_id, ids, [], [], inactive=False, left_over=True) if ids else None


def _finding(batch: Batch, records: Sequence[DirectoryRecord]) -> BatchFinding | None:
    found = match([entry.row.hospital for entry in batch.entries], records, {})
    live = any(record.active for record in records)
    unlike = {place for place, record in found.kept.items() if live and not record.active}
    refused = {place for place, entry in enumerate(batch.entries) if entry.code == "refused"}
    finding = BatchFinding(
        batch.batch_id,
        [*(record.id for record in found.surplus), *(found.kept[place].id for place in sorted(unlike))],
        [batch.entries[place].row.number for place in sorted({*found.absent, *unlike} - refused)],
        [record.id for record in found.foreign],
        inactive=not live and len(refused) < len(batch.entries),
        left_over=False,
    )
    clean = not (finding.late or finding.missing or finding.inactive or finding.foreign)
    return None if clean else finding


Listener = Callable[[Event], None]


def work_of(settings: Settings, run: Run, upload: Upload, session: Session) -> CarriedWork:
    """Return what an earlier run carried, and the way to its Directory.

    Raises:
        BadInput: the kept copy of its rows is gone.
        SettingUnusable: it was for another Directory.
    """
    content = CopyFolder(run.data_dir).read(upload.key)
    refuse_another_directory(settings, content)
    policy = RetryPolicy.of(settings, run.stop, run.notify)
    ledger = BatchStore(run.journal, run.data_dir)
    plan = UploadStore(run.journal, run.data_dir, ledger).plan(upload)
    settle = max(settings.hospitals_settle_seconds, 2 * ledger.slowest(plan.portions(content.rows)))
    return CarriedWork(
        DirectoryApi(base_url(settings), session, policy),
        ledger,
        content,
        plan,
        BatchPolicy(lambda: settle, settings.hospitals_look_every_seconds),
        settings.max_concurrent_requests,
        run.stop,
        run.notify,
    )


def base_url(settings: Settings) -> str:
    """The address that requests go to."""
    return str(settings.external_api_base_url).strip().rstrip("/")


def refuse_another_directory(settings: Settings, content: FileContent) -> None:
    """Raise SettingUnusable when what a run carried was for another Directory than that of the settings."""
    settings.require("EXTERNAL_API_BASE_URL")
    if directory_address(content.address) != directory_address(str(settings.external_api_base_url)):
        raise SettingUnusable(
            f"that run was for the Directory at {content.address}", hint="set EXTERNAL_API_BASE_URL to that address"
        )


def abandon(
    settings: Settings,
    journal: Journal,
    record: RunRecord,
    notify: Listener,
    *,
    delete_active: bool,
    stop: Stop | None = None,
) -> Abandoned:
    """Remove what a run created, and close the run.

    A run of which anything is active is closed as done (or partly done) and that is left alone, unless
    ``delete_active``.

    Raises:
        AlreadyRunning: a living run has one of its batches.
        WrongUsage: the run carried nothing.
        DataflowsError: as ``take_back`` and ``work_of``; the run stays as it was.
    """
    with only_one(settings.data_dir, COMMAND, record.target):
        run = Run(record.run_id, journal, settings.data_dir, notify, stop or Stop())
        uploads = UploadStore(journal, settings.data_dir, BatchStore(journal, settings.data_dir))
        upload = uploads.upload_of(record.run_id)
        if upload is None and record.state == "resumable":
            upload = uploads.revived(record.run_id, str(record.options.get("key", "")))
        if upload is None and record.state == "resumable":  # it did not come as far as creating anything
            uploads.close(record.run_id, ABANDONED)
            return Abandoned()
        with _work(settings, run, upload) as work:
            work.directory.wake(settings.hospitals_wake_seconds, run.stop)
            work.claim(record.run_id)
            done = take_back(work, delete_active=delete_active)
            uploads.close(record.run_id, _state(done))
    return done


def _state(done: Abandoned) -> str:
    if not done.live:
        return ABANDONED
    return PARTIAL if done.gone else DONE


def check(settings: Settings, journal: Journal, record: RunRecord, notify: Listener) -> list[BatchFinding]:
    """Compare the Directory with a run; returns the batches that differ.

    Raises:
        WrongUsage: the run carried nothing, or is still running.
        DataflowsError: as ``look_over`` and ``work_of``.
    """
    if record.state == "running":
        raise WrongUsage("the run is still at work", hint=f"dataflows runs show {record.run_id[:8]} --follow")
    run = Run(record.run_id, journal, settings.data_dir, notify)
    upload = UploadStore(journal, settings.data_dir, BatchStore(journal, settings.data_dir)).upload_of(record.run_id)
    with _work(settings, run, upload) as work:
        work.directory.wake(settings.hospitals_wake_seconds, run.stop)
        return look_over(work, abandoned=record.state == ABANDONED)


def sweep(journal: Journal, data_dir: Path) -> None:
    """Remove what was kept for runs that are pruned."""
    CopyFolder(data_dir).sweep(UploadStore(journal, data_dir, BatchStore(journal, data_dir)).sweep())


@contextmanager
def _work(settings: Settings, run: Run, upload: Upload | None) -> Iterator[CarriedWork]:
    if upload is None:
        raise WrongUsage("that run did not come as far as creating anything", hint="dataflows runs list")
    session = make_session(settings, settings.max_concurrent_requests, run.stop.grace_is_over)
    try:
        yield work_of(settings, run, upload, session)
    finally:
        session.close()
