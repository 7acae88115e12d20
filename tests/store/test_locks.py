"""One run per table, whichever machine or process it runs on; a lost session is noticed before anything is sent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dataflows.errors import AlreadyRunning, ServiceDown, SettingUnusable
from dataflows.store import locks
from dataflows.store.database import DatabaseLock, connect

NAME = "dataflows csc-submit synthetic"

_HOLD = """
import sys
from dataflows.store.database import DatabaseLock, connect
with DatabaseLock(connect(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(address: str, name: str = NAME) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until the block ends."""
    command = [sys.executable, "-c", _HOLD, address, name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


def test_another_process_is_kept_out(address: str, engine: sa.Engine) -> None:
    with held_elsewhere(address), pytest.raises(AlreadyRunning), DatabaseLock(engine, NAME):
        pass


def test_the_lock_dies_with_its_process(address: str, engine: sa.Engine) -> None:
    with held_elsewhere(address) as other:
        other.kill()
        other.wait(10)
    _until_free(engine)


def _until_free(engine: sa.Engine) -> None:
    """PostgreSQL notices the end of a killed client a moment later."""
    for _ in range(200):
        try:
            with DatabaseLock(engine, NAME):
                return
        except AlreadyRunning:
            continue
    pytest.fail("the lock outlived its process")


def test_another_table_is_no_hindrance(address: str, engine: sa.Engine) -> None:
    with held_elsewhere(address, "another"), DatabaseLock(engine, NAME) as lock:
        lock.check()


def test_it_can_be_taken_again_after_its_end(engine: sa.Engine) -> None:
    for _ in range(3):
        with DatabaseLock(engine, NAME) as lock:
            lock.check()


def test_giving_it_up_twice_is_harmless(engine: sa.Engine) -> None:
    lock = DatabaseLock(engine, NAME)
    lock.release()
    lock.acquire()
    lock.release()
    lock.release()


def test_the_holder_is_named(postgres_url: str) -> None:
    engine = connect(postgres_url)
    with held_elsewhere(postgres_url) as other, pytest.raises(AlreadyRunning) as raised:
        DatabaseLock(engine, NAME).acquire()
    assert f" {other.pid}, since 20" in raised.value.message
    engine.dispose()


# --- the session is lost ------------------------------------------------------------------------------------------


@pytest.fixture
def server(postgres_url: str) -> Iterator[sa.Engine]:
    engine = connect(postgres_url)
    yield engine
    engine.dispose()


def kill_holders(engine: sa.Engine) -> None:
    """End the sessions that hold advisory locks, as the database's owner or a restart would."""
    statement = sa.text("SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'")
    with engine.begin() as connection:
        connection.execute(statement)


def test_a_lost_session_is_replaced_at_once(server: sa.Engine) -> None:
    _until_free(server)
    with DatabaseLock(server, NAME) as lock:
        kill_holders(server)
        lock.check()
        lock.check()
        with pytest.raises(AlreadyRunning):
            DatabaseLock(server, NAME).acquire()


def test_a_lost_lock_that_another_run_took_stops_this_one(server: sa.Engine, postgres_url: str) -> None:
    with DatabaseLock(server, NAME) as lock:
        kill_holders(server)
        with held_elsewhere(postgres_url), pytest.raises(AlreadyRunning, match="another run has taken over"):
            lock.check()


def test_a_lost_lock_that_came_back_is_held_again(server: sa.Engine, postgres_url: str) -> None:
    with DatabaseLock(server, NAME) as lock:
        kill_holders(server)
        with held_elsewhere(postgres_url), pytest.raises(AlreadyRunning):
            lock.check()
        kill_holders(server)
        lock.check()


def test_a_database_that_is_gone_is_no_other_run(server: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise sa.exc.OperationalError("SELECT 1", None, Exception("server closed the connection"))

    with DatabaseLock(server, NAME) as lock:
        kill_holders(server)
        monkeypatch.setattr(server, "connect", gone)
        with pytest.raises(ServiceDown):
            lock.check()


# --- SQLite and SQL Server ----------------------------------------------------------------------------------------


def test_a_database_in_memory_needs_no_lock() -> None:
    engine = connect("sqlite://")
    with DatabaseLock(engine, NAME) as lock, DatabaseLock(engine, NAME):
        lock.check()


def test_a_folder_without_room_for_a_lock_file_is_told(tmp_path: Path) -> None:
    lock = DatabaseLock(connect(f"sqlite:///{tmp_path / 'missing' / 'staging.db'}"), NAME)
    (tmp_path / "missing").write_text("a file, no folder", encoding="utf-8")
    with pytest.raises(SettingUnusable, match="the database file cannot be used"):
        lock.acquire()


def test_the_statements_for_sql_server_take_the_name_as_a_parameter() -> None:
    assert locks._SqlServerLock.question.count("?") == locks._SqlServerLock.take_it.count("?") == 1


class OdbcSession:
    """A session of SQL Server as its driver shows it, whose login may not read how transactions are isolated."""

    timeout = 0
    autocommit = False

    def __init__(self) -> None:
        self.asked: list[str] = []

    def cursor(self) -> OdbcCursor:
        return OdbcCursor(self)

    def add_output_converter(self, *_: object) -> None:
        pass

    def commit(self) -> None:
        pass

    rollback = close = commit


class OdbcCursor:
    """Answers what is asked on the way to a lock."""

    rowcount = -1
    fast_executemany = False

    def __init__(self, session: OdbcSession) -> None:
        self._session = session
        self._rows: list[tuple[Any, ...]] = []
        self.description: list[tuple[Any, ...]] | None = None

    def execute(self, sql: str, _parameters: object = ()) -> OdbcCursor:
        import pyodbc

        self._session.asked.append(sql)
        if "transaction_isolation_level" in sql:  # sys.messages 300; Synapse has no such view at all (104385)
            raise pyodbc.ProgrammingError(
                "42000",
                "[42000] [Microsoft][ODBC Driver 18 for SQL Server][SQL Server]VIEW SERVER STATE permission was denied"
                " on object 'server', database 'master'. (300) (SQLExecDirectW)",
            )
        answers = (
            ("ProductVersion", "16.0.4135.4"),
            ("schema_name", "dbo"),
            ("sys.system_views", "dm_exec_sessions"),
            ("sp_getapplock", 0),
            ("APPLOCK_MODE", "Exclusive"),
        )
        found = next((answer for part, answer in answers if part in sql), 1)
        self._rows = [(found,)] if "SELECT" in sql.upper() else []
        self.description = [("x", str, None, None, None, None, True)] if self._rows else None
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def nextset(self) -> bool:
        return False

    def close(self) -> None:
        pass


def test_a_lock_needs_no_right_to_read_the_isolation_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure Synapse, and hosts that keep the server's state from their logins: everything else works there."""
    pytest.importorskip("pyodbc", reason="there is no ODBC driver manager", exc_type=ImportError)
    sessions: list[OdbcSession] = []

    def open_session(*_: object, **__: object) -> OdbcSession:
        sessions.append(OdbcSession())
        return sessions[-1]

    monkeypatch.setattr("pyodbc.connect", open_session)
    engine = connect("Driver={ODBC Driver 18 for SQL Server};Server=db.example.org;Database=ssd;UID=loader")
    with DatabaseLock(engine, NAME) as lock, engine.connect() as other:
        other.exec_driver_sql("SELECT 1")
        lock.check()
    holder = next(one for one in sessions if any("sp_getapplock" in sql for sql in one.asked))
    assert holder.autocommit  # else the lock's question would leave a transaction open all night
    assert any("transaction_isolation_level" in sql for one in sessions for sql in one.asked), "it was refused"
