"""Seed 003's routes: hospitals in bulk, with progress, resume and abandon. Shapes to the letter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from dataflows.flows.hospitals import earlier, report, table
from dataflows.runs.journal import RESUMABLE
from dataflows.web import bulk
from dataflows.web.answers import STATUSES, Explained, HttpRefusal, responses
from dataflows.web.bulk import Again, BatchId
from dataflows.web.context import Context, as_usual
from dataflows.web.jobs import Started, Wait, result, settled

PROGRESS_KEPT = timedelta(hours=24)

router = APIRouter(prefix="/hospitals", tags=["hospitals in bulk"], dependencies=[Depends(as_usual)])


class HospitalResult(BaseModel):
    """One row of an answer. ``error`` is there for rows that failed."""

    row: int
    hospital_id: int | None
    name: str | None
    status: str
    error: str | None = None


class BatchCounts(BaseModel):
    """What every answer about a batch begins with."""

    batch_id: str
    total_hospitals: int
    processed_hospitals: int
    failed_hospitals: int


class BulkAnswer(BatchCounts):
    """Seed 003's bulk response. ``batches`` is there for files of more than one batch, ``error`` for a run that
    did not come to its end.
    """

    processing_time_seconds: float
    batch_activated: bool
    hospitals: list[HospitalResult]
    batches: list[dict[str, Any]] | None = None
    error: Explained | None = None


class ValidationAnswer(BaseModel):
    """Seed 003's validation response."""

    is_valid: bool
    total_rows: int
    valid_rows: int
    invalid_rows: int
    errors: list[dict[str, Any]]
    warnings: list[dict[str, Any]]
    preview_hospitals: list[dict[str, Any]]
    file_info: dict[str, Any]


class RowProgress(BaseModel):
    """One row while it goes."""

    row: int
    name: str
    status: str
    hospital_id: int | None
    processing_time: float | None


class ProgressAnswer(BaseModel):
    """Seed 003's progress response."""

    batch_id: str
    status: str
    total_hospitals: int
    processed_hospitals: int
    failed_hospitals: int
    progress_percentage: float
    processing_time_seconds: float
    current_step: str
    batch_activated: bool
    hospitals: list[RowProgress]
    is_completed: bool


class ResumableBatch(BatchCounts):
    """One batch that broke off, as seed 003 lists it. ``last_checkpoint_time``: seconds since 1970, UTC."""

    resume_from_row: int
    failure_reason: str
    last_checkpoint_time: float


class CleanupAnswer(BaseModel):
    """How many runs were forgotten."""

    message: str
    removed: int


class AbandonAnswer(BaseModel):
    """What became of an abandoned batch. ``left_active``: batches that are live and were left alone."""

    batch_id: str
    status: str
    message: str
    deleted: int
    left_active: list[str]


@router.post(
    "/bulk",
    response_model=BulkAnswer,
    responses={202: {"model": ProgressAnswer}, **responses(400, 401, 403, 408, 409, 413, 422, 500, 502)},
)
async def upload(request: Request, context: Context, wait: Wait = None, again: Again = False) -> JSONResponse:
    """Create the hospitals of a CSV, activate their batch, and answer when that is done."""
    look = partial(bulk.validated, most_rows=context.settings.max_csv_size)
    validation = await context.uploads.read(request, look)
    with bulk.speaking_http():
        started = await bulk.start(context, validation, again=again)
    if await settled(started.ended, wait):
        return _answer(started)
    record = await run_in_threadpool(context.journal.run, started.run_id)
    assert record is not None, "it is running"
    content = await run_in_threadpool(bulk.document, context, record)
    url = bulk.STATUS_URL.format(batch_id=started.batch_id)
    return JSONResponse(content, 202, {"X-Run-Id": record.run_id, "Location": url, "Retry-After": "5"})


@router.post(
    "/validate",
    response_model=ValidationAnswer,
    responses=responses(400, 401, 403, 408, 413, 422, 500),
)
async def validate(request: Request, context: Context) -> dict[str, Any]:
    """Check a CSV; nothing is kept and nothing is sent."""
    look = partial(table.validate, max_rows=context.settings.max_csv_size)
    return (await context.uploads.read(request, look)).document()


