"""Updates of the staging table by themselves: a row is written only where it is as it was read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import RowUpdate, create_table
from dataflows.flows.csc.write_back import RowOutcome, TableWriter, Written
from dataflows.store.database import connect

SENT, DELETED, UNCHANGED, ERROR = RowOutcome
LONG_AGO = {"submission_timestamp": sa.text("'2020-01-01 00:00:00'")}


@pytest.fixture
def staging(tmp_path: Path) -> Iterator[StagingTable]:
    engine = connect(f"sqlite:///{tmp_path / 'staging.db'}")
    create_table(engine, "children")
    yield StagingTable(engine, "children")
    engine.dispose()


def fill(staging: StagingTable, rows: int) -> None:
    table = staging.table
    one = {"json_payload": "{}", "current_hash": b"h", "previous_hash": b"g", "previous_json_payload": "old"}
    with staging.engine.begin() as connection:
        connection.execute(table.insert(), [{**one, "id": number, "row_state": "Updated"} for number in range(rows)])
        connection.execute(table.update().values(LONG_AGO))


def change(staging: StagingTable, row_id: int, **values: Any) -> None:
    with staging.engine.begin() as connection:
        connection.execute(staging.table.update().where(staging.table.c.id == row_id).values(**values))


def shown(staging: StagingTable, row_id: int = 0) -> Any:
    with staging.engine.connect() as connection:
        return connection.execute(staging.table.select().where(staging.table.c.id == row_id)).one()


def updates(staging: StagingTable, rows: int) -> list[RowUpdate]:
    return [RowUpdate(row, f"receipt {row.id}", "part") for row in staging.rows(range(rows))]


def test_each_outcome_sets_its_columns_and_no_other(staging: StagingTable) -> None:
    fill(staging, 4)
    found = {}
    for outcome, update in zip(RowOutcome, sorted(updates(staging, 4)), strict=True):
        assert staging.record(outcome, [update]) == Written()
        row = shown(staging, update.row.id)
        assert row.api_response == f"receipt {row.id}"
        found[outcome] = (
            row.submission_status, row.row_state, row.previous_json_payload, row.previous_hash,
            row.partial_json_payload, row.submission_timestamp.year > 2020,
        )  # fmt: skip
    assert found == {
        SENT: ("sent", "unchanged", "{}", b"h", "part", True),
        DELETED: ("sent", "Updated", None, None, None, True),
        UNCHANGED: ("sent", "unchanged", "old", b"h", None, False),
        ERROR: ("error", "Updated", "old", b"g", None, False),
    }


@pytest.mark.parametrize(
    "reloaded",
    [{"json_payload": '{"a":1}'}, {"submission_status": "pending"}, {"row_state": "New"}, {"row_state": None}],
    ids=lambda values: next(iter(values)),
)
@pytest.mark.parametrize("outcome", RowOutcome)
def test_a_row_that_was_reloaded_stays_as_its_loader_left_it(
    staging: StagingTable, outcome: RowOutcome, reloaded: dict[str, Any]
) -> None:
    fill(staging, 3)
    read = updates(staging, 3)
    change(staging, 1, **reloaded)
    before = shown(staging, 1)
    assert staging.record(outcome, read) == Written(reloaded={1})
    assert shown(staging, 1) == before
    assert [shown(staging, one).submission_status for one in (0, 2)] == [outcome.status] * 2


@pytest.mark.parametrize(("response", "is_reload"), [("receipt 0", False), ("receipt 0 ", False), ("other", True)])
def test_what_the_row_shows_already_is_no_reload(staging: StagingTable, response: str, is_reload: bool) -> None:
    """As after a transaction whose session was lost at its end; blanks are those of a CHAR column."""
    fill(staging, 1)
    read = updates(staging, 1)
    change(staging, 0, submission_status="SENT ", api_response=response)
    assert staging.record(SENT, read) == Written(reloaded={0} if is_reload else set())
    assert staging.record(ERROR, read) == Written(reloaded={0}), "another outcome is not shown"


def test_an_answer_of_nothing_is_shown_by_nothing(staging: StagingTable) -> None:
    fill(staging, 1)
    read = [RowUpdate(row) for row in staging.rows([0])]
    change(staging, 0, submission_status="sent", api_response=None)
    assert staging.record(SENT, read) == Written()
    change(staging, 0, submission_status=None)
    assert staging.record(SENT, read) == Written(reloaded={0})


def test_what_was_written_is_not_asked_for_again(staging: StagingTable) -> None:
    """A receipt that ends in a blank would not be found again: CHAR columns are read without theirs."""
    fill(staging, 1)
    assert staging.record(SENT, [RowUpdate(row, "receipt ") for row in staging.rows([0])]) == Written()


def test_no_payload_is_an_empty_one(staging: StagingTable) -> None:
    fill(staging, 1)
    change(staging, 0, json_payload="")
    assert staging.record(SENT, [RowUpdate(row._replace(payload=None)) for row in staging.rows([0])]) == Written()
    assert shown(staging).submission_status == "sent"


def test_words_that_are_missing_are_empty_ones(staging: StagingTable) -> None:
    fill(staging, 1)
    change(staging, 0, submission_status=None, row_state=None)
    assert staging.record(SENT, updates(staging, 1)) == Written()


def test_a_row_that_is_gone_counts_as_reloaded(staging: StagingTable) -> None:
    fill(staging, 2)
    read = updates(staging, 2)
    with staging.engine.begin() as connection:
        connection.execute(staging.table.delete().where(staging.table.c.id == 1))
    assert staging.record(SENT, read) == Written(reloaded={1})
    assert shown(staging).submission_status == "sent"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The rows of each transaction, in their order."""
    parts: list[list[int]] = []
    once: Callable[..., set[int]] = TableWriter._once

    def noted(writer: TableWriter, connection: sa.Connection, outcome: RowOutcome, part: list[RowUpdate]) -> set[int]:
        parts.append([one.row.id for one in part])
        return once(writer, connection, outcome, part)

    monkeypatch.setattr(TableWriter, "_once", noted)
    return parts


