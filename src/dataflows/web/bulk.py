"""What both seeds' hospital routes do with an upload: judge it, then start the job of ``hospitals-bulk``."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import Path as InPath
from fastapi import Query
from starlette.concurrency import run_in_threadpool

from dataflows.flows.hospitals import job, table
from dataflows.flows.hospitals.report import progress
from dataflows.flows.hospitals.rows import FileContent
from dataflows.flows.hospitals.table import Problem, Validation
from dataflows.runs.journal import RunRecord
from dataflows.web.answers import HttpRefusal, as_refusals, refusal, unknown
from dataflows.web.context import ServerContext
from dataflows.web.jobs import JobRequest, Started
from dataflows.web.jobs import start as start_job

COMMAND = job.COMMAND
STATUS_URL = "/hospitals/progress/{batch_id}"
_LOOK_SECONDS = 0.05

BatchId = Annotated[str, InPath(description="The id of the batch, as given in the answer to the upload.")]
Again = Annotated[bool, Query(description="Create the same rows a second time, as a new batch.")]

_GO_ON = "POST /hospitals/resume/{batch} continues; DELETE /hospitals/batch/{batch}/abandon takes it back"
_HINTS = {
    "already_running": "wait until it has finished: GET /hospitals/progress/{batch}",
    "another_client": "let the other one end, then POST /hospitals/resume/{batch} puts right what is there twice",
    "bad_input": "GET /hospitals/resumable lists what is unfinished: resume or abandon that first; or correct the file",
    "foreign_record": "find out who created it and remove it at the Directory, then POST /hospitals/resume/{batch}",
    "rows_refused": "correct these rows and upload the file again after DELETE /hospitals/batch/{batch}/abandon",
    "service_down": _GO_ON,
    "interrupted": _GO_ON,
    "not_resumable": "GET /hospitals/resumable lists what can be resumed or abandoned",
}


def hint_of(code: str, hint: str, batch_id: str | None) -> str:
    """What to do about an error, for somebody who has HTTP and no command line."""
    if _HINTS.get(code) == _GO_ON and batch_id is None:
        return "the same upload later continues where this one stopped"
    if code in _HINTS:
        return _HINTS[code].format(batch=batch_id or "{batch_id}")
    return "" if "--" in hint or "dataflows " in hint else hint


@contextmanager
def speaking_http(batch_id: str | None = None) -> Iterator[None]:
    """Let every error in here become an answer whose hint names routes. Raises HttpRefusal."""
    try:
        with as_refusals():
            yield
    except HttpRefusal as refused:
        error = refused.content["error"]
        if isinstance(error, dict):
            named = refused.content.get("batch_id") or batch_id
            error["hint"] = hint_of(error["code"], error["hint"], str(named) if named else None)
        raise


def validated(path: Path, most_rows: int) -> Validation:
    """Judge a file.

    Raises:
        HttpRefusal: 422, with a place for each error, as seed 004 has it.
    """
    found = table.validate(path, max_rows=most_rows)
    if not found.is_valid or not found.rows:
        detail = [_place(problem) for problem in found.problems] or [_empty()]
        message = f"the file has {len(detail)} error{'s' * (len(detail) != 1)}, so none of its rows is sent"
        raise HttpRefusal(
            422,
            "bad_input",
            message,
            reason="csv-errors",
            hint="correct the file; see POST /hospitals/validate",
            detail=detail,
        )
    return found


def _place(problem: Problem) -> dict[str, Any]:
    row = [f"row {problem.row}"] if problem.row else []
    return {"loc": ["file", *row, *([problem.column] if problem.column else [])], "msg": problem.message,
            "type": str(problem.code)}  # fmt: skip


def _empty() -> dict[str, Any]:
    return {"loc": ["file"], "msg": "the file has no rows", "type": "no_rows"}


async def start(context: ServerContext, validation: Validation, *, again: bool) -> Started:
    """Start the job for the rows of a file, and find out its batch: the same rows have the same one, created once.

    Raises:
        HttpRefusal: 409 when these rows are being carried already.
        DataflowsError: it cannot begin.
    """
    # two uploads of one name are two files, so what they came from is their content
    options = job.Options(f"upload {validation.sha256}", again=again, workers=context.settings.max_concurrent_requests)
    content = await run_in_threadpool(job.content_of, context.settings, options, validation)
    started = await _begun(context, options, content)
    return started if started.batch_id else replace(started, batch_id=await _batch_of(context, started))


async def resume(context: ServerContext, record: RunRecord) -> Started:
    """Go on with a run that broke off, from the copy of its rows. Raises as ``start``; BadInput: the copy is gone."""
    options, content = await run_in_threadpool(job.options_from_json, record.options, context.settings)
    return await _begun(context, replace(options, workers=context.settings.max_concurrent_requests), content)


async def _begun(context: ServerContext, options: job.Options, content: FileContent) -> Started:
    return await start_job(context, await run_in_threadpool(_request, context, options, content), STATUS_URL)


def _request(context: ServerContext, options: job.Options, content: FileContent) -> JobRequest:
    """Names the batch, which hashes every row, and keeps a copy of the rows."""
    kept, target = job.options_to_json(options, content), job.target(content, again=options.again)
    run = job.upload(context.settings, options, content)
    return JobRequest(job.COMMAND, target, kept, run, None if options.again else content.first_batch)


async def _batch_of(context: ServerContext, started: Started) -> str:
    """The batch of rows that are created once more, which the job finds by asking the Directory."""
    while True:
        ended = started.ended.done()  # looked at first: what has ended has named its batch, or never will
        record = await run_in_threadpool(context.journal.run, started.run_id)
        if record is not None and record.batch_id is not None:
            return record.batch_id
        if ended:
            error = started.ended.result().error
            raise refusal(error, run_id=started.run_id) if error else unknown("batch")
        await asyncio.sleep(_LOOK_SECONDS)


def of_batch(context: ServerContext, batch_id: str) -> RunRecord:
    """The latest run that carries a batch. Raises HttpRefusal: 404, nobody knows it."""
    context.see_what_died()
    record = context.journal.run_of_batch(batch_id)
    if record is None or record.command != COMMAND:
        raise unknown("batch")
    return record


def document(context: ServerContext, record: RunRecord, *, full: bool = False) -> dict[str, Any]:
    """Seed 003's progress document, ``full`` with seed 004's fields. Raises HttpRefusal: 404, its rows are not kept."""
    found = kept(context, record, full=full)
    if found is None:
        raise unknown("batch", "its rows are not kept any more")
    return found


def kept(context: ServerContext, record: RunRecord, *, full: bool = False) -> dict[str, Any] | None:
    """The same; None where its rows are not kept."""
    return progress(context.journal, context.settings.data_dir, record, full=full)
