"""One engine factory for ODBC strings and URLs: SQL Server, PostgreSQL and SQLite are one code path behind it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, InvalidatePoolError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from dataflows.errors import SettingUnusable
from dataflows.store import sqlite_files
from dataflows.store.failures import RowRefused, StatementRefused, no_odbc, translated
from dataflows.store.locks import DatabaseLock

if TYPE_CHECKING:
    from dataflows.settings import Secret

__all__ = [
    "DatabaseLock",
    "RowRefused",
    "StatementRefused",
    "connect",
    "fingerprint",
    "identity",
    "text_hash",
    "translated",
]

_TELLING = ("driver", "dsn", "server", "address", "addr", "database")
LOGIN_SECONDS = 15
STATEMENT_SECONDS = 120  # how long a statement may take: a hung one must not hang the night
LOCK_WAIT_SECONDS = 30  # how long a statement waits for the authority's loader before it gives up

_IS_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+_.-]*://")
_OPENS = re.compile(r"\s*+\{")
_BRACED = re.compile(r"\{[^}]*+(?:\}\}[^}]*+)*+\}")


def connect(
    setting: Secret | str,
    *,
    name: str = "DB_CONNECTION_STRING",
    create: bool = True,
    ping_after: float = 0.0,
    statements: bool = False,
) -> sa.Engine:
    """Make the engine of a database; nothing is connected yet. No repr and no message of it shows a password.

    Args:
        setting: a raw ODBC string (``Driver={ODBC Driver 18 for SQL Server};Server=...``) or a SQLAlchemy URL.
        name: the setting it comes from, for messages.
        create: make a SQLite file where there is none, for its owner alone; else a mistyped name is no database.
        ping_after: seconds; a session that was idle for longer is asked whether it still stands before it is used.
            More than 0 saves a round trip each time, for those who repeat what a lost session left undone.
        statements: on a SQL Server each statement is a transaction of its own, unless it says BEGIN TRANSACTION: that
            saves one round trip for each. Nothing can be rolled back otherwise.

    Raises:
        SettingUnusable: it is neither, or the library for it is missing.
    """
    text = (setting if isinstance(setting, str) else setting.reveal()).strip()
    engine: sa.Engine | None = None
    try:
        engine = _by_url(text, statements) if _IS_URL.match(text) else _by_odbc(text, name, statements)
    except ImportError as error:
        missing = _no_library(name, error)
    except (ArgumentError, NoSuchModuleError, ValueError):
        missing = SettingUnusable(
            f"{name} is neither an ODBC string nor a database URL",
            reason="database-url",
            hint="such as Driver={ODBC Driver 18 for SQL Server};Server=...;Database=...;Trusted_Connection=yes,"
            " postgresql+psycopg://user@host/database or sqlite:///C:/data/staging.db",
        )
    if engine is None:  # outside the except block: SQLAlchemy's error shows the string with its password
        raise missing
    return _prepared(engine, name, create=create, ping_after=ping_after)


def _by_url(text: str, statements: bool) -> sa.Engine:
    url = sa.make_url(re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", text))
    dialect = url.get_backend_name()
    if dialect not in _ARGUMENTS:
        raise ArgumentError("a database that this program does not know")
    own = {key: value for key, value in _ARGUMENTS[dialect].items() if key not in url.query or key in _ALWAYS}
    if statements and dialect == "mssql":
        own["autocommit"] = True
    return sa.create_engine(url, connect_args=own, **_common(dialect))


def _by_odbc(text: str, name: str, statements: bool) -> sa.Engine:
    """The string goes to the driver as it is, past the engine's URL: that one would show the password in its repr."""
    words = _pairs(text)
    if "=" not in text:
        raise ArgumentError("no ODBC string")
    if not words.keys() & {"driver", "dsn", "filedsn"}:
        raise _no_driver_named(name, words)
    import pyodbc

    shown = sa.URL.create("mssql+pyodbc", query={key: words[key] for key in _TELLING if key in words})

    def open_connection() -> Any:
        return pyodbc.connect(text, timeout=LOGIN_SECONDS, autocommit=statements)

    return sa.create_engine(shown, creator=open_connection, **_common("mssql"))


