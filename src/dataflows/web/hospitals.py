"""Seed 003's routes: hospitals in bulk, with progress, resume and abandon. Shapes to the letter."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from dataflows.flows.hospitals import earlier, report, table
from dataflows.runs.journal import RESUMABLE, RunRecord
from dataflows.runs.pool import Stop
from dataflows.runs.runner import Outcome
from dataflows.web import bulk
from dataflows.web.answers import STATUSES, Explained, HttpRefusal, responses
from dataflows.web.context import Context, ServerContext, as_usual, result, settled
from dataflows.web.cqc import Wait
from dataflows.web.uploads import BODY, ReceivedUploads

PROGRESS_KEPT = timedelta(hours=24)

BatchId = Annotated[str, Path(description="The id of a batch: the one that the upload was answered with.")]
Again = Annotated[bool, Query(description="Create the same rows once more, as a new batch.")]

router = APIRouter(prefix="/hospitals", tags=["hospitals in bulk"], dependencies=[Depends(as_usual)])


class HospitalResult(BaseModel):
    """One row of an answer. ``error`` is there for rows that failed."""

    row: int
    hospital_id: int | None
    name: str | None
    status: str
    error: str | None = None


class BulkAnswer(BaseModel):
    """Seed 003's bulk response. ``batches`` is there for files of more than one batch, ``error`` for a run that
    did not come to its end.
    """

    batch_id: str
    total_hospitals: int
    processed_hospitals: int
    failed_hospitals: int
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


class ResumableBatch(BaseModel):
    """One batch that broke off, as seed 003 lists it. ``last_checkpoint_time``: seconds since 1970, UTC."""

    batch_id: str
    total_hospitals: int
    processed_hospitals: int
    failed_hospitals: int
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
    openapi_extra=BODY,
)
async def upload(request: Request, context: Context, wait: Wait = None, again: Again = False) -> JSONResponse:
    """Create the hospitals of a CSV, activate their batch, and answer when that is done."""
    async with _uploads(request).received(request) as path:
        validation = await run_in_threadpool(bulk.validated, path, context.settings.max_csv_size)
    with bulk.speaking_http():
        started = await bulk.start(context, validation, again=again)
    if not await settled(started.work.ended, wait):
        record = await run_in_threadpool(context.journal.run, started.work.begun.result())
        assert record is not None, "it is running"
        url = bulk.STATUS_URL.format(batch_id=started.batch_id)
        content = await run_in_threadpool(bulk.document, context, record)
        return JSONResponse(content, 202, {"X-Run-Id": record.run_id, "Location": url, "Retry-After": "5"})
    return _answer(started.work.ended.result())


@router.post(
    "/validate",
    response_model=ValidationAnswer,
    responses=responses(400, 401, 403, 408, 413, 422, 500),
    openapi_extra=BODY,
)
async def validate(request: Request, context: Context) -> JSONResponse:
    """Judge a CSV; nothing is kept and nothing is sent."""
    async with _uploads(request).received(request) as path:
        found = await run_in_threadpool(table.validate, path, max_rows=context.settings.max_csv_size)
    document = found.document()
    return JSONResponse({name: document[name] for name in ValidationAnswer.model_fields})


@router.get("/progress/{batch_id}", response_model=ProgressAnswer, responses=responses(401, 403, 404, 422, 500))
def progress(context: Context, batch_id: BatchId) -> JSONResponse:
    """How far a batch is, row by row; also when another process carries it."""
    return JSONResponse(bulk.document(context, bulk.of_batch(context, batch_id)))


@router.post("/progress/cleanup", response_model=CleanupAnswer, responses=responses(401, 403, 500))
def cleanup(context: Context) -> CleanupAnswer:
    """Forget runs of hospitals that ended more than 24 hours ago. What can be resumed is kept."""
    removed = context.journal.prune(older_than=PROGRESS_KEPT, command=bulk.COMMAND)
    earlier.sweep(context.journal, context.settings.data_dir)
    return CleanupAnswer(message=f"{removed} runs forgotten", removed=removed)


@router.get("/resumable", response_model=list[ResumableBatch], responses=responses(401, 403, 500))
def resumable(context: Context) -> list[ResumableBatch]:
    """The batches that broke off and can be resumed."""
    context.see_what_died()
    found = (_resumable(context, record) for record in context.journal.runs(state=RESUMABLE, command=bulk.COMMAND))
    return [one for one in found if one is not None]


@router.post("/resume/{batch_id}", response_model=BulkAnswer, responses=responses(401, 403, 404, 409, 422, 500, 502))
async def resume(context: Context, batch_id: BatchId) -> JSONResponse:
    """Go on with a batch that broke off, and answer when that is done; rows that were done before are not listed."""
    record = await run_in_threadpool(bulk.of_batch, context, batch_id)
    if record.state != RESUMABLE:
        with bulk.speaking_http(batch_id):
            raise HttpRefusal(409, "not_resumable", f"the batch is {record.state}: there is nothing to resume")
    before = await run_in_threadpool(bulk.document, context, record)
    done = {row["row"] for row in before["hospitals"] if row["status"] in report.PRESENT}
    with bulk.speaking_http(batch_id):
        work = await bulk.resume(context, record)
    return _answer(await result(work.ended), without=done)


@router.delete(
    "/batch/{batch_id}/abandon",
    response_model=AbandonAnswer,
    responses=responses(401, 403, 404, 409, 422, 500, 502),
)
async def abandon(context: Context, batch_id: BatchId) -> AbandonAnswer:
    """Remove from the Directory what a batch that broke off created. What is live is left alone."""
    record = await run_in_threadpool(bulk.of_batch, context, batch_id)
    if record.state not in (RESUMABLE, "abandoned"):
        with bulk.speaking_http(batch_id):
            raise HttpRefusal(409, "not_resumable", f"the batch is {record.state}: there is nothing to abandon")

    def take_back(stop: Stop) -> earlier.Abandoned:
        settings = context.settings
        return earlier.abandon(settings, context.journal, record, lambda _: None, delete_active=False, stop=stop)

    with bulk.speaking_http(batch_id):
        done = await result(context.background.do(take_back, "abandon"))
    after = await run_in_threadpool(bulk.of_batch, context, batch_id)
    message = f"{done.deleted} records deleted" + (f", {len(done.live)} batches are live" if done.live else "")
    return AbandonAnswer(
        batch_id=batch_id, status=after.state, message=message, deleted=done.deleted, left_active=done.live
    )


def _uploads(request: Request) -> ReceivedUploads:
    uploads = request.app.state.uploads
    assert isinstance(uploads, ReceivedUploads)
    return uploads


def _resumable(context: ServerContext, record: RunRecord) -> ResumableBatch | None:
    try:
        found = bulk.document(context, record)
    except HttpRefusal:  # its rows are gone: nothing can be resumed from them
        return None
    return ResumableBatch(**report.resumable(record, found))


def _answer(outcome: Outcome, without: Collection[int] = ()) -> JSONResponse:
    """Seed 003's bulk response, also of a run that did not come to its end; 5xx then, and the error beside it."""
    facts: Mapping[str, Any] = outcome.report
    error = outcome.error
    headers = {"X-Run-Id": outcome.run_id or ""}
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
        fields["error"] = {"code": error.code, "message": error.message, "hint": hint}
    return JSONResponse(fields, STATUSES[outcome.exit_code], headers)


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in HospitalResult.model_fields if name in row}
