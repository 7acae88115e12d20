"""Transactions that both databases mean in the same way; SQLite's driver begins and ends its own at odd moments."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

__all__ = ["savepoint", "writing"]


@contextmanager
def writing(engine: sa.Engine, *, keep: bool = True) -> Iterator[sa.Connection]:
    """One transaction: committed at the end of the block (rolled back without ``keep``, or when something is raised).

    On SQLite it holds the one place for writers from its beginning, and takes table definitions back as well.

    Raises:
        sqlalchemy.exc.DBAPIError: see ``database.translated``.
    """
    with engine.connect() as opened:
        connection = _begun(opened)
        try:
            yield connection
        except BaseException:
            with suppress(sa.exc.SQLAlchemyError):  # a session that broke off takes back by itself; why it did, counts
                _end(connection, keep=False)
            raise
        _end(connection, keep=keep)


def _begun(connection: sa.Connection) -> sa.Connection:
    if connection.dialect.name == "sqlite":
        connection = connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    return connection


def _end(connection: sa.Connection, *, keep: bool) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("COMMIT" if keep else "ROLLBACK")
    elif keep:
        connection.commit()
    else:
        connection.rollback()


@contextmanager
def savepoint(connection: sa.Connection) -> Iterator[None]:
    """A part of a transaction that is taken back alone when the block raises."""
    connection.exec_driver_sql("SAVEPOINT dataflows")
    try:
        yield
    except BaseException:
        with suppress(sa.exc.SQLAlchemyError):  # likewise
            connection.exec_driver_sql("ROLLBACK TO SAVEPOINT dataflows")
            connection.exec_driver_sql("RELEASE SAVEPOINT dataflows")
        raise
    connection.exec_driver_sql("RELEASE SAVEPOINT dataflows")
