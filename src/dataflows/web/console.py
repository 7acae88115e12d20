"""The console: tonight, one run, and the history. Each page is made on the server from the journal alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from dataflows.runs.history import DRY_RUN, RunHistory, Wanted
from dataflows.runs.journal import ABANDONED, DONE, FAILED, PARTIAL, RESUMABLE, RUNNING, RunRecord
from dataflows.runs.logs import log_of
from dataflows.runs.nights import Comparisons, standing
from dataflows.runs.wording import failed_csv, summary
from dataflows.web.context import ServerContext, context_of
from dataflows.web.pages import POLICY, asked, page
from dataflows.web.views import (
    SIGNS,
    VERDICTS,
    RunRow,
    calendar_of,
    detail_of,
    first_morning,
    morning_of,
    row_of,
)

_LIVE_SECONDS, _CALM_SECONDS = 2, 30  # a page loads itself again after so many seconds, while something runs or not
_TONIGHT = timedelta(hours=24)
_MOST_RUNS = 200
_FAILURES_SHOWN, _FAILURES_PER_CARD = 100, 3
_PAGE, _LAST_PAGE = 50, 10_000
_LONGEST = 200  # characters of what is looked for
_STATES = (DONE, PARTIAL, FAILED, RESUMABLE, RUNNING, ABANDONED, DRY_RUN)

router = APIRouter(prefix="/runs", include_in_schema=False)

_Route = Callable[..., Awaitable[Response]]


def _entered(route: _Route) -> _Route:
    """Let a route ask for the token first."""

    @wraps(route)
    async def guarded(request: Request, **values: Any) -> Response:
        return await route(request, **values) if context_of(request).access.page(request) else asked(request)

    return guarded


def _said(request: Request, name: str) -> str:
    return request.query_params.get(name, "").strip()[:_LONGEST]


# --- tonight ----------------------------------------------------------------------------------------------------------


@router.get("")
@_entered
async def tonight(request: Request) -> Response:
    """The last 24 hours by job, what needs a person first; then the runs themselves."""
    values = await run_in_threadpool(_tonight, context_of(request))
    seconds = _LIVE_SECONDS if values["running"] else _CALM_SECONDS
    return page(request, "tonight.html", seconds=seconds, now=datetime.now().astimezone(), **values)


def _tonight(context: ServerContext) -> dict[str, Any]:
    context.see_what_died()
    jobs = standing(context.journal, _TONIGHT, _comparisons(context))
    found = RunHistory(context.journal).lately(datetime.now(UTC) - _TONIGHT, _MOST_RUNS + 1)
    rows = [row_of(context, record, _FAILURES_PER_CARD) for record in found[:_MOST_RUNS]]
    return {
        "jobs": [(job, *VERDICTS[job.verdict], RunRow(job.run) if job.run else None) for job in jobs],
        "summary": summary(jobs),
        "running": [row for row in rows if row.record.state == RUNNING],
        "waiting": [row for row in rows if row.record.state == RESUMABLE],
        "rest": [row for row in rows if row.record.state not in (RUNNING, RESUMABLE)],
        "more": len(found) > _MOST_RUNS,
    }


def _comparisons(context: ServerContext) -> Comparisons:
    if context.comparisons is None:
        context.comparisons = Comparisons(context.journal)
    return context.comparisons


# --- the history ------------------------------------------------------------------------------------------------------


class _Asked(NamedTuple):
    """What the form of the history says. ``unread``: the date that is none."""

    wanted: Wanted
    page: int
    unread: str


@router.get("/history")
@_entered
async def history(request: Request) -> Response:
    """60 nights by flow, and all kept runs, page by page."""
    said = _wanted(request)
    values = await run_in_threadpool(_history, context_of(request), said)
    return page(request, "history.html", **values)


def _wanted(request: Request) -> _Asked:
    night, number = _said(request, "night"), _said(request, "page")
    state = _said(request, "state")
    try:
        morning = date.fromisoformat(night) if night else None
    except ValueError:
        morning = None
    wanted = Wanted(_said(request, "command"), state if state in _STATES else "", morning, _said(request, "text"))
    at = min(_LAST_PAGE, int(number)) if number.isascii() and number.isdecimal() else 1
    return _Asked(wanted, max(1, at), night if night and morning is None else "")


def _history(context: ServerContext, said: _Asked) -> dict[str, Any]:
    context.see_what_died()
    kept, wanted = RunHistory(context.journal), said.wanted
    last = morning_of(datetime.now(UTC))
    nights = kept.nights(first_morning(last))
    found = kept.page(wanted, limit=_PAGE, skip=(said.page - 1) * _PAGE)
    commands = sorted({night.command for night in nights} | ({wanted.command} if wanted.command else set()))
    return {
        "calendar": calendar_of((one for one in nights if wanted.command in ("", one.command)), last),
        "rows": [RunRow(record) for record in found[:_PAGE]],
        "commands": commands,
        "states": _STATES,
        "signs": SIGNS,
        "said": said,
        "earlier": _address(said, said.page + 1) if len(found) > _PAGE else "",
        "later": _address(said, said.page - 1) if said.page > 1 else "",
    }


def _address(said: _Asked, number: int) -> Mapping[str, str]:
    wanted = said.wanted
    night = wanted.morning.isoformat() if wanted.morning else ""
    values = {"command": wanted.command, "state": wanted.state, "night": night, "text": wanted.text}
    return {name: value for name, value in {**values, "page": str(number)}.items() if value}


# --- a run ------------------------------------------------------------------------------------------------------------


@router.get("/{run_id}")
@_entered
async def run(request: Request, run_id: str) -> Response:
    """One run: all that the journal knows of it."""
    context = context_of(request)
    record = await run_in_threadpool(context.run, run_id)
    if record is None:
        return page(request, "unknown.html", status=404)
    values = await run_in_threadpool(_run, request, context, record)
    return page(request, "run.html", seconds=_LIVE_SECONDS if record.state == RUNNING else 0, **values)


def _run(request: Request, context: ServerContext, record: RunRecord) -> dict[str, Any]:
    code, text, after = (_said(request, name) for name in ("code", "text", "after"))
    found = context.journal.items(
        record.run_id, state="failed", code=code, text=text, after=after, limit=_FAILURES_SHOWN + 1
    )
    shown = found[:_FAILURES_SHOWN]
    chosen = {name: value for name, value in (("code", code), ("text", text)) if value}
    return {
        "detail": detail_of(context, record),
        "failures": shown,
        "code": code,
        "text": text,
        "after": after,
        "chosen": chosen,
        "further": {**chosen, "after": shown[-1].key} if len(found) > _FAILURES_SHOWN else {},
        "more": 0 if chosen or after else record.counts.get("failed", 0) - len(shown),
    }


@router.get("/{run_id}/failed.csv")
@_entered
async def failed(request: Request, run_id: str) -> Response:
    """The failed items of a run, or those that were chosen, for a spreadsheet."""
    context = context_of(request)
    record = await run_in_threadpool(context.run, run_id)
    if record is None:
        return page(request, "unknown.html", status=404)
    items = context.journal.all_items(run_id, state="failed", code=_said(request, "code"), text=_said(request, "text"))
    name = f"{record.command}-{run_id[:8]}-failed.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(failed_csv(items), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/{run_id}/log")
@_entered
async def log(request: Request, run_id: str) -> Response:
    """The log of a run; of a very large one its end."""
    record = await run_in_threadpool(context_of(request).run, run_id)
    text = await run_in_threadpool(log_of, record) if record else None
    if text is None:
        return page(request, "unknown.html", status=404)
    return PlainTextResponse(text, headers={"Content-Security-Policy": POLICY})
