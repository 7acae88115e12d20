"""Seed 004's routes: an upload that is answered at once, and two to ask how far it is. Shapes to the letter."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from dataflows.errors import DataflowsError
from dataflows.flows.hospitals.report import batch_status, gone
from dataflows.flows.hospitals.rules import is_exact
from dataflows.flows.hospitals.table import Validation
from dataflows.runs.journal import DONE, PARTIAL, RunRecord
from dataflows.web import bulk
from dataflows.web.answers import HttpRefusal, responses
from dataflows.web.bulk import Again, BatchId
from dataflows.web.context import Context, ServerContext, as_usual

MOST_ROWS = 1_000
_LOOK_AGAIN_SECONDS = 10.0
_LOOKS_KEPT = 1_000

router = APIRouter(prefix="/batch", tags=["hospitals in batches"], dependencies=[Depends(as_usual)])


class Accepted(BaseModel):
    """Seed 004's answer to an upload."""

    batch_id: str
    total_hospitals: int
    message: str
    status: str


class BatchProgress(BaseModel):
    """Seed 004's progress. ``processing_status``: pending, processing, completed, partially_completed or failed."""

    batch_id: str
    progress_percentage: float
    processing_status: str
    processed_hospitals: int
    total_hospitals: int
    failed_hospitals: int
    deleted_hospitals: int
    current_message: str


class BatchRow(BaseModel):
    """One row. ``status``: pending, processing, created, created_and_activated, failed, unknown or deleted."""

    row: int
    hospital_id: int | None
    name: str
    address: str
    phone: str | None
    status: str
    error_message: str | None


class BatchStatus(BaseModel):
    """How a batch ended, or how far it is. ``status`` and ``processing_status`` are the same.

    A row is ``deleted`` when the Directory says that it does not have it any more; while it cannot be asked, the row is
    shown as it was when its batch ended.
    """

    batch_id: str
    status: str
    processing_status: str
    total_hospitals: int
    processed_hospitals: int
    failed_hospitals: int
    deleted_hospitals: int
    processing_time_seconds: float
    batch_activated: bool
    hospitals: list[BatchRow]


@router.post(
    "/upload-csv",
    status_code=202,
    response_model=Accepted,
    responses=responses(400, 401, 403, 408, 409, 413, 422, 500, 502),
)
async def upload_csv(request: Request, context: Context, again: Again = False) -> JSONResponse:
    """Accept a CSV of up to 1,000 hospitals and answer at once; its rows are created in the background."""
    validation = await context.uploads.read(request, _validated)
    with bulk.speaking_http():
        started = await bulk.start(context, validation, again=again)
    content = {
        "batch_id": started.batch_id,
        "total_hospitals": len(validation.rows),
        "message": "CSV upload initiated. Use batch_id to track progress.",
        "status": "pending",
    }
    return JSONResponse(content, 202, {"X-Run-Id": started.run_id, "Location": f"/batch/{started.batch_id}/progress"})


@router.get("/{batch_id}/progress", response_model=BatchProgress, responses=responses(401, 403, 404, 422, 500))
def progress(request: Request, context: Context, batch_id: BatchId) -> dict[str, Any]:
    """How far a batch has got, even if another process is handling it."""
    record = bulk.of_batch(context, batch_id)
    return _facts(context, record, batch_id, _looks(request).latest(record.run_id))


@router.get("/{batch_id}/status", response_model=BatchStatus, responses=responses(401, 403, 404, 422, 500))
def status(request: Request, context: Context, batch_id: BatchId) -> dict[str, Any]:
    """How a batch ended, with its hospitals; of a finished one the Directory is asked which it no longer has."""
    record = bulk.of_batch(context, batch_id)
    deleted = _looks(request).gone(context, record) if record.state in (DONE, PARTIAL) else set()
    return _facts(context, record, batch_id, deleted)


class _Looks:
    """What the Directory said is gone, kept for a while: callers ask again and again, and it allows few calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[float, set[int]]] = OrderedDict()

    def latest(self, run_id: str) -> set[int]:
        """The rows that were gone when it was asked last."""
        with self._lock:
            return self._known.get(run_id, (0.0, set[int]()))[1]

    def gone(self, context: ServerContext, record: RunRecord) -> set[int]:
        """The rows that are gone; what was known before, where the Directory does not say."""
        with self._lock:
            then, rows = self._known.get(record.run_id, (-_LOOK_AGAIN_SECONDS, set[int]()))
        if time.monotonic() - then < _LOOK_AGAIN_SECONDS:
            return rows
        with suppress(DataflowsError):
            rows = gone(context.settings, context.journal, record)
        with self._lock:
            self._known[record.run_id] = (time.monotonic(), rows)
            while len(self._known) > _LOOKS_KEPT:
                self._known.popitem(last=False)
        return rows


def _looks(request: Request) -> _Looks:
    state = request.app.state
    if not hasattr(state, "hospital_looks"):
        state.hospital_looks = _Looks()
    assert isinstance(state.hospital_looks, _Looks)
    return state.hospital_looks


def _facts(context: ServerContext, record: RunRecord, batch_id: str, deleted: Collection[int]) -> dict[str, Any]:
    """Seed 004's document under the id that was asked for."""
    found = batch_status(record, bulk.document(context, record, full=True), deleted)
    return {**found, "batch_id": batch_id}


def _validated(path: FilePath) -> Validation:
    if not is_exact(path):
        detail = {
            "loc": ["file", "headers"],
            "msg": "CSV headers must be exactly: name,address,phone",
            "type": "invalid_headers",
        }
        raise HttpRefusal(
            422,
            "invalid_headers",
            str(detail["msg"]),
            reason="csv-errors",
            hint="correct the first line",
            detail=[detail],
        )
    return bulk.validated(path, MOST_ROWS)
