"""Takes back what an earlier run created: `runs abandon`, and a run of a file that another version of it replaces."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflows.errors import AlreadyRunning, BadInput, Interrupted, WrongUsage
from dataflows.events import Event, Step, Waiting, Warned
from dataflows.flows.hospitals.batch import Batch
from dataflows.flows.hospitals.batch_rows import BatchPolicy, SettleTime
from dataflows.flows.hospitals.directory import DirectoryApi, open_directory, refuse_another_directory
from dataflows.flows.hospitals.records import DirectoryRecord, foreign, unsettled
from dataflows.flows.hospitals.rows import COMMAND, NEVER, BatchEntry, FileContent, KeptPlan
from dataflows.flows.hospitals.uploads import Leftover, Upload, UploadStore
from dataflows.runs import pool
from dataflows.runs.journal import ABANDONED, DONE, PARTIAL, Journal, RunRecord
from dataflows.runs.lock import only_one
from dataflows.runs.runner import Run

if TYPE_CHECKING:
    from dataflows.settings import Settings

Looked = tuple[Batch, list[DirectoryRecord]]

_MOST_PASSES = 10
_GO_ON = "the run is as it was: the same command goes on"


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
        """What ``upload`` carried.

        Raises:
            BadInput: the kept copy of its rows is gone.
            SettingUnusable: it was for another Directory.
        """
        uploads = UploadStore(run.journal, run.data_dir)
        content = uploads.copies.read(upload.key)
        refuse_another_directory(settings, content.address)
        plan = uploads.plan(upload)
        settle = SettleTime(settings.hospitals_settle_seconds, uploads.batches.slowest(plan.portions(content.rows)))
        policy = BatchPolicy(settle, settings.hospitals_look_every_seconds)
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
        with self.uploads.batches.transaction() as db:
            self.uploads.batches.claim(db, self.run.id, [batch_id for batch_id, _ in self.plan.batches])

    def looks(self, batches: Sequence[Batch]) -> list[Looked]:
        """Look at batches, side by side. Raises Interrupted when the run is to stop."""

        def look(batch: Batch) -> Looked:
            return batch, self.directory.look(batch.batch_id)

        found = list(pool.each(look, batches, workers=min(self.workers, len(batches) or 1), stop=self.run.stop))
        if self.run.stop.is_set():
            raise Interrupted("stopped before its end", hint=_GO_ON)
        return found

    def wait(self, until: float) -> None:
        """Wait until that second of the monotonic clock. Raises Interrupted."""
        seconds = until - time.monotonic()
        if seconds >= 1:
            self.run.notify(Waiting(seconds, "creates without an answer may still land"))
        if seconds > 0 and self.run.stop.wait(seconds):
            raise Interrupted("stopped before its end", hint=_GO_ON)


@contextmanager
def opened(settings: Settings, run: Run, upload: Upload | None) -> Iterator[EarlierRun]:
    """Reach what an earlier run carried; its Directory is awake. Raises WrongUsage, and as ``EarlierRun.of``."""
    if upload is None:
        raise WrongUsage("that run did not come as far as creating anything", hint="dataflows runs list")
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
    raise unsettled("its records do not go away")


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


# --- other versions of a file -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OtherVersions:
    """The unfinished runs of a file as it was before, of which one at most may be on its way.

    Attributes:
        run: the run that wants to begin.
        uploads: the uploads in the journal.
        content: what the file holds now.
        path: where it is.
        may_replace: they are to be taken back (``--replace``).
        resumed: only those from before this run's time count.
    """

    run: Run
    uploads: UploadStore
    content: FileContent
    path: str
    may_replace: bool
    resumed: bool

    def refuse(self) -> None:
        """Raise AlreadyRunning or BadInput when another version is on its way and is not to be replaced."""
        for left in self._found():
            short = left.run_id[:8]
            if left.alive:
                raise AlreadyRunning(f"run {short} is at work on this file as it was before", hint="wait for its end")
            if not self.may_replace:
                raise BadInput(
                    f"run {short} of this file, as it was before, is unfinished; nothing was sent",
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
                    f"run {short} of this file, as it was before, is active at the Directory; nothing was sent",
                    hint=f"keep its hospitals: dataflows runs abandon {short}; to remove them add --delete-active",
                )
            self.uploads.close(left.run_id, ABANDONED)
            yield Warned(f"run {short} abandoned, {done.deleted} records removed")

    def _found(self) -> list[Leftover]:
        if self.resumed and not self.may_replace:
            return []
        names = self.content.known_names
        found = self.uploads.leftovers(self.path, names, self.run.id if self.resumed else None)
        return [
            left
            for left in found
            if left.run_id != self.run.id and not (left.upload.rows in names and left.upload.size == self.content.size)
        ]
