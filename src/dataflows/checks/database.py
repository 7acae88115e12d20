"""``test-db`` and ``test-schema``: the staging table's database, and the table's columns. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dataflows.checks.check import Attempt, Check, env_file
from dataflows.errors import ExitCode, SettingUnusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.settings import Settings
    from dataflows.store.schema import Finding


def check_database(settings: Settings) -> Iterator[Check]:
    """The database of the staging table: can it be reached, read and (in a transaction that is rolled back) written."""
    attempt = Attempt()
    yield Check("env file", True, env_file(settings))
    with closing(_Database(settings)) as database:
        yield attempt("connection string", database.address)
        yield attempt("connection", database.connection, "connection string")
        yield attempt("read", database.read, "connection")
        yield attempt("write", database.write, "connection", "read")


def check_schema(settings: Settings) -> Iterator[Check]:
    """The columns of the staging table: a missing one fails, another type is a warning with the ALTER that mends it."""
    attempt = Attempt()
    with closing(_Database(settings)) as database:
        yield attempt("connection string", database.address)
        yield attempt("table", database.look, "connection string")
        for column in database.table().columns:
            yield attempt(f"column {column.name}", partial(database.column, column.name), "table")


class _Database:
    """The staging table's database, opened by its first check."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine: sa.Engine | None = None
        self._columns: dict[str, Finding] = {}

    @property
    def engine(self) -> sa.Engine:
        from dataflows.flows.csc.table import open_engine

        self._engine = self._engine or open_engine(self._settings)
        return self._engine

    def table(self) -> sa.Table:
        from dataflows.flows.csc.table import staging_table

        return staging_table(self._settings.table_name)

    def address(self) -> str:
        engine = self.engine
        _refuse_missing_file(engine)
        origin = self._settings.origin("DB_CONNECTION_STRING")
        whence = "embedded default in DATA_DIR" if self._settings.db_connection_string is None else f"from the {origin}"
        return f"{whence}: {engine.dialect.name} by {engine.dialect.driver}"

    def connection(self) -> str:
        import sqlalchemy as sa

        from dataflows.store.database import translated

        with translated("DB_CONNECTION_STRING"), self.engine.connect() as connection:
            began = time.perf_counter()
            connection.execute(sa.text("SELECT 1"))
            took = time.perf_counter() - began
            version = ".".join(map(str, self.engine.dialect.server_version_info or ()))
            return f"{_driver(connection)}server version {version}, answered in {1000 * took:.1f} ms"

    def read(self) -> str:
        import sqlalchemy as sa

        from dataflows.store.database import translated

        with translated("DB_CONNECTION_STRING"), self.engine.connect() as connection:
            found = connection.execute(sa.select(self.table().c.id).limit(1)).first()
        return f"{self._settings.table_name} can be read{'' if found else '; it is empty'}"

    def write(self) -> str:
        """Writes into the columns that a run writes what they hold already, in one row, and takes it back."""
        import sqlalchemy as sa

        from dataflows.store.database import translated

        table = self.table()
        newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
        same = {name: table.c[name] for name in _WRITTEN}
        with translated("DB_CONNECTION_STRING"), self.engine.connect() as connection:
            try:
                connection.execute(sa.update(table).where(table.c.id == newest).values(same))
            finally:
                connection.rollback()
        return f"{self._settings.table_name} can be written (the trial was rolled back)"

    def look(self) -> str:
        from dataflows.store.schema import findings

        name, found = self._settings.table_name, findings(self.engine, self.table())
        if found is None:
            raise SettingUnusable(f"{name} is not there", hint="check TABLE_NAME, and: dataflows test-db")
        self._columns = {finding.column: finding for finding in found}
        return f"{name} is there"

    def column(self, name: str) -> Check:
        there = self._columns[name]
        if there.there is None:
            return Check(f"column {name}", False, "is missing", there.mend, ExitCode.SETTINGS)
        if there.fits:
            return Check(f"column {name}", True, there.there)
        return Check(f"column {name}", True, f"warning: is {there.there}, wanted is {there.wanted}", there.mend)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()


_WRITTEN = (
    "submission_status",
    "submission_timestamp",
    "api_response",
    "previous_json_payload",
    "previous_hash",
    "partial_json_payload",
    "row_state",
)


def _driver(connection: sa.Connection) -> str:
    """The ODBC driver's own name and version, where there is one (ODBC, SQLGetInfo)."""
    if connection.dialect.driver != "pyodbc":
        return ""
    import pyodbc

    raw = connection.connection.dbapi_connection
    return f"{raw.getinfo(pyodbc.SQL_DRIVER_NAME)} {raw.getinfo(pyodbc.SQL_DRIVER_VER)}, " if raw else ""


def _refuse_missing_file(engine: sa.Engine) -> None:
    """SQLite would make an empty database of a mistyped name."""
    path = engine.url.database
    if engine.dialect.name == "sqlite" and path and path != ":memory:" and not path.startswith("file:"):
        file = Path(path).absolute()
        if not file.exists():
            raise SettingUnusable(f"there is no database file {file}", hint="check DB_CONNECTION_STRING")
