"""What a database's errors mean, and which transactions are repeated."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa
import tenacity
from sqlalchemy import exc

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable


def all_results(connection: sa.Connection, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Execute a batch of statements at the driver; return the rows of its last result set.

    Raises:
        sqlalchemy.exc.DBAPIError: what any part of it had to say, a trigger's second statement too.
    """
    dialect, cursor = connection.dialect, connection.connection.cursor()
    rows: list[tuple[Any, ...]] = []
    try:
        cursor.execute(statement, parameters)
        while True:
            if cursor.description is not None:
                rows = [tuple(row) for row in cursor.fetchall()]
            if not cursor.nextset():
                return rows
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, None, cursor)
        if lost:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            statement,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        ) from None
    finally:
        if not connection.invalidated:
            cursor.close()


T = TypeVar("T")

ATTEMPTS = 6
LONGEST_SECONDS = 90  # then no further attempt is begun, however few there were: each may wait for a lock
_WAIT = tenacity.wait_exponential(multiplier=0.2, max=10) + tenacity.wait_random(0, 0.2)


def in_transaction(
    engine: sa.Engine, work: Callable[[sa.Connection], T], *, setting: str = "DB_CONNECTION_STRING"
) -> T:
    """Return what ``work`` returns in a transaction of its own, which is repeated as a whole where that can help.

    ``work`` must come to the same when it was done before: a session may be lost just after its commit.

    Raises:
        DataflowsError: as ``translated``, of the last attempt.
    """
    with translated(setting):
        return _repeated(lambda: _once(engine, work))


def in_statements(engine: sa.Engine, work: Callable[[sa.Connection], T], *, setting: str = "DB_CONNECTION_STRING") -> T:
    """As ``in_transaction``, but each statement of ``work`` is a transaction of its own: it saves two round trips.

    On PostgreSQL, and on a SQL Server whose engine was made for it (``connect``); SQLite knows no distance.

    Raises:
        DataflowsError: as ``translated``, of the last attempt.
    """
    alone = engine.execution_options(isolation_level="AUTOCOMMIT") if engine.dialect.name == "postgresql" else engine
    return in_transaction(alone, work, setting=setting)


@contextmanager
def taken_back(connection: sa.Connection) -> Iterator[None]:
    """Take back what is done inside the block, also where statements are transactions of their own."""
    driver = connection.connection.dbapi_connection
    alone = connection.dialect.name == "mssql" and bool(driver and driver.autocommit)
    if driver and alone:
        driver.autocommit = False
    try:
        yield
    finally:
        connection.rollback()
        if driver and alone and not connection.invalidated:
            driver.rollback()
            driver.autocommit = True


def _once(engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _repeated(attempt: Callable[[], T]) -> T:
    again = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(LONGEST_SECONDS),
        wait=_WAIT,
        retry=tenacity.retry_if_exception(_helps),
        reraise=True,
    )
    return again(attempt)


def _helps(error: BaseException) -> bool:
    return isinstance(error, sa.exc.DBAPIError) and may_work_again(error)


class StatementRefused(DataflowsError):
    """The database does not take a statement of ours, and nobody foresaw why: a bug, told without any value."""

    code = "statement_refused"


class RowRefused(SettingUnusable):
    """A column, a constraint or a trigger does not take what is written: one row may be the cause, others may pass."""


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what a driver raises inside the block into an error an operator understands.

    Args:
        name: the setting that holds the connection string.

    Raises:
        ServiceDown: the database cannot be reached, is locked or full, or the connection was lost.
        AccessRefused: login or permission.
        SettingUnusable: driver, database, table or column missing, a replica, a certificate.
        RowRefused: a column or a trigger that does not take what is written.
        StatementRefused: anything else.
    """
    try:
        yield
    except exc.DBAPIError as error:
        raise _meaning(error, name) from None
    except exc.TimeoutError:
        raise ServiceDown(
            f"{name}: no database connection became free in time", reason="database-down", hint=_LATER
        ) from None


_LATER = "run again later; to see more: dataflows test-db"
_SCHEMA = "compare the table with what is needed: dataflows test-schema"
_LOGIN = "check user and password; with Trusted_Connection it is the account that runs this, also in Task Scheduler"
_GRANT = "the account needs SELECT and UPDATE on the table; a SQLite file and its folder must be writable"
_CERTIFICATE = (
    "install the server's certificate, or the authority's that issued it, on this machine; on a network that you"
    " trust, TrustServerCertificate=yes in the connection string accepts any"
)
_TICKET = (
    "Windows: run it as a domain account, and name the server as its service principal does; elsewhere get a ticket"
    " first (kinit), or use UID and PWD instead of Trusted_Connection"
)
_REPLICA = "name the listener or the primary server in the connection string, without ApplicationIntent=ReadOnly"
_TRIGGER = "ask whoever looks after the table's triggers; the rows stay as they were"
_RULES = "let whoever runs the server allow this machine's address"


class _Kind(NamedTuple):
    """One thing that can be wrong, and its signs: beginnings of SQLSTATEs, SQL Server's numbers, parts of a text."""

    error: type[DataflowsError]
    words: str
    hint: str
    reason: str
    states: tuple[str, ...] = ()
    numbers: frozenset[int] = frozenset()
    texts: tuple[str, ...] = ()
    again: bool = False  # the same transaction, tried again at once, may well go through

    def fits(self, state: str, numbers: Sequence[int], text: str) -> bool:
        by_state = bool(state and self.states) and state.startswith(self.states)
        return by_state or not self.numbers.isdisjoint(numbers) or any(re.search(sign, text) for sign in self.texts)


