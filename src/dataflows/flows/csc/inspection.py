"""Why is this child sent (again)? What one row would send, beside what was last acknowledged.

The answer is a child's record: it is for an operator's eyes and goes to a terminal only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

from dataflows.errors import WrongUsage
from dataflows.flows.csc.baseline import reasons
from dataflows.flows.csc.decisions import Contradicted, DeferredRow, InvalidRow, Submission, Superseded, Unchanged
from dataflows.flows.csc.options import Options
from dataflows.flows.csc.schema import parse
from dataflows.flows.csc.workspace import Workspace
from dataflows.runs.journal import Journal

if TYPE_CHECKING:
    from dataflows.settings import Settings


def of_row(settings: Settings, options: Options, row_id: int) -> Iterator[str]:
    """Yield lines of text about one row.

    Raises:
        WrongUsage: there is no such row.
    """
    with ExitStack() as closing:
        journal = Journal.open(settings.data_dir)
        closing.callback(journal.close)
        workspace = Workspace.of(settings, Options(full=options.full), closing)
        workspace.open_journal(journal)
        workspace.names.pending = None
        yield from _explained(workspace, row_id)


def _explained(workspace: Workspace, row_id: int) -> Iterator[str]:
    planner = workspace.planner
    rows = workspace.staging.rows([row_id])
    if not rows:
        raise WrongUsage(
            f"the staging table has no row {row_id}",
            reason="row-unknown",
            hint="row ids are in the id column of the table",
        )
    row = rows[0]
    yield f"row {row.id}: status {row.status}, row state {row.row_state}"
    *former, decision = planner.decide(rows)
    if isinstance(decision, DeferredRow):
        decision = planner.decide_deferred(rows)[0]
    yield from _acknowledged(workspace, row_id, row.previous)
    if former:
        yield "this row named another child before, which is to be purged unless another row names it"
    yield from reasons(planner.basis(row))
    match decision:
        case Submission():
            yield f"would be sent: {decision.sending.value}, {len(decision.requests)} request(s)"
            for number, request in enumerate(decision.requests, 1):
                yield f"--- request {number}"
                yield _readable(request)
        case Unchanged():
            yield "would not be sent: the receiver holds this payload already"
        case Superseded(by=by):
            yield f"would not be sent: superseded by row {by}"
        case InvalidRow(message=message) | Contradicted(message=message):
            yield f"would not be sent: {message}"
        case _:
            pass


def _acknowledged(workspace: Workspace, row_id: int, previous: str | None) -> Iterator[str]:
    known = workspace.acks.of_rows([row_id])
    if not known:
        yield "last acknowledged: nothing from this row"
    for ack in known:
        doubt = ", in doubt" if ack.in_doubt else ""
        reset = ", reset pending" if ack.reset else ""
        yield f"last acknowledged: receipt {ack.receipt}{doubt}{reset}"
    if previous:
        yield "--- previous_json_payload, as the table has it"
        yield _readable(previous)


def _readable(text: str | bytes) -> str:
    try:
        return json.dumps(parse(text), indent=2, ensure_ascii=False)
    except ValueError:
        return "(no valid JSON)"
