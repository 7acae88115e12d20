"""What database drivers raise, in an operator's words. Nothing of the driver's own text is passed on."""

from __future__ import annotations

import re
import sys

from sqlalchemy.exc import DBAPIError

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable

_SQLITE = (
    ("unable to open database", "file"),
    ("readonly database", "permission"),
    ("no such table", "table"),
    ("no such column", "column"),
    ("not a database", "damaged"),
    ("malformed", "damaged"),
    ("disk is full", "full"),
    ("disk i/o", "down"),
    ("locked", "busy"),
)
# SQLSTATE classes and codes: PostgreSQL's own, and what SQL Server's drivers report
_STATES = (
    ("IM002|IM003|01000", "driver"),
    ("28.*", "login"),
    ("42501", "permission"),
    ("3D000|08004", "database"),
    ("42P01|42S02", "table"),
    ("42703|42S22", "column"),
    ("40001|40P01|55P03|57014", "busy"),
    ("53100", "full"),
    ("08.*|57P.*|53300|HYT.*|HY000", "down"),
)
_SQL_SERVER = {18456: "login", 4060: "database", 208: "table", 207: "column", 229: "permission", 1222: "busy"}
_NUMBER = re.compile(r"\((\d{3,5})\)")


def explained(error: DBAPIError, name: str) -> DataflowsError | None:
    """Return the error an operator should see for what a driver raised; None when nobody foresaw it.

    Args:
        error: as SQLAlchemy wraps it.
        name: the setting that holds the connection string.
    """
    kind = _kind(error)
    if kind == "driver":
        return no_driver(name)
    return _said(kind, name) if kind else None


def _kind(error: DBAPIError) -> str | None:
    original = error.orig
    text = str(original).lower()
    if type(original).__module__ == "sqlite3":
        return next((kind for words, kind in _SQLITE if words in text), None)
    state = getattr(original, "sqlstate", None)
    if state is None and original is not None and original.args and isinstance(original.args[0], str):
        state = original.args[0]
        numbers = [int(number) for number in _NUMBER.findall(str(original))]
        if known := next((_SQL_SERVER[number] for number in numbers if number in _SQL_SERVER), None):
            return known
    if state is None:  # psycopg gives no state when it cannot connect
        return _unconnected(text) if type(error).__name__ == "OperationalError" else None
    return next((kind for pattern, kind in _STATES if re.fullmatch(pattern, state)), _lost(error))


def _unconnected(text: str) -> str:
    if "authentication failed" in text or "no password supplied" in text or ("role" in text and "exist" in text):
        return "login"
    return "database" if "database" in text and "does not exist" in text else "down"


def _lost(error: DBAPIError) -> str | None:
    return "down" if error.connection_invalidated else None


def _said(kind: str, name: str) -> DataflowsError:
    check = "dataflows test-db"
    match kind:
        case "login":
            return AccessRefused(
                "the database does not accept our login", hint=f"check {name} and the account: {check}"
            )
        case "permission":
            return AccessRefused(
                "the database does not let us read or write there",
                hint=f"ask for SELECT and UPDATE on the table: {check}",
            )
        case "file" | "database":
            return SettingUnusable("there is no such database", hint=f"check {name}: {check}")
        case "table":
            return SettingUnusable("the database has no such table", hint="check TABLE_NAME: dataflows test-schema")
        case "column":
            return SettingUnusable("the table lacks a column that is needed", hint="see: dataflows test-schema")
        case "damaged":
            return SettingUnusable("the database file is damaged or is none", hint=f"check {name}, or restore a backup")
        case "full":
            return ServiceDown("the disk of the database is full", hint="make room, then run again")
        case "busy":
            return ServiceDown("the database is held by somebody else", hint="run again when the loader has ended")
        case _:
            return ServiceDown("the database cannot be reached", hint=f"run again later; to see more: {check}")


def no_driver(name: str) -> SettingUnusable:
    """Return the error for a connection string whose ODBC driver is not installed, with those that are."""
    try:
        import pyodbc

        drivers = pyodbc.drivers()
    except ImportError:
        return no_odbc(name)
    installed = ", ".join(drivers) or "none"
    return SettingUnusable(
        f"the database driver that {name} names is not installed; installed are: {installed}",
        hint="install Microsoft's ODBC Driver 18 for SQL Server, or name one of the installed drivers",
    )


def no_odbc(name: str) -> SettingUnusable:
    """Return the error for a machine without the ODBC manager."""
    how = "apt-get install unixodbc" if sys.platform.startswith("linux") else "install the ODBC driver manager"
    return SettingUnusable(
        f"{name} needs ODBC, and this machine has no ODBC manager",
        hint=f"{how}, and Microsoft's ODBC Driver 18 for SQL Server",
    )
