"""What drivers raise becomes what an operator can act on, and none of the drivers' words get through."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import exc

from dataflows.errors import AccessRefused, DataflowsError, ExitCode, ServiceDown, SettingUnusable
from dataflows.store.database import connect
from dataflows.store.failures import StatementRefused, may_work_again, translated
from tests.remote.loopback import closed_port
from tests.store.sqlserver_errors import SAID, Said


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQL Server is left out: what it says is listed below."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'staging.db'}"
    return str(request.getfixturevalue("postgres_url"))


def run(address: str, *statements: str, **values: object) -> DataflowsError:
    """The error of the last of some statements."""
    engine = connect(address)
    try:
        with translated("DB_CONNECTION_STRING"), engine.connect() as connection:
            for statement in statements:
                connection.execute(sa.text(statement), values or None)
    except DataflowsError as error:
        assert error.__suppress_context__  # so that no traceback shows what the driver said
        return error
    finally:
        engine.dispose()
    pytest.fail("nothing was refused")


def test_a_table_that_is_missing(address: str) -> None:
    error = run(address, "SELECT * FROM nowhere")
    assert isinstance(error, SettingUnusable)
    assert "no such table" in error.message


def test_a_column_that_is_missing(address: str) -> None:
    error = run(address, "CREATE TEMPORARY TABLE t (a INT)", "SELECT nowhere FROM t")
    assert isinstance(error, SettingUnusable)
    assert "lacks a column" in error.message


def test_a_value_that_is_not_taken_stays_unsaid(address: str) -> None:
    error = run(
        address, "CREATE TEMPORARY TABLE t (a TEXT NOT NULL UNIQUE)", *["INSERT INTO t VALUES (:a)"] * 2, a="hush"
    )
    assert isinstance(error, SettingUnusable)
    assert "hush" not in f"{error.message} {error.hint}"


def test_what_nobody_foresaw_is_a_bug_without_its_text(address: str) -> None:
    error = run(address, "SELEKT 'hush'")
    assert isinstance(error, StatementRefused)
    assert error.exit_code is ExitCode.BUG
    assert "hush" not in f"{error.message} {error.hint}"


def test_errors_of_ours_pass_as_they_are() -> None:
    with pytest.raises(ValueError, match="ours"), translated("X"):
        raise ValueError("ours")


# --- SQLite -------------------------------------------------------------------------------------------------------


def test_a_sqlite_folder_that_is_missing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'staging.db'}?mode=ro&uri=true".replace("///", "///file:")
    error = run(url, "SELECT 1")
    assert isinstance(error, SettingUnusable)
    assert "there is no database file" in error.message


def test_a_file_that_is_no_sqlite_database(tmp_path: Path) -> None:
    (tmp_path / "staging.db").write_text("this is a text, and longer than a header of SQLite would be" * 20, "utf-8")
    error = run(f"sqlite:///{tmp_path / 'staging.db'}", "SELECT * FROM sqlite_master")
    assert isinstance(error, SettingUnusable)
    assert "damaged" in error.message


def test_a_sqlite_database_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "staging.db"
    monkeypatch.setitem(sys.modules["dataflows.store.database"].__dict__["_ARGUMENTS"], "sqlite", {"timeout": 0})
    with sqlite3.connect(path, isolation_level=None) as loader:
        loader.execute("CREATE TABLE t (a)")
        loader.execute("BEGIN EXCLUSIVE")
        error = run(f"sqlite:///{path}", "SELECT * FROM t")
    assert isinstance(error, ServiceDown)
    assert "locked by another program" in error.message


def test_a_sqlite_database_that_may_only_be_read(tmp_path: Path) -> None:
    path = tmp_path / "staging.db"
    sqlite3.connect(path).execute("CREATE TABLE t (a)")
    error = run(f"sqlite:///file:{path}?mode=ro&uri=true", "INSERT INTO t VALUES (1)")
    assert isinstance(error, AccessRefused)


# --- PostgreSQL ---------------------------------------------------------------------------------------------------


def test_a_server_that_is_not_there() -> None:
    error = run(f"postgresql://user:hush@127.0.0.1:{closed_port()}/ssd", "SELECT 1")
    assert isinstance(error, ServiceDown)
    assert "hush" not in error.message


def test_a_database_that_is_not_there(postgres_url: str) -> None:
    error = run(sa.make_url(postgres_url).set(database="nowhere").render_as_string(False), "SELECT 1")
    assert isinstance(error, SettingUnusable)


def test_an_account_that_is_not_there(postgres_url: str) -> None:
    error = run(sa.make_url(postgres_url).set(username="nobody").render_as_string(False), "SELECT 1")
    assert isinstance(error, AccessRefused)


@pytest.fixture
def reader(postgres_url: str) -> Iterator[None]:
    engine = connect(postgres_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE ROLE synthetic_reader"))
        connection.execute(sa.text("CREATE TABLE guarded (a INT)"))
    yield
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE guarded"))
        connection.execute(sa.text("DROP ROLE synthetic_reader"))
    engine.dispose()


@pytest.mark.usefixtures("reader")
def test_a_permission_that_is_missing(postgres_url: str) -> None:
    error = run(postgres_url, "SET ROLE synthetic_reader", "SELECT * FROM guarded")
    assert isinstance(error, AccessRefused)
    assert "SELECT and UPDATE" in error.hint


def test_a_connection_that_is_cut(postgres_url: str) -> None:
    error = run(postgres_url, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert isinstance(error, ServiceDown)


# --- SQL Server, by what its driver says (no server of it runs here) ----------------------------------------------


def as_raised(kind: type[exc.DBAPIError], state: str, text: str) -> DataflowsError:
    with pytest.raises(DataflowsError) as raised, translated("DB_CONNECTION_STRING"):
        raise kind(
            "UPDATE t SET a = 'hush'", None, Exception(state, f"[{state}] [Microsoft][ODBC Driver 18] hush {text}")
        )
    assert "hush" not in f"{raised.value.message} {raised.value.hint}"
    return raised.value


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.state} {said.source}")
def test_what_sql_server_says(said: Said) -> None:
    error = as_raised(said.kind, said.state, said.text)
    assert error.exit_code is said.code
    assert said.words in error.message


def test_an_untrusted_certificate_is_told_with_both_ways_on() -> None:
    error = as_raised(SAID[0].kind, SAID[0].state, SAID[0].text)
    assert "certificate" in error.message
    assert "TrustServerCertificate=yes" in error.hint


@pytest.mark.parametrize("number", [1205, 1222, 3960])
def test_after_a_lock_the_same_transaction_may_go_through(number: int) -> None:
    (said,) = [one for one in SAID if f"sys.messages {number}" == one.source]
    assert may_work_again(said.kind("UPDATE", None, Exception(said.state, f"[{said.state}] {said.text}")))


@pytest.mark.parametrize("number", [2628, 515, 3609, 50000, 229, 3906])
def test_what_is_refused_is_not_tried_again(number: int) -> None:
    (said,) = [one for one in SAID if f"sys.messages {number}" == one.source]
    assert not may_work_again(said.kind("UPDATE", None, Exception(said.state, f"[{said.state}] {said.text}")))


def test_a_server_that_is_not_there_is_named() -> None:
    port = closed_port()
    assert f"server 127.0.0.1:{port}" in run(f"postgresql://user@127.0.0.1:{port}/ssd", "SELECT 1").message


def test_the_server_of_an_odbc_string_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pyodbc = pytest.importorskip("pyodbc", reason="there is no ODBC driver manager", exc_type=ImportError)

    def fail(*_: object, **__: object) -> None:
        raise pyodbc.OperationalError("HYT00", "[HYT00] Login timeout expired (0) (SQLDriverConnect)")

    monkeypatch.setattr("pyodbc.connect", fail)
    error = run("Driver={any};Server=tcp:sql01.example.org,1433;UID=me;PWD=hush", "SELECT 1")
    assert isinstance(error, ServiceDown)
    assert "tcp:sql01.example.org,1433" in error.message
    assert "hush" not in error.message


@pytest.mark.parametrize(
    ("state", "text"),
    [
        ("IM002", "Data source name not found"),
        ("01000", "[unixODBC][Driver Manager]Can't open lib 'x' : file not found"),
    ],
)
def test_a_driver_that_is_missing_is_told_with_those_that_are_there(
    state: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyodbc = pytest.importorskip("pyodbc", reason="there is no ODBC driver manager", exc_type=ImportError)
    monkeypatch.setattr(pyodbc, "drivers", lambda: ["SQLite3", "FreeTDS"])
    error = as_raised(exc.DBAPIError, state, text)
    assert isinstance(error, SettingUnusable)
    assert "installed drivers: FreeTDS, SQLite3" in error.message
    assert "ODBC Driver 18" in error.hint


def test_an_odbc_string_with_a_missing_driver_is_told() -> None:
    pytest.importorskip("pyodbc", reason="there is no ODBC driver manager", exc_type=ImportError)
    error = run("Driver={No such driver};Server=db.example.org;PWD=hush", "SELECT 1")
    assert isinstance(error, SettingUnusable)
    assert "installed drivers" in error.message
