"""The scene of `csc-submit`: a night with new children only, then one with everything that can happen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import sqlalchemy as sa

from dataflows.demo.stage import Figures, ResultLine, Shown, Stage, figures_of
from dataflows.errors import ExitCode
from dataflows.flows.csc import job
from dataflows.flows.csc.table import create_table, open_engine, staging_table
from dataflows.runs.runner import Order, Outcome
from dataflows.sandbox.model import normal
from dataflows.sandbox.receiver import LA_CODE
from dataflows.sandbox.synthetic import Object, synthetic_child

FLOW = "csc-submit"
SETTINGS = {"BATCH_SIZE": 10, "HTTP_MAX_WAIT_SECONDS": 0.5, "HTTP_TIMEOUT_SECONDS": 10.0}
WORKERS = 4

# row ids; the 60 children of the first night, then two more in the second
FIRST, NEW = 60, 2
MISTYPED = [3]
UNCHANGED = [11, 12, 13]
GONE = [21, 22]
REOPENED = [31, 32]
UNWANTED = [42]
CHANGED = [*range(40, 42), *range(43, 53)]  # around the unwanted one, so that it shares a request with others

FIRST_NIGHT = (
    Shown("rows", FIRST, "rows read", "staging table in SQLite"),
    Shown("full", FIRST, "sent whole", "all new to the receiver"),
    Shown("requests", FIRST // 10, "requests", "10 children in each"),
)
SECOND_NIGHT = (
    Shown("rows", 21 + NEW, "rows read", "pending or deleted"),
    Shown("full", NEW, "sent whole", "new children"),
    Shown("delta sent", len(CHANGED), "sent as delta", "only what changed"),
    Shown("reset", len(REOPENED), "reset, sent", "a field vanished: purged"),
    Shown("delete", len(GONE), "removed", "deleted by the loader"),
    Shown("unchanged", len(UNCHANGED), "unchanged", "staged again, not sent"),
    Shown("invalid", len(MISTYPED), "invalid", "rule in api_response"),
    Shown("refused", len(UNWANTED), "refused", "its batch went through"),
    # the token (503), the batch that was told to wait (429), the batch whose answer was lost
    Shown("retries", 3, "calls repeated", "503, 429, a lost answer"),
)
# one batch needs three attempts (429, lost, answered), one is refused, then sent without the bad record, which is then
# tried alone; a reset is a purge and what follows it; the deletions
REQUESTS = 3 + 3 + 2 + 1
SENT, FAILED = NEW + len(CHANGED) + len(REOPENED) + len(GONE), len(MISTYPED) + len(UNWANTED)
ALSO: dict[str, int] = {
    **{"items done": SENT, "items failed": FAILED, "items skipped": len(UNCHANGED)},
    **{"delta": len(CHANGED) + len(UNWANTED), "sent": SENT, "failed": FAILED, "new_errors": FAILED},
    # two batches of single requests, one of resets, one of deletions
    **{"batches": 4, "requests": REQUESTS, "most_in_flight": 1},
}
"""Figures of the second night that are not shown."""


@dataclass
class StagedChild:
    """One row: what the table says of a child, what the receiver must hold in the end, and how the row must end."""

    child: Object
    held: Object | None
    status: str = "sent"
    row_state: str = "unchanged"
    response: str = ""  # how api_response must begin; empty: it is the receipt


def run(stage: Stage) -> Iterator[ResultLine]:
    """Send all children; change some and break some calls; send again; compare table and receiver."""
    settings = stage.settings(SETTINGS)
    engine = open_engine(settings, create=True)
    try:
        yield from CscScene(stage, engine).lines()
    finally:
        engine.dispose()


class CscScene:
    """Stages children as an authority's own SQL job does, remembers them by row id, and sends what it staged."""

    def __init__(self, stage: Stage, engine: sa.Engine) -> None:
        self.stage, self.box, self.findings = stage, stage.box, stage.findings
        self.settings = stage.settings(SETTINGS)
        self.engine, self.table = engine, staging_table(self.settings.table_name)
        create_table(engine, self.settings.table_name)
        self.dice = Random(1)  # noqa: S311 - chance that repeats
        self.records: dict[int, StagedChild] = {}

    def lines(self) -> Iterator[ResultLine]:
        """Two nights, and how things stand then."""
        yield from self._first_night()
        yield from self._second_night()
        yield from self._morning()

    def _first_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 1: {FIRST} new children in the staging table")
        self._stage_new(FIRST)
        also = {"items done": FIRST, "sent": FIRST, "delta sent": 0, "batches": FIRST // 10}
        yield from self._submit(WORKERS, ExitCode.OK, FIRST_NIGHT, {**also, "most_in_flight": range(1, WORKERS + 1)})

    def _second_night(self) -> Iterator[ResultLine]:
        self.stage.say(f"{FLOW}, run 2: the loader has changed the table, and three calls will fail")
        self._change_the_table()
        # the next token call gets 503, the next batch 429, the one after is committed but never answered
        unwanted = [str(self.records[row_id].child["la_child_id"]) for row_id in UNWANTED]
        self.box.token.faults.set(error_next=1, error_status=503)
        self.box.receiver.faults.set(error_next=1, error_status=429, retry_after="1", lost_next=1, refuse_ids=unwanted)
        # one request after the other, so that it is known which calls fail
        yield from self._submit(1, ExitCode.SOME_FAILED, SECOND_NIGHT, ALSO)

    def _morning(self) -> Iterator[ResultLine]:
        received, there = self.box.receiver.figures(), self.box.receiver.children
        lost = (received.get("lost", 0), received["overlaps"])
        self.findings.must(f"{FLOW}: answers lost, children under way twice at once", lost, (1, 0))
        held = [self._held(record) for record in self.records.values()]
        self.findings.must(f"{FLOW}: children that the receiver holds", len(there), sum(map(bool, held)))
        right = (there.get(self._key(record)) == one for record, one in zip(self.records.values(), held, strict=True))
        self.findings.right(f"{FLOW}: what the receiver holds of row", *right)
        with self.engine.connect() as connection:
            rows = connection.execute(sa.select(self.table).order_by(self.table.c.id)).all()
        right = (self._is_as_it_must_be(row, self.records[row.id]) for row in rows)
        self.findings.right(f"{FLOW}: row of the table", *right, len(rows) == len(self.records))
        yield ResultLine(FLOW, None, len(there), "children held", "exactly as in the table")

    def _submit(self, workers: int, code: ExitCode, shown: Iterable[Shown], also: Figures) -> Iterator[ResultLine]:
        options = job.Options(workers=workers)
        order = Order(FLOW, job.target(self.settings), job.options_to_json(options), self.settings.data_dir)
        work = job.submit(self.settings, options)
        yield from self.stage.run(FLOW, order, work, code, shown, also, _figures)

    # --- what is there in the end -------------------------------------------------------------------------------------

    def _key(self, record: StagedChild) -> tuple[str, str]:
        return LA_CODE, str(record.child["la_child_id"])

    def _held(self, record: StagedChild) -> Object | None:
        return normal(record.held) if record.held is not None else None

    def _is_as_it_must_be(self, row: sa.Row[Any], record: StagedChild) -> bool:
        said, receipt = row.api_response or "", self.box.receiver.receipt(self._key(record)[1])
        answered = said.startswith(record.response) if record.response else said == receipt
        baseline = json.loads(row.previous_json_payload) if row.previous_json_payload else None
        states = (row.submission_status, row.row_state) == (record.status, record.row_state)
        return answered and states and baseline == record.held

    # --- the authority's loader ---------------------------------------------------------------------------------------

    def _stage_new(self, count: int) -> None:
        for row_id in range(len(self.records) + 1, len(self.records) + count + 1):
            child = synthetic_child(self.dice, row_id)
            if row_id in REOPENED:
                _latest(child).update(closure_date="2026-02-01", closure_reason="RC1")
            self.records[row_id] = StagedChild(child, child)
            self._write(self.table.insert().values(id=row_id, person_id=f"P{row_id}", json_payload=_text(child)))

    def _change_the_table(self) -> None:
        """Everything that the loader may do to the table between two nights."""
        self._stage_new(NEW)
        for record in (*self._restage(CHANGED, _move, _assess, _lose_placement), *self._restage(REOPENED, _reopen)):
            record.held = record.child
        for record in self._restage(MISTYPED, _mistype):
            record.status, record.row_state, record.response = "error", "Updated", "Validation error: child_details.sex"
        for record in self._restage(UNWANTED, _move):
            record.status, record.row_state, record.response = "error", "Updated", "API error (400)"
        for row_id in GONE:  # as with the real loader, their status stays what it is
            self._write(self.table.update().where(self.table.c.id == row_id).values(row_state="Deleted"))
            self.records[row_id].held, self.records[row_id].row_state = None, "Deleted"
        list(self._restage(UNCHANGED, lambda _: None))

    def _restage(self, row_ids: Iterable[int], *changes: Callable[[Object], None]) -> Iterator[StagedChild]:
        """Stage children again, changed by one of ``changes`` in turn."""
        for number, row_id in enumerate(row_ids):
            record = self.records[row_id]
            record.child = copy.deepcopy(record.child)
            changes[number % len(changes)](record.child)
            values = {"json_payload": _text(record.child), "submission_status": "Pending", "row_state": "Updated"}
            self._write(self.table.update().where(self.table.c.id == row_id).values(values))
            yield record

    def _write(self, statement: sa.Insert | sa.Update) -> None:
        with self.engine.begin() as connection:
            connection.execute(statement)


# --- what happens to a child ------------------------------------------------------------------------------------------


def _figures(outcome: Outcome) -> dict[str, int]:
    found = figures_of(outcome)
    return {**found, "delta sent": found.get("delta", 0) - found.get("refused", 0)}


def _text(child: Object) -> str:
    return json.dumps(child, ensure_ascii=False)


def _latest(child: Object) -> Object:
    episode: Object = child["social_care_episodes"][-1]
    return episode


def _move(child: Object) -> None:
    child["child_details"]["postcode"] = "ZZ99 9XX"  # of an area that no address has


def _assess(child: Object) -> None:
    assessment = {"child_and_family_assessment_id": "SYN-CFA-DEMO", "start_date": "2026-03-01", "factors": ["2A"]}
    _latest(child)["child_and_family_assessments"].append(assessment)


def _lose_placement(child: Object) -> None:
    """A placement that was entered by mistake is gone."""
    _latest(child)["child_looked_after_placements"].pop()


def _reopen(child: Object) -> None:
    """The end of the latest episode is taken back: two fields vanish."""
    for name in ("closure_date", "closure_reason"):
        del _latest(child)[name]


def _mistype(child: Object) -> None:
    child["child_details"]["sex"] = "female"  # where one letter is allowed
