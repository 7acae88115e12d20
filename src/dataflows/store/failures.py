"""What database drivers raise, in an operator's words. Nothing of the driver's own text is passed on.

Drivers quote values ("Key (person_id)=..."), statements and logins.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import exc

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable


class StatementRefused(DataflowsError):
    """The database does not take a statement of ours, and nobody foresaw why: a bug, told without any value."""

    code = "statement_refused"


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what a driver raises inside the block into an error an operator understands.

    Args:
        name: the setting that holds the connection string.

    Raises:
        ServiceDown: the database cannot be reached, is locked or full, or the connection was lost.
        AccessRefused: login or permission.
        SettingUnusable: driver, database, table or column missing, or a column that does not take a value.
        StatementRefused: anything else.
    """
    try:
        yield
    except exc.DBAPIError as error:
        raise _meaning(error, name) from None
    except exc.TimeoutError:
        raise ServiceDown(f"{name}: no database connection became free in time", hint=_LATER) from None


_LATER = "run again later; to see more: dataflows test-db"
_SCHEMA = "compare the table with what is needed: dataflows test-schema"
_LOGIN = "check user and password; with Trusted_Connection it is the account that runs this, also in Task Scheduler"
_GRANT = "the account needs SELECT and UPDATE on the table; a SQLite file and its folder must be writable"


class _Kind(NamedTuple):
    """One thing that can be wrong, and its signs: beginnings of SQLSTATEs, SQL Server's numbers, parts of a text."""

    error: type[DataflowsError]
    words: str
    hint: str
    states: tuple[str, ...] = ()
    numbers: frozenset[int] = frozenset()
    texts: tuple[str, ...] = ()

    def fits(self, state: str, number: int, text: str) -> bool:
        told = bool(state and self.states) and state.startswith(self.states)
        return told or number in self.numbers or any(re.search(sign, text) for sign in self.texts)


# fmt: off
_KINDS = (
    _Kind(
        AccessRefused, "the database does not accept our login", _LOGIN,
        ("28",), frozenset({916, 18452, 18456, 18486, 18487, 18488}),
        ("password authentication failed", "no pg_hba.conf entry", "no password supplied", 'role ".*" does not exist'),
    ),
    _Kind(
        AccessRefused, "the database does not let us read or write there", _GRANT,
        ("42501", "SQLITE_READONLY", "SQLITE_AUTH", "SQLITE_PERM"), frozenset({229, 230, 262, 297, 300}),
    ),
    _Kind(
        SettingUnusable, "there is no such database", "check its name or path in the connection string",
        ("3D", "SQLITE_CANTOPEN"), frozenset({911, 4060, 40615}), ('^(?!.*relation).*database ".*" does not exist',),
    ),
    _Kind(
        SettingUnusable, "the database file is damaged or is none", "check its path, or restore a backup",
        ("SQLITE_NOTADB", "SQLITE_CORRUPT"),
    ),
    _Kind(
        SettingUnusable, "the database has no such table", "check TABLE_NAME: dataflows test-schema",
        ("42P01", "42S02", "3F"), frozenset({208, 4902}), ("no such table",),
    ),
    _Kind(
        SettingUnusable, "the table lacks a column that is needed", _SCHEMA,
        ("42703", "42S22"), frozenset({207}), ("no such column", "has no column"),
    ),
    _Kind(
        ServiceDown, "the table is held by another program", "run again when the loader has ended",
        ("55P03", "40", "SQLITE_BUSY", "SQLITE_LOCKED"), frozenset({1205, 1222}),
    ),
    _Kind(
        ServiceDown, "the disk of the database is full", "make room, then run again",
        ("53100", "SQLITE_FULL"), frozenset({1105, 9002}),
    ),
    _Kind(
        SettingUnusable, "a column does not take what belongs into it", _SCHEMA,
        ("22", "23", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG"),
    ),
)
# fmt: on
_DOWN = _Kind(
    ServiceDown,
    "the database cannot be reached or cannot work now",
    _LATER,
    ("08", "53", "57", "58", "HYT", "SQLITE_IOERR"),
    frozenset({10928, 10929, 40197, 40501, 40613}),
)
_BUG = _Kind(StatementRefused, "the database refuses a statement", "please report this")


def _meaning(error: exc.DBAPIError, name: str) -> DataflowsError:
    state, text = _state(error.orig), str(error.orig).lower()
    if state in ("IM002", "IM003") or "can't open lib" in text:
        return no_driver(name)
    kind = next((kind for kind in (*_KINDS, _DOWN) if kind.fits(state, _number(text), text)), None)
    kind = kind or _by_class(error, state)
    return kind.error(f"{name}: {kind.words}{f' ({state})' if state else ''}", hint=kind.hint)


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


def _number(text: str) -> int:
    """SQL Server's own number of an error, which pyodbc has in the text only: ``... (18456) (SQLDriverConnect)``."""
    found = re.search(r"\((\d{3,5})\) \(sql", text)
    return int(found.group(1)) if found else 0


def no_driver(name: str) -> SettingUnusable:
    """Return the error for a connection string whose ODBC driver is not installed, with those that are."""
    import pyodbc

    installed = ", ".join(sorted(pyodbc.drivers())) or "none"
    return SettingUnusable(
        f"the ODBC driver or data source that {name} names is not installed; installed drivers: {installed}",
        hint="install Microsoft's ODBC Driver 18 for SQL Server, or name one of the installed drivers",
    )


def no_odbc(name: str) -> SettingUnusable:
    """Return the error for a machine without the ODBC manager."""
    how = "apt-get install unixodbc" if sys.platform.startswith("linux") else "install the ODBC driver manager"
    return SettingUnusable(
        f"{name} needs ODBC, and this machine has no ODBC manager",
        hint=f"{how}, and Microsoft's ODBC Driver 18 for SQL Server",
    )