# what .NET programs write, and what the ODBC driver wants instead
_ADO_NET = {
    "data source": "Server",
    "initial catalog": "Database",
    "integrated security": "Trusted_Connection",
    "user id": "UID",
    "password": "PWD",
    "trust server certificate": "TrustServerCertificate",
    "multipleactiveresultsets": "MARS_Connection",
}


def _no_driver_named(name: str, words: Mapping[str, str]) -> SettingUnusable:
    """Tell what to write, without a value of the string, for one that names no driver."""
    driver = "Driver={ODBC Driver 18 for SQL Server};"
    foreign = [f"{_ADO_NET[key]}= instead of {key}=" for key in words if key in _ADO_NET]
    if not foreign:
        return SettingUnusable(f"{name} does not name a driver", reason="odbc-string", hint=f"start it with: {driver}")
    return SettingUnusable(
        f"{name} is a .NET connection string, and ODBC uses different keywords",
        reason="odbc-string",
        hint=f"start it with {driver}, and use {', '.join(foreign)} (yes, not True or SSPI)",
    )


def _pairs(text: str) -> dict[str, str]:
    """The words of an ODBC string by their keys in small letters; a value in braces may hold any character.

    Read in one pass: after one brace that is never closed, none that follows is.
    """
    words: dict[str, str] = {}
    start, closed = 0, True
    while (equals := text.find("=", start)) >= 0:
        key = text[start:equals].rpartition(";")[2].strip().lower()
        opens = _OPENS.match(text, equals + 1)
        braced = _BRACED.match(text, opens.end() - 1) if opens and closed else None
        closed = closed and (opens is None or braced is not None)
        end = text.find(";", braced.end() if braced else equals + 1)
        end = len(text) if end < 0 else end
        if key:
            words[key] = braced.group() if braced else text[equals + 1 : end].strip()
        start = end + 1
    return words


def _common(dialect: str) -> dict[str, Any]:
    own = {"use_native_hstore": False} if dialect == "postgresql" else {}  # looked up in four round trips, never used
    return {"hide_parameters": True, **own}


_ARGUMENTS: Mapping[str, dict[str, Any]] = {
    "sqlite": {"timeout": LOCK_WAIT_SECONDS},
    "postgresql": {
        "connect_timeout": LOGIN_SECONDS,
        "options": f"-c lock_timeout={LOCK_WAIT_SECONDS}s -c statement_timeout={STATEMENT_SECONDS}s",
        "tcp_user_timeout": LOCK_WAIT_SECONDS * 1000,
        "application_name": f"dataflows {platform.node()} {os.getpid()}"[:63],  # a lock tells its holder by this
        "client_encoding": "utf8",  # else the database's own: JSON is handed over in UTF-8, and would be taken for that
    },
    "mssql": {"timeout": LOGIN_SECONDS},
}
_ALWAYS = frozenset({"client_encoding"})  # whatever the URL says


def _prepared(engine: sa.Engine, name: str, *, create: bool, ping_after: float) -> sa.Engine:
    sa.event.listen(engine, "handle_error", _name_server)
    if engine.dialect.name != "sqlite":
        _ask_idle_sessions(engine, ping_after)
    if engine.dialect.name == "sqlite":
        sqlite_files.watch_over(engine, name, create=create)
        sa.event.listen(engine, "connect", _teach_sqlite)
    elif engine.dialect.name == "mssql":
        import pyodbc

        pyodbc.pooling = False  # else the driver manager keeps a closed session alive, and its application lock
        sa.event.listen(engine, "connect", _bound_waits)
        sa.event.listen(engine, "after_cursor_execute", _take_everything)
    return engine


def _ask_idle_sessions(engine: sa.Engine, after: float) -> None:
    """Replace the pool's sessions where one that was idle for ``after`` seconds stands no more."""

    def idle(_connection: object, record: sa.pool.ConnectionPoolEntry) -> None:
        record.info["idle_since"] = time.monotonic()

    def asked(connection: Any, record: sa.pool.ConnectionPoolEntry, _proxy: object) -> None:
        since = record.info.get("idle_since")
        if since is None or time.monotonic() - since < after:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error:
            raise InvalidatePoolError from None

    sa.event.listen(engine, "checkin", idle)
    sa.event.listen(engine, "checkout", asked)


