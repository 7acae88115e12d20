"""Deleting rows, and taking them out of the database's files: they stay in free pages until these are used again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from dataflows.errors import DataflowsError
from dataflows.store.practice.database import translated, within

__all__ = ["compact", "delete"]


def delete(
    connection: sa.Connection, rows: Mapping[sa.Table, Sequence[sa.Row[Any]]], tables: Sequence[sa.Table]
) -> None:
    """Delete rows of ``tables``, in this order: those that refer to others have to come first.

    Raises:
        sqlalchemy.exc.IntegrityError: a row of another program refers to one of them.
    """
    for table in tables:
        key = next(iter(table.primary_key))
        numbers = [row._mapping[key.name] for row in rows.get(table, ())]
        if numbers:
            connection.execute(sa.delete(table).where(within(connection, key, numbers)))


def compact(engine: sa.Engine, tables: Sequence[sa.Table]) -> list[str]:
    """Write the tables anew (SQLite: the whole file, and empty its write-ahead log); returns what did not succeed.

    Never raises for the database: what was deleted is deleted, and can be taken out of the files later. It takes room
    for a second copy, and on PostgreSQL each table for itself while it lasts.
    """
    try:
        with translated(), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if engine.dialect.name == "sqlite":
                return list(_sqlite(connection))
            return list(_postgresql(connection, tables))
    except DataflowsError as error:
        return [f"deleted rows are still in free pages of the practice database: {error.message}"]


def _sqlite(connection: sa.Connection) -> Iterator[str]:
    connection.exec_driver_sql("VACUUM")
    busy = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()
    if busy is not None and busy[0]:
        yield "the write-ahead log of the practice database could not be emptied: another program reads it"


def _postgresql(connection: sa.Connection, tables: Sequence[sa.Table]) -> Iterator[str]:
    for table in tables:
        before = _file_of(connection, table)
        connection.exec_driver_sql(f"VACUUM (FULL) {table.name}")
        if _file_of(connection, table) == before:  # who may not is told by a notice only
            yield f"deleted rows are still in the files of the table {table.name}: this account may not VACUUM it"


def _file_of(connection: sa.Connection, table: sa.Table) -> int | None:
    found: int | None = connection.scalar(sa.select(sa.func.pg_relation_filenode(table.name)))
    return found
