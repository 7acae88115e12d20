"""What a run tells of its rows: events while it goes, the journal's items, and seed 003's response at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dataflows.events import Done, Event, Failed, Pending, Reached, Skipped, Step, Waiting, Warned
from dataflows.flows.hospitals.batch import Ask, Batch
from dataflows.flows.hospitals.copies import Content
from dataflows.flows.hospitals.entries import Entry, State
from dataflows.flows.hospitals.ledger import Ledger
from dataflows.runs.journal import Item

_TELL_EVERY_SECONDS = 0.3
_WAITS_FROM_SECONDS = 1.0
_ITEM_STATES = {State.CREATED: "done", State.REFUSED: "failed", State.UNKNOWN: "unknown", State.SENDING: "unknown"}


class Teller:
    """Puts what happens to rows into events and items. ``total``: rows that are to be created."""

    def __init__(self, run_id: str, ledger: Ledger, total: int, notify: Callable[[Event], None]) -> None:
        self.run_id = run_id
        self._ledger = ledger
        self._total = total
        self._notify = notify
        self._there = 0  # rows of batches that are over
        self._last_step = ("", 0.0)
        self._waits_until = 0.0
        self._reached = 0  # rows that are created and wait for their batch

    # --- while it goes ----------------------------------------------------------------------------------------

    def refused(self, ask: Ask) -> Failed:
        """A row that the Directory does not take."""
        entry = ask.batch.entries[ask.place]
        entry.told = True
        return Failed(str(entry.row.number), entry.code or "refused", entry.message or "")

    def standing(self, batches: Sequence[Batch]) -> Iterator[Event]:
        """How far the creates are, now and then."""
        text, then = self._last_step
        now = time.monotonic()
        if now - then < _TELL_EVERY_SECONDS:
            return
        created = self._there + sum(batch.created for batch in batches if batch.parent is None)
        news = "activating" if created >= self._total else f"creating, {created} of {self._total} created"
        if news != text:
            self._last_step = (news, now)
            yield Step(news)
            self._reached = sum(map(_untold, batches))
            yield Reached(self._reached, "created")

    def waiting(self, seconds: float, why: str) -> None:
        """The run waits; said once for each wait that is long enough to be noticed."""
        until = time.monotonic() + seconds
        if seconds >= _WAITS_FROM_SECONDS and until > self._waits_until + _WAITS_FROM_SECONDS:
            self._waits_until = until
            self._notify(Waiting(seconds, why))

    # --- the end of a batch -----------------------------------------------------------------------------------

    def ended(self, batch: Batch, code: str = "") -> Iterator[Event]:
        """What became of the rows of a batch that is over, or (``code``) was left where it stood."""
        self._there += len(batch.entries)
        self._reached = max(0, self._reached - _untold(batch))
        reason = batch.error.code if batch.error else code
        events = [self._row(entry, batch, reason) for entry in batch.entries if not entry.told]
        self._ledger.record(self.run_id, [_item(entry, batch, reason) for entry in batch.entries])
        yield Reached(self._reached, "created")
        yield from events
        yield from _remarks(batch)

    def reopened(self, batch: Batch) -> None:
        """A batch that was over is not; what was told of its rows is not told again."""
        self._there -= len(batch.entries)

    def _row(self, entry: Entry, batch: Batch, reason: str) -> Event:
        entry.told = True
        key = str(entry.row.number)
        if reason:
            return Pending(key, entry.code or reason)
        if batch.sent or batch.deleted:
            return Done(key, f"hospital {entry.hospital_id}")
        return Skipped(key, "already there")


def _untold(batch: Batch) -> int:
    """Rows that are created and of which no event has told how they ended."""
    if batch.parent is not None:
        return 0  # it stands in for a row of another batch
    return sum(entry.state is State.CREATED and not entry.told for entry in batch.entries)


def _remarks(batch: Batch) -> Iterator[Warned]:
    if batch.deleted:
        plural = "s" * (batch.deleted != 1)
        yield Warned(f"{batch.deleted} surplus cop{'ies' if plural else 'y'} removed from batch {batch.batch_id[:8]}")
    for place, repair in batch.repairs.items():
        if repair.sent and repair.error is None:
            entry = batch.entries[place]
            yield Warned(
                f"row {entry.row.number} was lost at the Directory after activation (record {repair.lost_id}): it is"
                f" record {entry.hospital_id} now, in batch {repair.batch_id}"
            )


def _item(entry: Entry, batch: Batch, reason: str) -> Item:
    state = _ITEM_STATES.get(entry.state, "pending")
    if state == "done" and reason:
        state = "pending"
    if state == "done" and not (batch.sent or batch.deleted):
        state = "skipped"
    code = entry.code or reason or None
    return Item(str(entry.row.number), state, entry.attempts, code, entry.message)


# --- seed 003's response ------------------------------------------------------------------------------------------


def response(content: Content, batches: Sequence[Batch], seconds: float) -> dict[str, Any]:
    """Seed 003's bulk response over the whole file, with the batches beside it."""
    rows = [_described(entry, batch) for batch in batches for entry in batch.entries]
    rows += [{"row": one.row, "hospital_id": None, "name": None, "status": "failed", "error": one.message}
             for one in content.invalid]  # fmt: skip
    failed = sum(row["status"] == "failed" for row in rows) - len(content.invalid) + content.invalid_count
    return {
        "batch_id": batches[0].batch_id,
        "total_hospitals": len(content.rows) + content.invalid_count,
        "processed_hospitals": sum(row["status"] in ("created", "created_and_activated") for row in rows),
        "failed_hospitals": failed,
        "processing_time_seconds": round(seconds, 3),
        "batch_activated": all(is_live(batch) for batch in batches),
        "hospitals": sorted(rows, key=lambda row: row["row"]),
        "batches": [
            {"batch_id": batch.batch_id, "rows": len(batch.entries), "activated": is_live(batch)} for batch in batches
        ],
        "repaired": [_repaired(batch, place, repair) for batch in batches for place, repair in batch.repairs.items()],
        "surplus_deleted": sum(batch.deleted for batch in batches),
    }


def is_live(batch: Batch) -> bool:
    """Whether a batch is active and complete."""
    return batch.active and batch.over and batch.error is None


_STATUSES = {
    State.PENDING: "pending",
    State.SENDING: "processing",
    State.CREATED: "created",
    State.REFUSED: "failed",
    State.UNKNOWN: "unknown",
}


def status_of(state: State, *, active: bool) -> str:
    """A row's state as seed 003 names it."""
    return "created_and_activated" if state is State.CREATED and active else _STATUSES[state]


def _described(entry: Entry, batch: Batch) -> dict[str, Any]:
    row: dict[str, Any] = {
        "row": entry.row.number,
        "hospital_id": entry.hospital_id if entry.state is State.CREATED else None,
        "name": entry.row.hospital.name,
        "status": status_of(entry.state, active=batch.active),
    }
    if entry.state is State.REFUSED:
        row["error"] = entry.message
    return row


def _repaired(batch: Batch, place: int, repair: Batch) -> dict[str, Any]:
    entry = batch.entries[place]
    return {
        "row": entry.row.number,
        "lost_hospital_id": repair.lost_id,
        "hospital_id": entry.hospital_id,
        "batch_id": repair.batch_id,
    }
