from __future__ import annotations

import itertools

import pytest
import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.flows.csc.indexes import CHILD, missing, offered
from dataflows.flows.csc.staging import StagingTable, _row
from dataflows.flows.csc.table import staging_table
from dataflows.store.database import identity
from tests.flows.csc.world import TABLE, World

ODBC = "Driver={ODBC Driver 18 for SQL Server};Server=tcp:SQL01.example.org,1433;Database=SSD;UID=loader;PWD={a;b}"


def raw(text: str) -> sa.URL:
    """What the engine factory makes of a raw ODBC string, without the driver."""
    return sa.URL.create("mssql+pyodbc", query={"odbc_connect": text})


@pytest.mark.parametrize(
    "other",
    [
        ODBC.replace("18", "17"),
        ODBC.replace("{a;b}", "new"),
        ODBC.replace("Server=tcp:", "server = ").replace("SSD", "{ssd}"),
    ],
)
def test_account_password_driver_and_spelling_do_not_make_another_database(other: str) -> None:
    assert identity(raw(other)) == identity(raw(ODBC)) == "mssql://sql01.example.org,1433:/ssd"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (ODBC, ODBC.replace("SQL01", "SQL02")),
        (ODBC, ODBC.replace("Database=SSD", "Database=SSD_TEST")),
        ("DSN=one", "DSN=two"),
    ],
)
def test_another_server_or_database_is_another_one(one: str, two: str) -> None:
    assert identity(raw(one)) != identity(raw(two))


def test_no_password_is_in_it() -> None:
    urls = [raw(ODBC), sa.make_url("postgresql+psycopg://me:hidden@db.example.org/ssd")]
    assert not any(word in identity(url) for url in urls for word in ("hidden", "a;b", "loader", "me:"))


def test_what_the_engine_shows_is_enough_to_tell_databases_apart() -> None:
    pytest.importorskip("pyodbc", exc_type=ImportError)
    from dataflows.store.database import connect

    assert identity(connect(ODBC).url) == identity(raw(ODBC))


def test_a_relative_sqlite_path_is_told_apart_by_where_it_is() -> None:
    assert identity(sa.make_url("sqlite:///staging.db")) != "sqlite://staging.db"


@pytest.mark.parametrize(
    "name", ["t", "dbo.t", "db.dbo.t", "[dbo].[t]", "db..t", "[my db]..[t]", "ssd_api_data_staging_anon"]
)
def test_table_names(name: str) -> None:
    table = staging_table(name)
    assert table.name in ("t", "ssd_api_data_staging_anon")


@pytest.mark.parametrize("name", ["", "a.b.c.d", "t; DROP TABLE x", "a b", ".t", "t.", "a..b.c", "[a]]b]"])
def test_what_is_no_table_name_is_refused(name: str) -> None:
    with pytest.raises(SettingUnusable, match="TABLE_NAME"):
        staging_table(name)


# --- what is waiting ------------------------------------------------------------------------------------------------

STATUSES = [
    None,
    "",
    "Pending",
    "pending",
    "PENDING",
    " pEnding ",
    "error",
    "ERROR",
    "sent",
    "Sent",
    "Held",
    "Pendingly",
]
STATES = [None, "New", "Updated", "Deleted", "deleted", " DELETED ", "Unchanged"]


def is_waiting(status: str | None, state: str | None, *, retry_errors: bool) -> bool:
    statuses = ("pending", "error") if retry_errors else ("pending",)
    return (status or "").strip().lower() in statuses or (state or "").strip().lower() == "deleted"


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("retry_errors", [False, True])
def test_what_is_waiting_is_found_however_it_is_spelled(world: World, indexed: bool, retry_errors: bool) -> None:
    words = list(itertools.product(STATUSES, STATES))
    ids = [
        world.stage({"la_child_id": f"SYN{n}"}, submission_status=status, row_state=state)[0]
        for n, (status, state) in enumerate(words)
    ]
    staging = StagingTable(world.engine, TABLE)
    if indexed:
        with world.engine.begin() as connection:
            script = next(one.script for one in offered(world.engine, staging.table) if one.name == "states")
            connection.exec_driver_sql(script)
    assert ("states" in staging.indexes) is indexed
    wanted = [row_id for row_id, pair in zip(ids, words, strict=True) if is_waiting(*pair, retry_errors=retry_errors)]
    assert list(staging.waiting(retry_errors=retry_errors)) == sorted(wanted, reverse=True)


