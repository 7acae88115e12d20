"""The indexes that make a night cost what is pending and not what the table holds: offered, never made by us.

The table is the authority's. `test-schema` says which of them are there and prints the statement for those that are
not; docs/sql-server.md has the same statements. Nothing here is needed for a right result.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import sqlalchemy as sa

from dataflows.store.failures import translated

STATES, CHILD, PERSON = "states", "child", "person"


class Offered(NamedTuple):
    """One index: ``columns`` lead it where it is there under whatever name; ``script`` makes it."""

    name: str
    purpose: str
    columns: tuple[str, ...]
    script: str


# The expression under which a row is found by its child. Unreadable JSON names nobody and must not stop the loader;
# the collation is binary, since identifiers are compared letter for letter.
_CHILD: Mapping[str, str] = {
    "mssql": "CAST(CASE WHEN ISJSON(json_payload) = 1 THEN JSON_VALUE(json_payload, '$.la_child_id') END"
    " AS nvarchar(20)) COLLATE Latin1_General_100_BIN2",
    "sqlite": "CASE WHEN json_valid(json_payload) THEN json_extract(json_payload, '$.la_child_id') END",
    "postgresql": "substring(json_payload from '\"la_child_id\"\\s*:\\s*\"([^\"]*)\"')",
}


def child_expression(dialect: str) -> str:
    """Return the SQL expression (over json_payload) that the index of children is made of."""
    return _CHILD[dialect]


def offered(engine: sa.Engine, table: sa.Table) -> list[Offered]:
    """Return the indexes that are offered for this table."""
    named = engine.dialect.identifier_preparer.format_table(table)

    def make(key: str, columns: str) -> str:
        return f"CREATE INDEX ix_{table.name}_{key} ON {named} ({columns})"

    child = make("child", f"({_CHILD[engine.dialect.name]})")
    if engine.dialect.name == "mssql":
        child = (
            f"ALTER TABLE {named} ADD la_child_id AS {_CHILD['mssql']};"
            f" CREATE INDEX ix_{table.name}_child ON {named} (la_child_id, id)"
        )
    return [
        Offered(
            STATES,
            "finds what is pending",
            ("submission_status", "row_state"),
            make("states", "submission_status, row_state"),
        ),
        Offered(CHILD, "finds the rows of one child", ("la_child_id",), child),
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
