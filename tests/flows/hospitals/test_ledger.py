"""What the journal says of creates when their process is gone: never less than may be true."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataflows.errors import AlreadyRunning
from dataflows.flows.hospitals.batch import Batch
from dataflows.flows.hospitals.batch_rows import BatchPolicy, SettleTime
from dataflows.flows.hospitals.ledger import BatchStore
from dataflows.flows.hospitals.records import Created, Unknown
from dataflows.flows.hospitals.rows import COMMAND, BatchEntry, Hospital, HospitalRow, State
from dataflows.flows.hospitals.uploads import Upload, UploadStore
from dataflows.runs.journal import RESUMABLE, Journal
from dataflows.runs.lock import only_one

ROWS = [HospitalRow(number, Hospital(f"Clinic {number}", "1 Road", None)) for number in (1, 2, 3)]
POLICY = BatchPolicy(SettleTime(30.0), 2.0)
UPLOAD = Upload("key", 0, "/file.csv", "rows", 20, '[[["batch",[0,1,2]]],[]]')
NEVER = float("-inf")


@pytest.fixture
def ledger(journal: Journal, tmp_path: Path) -> BatchStore:
    return BatchStore(journal, tmp_path)


@pytest.fixture
def uploads(journal: Journal, tmp_path: Path) -> UploadStore:
    return UploadStore(journal, tmp_path)


def batch() -> Batch:
    return Batch("batch", [BatchEntry(row) for row in ROWS], POLICY)


def sent(ledger: BatchStore) -> Batch:
    """Three creates: one was answered, one is given up, one is under way; all of it is committed."""
    ours = batch()
    ours.on_look([], 0.0, 0.0)
    asks = list(ours.creates(3))
    now = time.monotonic()
    ours.on_created(asks[0], Created(7, 0.5), now)
    ours.on_created(asks[1], Unknown("no_answer"), now - 10)
    ledger.note(ours)
    ledger.flush()
    return ours


def recalled(ledger: BatchStore) -> list[BatchEntry]:
    again = batch()
    ledger.fill([again])
    return again.entries


def test_what_was_under_way_is_unknown_and_as_young_as_can_be(ledger: BatchStore) -> None:
    sent(ledger)
    before = time.monotonic()
    created, given_up, under_way = recalled(ledger)
    assert (created.state, created.hospital_id, created.unanswered) == (State.CREATED, 7, 0)
    assert (given_up.state, given_up.unanswered) == (State.UNKNOWN, 1)
    assert 9 < before - given_up.given_up < 60
    assert (under_way.state, under_way.unanswered) == (State.UNKNOWN, 1)
    assert under_way.given_up >= before


def test_after_a_restart_of_the_machine_a_create_is_at_least_as_old_as_that(
    ledger: BatchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent(ledger)
    monkeypatch.setattr(time, "monotonic", lambda: 3.0)
    assert recalled(ledger)[1].given_up == 0.0


def test_another_machines_clock_proves_nothing(ledger: BatchStore, journal: Journal, tmp_path: Path) -> None:
    sent(ledger)
    elsewhere = BatchStore(journal, tmp_path)
    elsewhere.host = "elsewhere"
    before = time.monotonic()
    assert recalled(elsewhere)[1].given_up >= before


def test_a_lost_history_is_remembered_by_later_runs(ledger: BatchStore, uploads: UploadStore, journal: Journal) -> None:
    for kept_before in (True, False):
        run_id = journal.start(COMMAND, "key", options={})
        suspect = uploads.introduce("key", kept_before=kept_before)
        uploads.begin(run_id, UPLOAD, ["batch"], suspect, "batch")
    again = batch()
    ledger.fill([again])
    assert time.monotonic() - again.foreign_since < 60


def test_a_content_that_is_new_has_no_history_to_lose(
    ledger: BatchStore, uploads: UploadStore, journal: Journal
) -> None:
    assert [uploads.introduce("key", kept_before=before) for before in (False, True)] == [NEVER, NEVER]
    uploads.begin(journal.start(COMMAND, "key", options={}), UPLOAD, ["batch"], NEVER, "batch")
    again = batch()
    ledger.fill([again])
    assert again.foreign_since == NEVER


def test_a_living_run_keeps_its_batches(uploads: UploadStore, journal: Journal, tmp_path: Path) -> None:
    first, second = (journal.start(COMMAND, target, options={}) for target in ("one file", "another"))
    uploads.begin(first, UPLOAD, ["batch"], NEVER, "batch")
    other = UPLOAD._replace(key="other")
    with only_one(tmp_path, COMMAND, "one file"), pytest.raises(AlreadyRunning, match=first[:8]):
        uploads.begin(second, other, ["batch"], NEVER, "batch")
    uploads.begin(second, other, ["batch"], NEVER, "batch")


def unfinished(uploads: UploadStore, journal: Journal, target: str = "key") -> str:
    run_id = journal.start(COMMAND, target, options={})
    uploads.begin(run_id, UPLOAD, ["batch"], NEVER, "batch")
    journal.set_state(run_id, RESUMABLE)
    return run_id


def test_leftovers_are_found_by_the_file_and_by_the_rows(uploads: UploadStore, journal: Journal) -> None:
    run_id = unfinished(uploads, journal)
    names = (("/file.csv", ["x"]), ("/x.csv", ["y", "rows"]), ("/x.csv", ["x"]))
    found = [uploads.leftovers(path, rows) for path, rows in names]
    assert [[left.run_id for left in lefts] for lefts in found] == [[run_id], [run_id], []]


def test_a_run_goes_on_with_the_plan_of_the_one_before(uploads: UploadStore, journal: Journal) -> None:
    run_id = unfinished(uploads, journal)
    mine = journal.start(COMMAND, "other name", options={})
    assert uploads.unfinished(mine, ["x", "rows"], 20, again=False) == (run_id, UPLOAD)
    assert uploads.unfinished(mine, ["rows"], 19, again=False) is None
    assert uploads.unfinished(mine, ["rows"], 20, again=True) is None
    assert uploads.plan(UPLOAD).batches == [("batch", [0, 1, 2])]
    uploads.take_over(mine, run_id)
    record = journal.find(run_id)
    assert (record.state, record.continued_by) == ("partial", mine)


def test_what_belongs_to_pruned_runs_is_forgotten(ledger: BatchStore, uploads: UploadStore, journal: Journal) -> None:
    uploads.introduce("key", kept_before=False)
    unfinished(uploads, journal)
    sent(ledger)
    assert uploads.sweep() == {"key"}
    with journal.transaction() as db:
        db.execute("DELETE FROM runs")
    assert uploads.sweep() == set()
    assert [entry.state for entry in recalled(ledger)] == [State.PENDING] * 3
    assert time.monotonic() - uploads.introduce("key", kept_before=True) < 60
