"""What tells how a server, its imports and all runs are: /health, /health/import, and /metrics for Prometheus.

All metrics are gauges: the journal forgets runs after RUNS_KEEP_DAYS, so no figure only grows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from pydantic import BaseModel

from dataflows import __version__
from dataflows.errors import ExitCode
from dataflows.runs.history import Latest, RunFigures, RunHistory
from dataflows.runs.journal import Journal, RunRecord
from dataflows.web.answers import Failure, responses
from dataflows.web.context import Context, ServerContext, as_usual
from dataflows.web.imports import Watched, start

_CAME_TO_ITS_END = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.ALL_FAILED)
_LOOKED_AT = 20
"""So many of the last attempts tell whether an import is well; what needed none says nothing."""

router = APIRouter(tags=["watching"])


class Health(BaseModel):
    """The server answers."""

    ok: bool


class About(BaseModel):
    """What this is, and where to go on."""

    message: str
    version: str
    docs: str
    runs: str


@router.get("/health", response_model=Health, responses=responses())
async def health() -> Health:
    """Whether the server answers."""
    return Health(ok=True)


@router.get("/", response_model=About, responses=responses(401, 403, 500), dependencies=[Depends(as_usual)])
async def about() -> About:
    """What this is, and where to go on."""
    return About(
        message="dataflows: CQC exports and hospitals in bulk", version=__version__, docs="/docs", runs="/runs"
    )


# --- the imports ------------------------------------------------------------------------------------------------------


def watch(app: FastAPI, context: ServerContext, wished: Mapping[str, float]) -> None:
    """Begin to run imports (name to seconds from pass to pass), and to watch them."""
    app.state.watched = start(context, wished)


class Pass(BaseModel):
    """One pass. ``error`` is the code of what ended it early."""

    run_id: str
    state: str
    started_at: str
    ended_at: str | None
    exit_code: int | None
    counts: dict[str, int]
    error: str | None


class ImportHealth(BaseModel):
    """How one import is. ``failed_of_last_items``: share of the last 20 attempts that failed, None without any."""

    command: str
    every_seconds: float
    ok: bool
    overdue: bool
    given_up: bool
    last_pass: Pass | None
    last_error: str | None
    failed_of_last_items: float | None


class ImportsHealth(BaseModel):
    """Whether all imports that this server runs are well; empty without ``--watch``."""

    ok: bool
    imports: dict[str, ImportHealth]


@router.get(
    "/health/import",
    response_model=ImportsHealth,
    responses={**responses(401, 403, 500), 503: {"model": ImportsHealth | Failure}},
    dependencies=[Depends(as_usual)],
)
def import_health(context: Context, request: Request) -> JSONResponse:
    """Whether the imports of ``serve --watch`` are well: 503 when one is overdue, or when most of its items fail."""
    imports = {name: _health(context, watched) for name, watched in request.app.state.watched.items()}
    ok = all(one.ok for one in imports.values())
    return JSONResponse(ImportsHealth(ok=ok, imports=imports).model_dump(), 200 if ok else 503)


def _health(context: ServerContext, watched: Watched) -> ImportHealth:
    command = watched.what.command
    records = context.journal.runs(command=command, limit=_LOOKED_AT)
    states = RunHistory(context.journal).attempts(command, _LOOKED_AT)
    failed = states.count("failed") / len(states) if states else None
    overdue = _is_overdue(watched, records)
    given_up = watched.ended not in (None, int(ExitCode.INTERRUPTED))
    errors = (f"{one.error_code}: {one.error}" for one in records if one.error_code)
    return ImportHealth(
        command=command,
        every_seconds=watched.every,
        ok=not overdue and not given_up and (failed is None or failed <= 0.5),
        overdue=overdue,
        given_up=given_up,
        last_pass=_described(records[0]) if records else None,
        last_error=next(errors, None),
        failed_of_last_items=failed,
    )


def _is_overdue(watched: Watched, records: Sequence[RunRecord]) -> bool:
    """Whether no pass came to its end for so long that one must have been missed."""
    ends = [_time(one.ended_at) for one in records if one.exit_code in _CAME_TO_ITS_END and one.ended_at]
    return time.time() - max([watched.since, *ends]) > 2 * watched.every


def _time(moment: str) -> float:
    return datetime.fromisoformat(moment).astimezone(UTC).timestamp()


def _described(record: RunRecord) -> Pass:
    names: dict[str, Any] = {name: getattr(record, name) for name in Pass.model_fields if name != "error"}
    return Pass(**names, error=record.error_code)


# --- the runs ---------------------------------------------------------------------------------------------------------


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {}}}, **responses(401, 403, 500)},
    response_class=Response,
    dependencies=[Depends(as_usual)],
)
def metrics(context: Context) -> Response:
    """Runs, items and seconds by flow, in Prometheus' text format."""
    context.see_what_died()
    return Response(exposition(context.journal), media_type=CONTENT_TYPE_LATEST)


def exposition(journal: Journal) -> bytes:
    """The figures of the journal in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Runs(journal))
    return generate_latest(registry)


class _Runs(Collector):
    def __init__(self, journal: Journal) -> None:
        self._history = RunHistory(journal)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        found, last = self._history.figures(), self._history.latest()
        yield from _kept(found)
        yield from _last(last)


def _kept(found: Iterable[RunFigures]) -> Iterator[GaugeMetricFamily]:
    runs = GaugeMetricFamily("dataflows_runs", "Runs in the journal.", labels=("command", "state"))
    items = GaugeMetricFamily("dataflows_items", "Items of those runs.", labels=("command", "run_state", "state"))
    seconds = GaugeMetricFamily("dataflows_runs_seconds", "What they took together.", labels=("command", "state"))
    for one in found:
        runs.add_metric((one.command, one.state), one.runs)
        seconds.add_metric((one.command, one.state), one.seconds)
        for state, count in one.items.items():
            items.add_metric((one.command, one.state, state), count)
    yield from (runs, items, seconds)


def _last(last: Iterable[Latest]) -> Iterator[GaugeMetricFamily]:
    ended = GaugeMetricFamily(
        "dataflows_last_run_end_timestamp_seconds", "When the latest ended run of a command ended.", labels=("command",)
    )
    code = GaugeMetricFamily("dataflows_last_run_exit_code", "How it ended.", labels=("command",))
    for one in last:
        ended.add_metric((one.command,), one.ended)
        code.add_metric((one.command,), one.exit_code)
    yield from (ended, code)
