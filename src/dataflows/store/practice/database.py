"""The practice database: opening it, transactions that are repeated, rows in bulk."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import orjson
import psycopg
import sqlalchemy as sa
from psycopg.types.json import set_json_dumps

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable
from dataflows.store import database
from dataflows.store.database import DatabaseLock, identity
from dataflows.store.sqlite_files import file_of

if TYPE_CHECKING:
    import psycopg

    from dataflows.settings import Secret, Settings


def insert(connection: sa.Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows that all have the keys of the first one, in their order, inside the transaction of ``connection``.

    PostgreSQL takes the first ones in while the iterator still makes others.
    """
    source = iter(rows)
    first = next(source, None)
    if first is None:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, list(first), chain((first,), source))
    else:
        connection.execute(table.insert(), [first, *source])


def within(
    connection: sa.Connection, column: sa.Column[Any], values: Sequence[int] | Sequence[str]
) -> sa.ColumnElement[bool]:
    """Whether a column has one of these values, which are bound as one parameter however many they are.

    On PostgreSQL as ``= ANY(array)``: to be one of a subquery would be planned as a loop over the whole table. The
    array is made there: the driver looks at each text of one (4 us).
    """
    given = sa.bindparam(None, orjson.dumps(values).decode(), type_=sa.Text)
    if connection.dialect.name == "postgresql":
        each = sa.func.json_array_elements_text(sa.cast(given, sa.JSON)).column_valued("value")
        return column == sa.any_(sa.func.array(sa.select(sa.cast(each, column.type)).scalar_subquery()))
    return column.in_(sa.select(sa.func.json_each(given).table_valued("value").c.value))


def _copy(connection: sa.Connection, table: sa.Table, names: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """In PostgreSQL's binary form: it costs half the CPU of the text form, in which everything has to be escaped."""
    dialect = connection.dialect
    types = [table.c[name].type.compile(dialect).lower() for name in names]
    quoted = dialect.identifier_preparer
    columns = ", ".join(quoted.quote(name) for name in names)
    statement = f"COPY {quoted.format_table(table)} ({columns}) FROM STDIN (FORMAT BINARY)"
    try:
        with closing(cast("psycopg.Cursor[Any]", connection.connection.cursor())) as cursor:
            set_json_dumps(orjson.dumps, cursor)
            with cursor.copy(statement) as copy:
                copy.set_types(types)
                for row in rows:
                    copy.write_row([row[name] for name in names])
    except psycopg.Error as error:  # as SQLAlchemy would have raised it
        raise sa.exc.DBAPIError.instance(statement, None, error, psycopg.Error, hide_parameters=True) from None


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


SETTING = "IMPORT_DATABASE_URL"
_HINTS: dict[type[DataflowsError], str] = {
    ServiceDown: "run again later: what was not committed is done again, nothing is lost",
    AccessRefused: f"check user and password in {SETTING}, and that this user may create and change tables there",
    SettingUnusable: f"check {SETTING}: the database itself must exist, its tables are created by this program",
}


def open_engine(settings: Settings, *, as_it_is: bool = False) -> sa.Engine:
    """Make the engine of the practice database; nothing is connected yet.

    ``as_it_is``: a SQLite file is neither made nor switched to a write-ahead log, which would change it.

    Raises:
        SettingUnusable: IMPORT_DATABASE_URL is no address of a PostgreSQL or SQLite database.
    """
    engine = database.connect(_address(settings), name=SETTING, create=not as_it_is)
    if engine.dialect.name not in ("postgresql", "sqlite"):
        raise SettingUnusable(
            f"{SETTING} names an unsupported kind of database",
            reason="database-url",
            hint="use postgresql+psycopg://user:password@host/database, or sqlite:///C:/data/practice.db",
        )
    if engine.dialect.name == "sqlite":
        if not as_it_is:
            sa.event.listen(engine, "connect", _prepare_sqlite)
    else:
        sa.event.listen(engine, "connect", _prepare_postgresql)
    return engine


def is_missing(settings: Settings) -> bool:
    """Whether the database is a SQLite file that was never made; opening it would make it."""
    url = database.connect(_address(settings), name=SETTING, create=False).url
    path = file_of(url) if url.get_backend_name() == "sqlite" else None
    return path is not None and not path.exists()


def target(settings: Settings) -> str:
    """Name the database as locks and the journal know it: by where it is, without account and password."""
    engine = open_engine(settings)
    engine.dispose()
    return identity(engine.url)


def lock_for(engine: sa.Engine, command: str) -> DatabaseLock:
    """The lock of a command on this database, wherever its runs take place."""
    return DatabaseLock(engine, f"dataflows {command}", setting=SETTING)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises inside the block into one of our errors, without any value (``store.failures``)."""
    try:
        with database.translated(SETTING):
            yield
    except (ServiceDown, AccessRefused, SettingUnusable) as error:
        if error.message.startswith(SETTING):
            error.hint = _HINTS[type(error)]
        raise


def _address(settings: Settings) -> Secret | str:
    return settings.import_database_url or f"sqlite:///{settings.data_dir / 'practice.db'}"


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _prepare_postgresql(connection: psycopg.Connection[object], _record: object) -> None:
    """Ask for times in UTC: in the server's own zone the last hour of the year 9999 may be one that Python lacks."""
    connection.execute("SET TIME ZONE 'UTC'")
    connection.commit()
