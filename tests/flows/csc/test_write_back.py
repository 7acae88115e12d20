"""Writing into a table that is not as one would wish: one row that cannot be written holds up no other."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from dataflows.flows.csc.staging import StagingTable
from dataflows.flows.csc.table import RowUpdate
from dataflows.flows.csc.write_back import RowOutcome, TableWriter
from dataflows.runs.journal import Journal
from dataflows.store import failures
from tests.flows.csc.children import child
from tests.flows.csc.test_job import meanwhile
from tests.flows.csc.world import TABLE, World
from tests.store.sqlserver_errors import SAID

REFUSING = {  # a trigger that refuses the row of one child, with a second statement as SQL Server's tend to have
    "sqlite": [
        f"CREATE TRIGGER refusing BEFORE UPDATE ON {TABLE} WHEN NEW.person_id = 'pSYN3'"
        " AND NEW.submission_status = 'sent' BEGIN SELECT RAISE(ABORT, 'hush'); END"
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.person_id = 'pSYN3'"
        " AND NEW.submission_status = 'sent' THEN RAISE EXCEPTION 'hush'; END IF; RETURN NEW; END $$",
        f"CREATE TRIGGER refusing BEFORE UPDATE ON {TABLE} FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
    "mssql": [
        f"CREATE TRIGGER refusing ON {TABLE} AFTER UPDATE AS BEGIN DECLARE @seen TABLE (id INT);"
        " INSERT INTO @seen SELECT id FROM inserted;"
        " IF EXISTS (SELECT 1 FROM inserted WHERE person_id = 'pSYN3' AND submission_status = 'sent')"
        " THROW 50000, 'hush', 1; END"
    ],
}


def do(world: World, *statements: str) -> None:
    with world.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_a_row_that_a_trigger_refuses_holds_up_no_other(world: World) -> None:
    """The first night sends everybody; the row is owed, and tried again every night, and sent never again."""
    world.stage(*(child(n) for n in range(1, 8)))
    do(world, *REFUSING[world.engine.dialect.name])
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["unwritten"], ran["reloaded"]) == (3, 7, 1, 0)
    assert "hush" not in f"{ran.err} {ran.document}"
    assert "trigger" in ran.err or "column" in ran.err
    assert world.statuses() == ["sent", "sent", "Pending", "sent", "sent", "sent", "sent"]
    for _ in range(2):
        arrived = len(world.requests())
        ran = world.submit()
        assert ran.code == 3
        assert len(world.requests()) == arrived, "what was acknowledged is not sent again"
    (later,) = world.stage(child(9))
    ran = world.submit()
    assert (ran["sent"], world.row(later).submission_status) == (1, "sent")


def test_what_is_written_is_what_was_handed_over(world: World) -> None:
    """Letter for letter, whatever a batch is wrapped in on its way."""
    (row_id,) = world.stage(child(1))
    staging = StagingTable(world.engine, TABLE)
    said, partial = 'no "x" \\ y\n\N{SNOWMAN}', '{"first_name": "Zo\\u00eb \\"A\\""}'
    assert not staging.record(RowOutcome.SENT, [RowUpdate(staging.rows([row_id])[0], said, partial)]).reloaded
    row = world.row(row_id)
    assert (row.api_response, row.partial_json_payload) == (said, partial)


@pytest.fixture
def strict(world: World) -> World:
    """A table whose loader allows no empty previous payload."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite cannot change a column")
    if world.engine.dialect.name == "mssql":  # made anew: not every server of its language knows the ALTER
        made = str(CreateTable(world.table).compile(world.engine))
        column = "previous_json_payload NVARCHAR(max) "
        assert f"{column}NULL" in made
        do(world, f"DROP TABLE {TABLE}", made.replace(f"{column}NULL", f"{column}NOT NULL"))
    world.stage(*(child(n) for n in range(4)), previous_json_payload="{}")
    if world.engine.dialect.name == "postgresql":
        do(world, f"ALTER TABLE {TABLE} ALTER COLUMN previous_json_payload SET NOT NULL")
    return world


def test_a_column_that_takes_no_null_holds_up_no_other_row(strict: World) -> None:
    assert strict.submit().code == 0
    strict.delete(1)
    strict.restage(2, child(1, mis_child_id="m-9"))
    ran = strict.submit()
    assert (ran.code, ran["sent"], ran["unwritten"]) == (3, 2, 1)
    assert strict.row(2).submission_status == "sent"
    ran = strict.submit()
    assert (ran.code, ran["sent"]) == (3, 0)


