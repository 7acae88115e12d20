"""Opens the practice database of IMPORT_DATABASE_URL, or the embedded one, and says in its terms what goes wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.errors import AccessRefused, DataflowsError, ServiceDown, SettingUnusable
from dataflows.store import database
from dataflows.store.database import DatabaseLock, identity
from dataflows.store.sqlite_files import file_of

if TYPE_CHECKING:
    import psycopg

    from dataflows.settings import Secret, Settings

SETTING = "IMPORT_DATABASE_URL"
_HINTS: dict[type[DataflowsError], str] = {
    ServiceDown: "run again later: what was not committed is taken up again, nothing is lost",
    AccessRefused: f"check user and password in {SETTING}, and that this user may make and change tables there",
    SettingUnusable: f"check {SETTING}: the database itself has to be there, its tables are made by this program",
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
            f"{SETTING} names a database of a kind that is not supported here",
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
