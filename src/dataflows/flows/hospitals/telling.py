"""What a run tells of its rows: events while it goes, the journal's items, and seed 003's response at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataflows.events import Done, Event, Failed, Pending, Reached, Skipped, Step, Waiting, Warned
from dataflows.flows.hospitals.batch import Ask, Batch
from dataflows.flows.hospitals.copies import FileContent
from dataflows.flows.hospitals.directory import SERVICE
from dataflows.flows.hospitals.ledger import BatchStore
from dataflows.flows.hospitals.plan import UploadPlan
from dataflows.flows.hospitals.rows import BatchEntry, HospitalRow, State
from dataflows.runs.journal import Item

_TELL_EVERY_SECONDS = 0.3
_WAITS_FROM_SECONDS = 1.0
_ITEM_STATES = {
    State.CREATED: "done",
    State.THERE: "skipped",
    State.REFUSED: "failed",
    State.UNKNOWN: "unknown",
    State.SENDING: "unknown",
}


class ProgressReporter:
    """Puts what happens to rows into events and items. ``told``: the numbers of rows whose end was told."""

    def __init__(self, run_id: str, ledger: BatchStore, plan: UploadPlan, notify: Callable[[Event], None]) -> None:
        self.run_id = run_id
        self.told: set[int] = set()
        self._ended: set[Batch] = set()
        self._ledger = ledger
        self._plan = plan
        self._notify = notify
        self._last_step = ("", 0.0)
        self._waits_until = 0.0
        self._reached = 0  # rows that are created and wait for their batch

    # --- while it goes ----------------------------------------------------------------------------------------

    def there(self) -> Iterator[Event]:
        """The rows that are there already, without a batch of this run."""
        rows = [self._plan.content.rows[place] for place in sorted(self._plan.there)]
        self._ledger.record(self.run_id, [Item(str(row.number), "skipped") for row in rows])
        for row in rows:
            if row.number not in self.told:
                self.told.add(row.number)
                yield Skipped(str(row.number), "already there")

    def refused(self, ask: Ask) -> Failed:
        """A row that the Directory does not take."""
        entry = ask.batch.entries[ask.place]
        self.told.add(entry.row.number)
        return Failed(str(entry.row.number), entry.code or "refused", entry.message or "")

    def standing(self, batches: Sequence[Batch]) -> Iterator[Event]:
        """How far the creates are, now and then; rows that are there count, whoever created them."""
        text, then = self._last_step
        now = time.monotonic()
        if now - then < _TELL_EVERY_SECONDS:
            return
        present, total = self._plan.present, len(self._plan.content.rows)
        news = "activating" if present >= total else f"creating, {present} of {total} created"
        if news != text:
            self._last_step = (news, now)
            yield Step(news)
            self._reached = sum(map(self._untold, batches))
            yield Reached(self._reached, "created")

    def waiting(self, seconds: float, why: str) -> None:
        """The run waits; said once for each wait that is long enough to be noticed."""
        until = time.monotonic() + seconds
        if seconds >= _WAITS_FROM_SECONDS and until > self._waits_until + _WAITS_FROM_SECONDS:
            self._waits_until = until
            self._last_step = ("", 0.0)  # which is the current step again when the wait is over
            self._notify(Waiting(seconds, why))

    # --- the end of a batch -----------------------------------------------------------------------------------

    def ended(self, batch: Batch, code: str = "") -> Iterator[Event]:
        """What became of the rows of a batch that is over, or (``code``) was left where it stood."""
        self._reached = max(0, self._reached - self._untold(batch))
        reason = batch.error.code if batch.error else code
        entries = [entry for entry in batch.entries if entry.state is not State.MOVED]
        self._ledger.record(self.run_id, [_item(entry, batch, reason) for entry in entries])
        if batch in self._ended:
            return
        self._ended.add(batch)
        yield Reached(self._reached, "created")
        for entry in entries:
            if entry.row.number not in self.told:
                self.told.add(entry.row.number)
                yield _row(entry, batch, reason)
        yield from _remarks(batch)

    def _untold(self, batch: Batch) -> int:
        """Rows that are created and of which no event has told how they ended."""
        return sum(one.state is State.CREATED and one.row.number not in self.told for one in batch.entries)


def is_already_there(entry: BatchEntry, batch: Batch) -> bool:
    """Whether a row was there without anything that this run did."""
    return entry.state is State.THERE or (entry.state is State.CREATED and not (batch.sent or batch.deleted))


def _row(entry: BatchEntry, batch: Batch, reason: str) -> Event:
    key = str(entry.row.number)
    if entry.state is State.REFUSED and not reason:
        return Failed(key, entry.code or "refused", entry.message or f"{SERVICE} refused this row (422)")
    if reason and entry.state is not State.THERE:
        return Pending(key, entry.code or reason)
    return (
        Skipped(key, "already there") if is_already_there(entry, batch) else Done(key, f"hospital {entry.hospital_id}")
    )


def _remarks(batch: Batch) -> Iterator[Warned]:
    if batch.deleted:
        plural = "s" * (batch.deleted != 1)
        yield Warned(f"{batch.deleted} surplus cop{'ies' if plural else 'y'} removed from batch {batch.batch_id[:8]}")
    if batch.left_alone:
        ids = ", ".join(map(str, sorted(batch.left_alone)[:5]))
        yield Warned(
            f"surplus copies are left in batch {batch.batch_id[:8]}, since they are active or share their id with"
            f" another hospital: record {ids}",
            hint="look at these records at the Directory, and remove by hand what is not wanted",
        )


def _item(entry: BatchEntry, batch: Batch, reason: str) -> Item:
    state = _ITEM_STATES.get(entry.state, "pending")
    if state == "done":
        state = "pending" if reason else "skipped" if is_already_there(entry, batch) else "done"
    code = None if state == "skipped" else entry.code or reason or None
    return Item(str(entry.row.number), state, entry.attempts, code, entry.message)


# --- seed 003's response ------------------------------------------------------------------------------------------


def response(content: FileContent, plan: UploadPlan, first: str, seconds: float) -> dict[str, Any]:
    """Seed 003's bulk response over the whole file, with the batches beside it.

    ``first``: the id of the file's first batch where the run has none.
    """
    rows = [_described(row, found) for row, found in zip(content.rows, _holders(plan), strict=True)]
    rows += [{"row": one.row, "hospital_id": None, "name": None, "status": "failed", "error": one.message}
             for one in content.invalid]  # fmt: skip
    failed = sum(row["status"] == "failed" for row in rows) - len(content.invalid) + content.invalid_count
    processed = sum(row["status"] in _PRESENT for row in rows)
    there = sum("already_there" in row for row in rows)
    return {
        "batch_id": plan.batches[0].batch_id if plan.batches else first,
        "total_hospitals": len(content.rows) + content.invalid_count,
        "processed_hospitals": processed,
        "failed_hospitals": failed,
        "created_hospitals": processed - there,
        "already_there_hospitals": there,
        "processing_time_seconds": round(seconds, 3),
        "batch_activated": bool(rows)
        and all(row["status"] in ("created_and_activated", "failed") for row in rows)
        and any(row["status"] != "failed" for row in rows),
        "hospitals": sorted(rows, key=lambda row: row["row"]),
        "batches": [
            {"batch_id": batch.batch_id, "rows": batch.size, "activated": batch.is_live} for batch in plan.batches
        ],
        "repaired": list(_repaired(plan)),
        "surplus_deleted": sum(batch.deleted for batch in plan.batches),
        "overlapping": plan.overlapping,
        "surplus_left": sorted(one for batch in plan.batches for one in batch.left_alone),
    }


_PRESENT = ("created", "created_and_activated")
_STATUSES = {
    State.PENDING: "pending",
    State.SENDING: "processing",
    State.CREATED: "created",
    State.REFUSED: "failed",
    State.UNKNOWN: "unknown",
    State.THERE: "created_and_activated",
    State.MOVED: "pending",
}


def status_of(state: State, *, active: bool) -> str:
    """A row's state as seed 003 names it."""
    return "created_and_activated" if state is State.CREATED and active else _STATUSES[state]