@pytest.fixture
def narrow(world: World) -> World:
    """A table whose api_response is too short for a receipt."""
    if world.engine.dialect.name == "sqlite":
        pytest.skip("SQLite's lengths have no effect")
    kind = "NVARCHAR(40)" if world.engine.dialect.name == "mssql" else "TYPE VARCHAR(40)"
    do(world, f"ALTER TABLE {TABLE} ALTER COLUMN api_response {kind}")
    return world


def test_receipts_that_do_not_fit_are_told_and_nobody_is_sent_twice(narrow: World) -> None:
    narrow.stage(*(child(n) for n in range(40)))
    ran = narrow.submit()
    assert (ran.code, ran["sent"], ran["unwritten"]) == (3, 40, 40)
    assert "test-schema" in ran.err
    arrived = len(narrow.requests())
    narrow.stage(child(50))
    ran = narrow.submit()
    assert (ran.code, ran["sent"], len(narrow.requests()) - arrived) == (3, 1, 1)


def test_a_table_that_takes_nothing_is_not_asked_for_every_row(narrow: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = narrow.stage(*(child(n) for n in range(150)))
    staging = StagingTable(narrow.engine, TABLE)
    asked = 0
    once = TableWriter._once

    def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return once(*arguments)

    monkeypatch.setattr(TableWriter, "_once", counted)
    written = staging.record(RowOutcome.SENT, [RowUpdate(row, "x" * 63) for row in staging.rows(ids)])
    assert set(written.refused) == set(ids)
    assert asked < 40


def test_a_padded_receipt_is_the_receipt(world: World) -> None:
    """CHAR and NCHAR columns come with blanks."""
    if world.engine.dialect.name != "sqlite":
        kind = "NCHAR(200)" if world.engine.dialect.name == "mssql" else "TYPE CHAR(200)"
        do(world, f"ALTER TABLE {TABLE} ALTER COLUMN api_response {kind}")
    (row_id,) = world.stage(child(1))
    assert world.submit().code == 0
    world.change(row_id, submission_status="Pending", api_response=f"{world.row(row_id).api_response:<200}")
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["unchanged"]) == (0, 0, 1)


# --- the right to write --------------------------------------------------------------------------------------------


@pytest.fixture
def reader(world: World) -> Iterator[str]:
    """The address of an account that may only read."""
    if world.engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no accounts, and logins of a SQL Server are its administrator's")
    do(world, "CREATE ROLE synthetic_loader LOGIN", f"GRANT SELECT ON {TABLE} TO synthetic_loader")
    yield sa.make_url(world.url).set(username="synthetic_loader").render_as_string(hide_password=False)
    do(world, "DROP OWNED BY synthetic_loader", "DROP ROLE synthetic_loader")


def test_who_may_only_read_sends_nothing(world: World, reader: str) -> None:
    world.stage(*(child(n) for n in range(30)))
    ran = world.submit(DB_CONNECTION_STRING=reader)
    assert (ran.code, len(world.requests())) == (12, 0)
    assert "SELECT and UPDATE" in ran.err


def test_the_proof_of_the_right_to_write_changes_nothing(world: World) -> None:
    (row_id,) = world.stage(child(1), submission_status="error", api_response="of somebody's", row_state="Updated")
    before = world.row(row_id)
    StagingTable(world.engine, TABLE).prove_writable(row_id)
    assert world.row(row_id) == before


