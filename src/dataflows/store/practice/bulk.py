"""Many rows at once, the way each database takes them fastest: COPY into PostgreSQL, executemany elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import orjson
import psycopg
import sqlalchemy as sa

__all__ = ["insert", "members"]


def insert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all have the keys of the first one, in their order, inside the transaction of ``connection``."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, rows)
    else:
        connection.execute(table.insert(), list(rows))


def members(connection: sa.Connection, values: Sequence[int] | Sequence[str]) -> sa.Select[Any]:
    """A subquery of these values, bound as one parameter however many they are; for ``column.in_(...)``."""
    of_numbers = not values or isinstance(values[0], int)
    if connection.dialect.name == "postgresql":
        kind = sa.ARRAY(sa.BigInteger() if of_numbers else sa.Text())
        bound = sa.cast(sa.bindparam(None, list(values), type_=kind), kind)
        return sa.select(sa.func.unnest(bound))
    each = sa.func.json_each(sa.bindparam(None, orjson.dumps(values).decode(), type_=sa.Text)).table_valued("value")
    return sa.select(each.c.value)


def _copy(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    names = list(rows[0])
    convert = [_as_copied(table.c[name].type) for name in names]
    quoted = connection.dialect.identifier_preparer
    columns = ", ".join(quoted.quote(name) for name in names)
    statement = f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN"
    try:
        with closing(connection.connection.cursor()) as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row([one(row[name]) for one, name in zip(convert, names, strict=True)])
    except psycopg.Error as error:  # as SQLAlchemy would have raised it
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from None


def _as_copied(kind: sa.types.TypeEngine[Any]) -> Callable[[Any], Any]:
    return _json if isinstance(kind, sa.JSON) else _as_it_is


def _json(value: Any) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _as_it_is(value: Any) -> Any:
    return value
