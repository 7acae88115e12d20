"""The indexes that make a night cost what is pending and not what the table holds: offered, never made by us.

The table is the authority's. `test-schema` says which of them are there and prints the statement for those that are
not; docs/sql-server.md has the same statements. Nothing here is needed for a right result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.flows.csc.narrowing import child_key
from dataflows.store.failures import translated

STATES, CHILD, PERSON = "states", "child", "person"
CHILD_KEY = "child_key"  # the computed column of SQL Server: the la_child_id in lower case, as far as SQL can tell


class Offered(NamedTuple):
    """One index: ``columns`` lead it where it is there under whatever name; ``script`` makes it, ``called`` so."""

    name: str
    purpose: str
    columns: tuple[str, ...]
    script: str
    called: str

    def among(self, there: Sequence[tuple[str, tuple[str, ...]]]) -> bool:
        """Tell whether it is there, as it is called in ``script`` or under another name."""
        length = len(self.columns)
        return any(name == self.called.lower() or columns[:length] == self.columns for name, columns in there)


def offered(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return the indexes that are offered for this table."""
    dialect, named = engine.dialect.name, engine.dialect.identifier_preparer.format_table(table)

    def index(name: str, purpose: str, leading: tuple[str, ...], columns: str, before: str = "") -> Offered:
        called = f"ix_{table.name}_{name}"
        quoted = engine.dialect.identifier_preparer.quote(called)
        return Offered(name, purpose, leading, f"{before}CREATE INDEX {quoted} ON {named} ({columns})", called)

    child, before = f"({child_key(dialect)})", ""
    if dialect == "mssql":  # has indexes over columns only, so a computed one goes before
        child = CHILD_KEY
        before = f"ALTER TABLE {named} ADD {CHILD_KEY} AS CAST({child_key('mssql')} AS NVARCHAR(64)); "
    child += ", id" if dialect == "postgresql" else ""
    states = "submission_status, row_state" + (", id" if dialect == "postgresql" else "")  # the others have id in it
    return [
        index(STATES, "what is pending", ("submission_status", "row_state"), states),
        index(CHILD, "the rows of one child", (CHILD_KEY,), child, before),
        index(PERSON, "the rows of one person", ("person_id",), "person_id"),
    ]


def missing(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return those that the table lacks. Raises as ``translated``."""
    there = _there(engine, table)
    return [index for index in offered(engine, table) if not index.among(there)]


def present(engine: sa.Engine, table: sa.Table) -> frozenset[str]:
    """Return the names (STATES ...) of those that are there; an account that may not ask is told of none."""
    try:
        there = _there(engine, table)
    except DataflowsError:
        return frozenset()
    return frozenset(index.name for index in offered(engine, table) if index.among(there))


def _there(engine: sa.Engine, table: sa.Table) -> list[tuple[str, tuple[str, ...]]]:
    """Return name and leading columns of each index of the table, in lower case."""
    with translated("DB_CONNECTION_STRING"):
        if engine.dialect.name == "sqlite":
            return _in_sqlite(engine, table)
        found = sa.inspect(engine).get_indexes(table.name, schema=table.schema)
    return [(str(one["name"]).lower(), tuple(str(name).lower() for name in one["column_names"])) for one in found]


def _in_sqlite(engine: sa.Engine, table: sa.Table) -> list[tuple[str, tuple[str, ...]]]:
    """SQLAlchemy passes over indexes on expressions here."""
    asked = sa.text(
        "SELECT i.name, c.name FROM pragma_index_list(:table) AS i, pragma_index_info(i.name) AS c"
        " ORDER BY i.name, c.seqno"
    )
    columns: dict[str, tuple[str, ...]] = {}
    with engine.connect() as connection:
        for index, column in connection.execute(asked, {"table": table.name}):
            columns[str(index).lower()] = (*columns.get(str(index).lower(), ()), str(column).lower())
    return list(columns.items())