def _holders(plan: UploadPlan) -> Iterator[tuple[Batch, BatchEntry] | int | None]:
    """Row by row: the batch that has it, or the id of the record that is there for it, or neither."""
    entries = plan.entries()
    for place in range(len(plan.content.rows)):
        yield plan.there[place] if place in plan.there else entries.get(place)


def _described(row: HospitalRow, found: tuple[Batch, BatchEntry] | int | None) -> dict[str, Any]:
    described: dict[str, Any] = {"row": row.number, "hospital_id": None, "name": row.hospital.name, "status": "pending"}
    if isinstance(found, int):
        return {**described, "hospital_id": found, "status": "created_and_activated", "already_there": True}
    if found is None:
        return described
    batch, entry = found
    described["status"] = status_of(entry.state, active=batch.active)
    if entry.state in (State.CREATED, State.THERE):
        described["hospital_id"] = entry.hospital_id
    if entry.state is State.REFUSED:
        described["error"] = entry.message
    if is_already_there(entry, batch):
        described["already_there"] = True
    return described


def _repaired(plan: UploadPlan) -> Iterator[dict[str, Any]]:
    """The rows that were lost after activation and were created anew, with both ids."""
    now = {entry.row.number: (batch, entry) for batch, entry in plan.entries().values()}
    for batch in plan.batches:
        for place, lost_id in batch.lost.items():
            number = batch.entries[place].row.number
            its, entry = now.get(number, (batch, batch.entries[place]))
            if its is not batch and entry.state is State.CREATED:
                yield {
                    "row": number,
                    "lost_hospital_id": lost_id,
                    "hospital_id": entry.hospital_id,
                    "batch_id": its.batch_id,
                }