def test_the_offered_indexes_can_be_made_and_are_then_found(world: World) -> None:
    table = staging_table(TABLE)
    world.stage({"la_child_id": "SYN1"}, '{"la_child_id": "SYN2', "", '["\\u0000"]')  # unreadable JSON does no harm
    while there := missing(world.engine, table):
        with world.engine.begin() as connection:
            for statement in there[0].script.split("; "):
                connection.exec_driver_sql(statement)
    world.stage("no JSON", {"la_child_id": "SYN3"})


NAMESAKES = {  # what somebody may have made for another purpose, or an earlier version for this one
    "sqlite": [f"CREATE INDEX ix_{TABLE}_child ON {TABLE} (lower(json_payload))"],
    "postgresql": [f"CREATE INDEX ix_{TABLE}_child ON {TABLE} (lower(json_payload), id)"],
    "mssql": [
        f"ALTER TABLE {TABLE} ADD child_key AS CAST(LOWER(person_id) AS NVARCHAR(64))",
        f"CREATE INDEX ix_{TABLE}_child ON {TABLE} (child_key)",
    ],
}


def test_a_namesake_of_the_index_over_another_expression_is_not_used(world: World) -> None:
    """It would narrow to other rows: the newer row, which speaks for the child, would not be found."""
    old, new = world.stage({"la_child_id": "SYN1"}, {"la_child_id": "SYN1", "mis_child_id": "m-2"})
    world.change(new, submission_status="Held", person_id="somebody else")
    execute(world, *NAMESAKES[world.engine.dialect.name])
    assert CHILD not in StagingTable(world.engine, TABLE).indexes
    ran = world.submit()
    assert (ran["superseded"], ran["sent"], world.row(old).submission_status) == (1, 0, "error")
    (offer,) = [one for one in missing(world.engine, world.table) if one.name == CHILD]
    assert offer.replaced
    script = offer.script.split("; ")
    if world.engine.dialect.name == "mssql":  # some servers of its language tell the name of an index as another one
        assert script[0].startswith("DROP INDEX ix_")
        script[0] = f"DROP INDEX ix_{TABLE}_child ON {TABLE}"
    execute(world, *script)
    assert CHILD in StagingTable(world.engine, TABLE).indexes
    assert not any(one.replaced for one in missing(world.engine, world.table))


def test_the_index_over_our_expression_is_known_by_whatever_name(world: World) -> None:
    (offer,) = [one for one in offered(world.engine, world.table) if one.name == CHILD]
    execute(world, *offer.script.replace(offer.called, "of_another_name").split("; "))
    assert CHILD in StagingTable(world.engine, TABLE).indexes


def execute(world: World, *statements: str) -> None:
    with world.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_rows_are_read_whether_their_ids_lie_close_together_or_not(world: World) -> None:
    ids = world.stage(*({"la_child_id": f"SYN{n}"} for n in range(40)))
    staging = StagingTable(world.engine, TABLE)
    for chosen in (ids, ids[:1], ids[3:5], ids[::13], [*ids[:20], 10**6], [], [10**6]):
        found = [row.id for row in staging.rows(chosen)]
        assert found == sorted(set(chosen) & set(ids), reverse=True)


def test_of_purges_that_the_rows_show_nothing_more_is_read(world: World) -> None:
    """They are looked at every night; partial_json_payload tells something only of what another tool purged."""
    gone = {"row_state": "Deleted", "submission_status": "sent", "api_response": "a receipt"}
    ours = world.stage(*({"la_child_id": f"SYN{n}"} for n in range(3)), **gone)
    by_another_tool = {"previous_json_payload": "{}", "partial_json_payload": '{"purge": true}'}
    (theirs,) = world.stage({"la_child_id": "SYN9"}, **gone, **by_another_tool)
    staging, asked = StagingTable(world.engine, TABLE), []
    sa.event.listen(world.engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    assert [row.partial for row in staging.rows(ours)] == [None] * 3
    assert len(asked) == 1
    assert staging.rows([*ours, theirs])[0].partial == '{"purge": true}'


def test_a_waiting_row_without_a_payload_is_passed_over(world: World) -> None:
    world.stage("", {"la_child_id": "SYN1"})
    staging = StagingTable(world.engine, TABLE)
    assert [row.id for page in staging.pages(staging.waiting()) for row in page] == [2]


def test_a_person_may_be_a_number() -> None:
    assert _row((7, 4711, "{}", None, None, "Pending", "New")).person_id == "4711"