@router.get("/progress/{batch_id}", response_model=ProgressAnswer, responses=responses(401, 403, 404, 422, 500))
def progress(context: Context, batch_id: BatchId) -> JSONResponse:
    """How far a batch has got, row by row, even if another process is handling it."""
    return JSONResponse(bulk.document(context, bulk.of_batch(context, batch_id)))


@router.post("/progress/cleanup", response_model=CleanupAnswer, responses=responses(401, 403, 500))
def cleanup(context: Context) -> CleanupAnswer:
    """Remove hospital runs that ended more than 24 hours ago; resumable ones are kept."""
    removed = context.journal.prune(older_than=PROGRESS_KEPT, command=bulk.COMMAND)
    earlier.sweep(context.journal, context.settings.data_dir)
    return CleanupAnswer(message=f"{removed} runs forgotten", removed=removed)


@router.get("/resumable", response_model=list[ResumableBatch], responses=responses(401, 403, 500))
def resumable(context: Context) -> list[dict[str, Any]]:
    """The batches that were interrupted and can be resumed."""
    context.see_what_died()
    return [
        report.resumable(record, found)
        for record in context.journal.runs(state=RESUMABLE, command=bulk.COMMAND)
        if (found := bulk.kept(context, record)) is not None  # else its rows are gone: nothing to resume from
    ]


@router.post("/resume/{batch_id}", response_model=BulkAnswer, responses=responses(401, 403, 404, 409, 422, 500, 502))
async def resume(context: Context, batch_id: BatchId) -> JSONResponse:
    """Continue an interrupted batch and answer when it is done; rows that were already done are not listed."""
    record = await run_in_threadpool(bulk.of_batch, context, batch_id)
    if record.state != RESUMABLE:
        with bulk.speaking_http(batch_id):
            raise HttpRefusal(
                409,
                "not_resumable",
                f"the batch is {record.state}: there is nothing to resume",
                reason="batch-not-resumable",
            )
    before = await run_in_threadpool(bulk.document, context, record)
    done = {row["row"] for row in before["hospitals"] if row["status"] in report.PRESENT}
    with bulk.speaking_http(batch_id):
        started = await bulk.resume(context, record)
    await settled(started.ended)
    return _answer(started, without=done)


@router.delete(
    "/batch/{batch_id}/abandon",
    response_model=AbandonAnswer,
    responses=responses(401, 403, 404, 409, 422, 500, 502),
)
async def abandon(context: Context, batch_id: BatchId) -> AbandonAnswer:
    """Remove from the Directory what an interrupted batch created; live hospitals are left alone."""
    record = await run_in_threadpool(bulk.of_batch, context, batch_id)
    if record.state not in (RESUMABLE, "abandoned"):
        with bulk.speaking_http(batch_id):
            raise HttpRefusal(
                409,
                "not_resumable",
                f"the batch is {record.state}: there is nothing to abandon",
                reason="batch-not-resumable",
            )
    take_back = partial(earlier.abandon, context.settings, context.journal, record, lambda _: None, delete_active=False)
    with bulk.speaking_http(batch_id):
        done = await result(context.background.do(lambda stop: take_back(stop=stop), "abandon"))
    after = await run_in_threadpool(bulk.of_batch, context, batch_id)
    message = f"{done.deleted} records deleted" + (f", {len(done.live)} batches are live" if done.live else "")
    return AbandonAnswer(
        batch_id=batch_id, status=after.state, message=message, deleted=done.deleted, left_active=done.live
    )


def _answer(started: Started, without: Collection[int] = ()) -> JSONResponse:
    """Seed 003's bulk response, also of a run that did not come to its end; 5xx then, and the error beside it."""
    outcome = started.ended.result()
    facts: Mapping[str, Any] = outcome.report
    error = outcome.error
    if "hospitals" not in facts:
        assert error is not None, "a run without an error has its report"
        with bulk.speaking_http():
            raise error
    fields = {name: facts[name] for name in BulkAnswer.model_fields if name not in ("batches", "error")}
    fields["hospitals"] = [_row(row) for row in facts["hospitals"] if row["row"] not in without]
    if len(facts["batches"]) > 1:
        fields["batches"] = facts["batches"]
    if error is not None:
        hint = bulk.hint_of(error.code, error.hint, str(fields["batch_id"]))
        fields["error"] = error.entry | {"hint": hint}
    return JSONResponse(fields, STATUSES[outcome.exit_code], {"X-Run-Id": started.run_id})


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in HospitalResult.model_fields if name in row}
