"""Seed 000's routes: fetch the CQC exports, and hand out their files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from dataflows.errors import ExitCode
from dataflows.flows.cqc import job
from dataflows.flows.cqc.folder import file_of
from dataflows.flows.cqc.history import History
from dataflows.runs.journal import RUNNING
from dataflows.web.answers import STATUSES, Explained, HttpRefusal, WholeFile, responses, unknown
from dataflows.web.context import Context, with_token, with_token_in_address
from dataflows.web.jobs import JobRequest, Wait, settled, start

COMMAND = "cqc-fetch"
STATUS_URL = "/run/{run_id}"
_BROKE_OFF = Explained(
    code="interrupted", reason="interrupted", message="the run was interrupted", hint="POST /run again"
)

router = APIRouter(tags=["CQC exports"])


class SourceResult(BaseModel):
    """What became of one source."""

    file: str | None
    bytes: int | None
    url: str | None
    error: str | None


class RunAnswer(BaseModel):
    """Seed 000's answer. ``status``: ok, partial or error."""

    status: str
    saved_to: str
    results: dict[str, SourceResult]


class Underway(BaseModel):
    """It is still running; ``status_url`` says how it ends."""

    status: str
    run_id: str
    status_url: str
    step: str = ""


@router.post(
    "/run",
    response_model=RunAnswer,
    responses={202: {"model": Underway}, **responses(401, 409, 422, 500, 502)},
    dependencies=[Depends(with_token)],
)
async def run(context: Context, wait: Wait = None) -> Response:
    """Fetch all sources, and answer when that is done."""
    settings = context.settings
    options = job.Options(output=settings.data_dir, keep_days=settings.cqc_keep_days)
    kept = job.options_to_json(options)
    wanted = JobRequest(COMMAND, job.target(options.output), kept, job.fetch(settings, options))
    started = await start(context, wanted, STATUS_URL)
    if not await settled(started.ended, wait):
        return _underway(started.run_id)
    outcome = started.ended.result()
    error = outcome.error
    return _answer(started.run_id, outcome.report, outcome.exit_code, Explained(**error.entry) if error else None)


@router.get(
    "/run/{run_id}",
    response_model=RunAnswer,
    responses={202: {"model": Underway}, **responses(401, 404, 422, 500, 502)},
    dependencies=[Depends(with_token)],
)
def run_status(context: Context, run_id: str) -> Response:
    """How a run ended, in the same form as POST /run; 202 while it is still running."""
    record = context.run(run_id)
    if record is None or record.command != COMMAND:
        raise unknown("run")
    if record.state == RUNNING:
        return _underway(record.run_id, record.step)
    entry = record.error_entry
    code = ExitCode(record.exit_code) if record.exit_code is not None else ExitCode.INTERRUPTED
    return _answer(
        record.run_id, context.journal.report(record.run_id) or {}, code, Explained(**entry) if entry else None
    )


@router.get(
    "/files/latest/{source}",
    response_class=WholeFile,
    responses={200: {"content": {"text/csv": {}}}, **responses(401, 404, 422, 500)},
    dependencies=[Depends(with_token_in_address)],
)
def latest_file(context: Context, source: str) -> Response:
    """The newest good file of a source."""
    folder = context.settings.data_dir
    last = History(context.journal, job.target(folder)).last_good(source)
    return _attached(file_of(folder, last.file) if last else None)


@router.get(
    "/files/{filename}",
    response_class=WholeFile,
    responses={200: {"content": {"text/csv": {}}}, **responses(401, 404, 422, 500)},
    dependencies=[Depends(with_token_in_address)],
)
def file(context: Context, filename: str) -> Response:
    """A file that a run has named; other files in the folder are not served, whatever their names."""
    folder = context.settings.data_dir
    named = History(context.journal, job.target(folder)).names(COMMAND, filename)
    return _attached(file_of(folder, filename) if named else None)


def _attached(path: Path | None) -> Response:
    if path is None:
        raise unknown("file", "the names are those that POST /run answers with; old files are removed")
    return WholeFile(path, media_type="text/csv", filename=path.name)


def _underway(run_id: str, step: str = "") -> Response:
    url = STATUS_URL.format(run_id=run_id)
    content = Underway(status="running", run_id=run_id, status_url=url, step=step).model_dump()
    return JSONResponse(content, 202, {"X-Run-Id": run_id, "Location": url, "Retry-After": "5"})


def _answer(run_id: str, report: dict[str, Any], code: ExitCode, error: Explained | None) -> Response:
    """Seed 000's document where the run got so far (its failures stand in it), else what kept it from that."""
    headers = {"X-Run-Id": run_id}
    if not report.get("results") or code is ExitCode.INTERRUPTED:
        error = error or _BROKE_OFF
        raise HttpRefusal(
            STATUSES[code], error.code, error.message, reason=error.reason, hint=error.hint, headers=headers
        )
    return JSONResponse(RunAnswer.model_validate(report).model_dump(), headers=headers)
