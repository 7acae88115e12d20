"""The indexes that make a night cost what is pending and not what the table holds: offered, never made by us.

The table is the authority's. `test-schema` says which of them are there and prints the statement for those that are
not; docs/sql-server.md has the same statements. Nothing here is needed for a right result.
"""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from dataflows.flows.csc.narrowing import child_key
from dataflows.store.failures import translated

STATES, CHILD, PERSON = "states", "child", "person"
CHILD_KEY = "child_key"  # the computed column of SQL Server: the la_child_id in lower case, as far as SQL can tell


class Offered(NamedTuple):
    """One index: ``columns`` lead it where it is there under whatever name; ``script`` makes it."""

    name: str
    purpose: str
    columns: tuple[str, ...]
    script: str


def offered(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return the indexes that are offered for this table."""
    named = engine.dialect.identifier_preparer.format_table(table)

    def make(key: str, columns: str) -> str:
        return f"CREATE INDEX ix_{table.name}_{key} ON {named} ({columns})"

    child = make("child", f"({child_key(engine.dialect.name)})")
    if engine.dialect.name == "mssql":
        child = (
            f"ALTER TABLE {named} ADD {CHILD_KEY} AS CAST({child_key('mssql')} AS NVARCHAR(64));"
            f" CREATE INDEX ix_{table.name}_child ON {named} ({CHILD_KEY}, id)"
        )
    return [
        Offered(
            STATES,
            "finds what is pending",
            ("submission_status", "row_state"),
            make("states", "submission_status, row_state"),
        ),
        Offered(CHILD, "finds the rows of one child", (CHILD_KEY,), child),
        Offered(PERSON, "finds the rows of one person", ("person_id",), make("person", "person_id")),
    ]


def missing(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return those that the table lacks. Raises as ``translated``."""
    with translated("DB_CONNECTION_STRING"):
        there = sa.inspect(engine).get_indexes(table.name, schema=table.schema)
    leading = [tuple(str(name).lower() for name in index["column_names"]) for index in there]
    names = {str(index["name"]).lower() for index in there}
    return [
        index
        for index in offered(engine, table)
        if f"ix_{table.name}_{index.name}".lower() not in names
        and not any(columns[: len(index.columns)] == index.columns for columns in leading)
    ]
