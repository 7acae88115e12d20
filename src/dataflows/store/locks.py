"""A lock in the database itself, so that two machines never work on the same table."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import sqlalchemy as sa
from filelock import FileLock, Timeout

from dataflows.errors import AlreadyRunning
from dataflows.store import sqlite_files
from dataflows.store.failures import all_results, translated
from dataflows.store.files import private_lock, unusable


class DatabaseLock:
    """An application lock of this ``name``, bound to a session of its own that ends with this process.

    Use as a context manager. SQLite, which has no sessions, gets a lock file beside the database file; an in-memory
    database needs none. ``database`` is where on a SQL Server the lock lives, when it is not the connection's own.
    """

    def __init__(
        self, engine: sa.Engine, name: str, *, database: str = "", setting: str = "DB_CONNECTION_STRING"
    ) -> None:
        self._name = name
        self._setting = setting  # that the engine was made from, for messages
        self._hold = _hold(engine, name, database)
        self._turn = threading.Lock()

    def acquire(self) -> None:
        """Take the lock at once. Raises AlreadyRunning when another session holds it, else as ``translated``."""
        with self._turn, translated(self._setting):
            if not self._hold.take():
                raise AlreadyRunning(
                    f"another run works on the same data{self._hold.holder()}",
                    reason="database-lock-held",
                    hint="wait until it has finished; it may run on another machine that uses the same database",
                )

    def check(self) -> None:
        """Make sure that the lock is still held, by one short question to its session; to be called before each send.

        A lost session is replaced at once. Raises AlreadyRunning when another run has the lock by now, ServiceDown
        when the database cannot be reached: nothing may be sent then either, but waiting can help.
        """
        with self._turn, translated(self._setting):
            if self._hold.alive():
                return
            self._hold.drop()
            if not self._hold.take():
                raise AlreadyRunning(
                    f"the database session that held the lock was lost, and another run has taken over"
                    f"{self._hold.holder()}",
                    reason="database-lock-lost",
                    hint="nothing more is sent; the rest is done by the other run, or by the next one",
                )

    def release(self) -> None:
        """Give the lock up; harmless when it is not held."""
        with self._turn:
            self._hold.drop()

    def __enter__(self) -> DatabaseLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Hold(Protocol):
    """One way to hold a lock."""

    def take(self) -> bool: ...
    def alive(self) -> bool: ...
    def drop(self) -> None: ...
    def holder(self) -> str: ...


def _hold(engine: sa.Engine, name: str, database: str) -> _Hold:
    if engine.dialect.name == "mssql":
        return _SqlServerLock(engine, name, database)
    if engine.dialect.name == "postgresql":
        return _PostgreSqlLock(engine, name)
    return _LockFile(engine, name)


class _Session(ABC):
    """A lock that a database session holds. The session leaves the pool, so that closing it really ends it."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine, self._name = engine, name
        self._connection: sa.Connection | None = None

    def take(self) -> bool:
        connection = self._engine.connect()
        connection.detach()
        # at the driver: SQLAlchemy would want to read the isolation level first, which some servers do not allow
        connection.connection.dbapi_connection.autocommit = True  # type: ignore[union-attr]
        self._connection = connection
        if self._ask(connection):
            return True
        self.drop()
        return False

    def alive(self) -> bool:
        if self._connection is None:
            return False
        try:
            return self._is_held(self._connection)
        except (sa.exc.DBAPIError, self._engine.dialect.loaded_dbapi.Error):
            return False

    def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except sa.exc.DBAPIError:
            connection.invalidate()

    def holder(self) -> str:
        return ""

    @abstractmethod
    def _is_held(self, connection: sa.Connection) -> bool:
        """Ask the session whether it holds the lock."""

    @abstractmethod
    def _ask(self, connection: sa.Connection) -> bool:
        """Ask for the lock; tells whether it was given."""


class _SqlServerLock(_Session):
    """``sp_getapplock`` with the session as owner; it belongs to the database that the session is in."""

    question = "SELECT APPLOCK_MODE('public', ?, 'Session')"
    take_it = (
        "SET NOCOUNT ON; DECLARE @got int; EXEC @got = sp_getapplock @Resource = ?, @LockMode = 'Exclusive',"
        " @LockOwner = 'Session', @LockTimeout = 0; SELECT @got"
    )

    def __init__(self, engine: sa.Engine, name: str, database: str) -> None:
        super().__init__(engine, name)
        self._database = database
        self._cursor: Any = None

    def _is_held(self, connection: sa.Connection) -> bool:
        """Ask by the same cursor each time: the statement stays prepared, which saves one round trip of two."""
        if self._cursor is None:
            self._cursor = connection.connection.cursor()
        return bool(self._cursor.execute(self.question, self._name[:255]).fetchone()[0] == "Exclusive")

    def drop(self) -> None:
        self._cursor = None
        super().drop()

    def _ask(self, connection: sa.Connection) -> bool:
        if self._database:  # connections of other runs may have another default
            connection.exec_driver_sql(f"USE {self._engine.dialect.identifier_preparer.quote(self._database)}")
        return int(all_results(connection, self.take_it, self._name[:255])[0][0]) >= 0


class _PostgreSqlLock(_Session):
    """A session-level advisory lock; its key is a hash of the name."""

    take_it = sa.text("SELECT pg_try_advisory_lock(:key)")
    question = sa.text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()"
        " AND (classid::bigint << 32 | objid::bigint) = :key"
    )
    who = sa.text(
        "SELECT application_name, to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')"
        " FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted"
        " AND (classid::bigint << 32 | objid::bigint) = :key AND datname = current_database()"
    )

    def _is_held(self, connection: sa.Connection) -> bool:
        return bool(connection.execute(self.question, self._words()).scalar() == 1)

    def _words(self) -> dict[str, object]:
        return {"key": int.from_bytes(hashlib.sha256(self._name.encode()).digest()[:8], "big") >> 1}

    def _ask(self, connection: sa.Connection) -> bool:
        return bool(connection.execute(self.take_it, self._words()).scalar_one())

    def holder(self) -> str:
        """Our sessions say host and process in their name; of a session with another name nothing is repeated."""
        with self._engine.connect() as connection:
            found = connection.execute(self.who, self._words()).first()
        if found is None or not str(found[0]).startswith("dataflows "):
            return ""
        return f" ({found[0]}, since {found[1]} UTC)"


class _LockFile:
    """For SQLite. Two machines cannot share such a database anyway."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._lock: FileLock | None = None
        database = sqlite_files.file_of(engine.url)
        if database is not None:
            mark = hashlib.sha256(name.encode()).hexdigest()[:8]
            self._lock = private_lock(f"{database}.{mark}.lock", thread_local=False)

    def take(self) -> bool:
        if self._lock is None:
            return True
        self._engine.connect().close()  # without the database, no lock is left beside it
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        except OSError as error:
            hint = "let the account that runs this write into that folder"
            raise unusable(Path(self._lock.lock_file), error, "the lock beside the database file", hint) from None
        return True

    def alive(self) -> bool:
        return self._lock is None or self._lock.is_locked

    def drop(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def holder(self) -> str:
        return ""
