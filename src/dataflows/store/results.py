"""A batch of statements at the driver, and everything that it has to say (SQL Server)."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa


def all_results(connection: sa.Connection, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Execute a batch of statements at the driver; return the rows of its last result set.

    Raises:
        sqlalchemy.exc.DBAPIError: what any part of it had to say, a trigger's second statement too.
    """
    dialect, cursor = connection.dialect, connection.connection.cursor()
    rows: list[tuple[Any, ...]] = []
    try:
        cursor.execute(statement, parameters)
        while True:
            if cursor.description is not None:
                rows = [tuple(row) for row in cursor.fetchall()]
            if not cursor.nextset():
                return rows
    except dialect.loaded_dbapi.Error as error:
        lost = dialect.is_disconnect(error, None, cursor)
        if lost:
            connection.invalidate(error)
        raise sa.exc.DBAPIError.instance(
            statement,
            None,
            error,
            dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        ) from None
    finally:
        if not connection.invalidated:
            cursor.close()
