"""Seed 003's progress document of a run, while it goes and afterwards: rows from the journal, names from the copy."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.errors import BadInput
from dataflows.flows.hospitals.copies import CopyFolder, FileContent, first_portion
from dataflows.flows.hospitals.directory import SERVICE, DirectoryApi
from dataflows.flows.hospitals.inventory import Inventory, allot
from dataflows.flows.hospitals.ledger import BatchStore
from dataflows.flows.hospitals.plan import KeptPlan
from dataflows.flows.hospitals.rows import BatchEntry, Hospital, HospitalRow, State
from dataflows.flows.hospitals.taking_back import base_url, refuse_another_directory
from dataflows.flows.hospitals.telling import status_of
from dataflows.flows.hospitals.uploads import UploadStore
from dataflows.flows.hospitals.workers import inventory_of
from dataflows.remote.retry import RetryPolicy
from dataflows.remote.session import make_session
from dataflows.runs.journal import ABANDONED, DONE, FAILED, PARTIAL, RESUMABLE, Journal, RunRecord

if TYPE_CHECKING:
    from dataflows.settings import Settings

_PATIENCE = 5.0  # s: whoever asks how a batch ended does not wait for a Directory that sleeps
_STATUSES = {DONE: "completed", PARTIAL: "completed", FAILED: "failed", ABANDONED: "failed", RESUMABLE: "resumable"}
_STEPS = {"waking": "initializing", "checking": "validating", "activating": "activating"}


def progress(journal: Journal, data_dir: Path, record: RunRecord, *, full: bool = False) -> dict[str, object] | None:
    """Return how far a run is, row by row; None where its rows are not kept (a refused file, a dry run).

    ``full`` adds to each row what seed 004's own program shows: address, phone and error_message.
    """
    ledger = BatchStore(journal, data_dir)
    uploads = UploadStore(journal, data_dir, ledger)
    upload = uploads.upload_of(record.run_id)
    try:
        content = CopyFolder(data_dir).read(upload.key if upload else str(record.options.get("key", "")))
        plan = uploads.plan(upload) if upload else KeptPlan.whole(content, 0)
    except BadInput:
        return None
    first = plan.batches[0][0] if plan.batches else first_portion(content.address, content.rows, content.size)
    rows = _rows(ledger, content, plan, full=full)
    return {**_head(record, content, first, rows), "hospitals": rows}


def _rows(ledger: BatchStore, content: FileContent, plan: KeptPlan, *, full: bool) -> list[dict[str, object]]:
    """Every row as it stands: in its latest batch, or there without one."""
    parts = plan.portions(content.rows)
    active = ledger.active([part.batch_id for part in parts])
    found = {place: (BatchEntry(row), False) for place, row in enumerate(content.rows)}
    for (batch_id, places), entries in zip(plan.batches, ledger.entries(parts), strict=True):
        for place, entry in zip(places, entries, strict=True):
            if entry.state is not State.MOVED:
                found[place] = (entry, batch_id in active)
    for place, hospital_id in plan.there.items():
        row = content.rows[place]
        found[place] = (BatchEntry(row, State.THERE, hospital_id), True)
    return [_described(entry, active=live, full=full) for entry, live in found.values()]


def _head(record: RunRecord, content: FileContent, batch_id: str, rows: list[dict[str, object]]) -> dict[str, object]:
    total = len(content.rows) + content.invalid_count
    processed = sum(row["status"] in ("created", "created_and_activated") for row in rows)
    failed = sum(row["status"] == "failed" for row in rows) + content.invalid_count
    status = _status(record, begun=any(row["status"] != "pending" for row in rows))
    return {
        "batch_id": batch_id,
        "status": status,
        "total_hospitals": total,
        "processed_hospitals": processed,
        "failed_hospitals": failed,
        "progress_percentage": round(100 * (processed + failed) / total, 1),
        "processing_time_seconds": _seconds(record),
        "current_step": record.step or status,
        "batch_activated": bool(rows) and all(row["status"] in ("created_and_activated", "failed") for row in rows),
        "is_completed": status in ("completed", "failed"),
    }


def _status(record: RunRecord, *, begun: bool) -> str:
    if record.continued_by:
        return "failed"
    ended = _STATUSES.get(record.state)
    step = _STEPS.get(record.step.partition(" ")[0], "processing" if begun else "initializing")
    return ended or ("processing" if begun and step == "initializing" else step)


def _seconds(record: RunRecord) -> float:
    ended = datetime.fromisoformat(record.ended_at) if record.ended_at else datetime.now(UTC)
    return round(max(0.0, (ended - datetime.fromisoformat(record.started_at)).total_seconds()), 3)


def _described(entry: BatchEntry, *, active: bool, full: bool) -> dict[str, object]:
    sure = entry.state in (State.CREATED, State.THERE)
    row: dict[str, object] = {
        "row": entry.row.number,
        "name": entry.row.hospital.name,
        "status": "deleted" if entry.code == "deleted" else status_of(entry.state, active=active),
        "hospital_id": entry.hospital_id if sure else None,
        "processing_time": round(entry.seconds, 3) if sure and entry.seconds is not None else None,
    }
    if full:
        hospital = entry.row.hospital
        row |= {"address": hospital.address, "phone": hospital.phone, "error_message": _error(entry)}
    return row


def _error(entry: BatchEntry) -> str | None:
    """Why a row is not there, in words; None while nothing is wrong with it."""
    code = entry.code or ""
    if entry.state is State.REFUSED:
        return f"{SERVICE} refuses this row (422)"
    if code.startswith("answered_"):
        return f"{SERVICE} answered {code.removeprefix('answered_')}"
    return f"{SERVICE} gave no answer" if entry.state is State.UNKNOWN else None


def gone(settings: Settings, journal: Journal, record: RunRecord) -> set[int]:
    """The numbers of rows that were brought there and that the Directory does not show any more; it is asked once.

    Raises:
        DataflowsError: it does not say.
    """
    found = progress(journal, settings.data_dir, record)
    upload = UploadStore(journal, settings.data_dir, BatchStore(journal, settings.data_dir)).upload_of(record.run_id)
    if found is None or upload is None:
        return set()
    content = CopyFolder(settings.data_dir).read(upload.key)
    inventory = _listed(settings, content)
    rows = found["hospitals"]
    assert isinstance(rows, list)
    brought = {row["row"]: row["hospital_id"] for row in rows if row["status"] == "created_and_activated"}
    taken: defaultdict[Hospital, Counter[int]] = defaultdict(Counter)
    doubtful: list[tuple[int, HospitalRow]] = []
    for row in content.rows:
        record_id = brought.get(row.number)
        if record_id in inventory.active(row.hospital):
            taken[row.hospital][record_id] += 1
        elif row.number in brought:
            doubtful.append((row.number, row))
    return set(allot(doubtful, inventory, taken, None).missing)


def _listed(settings: Settings, content: FileContent) -> Inventory:
    refuse_another_directory(settings, content)
    session = make_session(settings)
    session.adapter.timeout = (min(_PATIENCE, session.timeout[0]), min(_PATIENCE, session.timeout[1]))
    once = RetryPolicy(attempts=1, deadline=_PATIENCE, max_wait=0)
    try:
        return inventory_of(DirectoryApi(base_url(settings), session, once))
    finally:
        session.close()
