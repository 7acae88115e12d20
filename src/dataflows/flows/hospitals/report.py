"""What a run brought about, as seeds 003 and 004 have it: one place for the command line, HTTP and progress.

A run that is at work in this process is reported from its plan (``response``), any other one from the journal, with the
names from the kept copy of its rows (``progress``, on which seed 004's ``batch_status`` is built).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflows.flows.hospitals.directory import ask_once
from dataflows.flows.hospitals.plan import UploadPlan
from dataflows.flows.hospitals.records import SERVICE, allot
from dataflows.flows.hospitals.rows import BatchEntry, FileContent, Hospital, HospitalRow, KeptPlan, State
from dataflows.flows.hospitals.uploads import UploadStore
from dataflows.runs.journal import ABANDONED, DONE, FAILED, PARTIAL, RESUMABLE, RUNNING, Journal, RunRecord

if TYPE_CHECKING:
    from dataflows.settings import Settings

ACTIVE = "created_and_activated"
PRESENT = ("created", ACTIVE)
"""The statuses of rows that are at the Directory."""

_ROW_STATUSES = {
    State.PENDING: "pending",
    State.SENDING: "processing",
    State.CREATED: "created",
    State.REFUSED: "failed",
    State.UNKNOWN: "unknown",
    State.THERE: ACTIVE,
    State.MOVED: "pending",
}
_RUN_STATUSES = {DONE: "completed", PARTIAL: "completed", FAILED: "failed", ABANDONED: "failed", RESUMABLE: "resumable"}
_STEPS = {"waking": "initializing", "checking": "validating", "activating": "activating"}
_PATIENCE = 5.0  # s: whoever asks how a batch ended does not wait for a Directory that sleeps


def status_of(state: State, *, active: bool) -> str:
    """A row's state as seed 003 names it."""
    return ACTIVE if state is State.CREATED and active else _ROW_STATUSES[state]


def _hospital_id(entry: BatchEntry) -> int | None:
    return entry.hospital_id if entry.state in (State.CREATED, State.THERE) else None


# --- seed 003's bulk response, of a run in this process -----------------------------------------------------------


def response(plan: UploadPlan, first: str, seconds: float) -> dict[str, Any]:
    """Seed 003's bulk response over the whole file, with the batches beside it.

    ``first``: the id of the file's first batch where the run has none.
    """
    content = plan.content
    rows = list(_response_rows(plan))
    rows += [{"row": one.row, "hospital_id": None, "name": None, "status": "failed", "error": one.message}
             for one in content.invalid]  # fmt: skip
    failed = sum(row["status"] == "failed" for row in rows) - len(content.invalid) + content.invalid_count
    processed = sum(row["status"] in PRESENT for row in rows)
    there = sum("already_there" in row for row in rows)
    return {
        "batch_id": plan.batches[0].batch_id if plan.batches else first,
        "total_hospitals": len(content.rows) + content.invalid_count,
        "processed_hospitals": processed,
        "failed_hospitals": failed,
        "created_hospitals": processed - there,
        "already_there_hospitals": there,
        "processing_time_seconds": round(seconds, 3),
        "batch_activated": _all_active(rows) and any(row["status"] != "failed" for row in rows),
        "hospitals": sorted(rows, key=lambda row: row["row"]),
        "batches": [
            {"batch_id": batch.batch_id, "rows": batch.size, "activated": batch.is_live} for batch in plan.batches
        ],
        "repaired": list(_repaired(plan)),
        "surplus_deleted": sum(batch.deleted for batch in plan.batches),
        "overlapping": plan.overlapping,
        "surplus_left": sorted(one for batch in plan.batches for one in batch.left_alone),
    }


def _all_active(rows: list[dict[str, Any]]) -> bool:
    """Whether every row is active, but for those that cannot be."""
    return bool(rows) and all(row["status"] in (ACTIVE, "failed") for row in rows)


def _response_rows(plan: UploadPlan) -> Iterator[dict[str, Any]]:
    entries = plan.entries()
    for place, row in enumerate(plan.content.rows):
        batch, entry = entries.get(place, (None, BatchEntry(row)))
        if place in plan.there:
            batch, entry = None, BatchEntry(row, State.THERE, plan.there[place])
        described = {
            "row": row.number,
            "hospital_id": _hospital_id(entry),
            "name": row.hospital.name,
            "status": status_of(entry.state, active=batch is not None and batch.active),
        }
        if entry.state is State.REFUSED:
            described["error"] = entry.message
        if entry.state is State.THERE or (batch is not None and batch.was_there(entry)):
            described["already_there"] = True
        yield described


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


# --- seed 003's progress, of any run ------------------------------------------------------------------------------


def progress(journal: Journal, data_dir: Path, record: RunRecord, *, full: bool = False) -> dict[str, Any] | None:
    """Return how far a run is, row by row; None where its rows are not kept (a refused file, a dry run).

    ``full`` adds to each row what seed 004's own program shows: address, phone and error_message.
    """
    uploads = UploadStore(journal, data_dir)
    carried = uploads.carried(record)
    if carried is None:
        return None
    content, plan = carried
    rows = [_progress_row(entry, active=live, full=full) for entry, live in _standing(uploads, content, plan)]
    total = len(content.rows) + content.invalid_count
    processed = sum(row["status"] in PRESENT for row in rows)
    failed = sum(row["status"] == "failed" for row in rows) + content.invalid_count
    status = _run_status(record, begun=any(row["status"] != "pending" for row in rows))
    return {
        "batch_id": plan.batches[0][0] if plan.batches else content.first_batch,
        "status": status,
        "total_hospitals": total,
        "processed_hospitals": processed,
        "failed_hospitals": failed,
        "progress_percentage": round(100 * (processed + failed) / total, 1),
        "processing_time_seconds": _seconds(record),
        "current_step": record.step or status,
        "batch_activated": _all_active(rows),
        "is_completed": status in ("completed", "failed"),
        "hospitals": rows,
    }


