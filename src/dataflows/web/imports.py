"""``serve --watch``: the two imports run in the background of the server, pass after pass; and how they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from dataflows.errors import DataflowsError, ExitCode
from dataflows.remote import mail
from dataflows.remote.ping import healthy
from dataflows.runs import trouble
from dataflows.runs.background import watch
from dataflows.runs.history import recent_attempts
from dataflows.runs.journal import RunRecord
from dataflows.runs.pool import Stop
from dataflows.web.answers import Failure, responses
from dataflows.web.desk import IMPORTS, AtDesk, Import, ServerContext, Watched, as_usual

_CAME_TO_ITS_END = (ExitCode.OK, ExitCode.SOME_FAILED, ExitCode.ALL_FAILED)
_LOOKED_AT = 20
"""So many of the last attempts tell whether an import is well; what needed none says nothing."""

log = logging.getLogger("dataflows.web")


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


def start(desk: ServerContext, wished: Mapping[str, float]) -> dict[str, Watched]:
    """Begin to run imports: name to seconds from pass to pass. Returns what the routes tell of."""
    found = {name: Watched(IMPORTS[name], every) for name, every in wished.items()}
    for name, watched in found.items():
        desk.background.do(partial(_loop, desk, watched), f"watch {name}")
    return found


def _loop(desk: ServerContext, watched: Watched, stop: Stop) -> None:
    code = watch(lambda: _one_pass(desk, watched.what), watched.every, stop=stop)
    watched.ended = int(code)
    if code is not ExitCode.INTERRUPTED:
        log.error("%s is not run any more: exit code %d, which waiting does not mend", watched.what.command, code)


def _one_pass(desk: ServerContext, what: Import) -> int:
    settings = desk.settings

    def tell(news: trouble.TroubleNews) -> bool:
        done = mail.post(settings, mail.Message(news.subject, news.text), settings.data_dir)
        return bool(done.sent or done.kept or done.file)

    def one() -> int:
        return healthy(settings, what.command, lambda: _run(desk, what))

    try:
        return trouble.telling(settings.data_dir, what.command, one, tell, patience=trouble.UNREACHABLE_PASSES)
    except DataflowsError as error:
        log.error("%s: %s (%s)", what.command, error.message, error.hint)
        return int(error.exit_code)
    except Exception:
        log.exception("unexpected error in a pass of %s", what.command)
        return int(ExitCode.BUG)


def _run(desk: ServerContext, what: Import) -> int:
    target, kept, job = what.a_pass(desk.settings)
    order, run_log = desk.order(what.command, target, kept)
    return int(desk.background.start(order, job, run_log).ended.result().exit_code)


# --- how they are -----------------------------------------------------------------------------------------------------

router = APIRouter(tags=["watching"], dependencies=[Depends(as_usual)])


@router.get(
    "/health/import",
    response_model=ImportsHealth,
    responses={**responses(401, 403, 500), 503: {"model": ImportsHealth | Failure}},
)
def import_health(desk: AtDesk) -> JSONResponse:
    """Whether the imports of ``serve --watch`` are well: 503 when one is overdue, or when most of its items fail."""
    imports = {name: _health(desk, watched) for name, watched in desk.watched.items()}
    ok = all(one.ok for one in imports.values())
    return JSONResponse(ImportsHealth(ok=ok, imports=imports).model_dump(), 200 if ok else 503)


def _health(desk: ServerContext, watched: Watched) -> ImportHealth:
    command = watched.what.command
    records = desk.journal.runs(command=command, limit=_LOOKED_AT)
    states = recent_attempts(desk.journal, command, _LOOKED_AT)
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
