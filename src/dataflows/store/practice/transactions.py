"""Transactions that both databases mean in the same way; SQLite's driver begins and ends its own at odd moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

__all__ = ["savepoint", "writing"]


@contextmanager
def writing(engine: sa.Engine, *, keep: bool = True) -> Iterator[sa.Connection]:
    """One transaction: committed at the end of the block (rolled back without ``keep``, or when something is raised).

    On SQLite it holds the one place for writers from its beginning, and takes table definitions back as well.

    Raises:
        sqlalchemy.exc.DBAPIError: see ``database.translated``.
    """
    of_its_own = engine.dialect.name != "sqlite"
    with engine.connect() as connection:
        if not of_its_own:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            _end(connection, of_its_own, keep=False)
            raise
        _end(connection, of_its_own, keep=keep)


def _end(connection: sa.Connection, of_its_own: bool, *, keep: bool) -> None:
    if of_its_own:
        (connection.commit if keep else connection.rollback)()
    else:
        connection.exec_driver_sql("COMMIT" if keep else "ROLLBACK")


@contextmanager
def savepoint(connection: sa.Connection) -> Iterator[None]:
    """A part of a transaction that is taken back alone when the block raises."""
    connection.exec_driver_sql("SAVEPOINT dataflows")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK TO SAVEPOINT dataflows")
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT dataflows")
