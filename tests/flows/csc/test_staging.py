from __future__ import annotations

import pytest
import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.flows.csc.table import staging_table
from dataflows.store.database import identity

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


@pytest.mark.parametrize("name", ["t", "dbo.t", "db.dbo.t", "[dbo].[t]", "ssd_api_data_staging_anon"])
def test_table_names(name: str) -> None:
    table = staging_table(name)
    assert table.name in ("t", "ssd_api_data_staging_anon")


@pytest.mark.parametrize("name", ["", "a.b.c.d", "t; DROP TABLE x", "a b"])
def test_what_is_no_table_name_is_refused(name: str) -> None:
    with pytest.raises(SettingUnusable, match="TABLE_NAME"):
        staging_table(name)
