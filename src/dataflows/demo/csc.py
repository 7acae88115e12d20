"""The scene of `csc-submit`: a night with new children only, then one with everything that can happen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dataflows.demo import authority as events
from dataflows.demo.authority import Authority, StagedChild
from dataflows.demo.stage import Figure, ResultLine, Stage
from dataflows.errors import ExitCode
from dataflows.flows.csc import job
from dataflows.flows.csc.table import open_engine
from dataflows.runs.runner import Order, Outcome
from dataflows.sandbox.model import normal
from dataflows.sandbox.receiver import LA_CODE
from dataflows.sandbox.server import Sandbox
from dataflows.settings import Settings

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

FIRST_NIGHT: dict[str, Figure] = {
    "rows": FIRST,
    "full": FIRST,
    "sent": FIRST,
    "batches": FIRST // 10,
    "requests": FIRST // 10,
    "most_in_flight": range(1, WORKERS + 1),
}
SECOND_NIGHT: dict[str, Figure] = {
    "rows": sum(map(len, (MISTYPED, UNCHANGED, GONE, REOPENED, UNWANTED, CHANGED))) + NEW,
    "full": NEW,
    "delta": len(CHANGED) + len(UNWANTED),
    "reset": len(REOPENED),
    "delete": len(GONE),
    "unchanged": len(UNCHANGED),
    "invalid": len(MISTYPED),
    "sent": NEW + len(CHANGED) + len(REOPENED) + len(GONE),
    "refused": len(UNWANTED),
    "failed": len(MISTYPED) + len(UNWANTED),
    "new_errors": len(MISTYPED) + len(UNWANTED),
    "batches": 4,  # two of single requests, one of resets, one of deletions
    # one batch needs three attempts (429, lost, answered), one is refused, then sent without the bad record, which is
    # then tried alone; a reset is a purge and what follows it; the deletions
    "requests": 3 + 3 + 2 + 1,
    "retries": 3,  # the token (503), the batch that was told to wait (429), the batch whose answer was lost
    "most_in_flight": 1,
}
_ENDS = {"done": "sent", "failed": "failed", "skipped": "unchanged"}  # counts of a run that are figures of its report


def play(stage: Stage) -> Iterator[ResultLine]:
    """Send all children; change some and break some calls; send again; compare table and receiver."""
    settings = stage.settings(SETTINGS)
    engine = open_engine(settings, create=True)
    try:
        home = Authority(engine, settings.table_name, seed=1)
        yield from _first_night(stage, settings, home)
        yield from _second_night(stage, settings, home)
        yield from _morning(stage, home)
    finally:
        engine.dispose()


def _first_night(stage: Stage, settings: Settings, home: Authority) -> Iterator[ResultLine]:
    stage.say(f"{FLOW}, run 1: {FIRST} new children in the staging table")
    home.take_in(FIRST, dict.fromkeys(REOPENED, events.is_closed))
    outcome = _submit(stage, settings, WORKERS)
    stage.judge(f"{FLOW}, run 1", outcome, ExitCode.OK, {"done": FIRST}, FIRST_NIGHT)
    count = _counts(outcome)
    yield ResultLine(FLOW, 1, count["rows"], "rows read", "staging table in SQLite", round(outcome.seconds, 3))
    yield ResultLine(FLOW, 1, count["full"], "sent whole", "all new to the receiver")
    yield ResultLine(FLOW, 1, count["requests"], "requests", f"{SETTINGS['BATCH_SIZE']} children in each")


def _second_night(stage: Stage, settings: Settings, home: Authority) -> Iterator[ResultLine]:
    stage.say(f"{FLOW}, run 2: the loader has changed the table, and three calls will fail")
    _change(home)
    _break(stage.box, home)
    outcome = _submit(stage, settings, workers=1)  # one after the other, so that it is known which calls fail
    ended = {name: SECOND_NIGHT[figure] for name, figure in _ENDS.items()}
    stage.judge(f"{FLOW}, run 2", outcome, ExitCode.SOME_FAILED, ended, SECOND_NIGHT)
    _judge_faults(stage)
    count = _counts(outcome)
    yield ResultLine(FLOW, 2, count["rows"], "rows read", "pending or deleted", round(outcome.seconds, 3))
    yield ResultLine(FLOW, 2, count["full"], "sent whole", "new children")
    yield ResultLine(FLOW, 2, count["delta"] - count["refused"], "sent as delta", "only what changed")
    yield ResultLine(FLOW, 2, count["reset"], "reset, sent", "a field vanished: purged")
    yield ResultLine(FLOW, 2, count["delete"], "removed", "deleted by the loader")
    yield ResultLine(FLOW, 2, count["unchanged"], "unchanged", "staged again, not sent")
    yield ResultLine(FLOW, 2, count["invalid"], "invalid", "rule in api_response")
    yield ResultLine(FLOW, 2, count["refused"], "refused", "its batch went through")
    yield ResultLine(FLOW, 2, count["retries"], "calls repeated", "503, 429, a lost answer")


def _morning(stage: Stage, home: Authority) -> Iterator[ResultLine]:
    _judge_receiver(stage, home)
    _judge_table(stage, home)
    yield ResultLine(FLOW, None, len(stage.box.receiver.children), "children held", "exactly as in the table")


def _submit(stage: Stage, settings: Settings, workers: int) -> Outcome:
    options = job.Options(workers=workers)
    order = Order(FLOW, job.target(settings), job.options_to_json(options), settings.data_dir)
    return stage.run(order, job.submit(settings, options))


def _counts(outcome: Outcome) -> Counter[str]:
    return Counter({name: value for name, value in outcome.report.items() if isinstance(value, int)})


def _change(home: Authority) -> None:
    """Everything that the loader may do to the table between two nights."""
    home.take_in(NEW)
    for record in home.restage(CHANGED, events.moves_house, events.is_assessed, events.loses_placement):
        record.held, record.partly = record.child, True
    for record in home.restage(REOPENED, events.is_reopened):
        record.held, record.partly = record.child, True
    for record in home.restage(MISTYPED, events.is_mistyped):
        record.status, record.row_state, record.response = "error", "Updated", "Validation error: child_details.sex"
    for record in home.restage(UNWANTED, events.moves_house):
        record.status, record.row_state, record.response = "error", "Updated", "API error (400)"
    for record in home.delete(GONE):
        record.held, record.row_state = None, "Deleted"
    for _ in home.restage(UNCHANGED):
        pass


def _break(box: Sandbox, home: Authority) -> None:
    """The next token call gets 503, the next batch 429, the one after is committed but never answered."""
    box.token.faults.set(error_next=1, error_status=503)
    unwanted = [home.records[row_id].name for row_id in UNWANTED]
    box.receiver.faults.set(error_next=1, error_status=429, retry_after="1", lost_next=1, refuse_ids=unwanted)


def _judge_faults(stage: Stage) -> None:
    token, receiver = stage.box.token.figures(), stage.box.receiver.figures()
    stage.findings.must(f"{FLOW}: token calls answered 503", token.get("status_503", 0), 1)
    stage.findings.must(f"{FLOW}: batches answered 429", receiver.get("status_429", 0), 1)
    stage.findings.must(f"{FLOW}: answers lost after the commit", receiver.get("lost", 0), 1)
    stage.findings.must(f"{FLOW}: children under way twice at once", receiver["overlaps"], 0)


def _judge_receiver(stage: Stage, home: Authority) -> None:
    there = stage.box.receiver.children
    held = [record for record in home.records.values() if record.held is not None]
    stage.findings.must(f"{FLOW}: children that the receiver holds", len(there), len(held))
    for row_id, record in home.records.items():
        wanted = normal(record.held) if record.held is not None else None
        found = there.get((LA_CODE, record.name))
        stage.findings.right(f"{FLOW}: what the receiver holds of row {row_id}", found == wanted)


def _judge_table(stage: Stage, home: Authority) -> None:
    rows = home.rows()
    stage.findings.must(f"{FLOW}: rows of the table", len(rows), FIRST + NEW)
    for row_id, record in home.records.items():
        row, name = rows[row_id], f"of row {row_id}"
        receipt = stage.box.receiver.receipt(record.name)
        stage.findings.must(f"{FLOW}: submission_status {name}", row.submission_status, record.status)
        stage.findings.must(f"{FLOW}: row_state {name}", row.row_state, record.row_state)
        stage.findings.right(f"{FLOW}: json_payload {name}", _read(row.json_payload) == record.child)
        stage.findings.right(f"{FLOW}: previous_json_payload {name}", _read(row.previous_json_payload) == record.held)
        stage.findings.right(f"{FLOW}: partial_json_payload {name}", _partial(row) is record.partly)
        stage.findings.right(f"{FLOW}: api_response {name}", _answered(row, record, receipt))


def _read(text: str | None) -> Any:
    return json.loads(text) if text else None


def _partial(row: Any) -> bool:
    text: str | None = row.partial_json_payload
    return text is not None and len(text) < len(row.json_payload)


def _answered(row: Any, record: StagedChild, receipt: str | None) -> bool:
    said = row.api_response or ""
    return said.startswith(record.response) if record.response else said == receipt
