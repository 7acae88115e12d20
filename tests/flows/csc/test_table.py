"""Which table it is: however it is spelled, and whatever its server is called."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.flows.csc.table import identified, staging_table
from dataflows.runs.journal import Journal
from dataflows.store.database import DatabaseLock, identity
from tests.flows.csc.children import child
from tests.flows.csc.world import TABLE, World

SPELLINGS = {
    "sqlite": ["main.{}", "[{}]", "[main].[{}]"],
    "postgresql": ["public.{}", '"{}"', "[public].[{}]"],
    "mssql": ["dbo.{}", "[dbo].[{}]", "{db}..{}", "[{db}].dbo.{}", "{db}.dbo.{upper}"],
}


def spellings(world: World) -> Iterator[str]:
    """Other ways to write the table's name."""
    kind = world.engine.dialect.name
    database = ""
    if kind == "mssql":
        with world.engine.connect() as connection:
            database = str(connection.execute(sa.text("SELECT DB_NAME()")).scalar())
    for pattern in SPELLINGS[kind]:
        yield pattern.format(TABLE, db=database, upper=TABLE.upper())


def test_one_table_has_one_identity(world: World) -> None:
    identities = {identified(world.engine, name).key for name in [TABLE, *spellings(world)]}
    assert len(identities) == 1


def test_another_table_has_another_one(world: World) -> None:
    other = staging_table(f"{TABLE}_anon")
    other.create(world.engine)
    try:
        assert identified(world.engine, other.name).key != identified(world.engine, TABLE).key
    finally:
        other.drop(world.engine)


def test_a_table_that_is_not_there_is_told(world: World) -> None:
    with pytest.raises(SettingUnusable, match="no such table"):
        identified(world.engine, "nowhere")


def test_a_run_under_another_spelling_waits_for_the_first(world: World) -> None:
    world.stage(child(1))
    table = identified(world.engine, TABLE)
    with DatabaseLock(world.engine, f"dataflows csc-submit {table.table}", database=table.place):
        codes = [world.submit(TABLE_NAME=name).code for name in spellings(world)]
    assert set(codes) == {11}
    assert not world.requests()


def test_what_is_owed_is_written_back_under_another_spelling(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.stage(child(1))
    with monkeypatch.context() as patch:
        patch.setattr("dataflows.flows.csc.staging.StagingTable.record", gone)
        with pytest.raises(Gone):
            world.submit()
    for name in spellings(world):
        assert world.submit(TABLE_NAME=name).code == 0
    assert (world.statuses(), len(world.requests())) == (["sent"], 1)


class Gone(BaseException):
    """Stands for a kill before the write-back."""


def gone(*_: object) -> None:
    raise Gone


def test_a_table_as_earlier_versions_named_it_is_known_again(world: World) -> None:
    """They took the spelling of the settings for the table itself."""
    world.stage(child(1))
    assert world.submit().code == 0
    journal = Journal.open(world.folder / "data")
    with journal.transaction() as db:
        db.execute("UPDATE csc_tables SET name = ?", (f"{identity(world.engine.url)}#{TABLE}",))
    journal.close()
    assert world.submit(LA_CODE="123").code == 10, "the table is known to have been sent to another receiver"


def test_rows_below_zero_are_rows_like_any_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    if world.engine.dialect.name == "mssql":
        pytest.skip("an identity column of SQL Server begins where its table says")
    ids = [world.stage(child(n), id=n - 20)[0] for n in range(4)]
    assert ids == [-20, -19, -18, -17]
    with monkeypatch.context() as patch:
        patch.setattr("dataflows.flows.csc.staging.StagingTable.record", gone)
        with pytest.raises(Gone):
            world.submit()
    ran = world.submit()
    assert (ran.code, ran["replayed"], world.statuses()) == (0, 4, ["sent"] * 4)
    world.delete(*ids[:2])
    ran = world.submit()
    assert (ran.code, ran["sent"]) == (0, 2)
    assert [world.box.receiver.child(f"SYN{n}") is None for n in range(4)] == [True, True, False, False]
