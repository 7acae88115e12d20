"""What is done about an earlier run: compare the Directory with it, take back what it created, forget what was kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import Interrupted, ServiceDown, WrongUsage
from dataflows.events import Event, Waiting
from dataflows.flows.hospitals.batch import Batch
from dataflows.flows.hospitals.batch_rows import BatchPolicy
from dataflows.flows.hospitals.directory import DirectoryApi, open_directory, refuse_another_directory
from dataflows.flows.hospitals.records import INCONSISTENT, RESUME_LATER, DirectoryRecord, foreign
from dataflows.flows.hospitals.rows import COMMAND, NEVER, BatchEntry, FileContent, KeptPlan
from dataflows.flows.hospitals.uploads import Upload, UploadStore
from dataflows.runs import pool
from dataflows.runs.journal import ABANDONED, DONE, PARTIAL, Journal, RunRecord
from dataflows.runs.lock import only_one
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

Looked = tuple[Batch, list[DirectoryRecord]]

_MOST_PASSES = 10
_GO_ON = "nothing has changed: the same command continues"


@dataclass(frozen=True)
class EarlierRun:
    """What a finished or unfinished run carried, and how to reach it; ``run`` is the one that looks after it now."""

    run: Run
    directory: DirectoryApi
    uploads: UploadStore
    content: FileContent
    plan: KeptPlan
    policy: BatchPolicy
    workers: int

    @classmethod
    def of(cls, settings: Settings, run: Run, upload: Upload, directory: DirectoryApi) -> EarlierRun:
        """What ``upload`` brought. Raises BadInput: its copy is gone; SettingUnusable: it was for another Directory."""
        uploads = UploadStore(run.journal, run.data_dir)
        content = uploads.copies.read(upload.key)
        refuse_another_directory(settings, content.address)
        plan = uploads.plan(upload)
        policy = BatchPolicy.of(settings, slowest=uploads.batches.slowest(plan.portions(content.rows)))
        return cls(run, directory, uploads, content, plan, policy, settings.max_concurrent_requests)

    def batches(self) -> list[Batch]:
        """All batches of the run, as the journal knows them."""
        found = [
            Batch(part.batch_id, [BatchEntry(row) for row in part.rows], self.policy)
            for part in self.plan.portions(self.content.rows)
        ]
        self.uploads.batches.fill(found)
        return found

    def claim(self) -> None:
        """Make sure that no living run has one of its batches. Raises AlreadyRunning."""
        self.uploads.batches.claim(self.run.id, [batch_id for batch_id, _ in self.plan.batches])

    def looks(self, batches: Sequence[Batch]) -> list[Looked]:
        """Look at batches, side by side. Raises Interrupted when the run is stopping."""

        def look(batch: Batch) -> Looked:
            return batch, self.directory.look(batch.batch_id)

        found = list(pool.each(look, batches, workers=min(self.workers, len(batches) or 1), stop=self.run.stop))
        if self.run.stop.is_set():
            raise Interrupted("stopped before it finished", reason="interrupted", hint=_GO_ON)
        return found

    def wait(self, until: float) -> None:
        """Wait until that second of the monotonic clock. Raises Interrupted."""
        seconds = until - time.monotonic()
        if seconds >= 1:
            self.run.notify(Waiting(seconds, "creates without an answer may still land"))
        if seconds > 0 and self.run.stop.wait(seconds):
            raise Interrupted("stopped before it finished", reason="interrupted", hint=_GO_ON)


@contextmanager
def opened(settings: Settings, run: Run, upload: Upload | None) -> Iterator[EarlierRun]:
    """Reach what an earlier run carried; its Directory is awake. Raises WrongUsage, and as ``EarlierRun.of``."""
    if upload is None:
        raise WrongUsage(
            "that run had not created anything yet", reason="nothing-to-resume", hint="dataflows runs list"
        )
    with open_directory(settings, run, settings.max_concurrent_requests) as directory:
        earlier = EarlierRun.of(settings, run, upload, directory)
        directory.wake(settings.hospitals_wake_seconds, run.stop)
        yield earlier


# --- deleting -----------------------------------------------------------------------------------------------------


@dataclass
class Abandoned:
    """What became of the batches of a run: records that were deleted, and batches that are live and were left."""

    deleted: int = 0
    live: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)

    @property
    def state(self) -> str:
        """The state of the run then."""
        if not self.live:
            return ABANDONED
        return PARTIAL if self.gone else DONE


def take_back(earlier: EarlierRun, *, delete_active: bool) -> Abandoned:
    """Remove what a run created: nothing of its batches is left, and nothing will land any more.

    A batch of which any record is active is left as it is, unless ``delete_active``.

    Raises:
        ForeignRecord: a batch holds what is no row of the run; nothing was deleted.
        ServiceDown: the Directory does not answer, or gives inconsistent answers.
        Interrupted: the wait was cut short.
    """
    done = Abandoned()
    looked = earlier.looks(earlier.batches())
    for batch, records in looked:
        _refuse_foreign(batch, records)
    if not delete_active:
        done.live = [batch.batch_id for batch, records in looked if _is_live(records)]
        looked = [(batch, records) for batch, records in looked if not _is_live(records)]
    _empty(earlier, looked, done, delete_active=delete_active)
    earlier.uploads.batches.forget(done.gone)
    return done


def _empty(earlier: EarlierRun, looked: list[Looked], done: Abandoned, *, delete_active: bool) -> None:
    """Delete, wait until nothing can land any more, look; again where something is there."""
    settled_from = max((batch.settled_at() for batch, _ in looked), default=NEVER)
    for _ in range(_MOST_PASSES):
        for batch, records in looked:
            done.deleted += _deleted(earlier, batch, records, delete_active=delete_active, stale=len(looked) > 1)
        earlier.wait(settled_from)
        began = time.monotonic()
        again = earlier.looks([batch for batch, _ in looked])
        done.live += [] if delete_active else [batch.batch_id for batch, records in again if _is_live(records)]
        done.gone += [batch.batch_id for batch, records in again if not records and began >= settled_from]
        settled = {*done.gone, *done.live}
        looked = [(batch, records) for batch, records in again if batch.batch_id not in settled]
        if not looked:
            return
        earlier.wait(time.monotonic() + earlier.policy.look_every)
    raise ServiceDown(
        f"{INCONSISTENT}: its records cannot be removed", reason="hospitals-inconsistent", hint=RESUME_LATER
    )


def _deleted(
    earlier: EarlierRun, batch: Batch, records: list[DirectoryRecord], *, delete_active: bool, stale: bool
) -> int:
    """Delete what a batch holds, unless it is live; returns how many records.

    Where many batches were looked at before (``stale``), this one is looked at once more: it may have come to life.
    """
    if records and stale:
        records = earlier.directory.look(batch.batch_id)
        _refuse_foreign(batch, records)
    if not records or (_is_live(records) and not delete_active):
        return 0
    earlier.directory.delete_batch(batch.batch_id)
    return len(records)


def _is_live(records: Sequence[DirectoryRecord]) -> bool:
    return any(record.active for record in records)


def _refuse_foreign(batch: Batch, records: Sequence[DirectoryRecord]) -> None:
    if strange := batch.match_all(records).foreign:
        raise foreign(strange, batch.batch_id)


def sweep(journal: Journal, data_dir: Path) -> None:
    """Remove what was kept for runs that are pruned."""
    UploadStore(journal, data_dir).sweep()


# --- runs abandon -------------------------------------------------------------------------------------------------


def abandon(
    settings: Settings,
    journal: Journal,
    record: RunRecord,
    notify: Callable[[Event], None],
    *,
    delete_active: bool,
    stop: pool.Stop | None = None,
) -> Abandoned:
    """Remove what a run created, and close the run.

    A run of which anything is active is closed as done (or partly done) and that is left alone, unless
    ``delete_active``.

    Raises:
        AlreadyRunning: a living run has one of its batches.
        WrongUsage: the run carried nothing.
        DataflowsError: as ``take_back`` and ``EarlierRun.of``; the run stays as it was.
    """
    with only_one(settings.data_dir, COMMAND, record.target):
        run = Run(record.run_id, journal, settings.data_dir, notify, stop or pool.Stop())
        uploads = UploadStore(journal, settings.data_dir)
        upload = uploads.upload_of(record.run_id)
        if upload is None and record.state == "resumable":
            upload = uploads.revived(record.run_id, str(record.options.get("key", "")))
            if upload is None:  # it did not come as far as creating anything
                uploads.close(record.run_id, ABANDONED)
                return Abandoned()
        with opened(settings, run, upload) as earlier:
            earlier.claim()
            done = take_back(earlier, delete_active=delete_active)
            uploads.close(record.run_id, done.state)
    return done


# --- runs show --check --------------------------------------------------------------------------------------------


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
            f"{len(self.foreign)} record(s) that are not rows of the file" if self.foreign else "",
            "nothing of it is active" if self.inactive else "",
        ]
        return ", ".join(part for part in parts if part)

    def advice(self, run: str) -> str:
        """What to do about it."""
        if self.foreign:
            return "find out who created them; this program changes nothing there while they are in the batch"
        if self.left_over:
            return f"dataflows runs abandon {run}, once more"
        return "run the same command with the same file again: it removes what is surplus and creates what is missing"


def _left_over(batch: Batch, records: Sequence[DirectoryRecord]) -> BatchFinding | None:
    ids = [record.id for record in records]
    return BatchFinding(batch.batch_id, ids, [], [], inactive=False, left_over=True) if ids else None


def _finding(batch: Batch, records: Sequence[DirectoryRecord]) -> BatchFinding | None:
    found = batch.match_all(records)
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


def check(
    settings: Settings, journal: Journal, record: RunRecord, notify: Callable[[Event], None]
) -> list[BatchFinding]:
    """Compare the Directory with a run; returns the batches that are not as they should be.

    Raises:
        WrongUsage: the run carried nothing, or is still running.
        DataflowsError: the Directory does not answer, or what the run carried cannot be found out.
    """
    if record.state == "running":
        raise WrongUsage(
            "the run is still running", reason="run-at-work", hint=f"dataflows runs show {record.run_id[:8]} --follow"
        )
    run = Run(record.run_id, journal, settings.data_dir, notify)
    upload = UploadStore(journal, settings.data_dir).upload_of(record.run_id)
    judge = _left_over if record.state == ABANDONED else _finding
    with opened(settings, run, upload) as earlier:
        looked = earlier.looks(earlier.batches())
    return [found for batch, records in looked if (found := judge(batch, records))]