def _standing(uploads: UploadStore, content: FileContent, plan: KeptPlan) -> list[tuple[BatchEntry, bool]]:
    """Every row as it stands, and whether it is active: in its latest batch, or there without one."""
    parts = plan.portions(content.rows)
    active = uploads.batches.active([part.batch_id for part in parts])
    found = {place: (BatchEntry(row), False) for place, row in enumerate(content.rows)}
    for (batch_id, places), entries in zip(plan.batches, uploads.batches.entries(parts), strict=True):
        for place, entry in zip(places, entries, strict=True):
            if entry.state is not State.MOVED:
                found[place] = (entry, batch_id in active)
    for place, hospital_id in plan.there.items():
        found[place] = (BatchEntry(content.rows[place], State.THERE, hospital_id), True)
    return list(found.values())


def _progress_row(entry: BatchEntry, *, active: bool, full: bool) -> dict[str, Any]:
    hospital, record_id = entry.row.hospital, _hospital_id(entry)
    seconds = entry.seconds if entry.state in (State.CREATED, State.THERE) else None
    row: dict[str, Any] = {
        "row": entry.row.number,
        "name": hospital.name,
        "status": "deleted" if entry.code == "deleted" else status_of(entry.state, active=active),
        "hospital_id": record_id,
        "processing_time": None if seconds is None else round(seconds, 3),
    }
    if full:
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


def _run_status(record: RunRecord, *, begun: bool) -> str:
    if record.continued_by:
        return "failed"
    ended = _RUN_STATUSES.get(record.state)
    step = _STEPS.get(record.step.partition(" ")[0], "processing" if begun else "initializing")
    return ended or ("processing" if begun and step == "initializing" else step)


def _seconds(record: RunRecord) -> float:
    ended = datetime.fromisoformat(record.ended_at) if record.ended_at else datetime.now(UTC)
    return round(max(0.0, (ended - datetime.fromisoformat(record.started_at)).total_seconds()), 3)


def resumable(record: RunRecord, found: dict[str, Any]) -> dict[str, Any]:
    """Seed 003's entry for a run that broke off, from its progress; the checkpoint in seconds since 1970, UTC."""
    left = [row["row"] for row in found["hospitals"] if row["status"] not in PRESENT]
    ended = datetime.fromisoformat(record.ended_at) if record.ended_at else datetime.now(UTC)
    return {
        **{name: found[name] for name in ("batch_id", "total_hospitals", "processed_hospitals", "failed_hospitals")},
        "resume_from_row": min(left, default=1),
        "failure_reason": record.error or "the process that carried it has ended",
        "last_checkpoint_time": ended.timestamp(),
    }


# --- seed 004's progress and status -------------------------------------------------------------------------------


def batch_status(record: RunRecord, found: dict[str, Any], deleted: Collection[int]) -> dict[str, Any]:
    """Seed 004's fields beside seed 003's, from the full progress; ``deleted``: the rows that are gone since."""
    rows = [{**row, "status": "deleted"} if row["row"] in deleted else row for row in found["hospitals"]]
    facts = {**found, "hospitals": rows, "deleted_hospitals": sum(row["status"] == "deleted" for row in rows)}
    status = _batch_word(record, facts)
    return {**facts, "status": status, "processing_status": status, "current_message": _message(record, facts)}


def _batch_word(record: RunRecord, facts: dict[str, Any]) -> str:
    """Seed 004's word for how a run stands. What broke off may be there in part; nothing says that it failed then."""
    if record.state == RUNNING:
        return "pending" if facts["status"] in ("initializing", "validating") else "processing"
    if record.state == DONE and facts["batch_activated"]:
        return "completed"
    live = any(row["status"] == ACTIVE for row in facts["hospitals"])
    begun = facts["processed_hospitals"] > 0
    return "partially_completed" if live or (begun and record.state in (DONE, PARTIAL, RESUMABLE)) else "failed"


def _message(record: RunRecord, facts: dict[str, Any]) -> str:
    if record.state == RUNNING:
        step = record.step if record.step.startswith("waiting") else ""
        return step or f"Processing hospital {facts['processed_hospitals']}/{facts['total_hospitals']}"
    if record.state == RESUMABLE:
        return f"Stopped before it finished; to continue: POST /hospitals/resume/{facts['batch_id']}"
    return record.error or f"{facts['processed_hospitals']} of {facts['total_hospitals']} hospitals are there"


def gone(settings: Settings, journal: Journal, record: RunRecord) -> set[int]:
    """The numbers of rows that were brought there and that the Directory, asked once, does not show any more.

    Raises DataflowsError: it does not say.
    """
    found = progress(journal, settings.data_dir, record)
    carried = UploadStore(journal, settings.data_dir).carried(record)
    if found is None or carried is None:
        return set()
    content = carried[0]
    inventory = ask_once(settings, content.address, _PATIENCE)
    brought = {row["row"]: row["hospital_id"] for row in found["hospitals"] if row["status"] == ACTIVE}
    taken: defaultdict[Hospital, Counter[int]] = defaultdict(Counter)
    doubtful: list[tuple[int, HospitalRow]] = []
    for row in content.rows:
        record_id = brought.get(row.number)
        if record_id in inventory.active(row.hospital):
            taken[row.hospital][record_id] += 1
        elif row.number in brought:
            doubtful.append((row.number, row))
    return set(allot(doubtful, inventory, taken, None).missing)