def _name_server(context: sa.engine.ExceptionContext) -> None:
    """Let whoever words the error (``store.failures``) say which server it was: the driver's text is not passed on."""
    if context.engine is not None and (server := _server(context.engine.url)):
        context.original_exception.server = server  # type: ignore[attr-defined]


def _take_everything(
    connection: sa.Connection, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool
) -> None:
    """Ask for all that a statement has to say: a trigger's second statement fails only there, after its first count."""
    if cursor.description is not None or not (context and (context.isinsert or context.isupdate or context.isdelete)):
        return  # rows, which are fetched first, or a batch of statements (``all_results``)
    count = cursor.rowcount
    while cursor.nextset():
        count = cursor.rowcount if cursor.rowcount >= 0 else count
    context._rowcount = count  # the last one is the statement's own, those before it are its triggers'


def _teach_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.create_function("fingerprint", 1, _sha256, deterministic=True)


def _bound_waits(connection: Any, _record: object) -> None:
    connection.timeout = STATEMENT_SECONDS
    cursor = connection.cursor()
    cursor.execute(f"SET LOCK_TIMEOUT {LOCK_WAIT_SECONDS * 1000}")
    cursor.close()
    connection.commit()


def _sha256(text: str | None) -> bytes | None:
    return None if text is None else text_hash(text)


def text_hash(text: str, encoding: str = "utf-8") -> bytes:
    """SHA-256 of a text: in UTF-8 what ``fingerprint`` gives in PostgreSQL and SQLite, in UTF-16 in SQL Server."""
    return hashlib.sha256(text.encode(encoding, "surrogatepass")).digest()


def _no_library(name: str, error: ImportError) -> SettingUnusable:
    if "odbc" in str(error).lower():
        return no_odbc(name)
    return SettingUnusable(
        f"{name} needs a database library that is not installed",
        reason="database-url",
        hint="use postgresql+psycopg://, mssql+pyodbc:// or sqlite:///, whose libraries come with this program",
    )


def identity(url: sa.URL) -> str:
    """Name a database by where it is, without account, password and driver, since these change and it does not."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite://{Path(url.database).absolute()}" if url.database else "sqlite://"
    host, place = _server(url).lower().removeprefix("tcp:"), url.database or _words(url).get("database", "")
    port = "" if url.port is None else str(url.port)
    return f"{url.get_backend_name()}://{host.removesuffix(f':{port}')}:{port}/{place.strip(' {}').lower()}"


def _server(url: sa.URL) -> str:
    """Return host and port (or the data source's name) of a database server; empty for a file or a socket."""
    words = _words(url)
    named = (words[key] for key in ("server", "address", "addr", "host", "dsn") if key in words)
    host = (url.host or next(named, "")).strip(" {}")
    return f"{host}:{url.port}" if url.port is not None else host


def _words(url: sa.URL) -> dict[str, str]:
    words = {key.lower(): str(value) for key, value in url.query.items()}
    if "odbc_connect" in words:
        words = _pairs(words["odbc_connect"])
    return words


class fingerprint(FunctionElement[bytes]):  # noqa: N801 - used like sa.func.lower
    """SHA-256 of a text column, worked out by the database; NULL for NULL. ``text_hash`` gives the same of a value.

    Collations ignore case and trailing blanks, so comparing texts would miss changes; SQL Server hashes UTF-16 and the
    others UTF-8, so values of two databases are not comparable.
    """

    name = "fingerprint"
    type = sa.LargeBinary()
    inherit_cache = True


@compiles(fingerprint)
def _fingerprint_sqlite(element: fingerprint, compiler: SQLCompiler, **options: Any) -> str:
    return f"fingerprint({compiler.process(element.clauses, **options)})"


@compiles(fingerprint, "postgresql")
def _fingerprint_postgresql(element: fingerprint, compiler: SQLCompiler, **options: Any) -> str:
    return f"sha256(convert_to({compiler.process(element.clauses, **options)}, 'UTF8'))"


@compiles(fingerprint, "mssql")
def _fingerprint_mssql(element: fingerprint, compiler: SQLCompiler, **options: Any) -> str:
    # the bytes of a VARCHAR would depend on its code page
    return f"HASHBYTES('SHA2_256', CAST({compiler.process(element.clauses, **options)} AS NVARCHAR(MAX)))"