def refuse(staging: StagingTable, condition: str) -> None:
    with staging.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER refusing BEFORE UPDATE ON children WHEN {condition} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )


def test_a_row_that_is_refused_holds_up_no_other(staging: StagingTable, tried: list[list[int]]) -> None:
    fill(staging, 8)
    read = updates(staging, 8)
    refuse(staging, "NEW.id IN (2, 3)")
    written = staging.record(SENT, read)
    assert (sorted(written.refused), written.reloaded) == ([2, 3], set())
    assert [shown(staging, one).submission_status for one in (1, 2, 3, 4)] == ["sent", "Pending", "Pending", "sent"]
    assert tried == [[*range(8)], [0, 1, 2, 3], [0, 1], [2, 3], [2], [3], [4, 5, 6, 7]]


def test_where_ten_rows_are_refused_and_none_is_taken_the_others_are_not_tried(
    staging: StagingTable, tried: list[list[int]]
) -> None:
    fill(staging, 64)
    read = updates(staging, 64)
    refuse(staging, "NEW.submission_status = 'sent'")
    assert sorted(staging.record(SENT, read).refused) == [*range(64)]
    assert [part for part in tried if len(part) == 1] == [[one] for one in range(10)]
    assert staging.record(ERROR, read) == Written(), "another outcome is taken"
    tried.clear()
    refuse_all = staging.record(SENT, updates(staging, 2))
    assert (sorted(refuse_all.refused), tried) == ([0, 1], [[0, 1]]), "a later part is tried once, and no row of it"


def test_where_one_row_was_taken_every_other_is_tried(staging: StagingTable, tried: list[list[int]]) -> None:
    fill(staging, 32)
    read = updates(staging, 32)
    refuse(staging, "NEW.id > 0")
    assert sorted(staging.record(SENT, read).refused) == [*range(1, 32)]
    assert sum(len(part) == 1 for part in tried) == 32


def test_parts_are_of_two_hundred_rows_in_ascending_order(staging: StagingTable, tried: list[list[int]]) -> None:
    fill(staging, 401)
    staging.record(SENT, updates(staging, 401))
    assert tried == [[*range(200)], [*range(200, 400)], [400]]


def test_the_proof_changes_nothing_and_a_refused_row_proves_nothing(staging: StagingTable) -> None:
    fill(staging, 1)
    before = shown(staging)
    staging.prove_writable(0)
    refuse(staging, "1")
    staging.prove_writable(0)
    assert shown(staging) == before
    staging.table.drop(staging.engine)
    with pytest.raises(DataflowsError):
        staging.prove_writable(0)
