"""Databases: one engine factory for ODBC strings and URLs, one lock, one translation of what drivers raise."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from dataflows.errors import AlreadyRunning, SettingUnusable
from dataflows.store.failures import explained, no_driver, no_odbc

if TYPE_CHECKING:
    from dataflows.settings import Secret

LOGIN_SECONDS = 10
LOCK_WAIT_SECONDS = 30  # how long a statement waits for the authority's loader before it gives up


def connect(setting: Secret | str, *, name: str = "DB_CONNECTION_STRING") -> sa.Engine:
    """Make the engine of a database; nothing is connected yet.

    Args:
        setting: a raw ODBC string (``Driver={ODBC Driver 18 for SQL Server};Server=...``) or a SQLAlchemy URL.
        name: the setting it comes from, for messages.

    Raises:
        SettingUnusable: it is neither, or the driver's library is missing.
    """
    text = setting if isinstance(setting, str) else setting.reveal()
    problem: Exception | None = None
    try:
        url = _url(text)
        engine = sa.create_engine(url, hide_parameters=True, connect_args=_arguments(url))
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        problem = error
    except ImportError as error:
        raise no_odbc(name) if "odbc" in str(error).lower() else no_driver(name) from None
    if problem is not None:  # outside the except block: SQLAlchemy's error shows the string with its password
        raise SettingUnusable(
            f"{name} is neither an ODBC string nor a database URL",
            hint="such as Driver={ODBC Driver 18 for SQL Server};Server=...;Database=... or sqlite:///staging.db",
        )
    _prepare(engine)
    return engine


def _url(text: str) -> URL:
    if "://" not in text.split(";", 1)[0] and "=" in text:
        return URL.create("mssql+pyodbc", query={"odbc_connect": text})
    return make_url(text)


def _arguments(url: URL) -> dict[str, object]:
    match url.get_backend_name():
        case "sqlite":
            return {"timeout": LOCK_WAIT_SECONDS}
        case "mssql":
            return {"timeout": LOGIN_SECONDS}
        case "postgresql":
            return {"connect_timeout": LOGIN_SECONDS}
        case _:
            return {}


def _prepare(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _teach_sqlite)
    elif engine.dialect.name == "mssql":
        sa.event.listen(engine, "connect", _bound_waits)


def _teach_sqlite(connection: Any, _record: object) -> None:
    connection.create_function("fingerprint", 1, _sha256, deterministic=True)


def _bound_waits(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"SET LOCK_TIMEOUT {LOCK_WAIT_SECONDS * 1000}")
    cursor.close()


def _sha256(text: str | None) -> bytes | None:
    return None if text is None else hashlib.sha256(text.encode()).digest()


class fingerprint(FunctionElement[bytes]):  # noqa: N801 - used like sa.func.lower
    """SHA-256 of a text column, worked out by the database; NULL for NULL.

    Collations ignore case and trailing blanks, so comparing texts would miss changes; SQL Server hashes UTF-16 and the
    others UTF-8, so values of two databases are not comparable.
    """

    name = "fingerprint"
    type = sa.LargeBinary()
    inherit_cache = True


@compiles(fingerprint)
def _fingerprint_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return f"fingerprint({compiler.process(element.clauses, **options)})"


@compiles(fingerprint, "postgresql")
def _fingerprint_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"sha256(convert_to({compiler.process(element.clauses, **options)}, 'UTF8'))"


@compiles(fingerprint, "mssql")
def _fingerprint_mssql(element: Any, compiler: Any, **options: Any) -> str:
    return f"HASHBYTES('SHA2_256', {compiler.process(element.clauses, **options)})"


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what a driver raises inside the block into an error an operator understands.

    Raises:
        ServiceDown, AccessRefused, SettingUnusable: see ``store.failures``; never with a text of the driver.
    """
    said: Exception | None = None
    try:
        yield
    except DBAPIError as error:
        said = explained(error, name)
        if said is None:
            raise
    if said is not None:  # outside the except block: drivers quote connection strings and values
        raise said


class DatabaseLock:
    """Keeps two hosts off the same data: an application lock bound to a database session of its own.

    It dies with its session. SQLite has no such lock, so a locked file beside the database stands in; a database in
    memory has no other host.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
        self._name = name
        self._guard = threading.Lock()
        self._session: sa.Connection | None = None
        self._file = _lock_file(engine)

    def __enter__(self) -> DatabaseLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            AlreadyRunning: another host or process holds it.
            ServiceDown: the database cannot be reached.
        """
        with self._guard:
            self._acquire()

    def check(self) -> None:
        """Make sure that the lock is still held, or take it again if its session was lost. Any thread may ask.

        Raises:
            AlreadyRunning: the session was lost and another one holds the lock now.
            ServiceDown: the session was lost and the database cannot be reached.
        """
        with self._guard:
            if self._session is not None and not self._alive():
                self._drop()
                self._acquire()

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        with self._guard:
            self._drop()
            if self._file is not None:
                self._file.release()

    def _acquire(self) -> None:
        if self._file is not None:
            self._take_file()
        elif self._engine.dialect.name in _TAKE:
            with translated("DB_CONNECTION_STRING"):
                session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
                got = session.execute(sa.text(_TAKE[self._engine.dialect.name]), self._names()).scalar()
            if not (got is True or (isinstance(got, int) and not isinstance(got, bool) and got >= 0)):
                session.invalidate()
                session.close()
                raise self._taken()
            self._session = session

    def _take_file(self) -> None:
        assert self._file is not None
        try:
            self._file.acquire(timeout=0)
        except Timeout:
            raise self._taken() from None
        except OSError as error:
            raise SettingUnusable(
                f"the folder of the database cannot be written ({error.strerror})",
                hint="SQLite needs to write beside its file: give this account the right to",
            ) from None

    def _alive(self) -> bool:
        assert self._session is not None
        try:
            held = self._session.execute(sa.text(_HELD[self._engine.dialect.name]), self._names()).scalar()
        except DBAPIError:
            return False
        return held in (True, 1, "Exclusive")

    def _names(self) -> dict[str, object]:
        number = int.from_bytes(hashlib.sha256(self._name.encode()).digest()[:8], "big", signed=True)
        return {"number": number} if self._engine.dialect.name == "postgresql" else {"name": self._name}

    def _drop(self) -> None:
        if self._session is not None:
            with suppress(DBAPIError):
                self._session.invalidate()  # a session that is only returned to the pool would keep the lock
                self._session.close()
            self._session = None

    def _taken(self) -> AlreadyRunning:
        return AlreadyRunning(
            f"another host or process is at work on the same data ({self._name})", hint="wait for its end"
        )


_TAKE = {
    "postgresql": "SELECT pg_try_advisory_lock(:number)",
    "mssql": (
        "DECLARE @got int; EXEC @got = sp_getapplock @Resource = :name, @LockMode = 'Exclusive',"
        " @LockOwner = 'Session', @LockTimeout = 0; SELECT @got"
    ),
}
_HELD = {
    "postgresql": (
        "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        " AND ((classid::bigint << 32) | objid::bigint) = :number AND granted"
    ),
    "mssql": "SELECT APPLOCK_MODE('public', :name, 'Session')",
}


def _lock_file(engine: sa.Engine) -> FileLock | None:
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        return None
    return FileLock(f"{Path(database).absolute()}.lock", thread_local=False)
