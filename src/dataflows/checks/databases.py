"""``test-db``: a database that a setting names, and the practice's own, asked without changing them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.settings import Settings


class Opened:
    """The database of a setting, opened by its first check."""

    def __init__(self, settings: Settings, name: str, open_engine: Callable[[Settings], sa.Engine]) -> None:
        self._settings, self._name, self._open = settings, name, open_engine

    @cached_property
    def engine(self) -> sa.Engine:
        """Its engine. Raises SettingUnusable as whatever opens it."""
        return self._open(self._settings)

    def address(self) -> str:
        """Say where the address came from and what it leads to. Raises SettingUnusable for a file that is not there."""
        from dataflows.store.sqlite_files import file_of, refuse_missing

        if self.engine.dialect.name == "sqlite" and (path := file_of(self.engine.url)) is not None:
            refuse_missing(path, self._name)
        return f"{self.whence()}: {self.engine.dialect.name} by {self.engine.dialect.driver}"

    def privacy(self) -> Iterator[Check]:
        """Say which files of a SQLite database every account of this machine can read; nothing where none is."""
        from dataflows.store.sqlite_files import file_of, open_to_all

        path = file_of(self.engine.url) if self.engine.dialect.name == "sqlite" else None
        if path is not None and (found := open_to_all(path)):
            names = " ".join(shlex.quote(str(one)) for one in found)
            text = f"warning: every account of this machine can read or change {', '.join(map(str, found))}"
            yield Check("database file", True, text, f"chmod o-rwx {names}")

    def whence(self) -> str:
        """Say where the address came from."""
        if getattr(self._settings, self._name.lower()) is None:
            return "embedded default in DATA_DIR"
        return f"from the {self._settings.origin(self._name)}"

    def connection(self) -> str:
        """Say which driver and server answered, and how fast. Raises as ``connected``."""
        import sqlalchemy as sa

        with self.connected() as connection:
            began = time.perf_counter()
            connection.execute(sa.text("SELECT 1"))
            took = time.perf_counter() - began
            version = ".".join(map(str, self.engine.dialect.server_version_info or ()))
            return f"{_driver(connection)}server version {version}, answered in {1000 * took:.1f} ms"

    @contextmanager
    def connected(self) -> Iterator[sa.Connection]:
        """A connection; whatever is written is taken back. Raises as ``store.database.translated``."""
        from dataflows.store.database import translated
        from dataflows.store.failures import taken_back

        with translated(self._name), self.engine.connect() as connection, taken_back(connection):
            yield connection

    def close(self) -> None:
        """Close its connections."""
        if "engine" in vars(self):
            self.engine.dispose()


def _driver(connection: sa.Connection) -> str:
    """The ODBC driver's own name and version, where there is one (ODBC, SQLGetInfo)."""
    if connection.dialect.driver != "pyodbc":
        return ""
    import pyodbc

    raw = connection.connection.dbapi_connection
    return f"{raw.getinfo(pyodbc.SQL_DRIVER_NAME)} {raw.getinfo(pyodbc.SQL_DRIVER_VER)}, " if raw else ""


_TRIAL = "dataflows_trial"


def check_practice(settings: Settings) -> Iterator[Check]:
    """The practice database: can it be reached, is its schema ours, can it be read and written."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    with closing(_Practice(settings)) as database:
        yield attempt("database address", database.address)
        if database.is_missing:
            return
        if not attempt.failed:
            yield from database.privacy()
        yield attempt("connection", database.connection, "database address")
        yield attempt("schema", database.schema, "connection")
        yield attempt("read", database.read, "schema")
        yield attempt("write", database.write, "schema")


class _Practice(Opened):
    def __init__(self, settings: Settings) -> None:
        from dataflows.store.practice.database import open_engine

        super().__init__(settings, "IMPORT_DATABASE_URL", partial(open_engine, as_it_is=True))
        self._version: str | None = None
        self.is_missing = False

    def address(self) -> str:
        """A SQLite file that is not there yet is made by the first import; opening it here would make it now."""
        from dataflows.store.practice.database import is_missing

        self.is_missing = is_missing(self._settings)
        if self.is_missing:
            return f"{self.whence()}: a SQLite file that is not there yet; the first import makes it"
        return super().address()

    def schema(self) -> str:
        from dataflows.store.practice.database import translated
        from dataflows.store.practice.migrate import NEWEST, is_current, version_of

        with translated():
            self._version = version_of(self.engine)
        if self._version is None:
            return "no tables yet; the first import makes them"
        with translated():
            current = is_current(self.engine)
        return f"version {self._version}" + ("" if current else f"; the next import makes it {NEWEST}")

    def read(self) -> str:
        import sqlalchemy as sa

        from dataflows.store.practice.database import translated

        if self._version is None:
            return "nothing to read yet"
        tables = self._tables()
        with translated(), self.engine.connect() as connection:
            for table in tables:
                connection.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first()
        return f"{len(tables)} tables can be read"

    def write(self) -> str:
        """Update no row of each table, which needs the right all the same; without tables, make one."""
        import sqlalchemy as sa

        from dataflows.store.practice.database import translated, writing

        tables = self._tables() if self._version else []
        with translated(), writing(self.engine, keep=False) as connection:
            for table in tables:
                same = {column.name: column for column in table.primary_key.columns}
                connection.execute(sa.update(table).values(same).where(sa.false()))
                connection.execute(sa.delete(table).where(sa.false()))
                connection.execute(sa.insert(table).from_select([*same], sa.select(*same.values()).where(sa.false())))
            if not tables:
                sa.Table(_TRIAL, sa.MetaData(), sa.Column("id", sa.Integer)).create(connection)
        what = f"{len(tables)} tables can be written" if tables else "tables can be created"
        return f"{what} (the trial was rolled back)"

    def _tables(self) -> list[sa.Table]:
        """Those of the newest schema that are there."""
        import sqlalchemy as sa

        from dataflows.store.practice.tables import metadata

        there = set(sa.inspect(self.engine).get_table_names())
        return [table for name, table in metadata.tables.items() if name in there]