# --- locks and sessions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [1205, 1222])
def test_a_deadlock_in_the_write_back_costs_another_try(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(failures, "_WAIT", lambda _: 0.0)
    (said,) = [one for one in SAID if one.source == f"sys.messages {number}"]
    once, victims = TableWriter._once, [1, 2]

    def victim(*arguments: Any) -> Any:
        done = once(*arguments)
        if victims:
            victims.pop()
            raise said.kind("UPDATE", None, Exception(said.state, said.text))
        return done

    monkeypatch.setattr(TableWriter, "_once", victim)
    world.stage(*(child(n) for n in range(5)))
    ran = world.submit()
    assert (ran.code, ran["sent"], ran["reloaded"], world.statuses()) == (0, 5, 0, ["sent"] * 5)


def test_a_session_that_is_lost_after_its_commit_is_no_reload(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction is repeated, finds its own work done, and does not take it for the loader's."""
    monkeypatch.setattr(failures, "_WAIT", lambda _: 0.0)
    once = failures._once
    lost: list[bool] = []

    def committed(engine: sa.Engine, work: Any) -> Any:
        done = once(engine, work)
        if "_part" in work.__qualname__ and not lost:
            lost.append(True)
            raise sa.exc.OperationalError(
                "COMMIT", None, Exception("08S01", "[08S01] gone (0) (SQLEndTran)"), connection_invalidated=True
            )
        return done

    monkeypatch.setattr(failures, "_once", committed)
    world.stage(*(child(n) for n in range(5)))
    ran = world.submit()
    assert lost
    assert (ran.code, ran["sent"], ran["reloaded"], world.statuses()) == (0, 5, 0, ["sent"] * 5)


def test_sessions_that_are_cut_in_mid_run_are_replaced(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if world.engine.dialect.name != "postgresql":
        pytest.skip("who may end sessions of a SQL Server is its administrator's matter")
    world.stage(*(child(n) for n in range(60)))

    def cut() -> None:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        do(world, f"{others} AND strpos(application_name, 'dataflows') = 1")

    meanwhile(world, monkeypatch, cut)
    ran = world.submit(BATCH_SIZE="20")
    assert (ran.code, ran["sent"], set(world.statuses())) == (0, 60, {"sent"})


@contextmanager
def commits_once_waited_for(world: World, loader: sa.Connection) -> Iterator[None]:
    """Commit the loader's open transaction as soon as a session of the run waits for it."""
    waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND :loader = ANY(pg_blocking_pids(pid))")
    known = {"loader": loader.exec_driver_sql("SELECT pg_backend_pid()").scalar()}
    over, pause = threading.Event(), 0.01

    def watch() -> None:
        with world.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
            while not session.execute(waits, known).scalar() and not over.wait(pause):
                pass
        loader.commit()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


@pytest.mark.parametrize("readers", ["take the version before", "wait"])
def test_a_loader_whose_transaction_is_open_loses_nothing(world: World, readers: str) -> None:
    """READ COMMITTED with row versions and without: the run sends what it read, and writes over nothing newer."""
    if world.engine.dialect.name != "postgresql":
        pytest.skip("which session waits for which is a question to PostgreSQL")
    first, second = world.stage(child(1), child(2))
    reloaded = child(1, mis_child_id="m-9")
    change = world.table.update().where(world.table.c.id == first).values(json_payload=json.dumps(reloaded))
    with world.engine.connect() as loader:
        loader.execute(change)
        if readers == "wait":
            loader.exec_driver_sql(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE")
        with commits_once_waited_for(world, loader):
            ran = world.submit()
    before = readers != "wait"
    assert (ran.code, ran["sent"], ran["reloaded"]) == (0, 2, int(before))
    assert (world.held(child(1)), world.held(reloaded)) == (before, not before)
    assert world.statuses() == ["Pending" if before else "sent", "sent"]
    assert (world.submit()["sent"], world.held(reloaded)) == (int(before), True)
    assert world.row(second).submission_status == "sent"


def test_rows_are_written_in_ascending_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a loader scans them: else the two can deadlock."""
    ids = world.stage(*(child(n) for n in range(20)))
    seen: list[list[int]] = []
    once = TableWriter._once

    def noted(writer: Any, connection: Any, outcome: Any, part: Any) -> Any:
        seen.append([change.row.id for change in part])
        return once(writer, connection, outcome, part)

    monkeypatch.setattr(TableWriter, "_once", noted)
    assert world.submit().code == 0
    assert sorted(row_id for part in seen for row_id in part) == ids
    assert all(part == sorted(part) for part in seen)


def test_a_loader_waits_for_no_more_than_two_hundred_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part is a transaction of its own: what was written by those before is there for everybody."""
    ids = world.stage(*({"la_child_id": f"SYN{n}"} for n in range(450)))
    staging, seen = StagingTable(world.engine, TABLE), []
    once = TableWriter._once

    def noted(writer: Any, connection: Any, outcome: Any, part: Any) -> Any:
        seen.append((len(part), world.statuses().count("sent") if world.engine.dialect.name != "mssql" else None))
        return once(writer, connection, outcome, part)

    monkeypatch.setattr(TableWriter, "_once", noted)
    staging.record(RowOutcome.SENT, [RowUpdate(row, "receipt") for row in staging.rows(ids)])
    assert [size for size, _ in seen] == [200, 200, 50]
    assert [before for _, before in seen] in ([0, 200, 400], [None] * 3)


def test_unchanged_rows_leave_nothing_in_the_journal(world: World) -> None:
    ids = world.stage(*(child(n) for n in range(10)))
    assert world.submit().code == 0
    for row_id in ids:
        world.change(row_id, submission_status="Pending", row_state="Updated")
    ran = world.submit()
    assert (ran["unchanged"], world.statuses()) == (10, ["sent"] * 10)
    journal = Journal.open(world.folder / "data")
    assert not journal.items(ran["run_id"])
    journal.close()
