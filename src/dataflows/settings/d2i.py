"""The database settings of the D2I tool's env file, taken where ours are missing, so that one can change by night.

Source: ``config.py`` of data-to-insight/dfe-csc-api-data-flows, 0.4.0: ``SQL_CONN_STR``, else ``USER_SERVER`` and
``USER_DATABASE`` with ODBC Driver 17 and the Windows account.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

WHOLE = "SQL_CONN_STR"
PARTS = ("USER_SERVER", "USER_DATABASE")
NAMES = (WHOLE, *PARTS)
OURS = "DB_CONNECTION_STRING"


class Taken(NamedTuple):
    """A connection string made of the other tool's settings: which, the value, and what to write instead."""

    names: tuple[str, ...]
    value: str
    instead: str


def connection_string(values: Mapping[str, str]) -> Taken | None:
    """Return what these settings (by lower-case name) say of the database; None when they say nothing."""
    if whole := values.get(WHOLE.lower(), "").strip():
        return Taken((WHOLE,), whole, f"{OURS}= with the same value")
    server, database = (values.get(name.lower(), "").strip() for name in PARTS)
    if not server or not database:
        return None
    value, example = _composed(_quoted(server), _quoted(database)), _composed("<USER_SERVER>", "<USER_DATABASE>")
    return Taken(PARTS, value, f"{OURS}={example}")


def _composed(server: str, database: str) -> str:
    return f"Driver={{ODBC Driver 17 for SQL Server}};Server={server};Database={database};Trusted_Connection=yes"


def _quoted(value: str) -> str:
    """Put braces around an ODBC value that holds a character which would end it."""
    return "{" + value.replace("}", "}}") + "}" if set(value) & set(";{}") else value
