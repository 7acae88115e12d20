"""Compares a table as it is with the table that is needed, and words the ALTER that would mend a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.type_api import TypeEngine

from dataflows.store.failures import translated


@dataclass(frozen=True, slots=True)
class Finding:
    """One column that is needed: what is there instead (None: it is missing), what is wanted, how to mend it."""

    column: str
    there: str | None
    wanted: str
    fits: bool
    mend: str = ""


def findings(engine: sa.Engine, table: sa.Table) -> list[Finding] | None:
    """Compare every column of ``table``; None when the database has no such table. Raises as ``translated``."""
    with translated("DB_CONNECTION_STRING"):
        inspector = sa.inspect(engine)
        if not inspector.has_table(table.name, schema=table.schema):
            return None
        there = {column["name"].lower(): column for column in inspector.get_columns(table.name, schema=table.schema)}
    return [_finding(engine.dialect, column, there.get(column.name.lower())) for column in table.columns]


def _finding(dialect: sa.Dialect, column: sa.Column[Any], there: Any) -> Finding:
    wanted = column.type.compile(dialect=dialect)
    if there is None:
        return Finding(column.name, None, wanted, False, _statement(dialect, column, "ADD"))
    fits = _fits(dialect.name, there["type"], column.type.dialect_impl(dialect))
    mend = "" if fits else _statement(dialect, column, "ALTER")
    return Finding(column.name, _worded(dialect, there["type"]), wanted, fits, mend)


def _worded(dialect: sa.Dialect, kind: TypeEngine[Any]) -> str:
    try:
        return kind.compile(dialect=dialect)
    except sa.exc.CompileError:
        return "a type that is not known"


def _fits(dialect: str, there: TypeEngine[Any], wanted: TypeEngine[Any]) -> bool:
    """Whether everything that belongs into the column goes in and comes out as it was."""
    if _family(there) != _family(wanted):
        return False
    if dialect == "sqlite":  # its lengths are words without effect
        return True
    if dialect == "mssql" and _family(there) == "text" and not isinstance(there, sa.Unicode | sa.UnicodeText):
        return False  # VARCHAR turns letters beyond its code page into question marks
    held, needed = getattr(there, "length", None), getattr(wanted, "length", None)
    return held is None or (needed is not None and held >= needed)


def _family(kind: TypeEngine[Any]) -> str:
    if isinstance(kind, sa.Integer):
        return "small number" if isinstance(kind, sa.SmallInteger) else "number"
    families = ((sa.types._Binary, "bytes"), (sa.String, "text"), (sa.DateTime, "moment"))
    return next((name for family, name in families if isinstance(kind, family)), type(kind).__name__)


def _statement(dialect: sa.Dialect, column: sa.Column[Any], verb: str) -> str:
    quoted = dialect.identifier_preparer
    table, name = quoted.format_table(column.table), quoted.quote(column.name)
    kind = column.type.compile(dialect=dialect)
    if verb == "ADD":
        return f"ALTER TABLE {table} ADD {name} {kind}"
    if dialect.name == "sqlite":
        return f"SQLite cannot change a column: make the table anew with {name} {kind} and copy the rows"
    if dialect.name == "postgresql":
        return f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}"
    return f"ALTER TABLE {table} ALTER COLUMN {name} {kind} {'NULL' if column.nullable else 'NOT NULL'}"
