"""Compares a table as it is with the table that is needed, and words the ALTER that would mend a difference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy.sql.type_api import TypeEngine

from dataflows.store.failures import translated

Refusal: TypeAlias = Callable[[str, str, Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class ColumnFinding:
    """One column that is needed: what is there (None: it is missing), what is wanted, how to mend it.

    ``refused`` is why it cannot be used as it is; one that does not fit and is not refused works, within its limits.
    """

    column: str
    there: str | None
    wanted: str
    fits: bool
    mend: str = ""
    refused: str = ""


def findings(engine: sa.Engine, table: sa.Table, refusal: Refusal) -> list[ColumnFinding] | None:
    """Compare every column of ``table``; None when the database has no such table. Raises as ``translated``.

    ``refusal`` is asked with the dialect's name, a column's name and all columns why the column cannot be used.
    """
    with translated("DB_CONNECTION_STRING"):
        inspector = sa.inspect(engine)
        if not inspector.has_table(table.name, schema=table.schema):
            return None
        there = {column["name"].lower(): column for column in inspector.get_columns(table.name, schema=table.schema)}
    return [_finding(engine.dialect, column, there, refusal) for column in table.columns]


def _finding(
    dialect: sa.Dialect, wanted: sa.Column[Any], columns: Mapping[str, Any], refusal: Refusal
) -> ColumnFinding:
    kind, there = wanted.type.compile(dialect=dialect), columns.get(wanted.name.lower())
    if there is None:
        return ColumnFinding(wanted.name, None, kind, False, _statement(dialect, wanted, "ADD"))
    refused = refusal(dialect.name, wanted.name.lower(), columns)
    fits = not refused and _fits(dialect.name, there["type"], wanted.type.dialect_impl(dialect))
    mend = "" if fits else _mend(dialect, wanted, there)
    return ColumnFinding(wanted.name, _worded(dialect, there["type"]), kind, fits, mend, refused)


def _mend(dialect: sa.Dialect, wanted: sa.Column[Any], there: Mapping[str, Any]) -> str:
    """Word the ALTER: of the type, and on PostgreSQL of what only the NOT NULL is wrong with."""
    same = family(there["type"]) == family(wanted.type)
    if dialect.name == "postgresql" and same and wanted.nullable and there.get("nullable") is False:
        quoted = dialect.identifier_preparer
        return f"ALTER TABLE {quoted.format_table(wanted.table)} ALTER COLUMN {quoted.quote(wanted.name)} DROP NOT NULL"
    return _statement(dialect, wanted, "ALTER")


def _worded(dialect: sa.Dialect, kind: TypeEngine[Any]) -> str:
    try:
        return kind.compile(dialect=dialect)
    except sa.exc.CompileError:
        return "a type that is not known"


def _fits(dialect: str, there: TypeEngine[Any], wanted: TypeEngine[Any]) -> bool:
    """Whether everything that belongs into the column goes in and comes out as it was."""
    if family(there) != family(wanted):
        return False
    if dialect == "sqlite":  # its lengths are words without effect
        return True
    if dialect == "mssql" and family(there) == "text" and not isinstance(there, sa.Unicode | sa.UnicodeText):
        return False  # VARCHAR turns letters beyond its code page into question marks
    held, needed = getattr(there, "length", None), getattr(wanted, "length", None)
    return held is None or (needed is not None and held >= needed)


def family(kind: TypeEngine[Any]) -> str:
    """Return what a type is for: number, small number, bytes, text, moment, or the name of the type."""
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
        return f"SQLite cannot change a column: create the table again with {name} {kind} and copy the rows"
    if dialect.name == "postgresql":
        return f"ALTER TABLE {table} ALTER COLUMN {name} TYPE {kind}"
    return f"ALTER TABLE {table} ALTER COLUMN {name} {kind} {'NULL' if column.nullable else 'NOT NULL'}"
