"""Many rows at once, the way each database takes them fastest: COPY into PostgreSQL, executemany elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa

__all__ = ["insert", "within"]


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the keys of the first one, in their order, inside the transaction of ``connection``."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
    else:
        connection.execute(table.insert(), list(rows))


def within(
    connection: sa.Connection, column: sa.Column[Any], values: Sequence[int] | Sequence[str]
) -> sa.ColumnElement[bool]:
    """Whether a column has one of these values, which are bound as one parameter however many they are.

    On PostgreSQL as ``= ANY(array)``: a subquery of the array would be planned as a loop over the whole table.
    """
    if connection.dialect.name == "postgresql":
        kind = sa.ARRAY(column.type)
        return column == sa.any_(sa.cast(sa.bindparam(None, list(values), type_=kind), kind))
    each = sa.func.json_each(sa.bindparam(None, orjson.dumps(values).decode(), type_=sa.Text)).table_valued("value")
    return column.in_(sa.select(each.c.value))


def _copy(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    documents = [at for at, name in enumerate(names) if isinstance(table.c[name].type, sa.JSON)]
    quoted = connection.dialect.identifier_preparer
    columns = ", ".join(quoted.quote(name) for name in names)
    statement = f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"
    try:
        with closing(connection.connection.cursor()) as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copied = [row[name] for name in names]
                for at in documents:
                    if copied[at] is not None:
                        copied[at] = orjson.dumps(copied[at]).decode()
                copy.write_row(copied)
    except psycopg.Error as error:  # as SQLAlchemy would have raised it
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from None
