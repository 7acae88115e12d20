"""Why is this child sent (again)? What one row would send, beside what was last acknowledged.

The answer is a child's record: it is for an operator's eyes and goes to a terminal only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dataflows.errors import WrongUsage
from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.decisions import (
    Contradicted,
    DeferredRow,
    InvalidRow,
    ResetRule,
    Rules,
    Submission,
    Superseded,
    Unchanged,
)
from dataflows.flows.csc.delta import settled
from dataflows.flows.csc.names import NamedRows
from dataflows.flows.csc.ownership import seal_of
from dataflows.flows.csc.planning import Basis, Planner
from dataflows.flows.csc.reading import shows_it_was_sent
from dataflows.flows.csc.schema import ObjectKind, load_schema, parse
from dataflows.flows.csc.skeleton import ObjectSkeleton, loses_a_field
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import StagedRow, open_engine
from dataflows.runs.journal import Journal

if TYPE_CHECKING:
    from dataflows.flows.csc.job import Options
    from dataflows.settings import Settings


def reasons(basis: Basis) -> Iterator[str]:
    """Yield lines that say what is known, and what differs from that; ids of objects are in them, no other value."""
    yield from _known(basis)
    if basis.baseline is None or basis.reading.goes or basis.reading.payload is None:
        return
    now = basis.baseline.now(settled(basis.reading.payload, basis.baseline.kind))
    yield from _differences(basis.baseline.kind, basis.baseline.child, now.child, "") or ["nothing changed"]


def _known(basis: Basis) -> Iterator[str]:
    ack, row = basis.ack, basis.reading.row
    if ack is None or ack.knows_nothing:
        yield "the journal knows nothing of this child"
        if shows_it_was_sent(row) and not basis.trusted:
            yield "the row shows that it was sent before, by another machine or tool, or before the journal was lost"
        return
    if ack.in_doubt is not None:
        yield "an earlier request for this child was never answered, so it is not sure that it arrived"
    if ack.reset is not None:
        yield "a purge was begun for this child, and what has to follow it was not acknowledged yet"
    if ack.purged:
        yield "the API acknowledged that this child was purged"
    elif not basis.trusted:
        yield "the row shows a receipt that this journal did not write: another machine sent it, nobody knows what"
    elif ack.holds and basis.baseline is None:
        yield "what the API holds is not known in detail: an earlier version sent it, and the table does not show it"


def _differences(kind: ObjectKind, before: ObjectSkeleton, now: ObjectSkeleton, path: str) -> list[str]:
    found: list[str] = []
    where = path or "the child itself"
    if loses_a_field(before, now, kind):
        found.append(f"{where}: a field vanished, which only a purge of it can convey")
    elif before.digest != now.digest:
        found.append(f"{where}: changed")
    for name, below in kind.single.items():
        found += _pair(below, before.single.get(name), now.single.get(name), f"{path}.{name}".lstrip("."))
    for name, below in kind.listed.items():
        old, new = before.listed.get(name, {}), now.listed.get(name, {})
        for one in (*new, *(gone for gone in old if gone not in new)):
            found += _pair(below, old.get(one), new.get(one), f"{path}.{name}[{one}]".lstrip("."))
    return found


def _pair(kind: ObjectKind, before: ObjectSkeleton | None, now: ObjectSkeleton | None, path: str) -> list[str]:
    if before is None:
        return [f"{path}: is new"] if now is not None else []
    return _differences(kind, before, now, path) if now is not None else [f"{path}: vanished"]


def of_row(settings: Settings, options: Options, row_id: int) -> Iterator[str]:
    """Yield lines of text about one row.

    Raises:
        WrongUsage: there is no such row.
    """
    from dataflows.flows.csc.job import place_of

    journal = Journal.open(settings.data_dir)
    engine = None
    try:
        engine = open_engine(settings)
        staging = StagingTable(engine, settings.table_name)
        place = place_of(settings, staging)
        acks = Acknowledgements(journal, seal_of(settings.data_dir, journal), place, load_schema(settings.csc_schema))
        rules = Rules(full=options.full, reset=ResetRule(settings.csc_reset))
        names = NamedRows(staging, journal, engine, acks.schema)
        names.pending = None
        yield from _told(staging, acks, Planner(staging, acks, names, rules), row_id)
    finally:
        if engine is not None:
            engine.dispose()
        journal.close()


def _told(staging: StagingTable, acks: Acknowledgements, planner: Planner, row_id: int) -> Iterator[str]:
    rows = staging.rows([row_id])
    if not rows:
        raise WrongUsage(f"the staging table has no row {row_id}", hint="the id column of the table tells the row ids")
    row = rows[0]
    yield f"row {row.id}: status {row.status}, row state {row.row_state}"
    *former, decision = planner.decide(rows)
    if isinstance(decision, DeferredRow):
        decision = planner.decide_deferred(rows)[0]
    yield from _acknowledged(acks, row)
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


def _acknowledged(acks: Acknowledgements, row: StagedRow) -> Iterator[str]:
    known = acks.of_rows([row.id])
    if not known:
        yield "last acknowledged: nothing from this row"
    for ack in known:
        doubt = ", in doubt" if ack.in_doubt else ""
        reset = ", reset pending" if ack.reset else ""
        yield f"last acknowledged: receipt {ack.receipt}{doubt}{reset}"
    if row.previous:
        yield "--- previous_json_payload, as the table has it"
        yield _readable(row.previous)


def _readable(text: str | bytes) -> str:
    try:
        return json.dumps(parse(text), indent=2, ensure_ascii=False)
    except ValueError:
        return "(no valid JSON)"