# fmt: off
_KINDS = (  # the first that fits; the numbers are those of sys.messages, the negative ones Schannel's
    _Kind(
        SettingUnusable, "the certificate of the database server is not trusted", _CERTIFICATE,
        reason="database-certificate", numbers=frozenset({-2146893019, -2146893022, -2146893048}),
        texts=(r"certificate verify failed", r"certificate chain was issued by an authority",
            r"ssl provider:.*certificate"),
    ),
    _Kind(
        AccessRefused, "no Kerberos ticket or Windows identity for the database server", _TICKET,
        reason="database-ticket", numbers=frozenset({851968, -2146893042, -2146893053}),
        texts=("sspi provider", "sspi context", "no kerberos credentials", "could not initiate gssapi"),
    ),
    _Kind(
        AccessRefused, "the database server does not admit this machine", _RULES, reason="database-firewall",
        numbers=frozenset({40615, 40914}),
    ),
    _Kind(
        AccessRefused, "the database does not accept our login", _LOGIN,
        reason="database-login", states=("28",),
        numbers=frozenset({916, 4064, 18401, 18452, 18456, 18470, 18486, 18487, 18488, 40532}),
        texts=("password authentication failed", "no pg_hba.conf entry", "no password supplied",
            'role ".*" does not exist'),
    ),
    _Kind(
        SettingUnusable, "the database is read-only (a replica, or set to read-only)", _REPLICA,
        reason="database-read-only", states=("25006",), numbers=frozenset({978, 3906, 3908}),
    ),
    _Kind(
        AccessRefused, "this account may not read or write there", _GRANT,
        reason="database-rights", states=("42501", "SQLITE_READONLY", "SQLITE_AUTH", "SQLITE_PERM"),
        numbers=frozenset({229, 230, 262, 297, 300, 371}),
    ),
    _Kind(
        SettingUnusable, "there is no such database", "check its name or path in the connection string",
        reason="database-missing", states=("3D", "SQLITE_CANTOPEN"), numbers=frozenset({911, 4060}),
        texts=('^(?!.*relation).*database ".*" does not exist',),
    ),
    _Kind(
        SettingUnusable, "the database file is damaged, or is not a database", "check its path, or restore a backup",
        reason="database-file", states=("SQLITE_NOTADB", "SQLITE_CORRUPT"),
    ),
    _Kind(
        SettingUnusable, "the database has no such table", "check TABLE_NAME: dataflows test-schema",
        reason="table-missing", states=("42P01", "42S02", "3F"), numbers=frozenset({208, 4902}),
        texts=("no such table",),
    ),
    _Kind(
        SettingUnusable, "the table lacks a column that is needed", _SCHEMA,
        reason="column-unfit", states=("42703", "42S22"), numbers=frozenset({207}),
        texts=("no such column", "has no column"),
    ),
    _Kind(
        ServiceDown, "the table is locked by another program", "run again once the loader has finished",
        reason="table-locked", states=("55P03", "40", "SQLITE_BUSY", "SQLITE_LOCKED"),
        numbers=frozenset({1204, 1205, 1222, 3960}), again=True,
    ),
    _Kind(
        ServiceDown, "the disk of the database is full", "free some space, then run again",
        reason="database-file", states=("53100", "SQLITE_FULL"), numbers=frozenset({1101, 1105, 9002, 40544}),
    ),
    _Kind(
        RowRefused, "a trigger of the table refuses what is written", _TRIGGER,
        reason="row-not-writable", states=("P0001",), numbers=frozenset({3609, 3616, 50000}),
    ),
    _Kind(
        RowRefused, "a column or constraint does not accept what is to be written", _SCHEMA,
        reason="column-unfit", states=("22", "23", "42804", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG"),
        numbers=frozenset({206, 245, 257, 271, 306, 402, 515, 547, 2601, 2627, 2628, 8102, 8114, 8115, 8116, 8152,
            8169}),
    ),
    _Kind(
        ServiceDown, "the database server is short of memory", _LATER,
        reason="database-restarting", states=("53200",), numbers=frozenset({701, 802, 8645, 8651, 8657, 40549}),
    ),
    _Kind(
        ServiceDown, "the database server is shutting down, starting or changing its replica", _LATER,
        reason="database-restarting", states=("57P",),
        numbers=frozenset({921, 922, 927, 976, 983, 6005, 6006, 17142, 18461, 40613}),
    ),
)
# fmt: on
_DOWN = _Kind(
    ServiceDown,
    "the database cannot be reached or is not working at the moment",
    _LATER,
    reason="database-down",
    states=("08", "53", "57", "58", "HYT", "HY008", "SQLITE_IOERR"),
    numbers=frozenset({233, 10053, 10054, 10060, 10061, 10928, 10929, 40143, 40197, 40501, 49918, 49919, 49920}),
)
_BUG = _Kind(StatementRefused, "the database refuses a statement", "please report this", reason="bug")


def may_work_again(error: exc.DBAPIError) -> bool:
    """Whether the same transaction may go through at once: a deadlock, a lock, a session that was lost."""
    kind = _kind(error)
    return kind.again or error.connection_invalidated


def _meaning(error: exc.DBAPIError, name: str) -> DataflowsError:
    state, text = _state(error.orig), str(error.orig).lower()
    if state in ("IM002", "IM003") or "can't open lib" in text:
        return no_driver(name)
    kind = _kind(error)
    details = [f" ({state})" if state else ""]
    if server := getattr(error.orig, "server", None):  # set by the engine (store.database)
        details.insert(0, f" (server {server})")
    return kind.error(f"{name}: {kind.words}{''.join(details)}", reason=kind.reason, hint=kind.hint)


def _kind(error: exc.DBAPIError) -> _Kind:
    state, text = _state(error.orig), str(error.orig).lower()
    numbers = _numbers(text)
    kind = next((kind for kind in (*_KINDS, _DOWN) if kind.fits(state, numbers, text)), None)
    return kind or _by_class(error, state)


def _by_class(error: exc.DBAPIError, state: str) -> _Kind:
    """Without a sign that is known: "operational" is the drivers' word for what is no fault of the statement."""
    lost = error.connection_invalidated or isinstance(error, exc.OperationalError | exc.InterfaceError)
    return _DOWN if lost and state != "SQLITE_ERROR" else _BUG


def _state(error: BaseException | None) -> str:
    """The SQLSTATE (psycopg, pyodbc), or SQLite's name for the error."""
    found = getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None)
    if not found and error is not None and error.args:
        found = error.args[0]
    return found if isinstance(found, str) and re.fullmatch(r"[0-9A-Z]{5}|SQLITE_[A-Z_]+", found) else ""


def _numbers(text: str) -> list[int]:
    """SQL Server's own numbers, which pyodbc has in the text only: ``... (18456) (SQLDriverConnect); [..] .. (0)``."""
    return [int(number) for number in re.findall(r"\((-?\d{1,10})\)(?= \(sql|;|$)", text)]


def no_driver(name: str) -> SettingUnusable:
    """Return the error for a connection string whose ODBC driver is not installed, with those that are."""
    import pyodbc

    installed = ", ".join(sorted(pyodbc.drivers())) or "none"
    return SettingUnusable(
        f"the ODBC driver or data source that {name} names is not installed; installed drivers: {installed}",
        reason="odbc-driver-missing",
        hint="install Microsoft's ODBC Driver 18 for SQL Server, or name one of the installed drivers",
    )


def no_odbc(name: str) -> SettingUnusable:
    """Return the error for a machine without the ODBC manager."""
    how = "apt-get install unixodbc" if sys.platform.startswith("linux") else "install the ODBC driver manager"
    return SettingUnusable(
        f"{name} needs ODBC, and this machine has no ODBC manager",
        reason="odbc-driver-missing",
        hint=f"{how}, and Microsoft's ODBC Driver 18 for SQL Server",
    )
