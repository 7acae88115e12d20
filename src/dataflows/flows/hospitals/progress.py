"""What becomes of the rows of a run while it goes: events, and the journal's items."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from dataflows.events import Done, Event, Failed, Pending, Reached, Skipped, Step, Waiting, Warned
from dataflows.flows.hospitals.batch import Ask, Batch
from dataflows.flows.hospitals.ledger import BatchStore
from dataflows.flows.hospitals.plan import UploadPlan
from dataflows.flows.hospitals.records import ROWS_NAMED, SERVICE
from dataflows.flows.hospitals.rows import BatchEntry, State
from dataflows.runs.journal import Item

_REPORT_EVERY_SECONDS = 0.3
_WAITS_FROM_SECONDS = 1.0
_ITEM_STATES = {
    State.CREATED: "done",
    State.THERE: "skipped",
    State.REFUSED: "failed",
    State.UNKNOWN: "unknown",
    State.SENDING: "unknown",
}


class ProgressReporter:
    """Puts what happens to rows into events and items; the end of a row is reported once."""

    def __init__(self, run_id: str, batches: BatchStore, plan: UploadPlan, notify: Callable[[Event], None]) -> None:
        self.run_id = run_id
        self._reported: set[int] = set()  # the numbers of rows whose end was reported
        self._ended: set[Batch] = set()
        self._batches = batches
        self._plan = plan
        self._notify = notify
        self._last_step = ("", 0.0)
        self._waits_until = 0.0
        self._reached = 0  # rows that are created and wait for their batch

    # --- while it goes ----------------------------------------------------------------------------------------

    def already_there(self) -> Iterator[Event]:
        """The rows that are there already, without a batch of this run."""
        rows = [self._plan.content.rows[place] for place in sorted(self._plan.there)]
        self._batches.record(self.run_id, [Item(str(row.number), "skipped") for row in rows])
        for row in rows:
            if row.number not in self._reported:
                self._reported.add(row.number)
                yield Skipped(str(row.number), "already there")

    def refused(self, ask: Ask) -> Failed:
        """A row that the Directory does not take."""
        entry = ask.batch.entries[ask.place]
        self._reported.add(entry.row.number)
        return Failed(str(entry.row.number), entry.code or "refused", entry.message or "")

    def progress(self, batches: Sequence[Batch]) -> Iterator[Event]:
        """How far the creates are, now and then; rows that are there count, whoever created them."""
        text, then = self._last_step
        now = time.monotonic()
        if now - then < _REPORT_EVERY_SECONDS:
            return
        present, total = self._plan.present, len(self._plan.content.rows)
        step = "activating" if present >= total else f"creating, {present} of {total} created"
        if step != text:
            self._last_step = (step, now)
            yield Step(step)
            self._reached = sum(map(self._unreported, batches))
            yield Reached(self._reached, "created")

    def waiting(self, seconds: float, why: str) -> None:
        """The run waits; said once for each wait that is long enough to be noticed."""
        until = time.monotonic() + seconds
        if seconds >= _WAITS_FROM_SECONDS and until > self._waits_until + _WAITS_FROM_SECONDS:
            self._waits_until = until
            self._last_step = ("", 0.0)  # which is the current step again when the wait is over
            self._notify(Waiting(seconds, why))

    def pending(self, code: str) -> Iterator[Event]:
        """The rows of which nothing was reported: they wait, because of ``code``."""
        for row in self._plan.content.rows:
            if row.number not in self._reported:
                yield Pending(str(row.number), code)

    def overlapping(self, rows: Sequence[int]) -> Iterator[Warned]:
        """The numbers of rows that somebody else brought there too in the same moments."""
        if rows:
            named = ", ".join(map(str, rows[:ROWS_NAMED])) + (", ..." if len(rows) > ROWS_NAMED else "")
            yield Warned(
                f"{len(rows)} row{' was' if len(rows) == 1 else 's were'} also created by somebody else at the same"
                f" time: row {named}",
                reason="hospitals-doubled",
                hint="nothing that is live was removed; decide which of the two is to stay",
            )

    # --- the end of a batch -----------------------------------------------------------------------------------

    def ended(self, batch: Batch, code: str = "") -> Iterator[Event]:
        """What became of the rows of a batch that is over, or (``code``) was left where it stood."""
        self._reached = max(0, self._reached - self._unreported(batch))
        reason = batch.error.code if batch.error else code
        entries = [entry for entry in batch.entries if entry.state is not State.MOVED]
        self._batches.record(self.run_id, [_item(entry, batch, reason) for entry in entries])
        if batch in self._ended:
            return
        self._ended.add(batch)
        yield Reached(self._reached, "created")
        for entry in entries:
            if entry.row.number not in self._reported:
                self._reported.add(entry.row.number)
                yield _row(entry, batch, reason)
        yield from _remarks(batch)

    def _unreported(self, batch: Batch) -> int:
        """Rows that are created and whose end was not reported yet."""
        return sum(one.state is State.CREATED and one.row.number not in self._reported for one in batch.entries)


def _row(entry: BatchEntry, batch: Batch, reason: str) -> Event:
    key = str(entry.row.number)
    if entry.state is State.REFUSED and not reason:
        return Failed(key, entry.code or "refused", entry.message or f"{SERVICE} refused this row (422)")
    if reason and entry.state is not State.THERE:
        return Pending(key, entry.code or reason)
    return Skipped(key, "already there") if batch.was_there(entry) else Done(key, f"hospital {entry.hospital_id}")


def _remarks(batch: Batch) -> Iterator[Warned]:
    if batch.deleted:
        plural = "s" * (batch.deleted != 1)
        yield Warned(
            f"{batch.deleted} surplus cop{'ies' if plural else 'y'} removed from batch {batch.batch_id[:8]}",
            reason="hospitals-repaired",
        )
    if batch.left_alone:
        ids = ", ".join(map(str, sorted(batch.left_alone)[:5]))
        yield Warned(
            f"surplus copies are left in batch {batch.batch_id[:8]}, since they are active or share their id with"
            f" another hospital: record {ids}",
            reason="hospitals-surplus",
            hint="check these records at the Directory, and remove by hand what is not wanted",
        )


def _item(entry: BatchEntry, batch: Batch, reason: str) -> Item:
    state = _ITEM_STATES.get(entry.state, "pending")
    if state == "done":
        state = "pending" if reason else "skipped" if batch.was_there(entry) else "done"
    code = None if state == "skipped" else entry.code or reason or None
    return Item(str(entry.row.number), state, entry.attempts, code, entry.message)
