"""`test-db` and `test-schema`: the databases, asked without changing them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cached_property, partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.errors import DataflowsError, ExitCode, SettingUnusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.flows.csc.indexes import Offered
    from dataflows.settings import Settings
    from dataflows.store.schema import ColumnFinding


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
        """Say which driver and server answered, and how fast. Raises as ``store.database.translated``."""
        import sqlalchemy as sa

        from dataflows.store.database import translated

        with translated(self._name), self.engine.connect() as connection:
            began = time.perf_counter()
            connection.execute(sa.text("SELECT 1"))
            took = time.perf_counter() - began
            version = ".".join(map(str, self.engine.dialect.server_version_info or ()))
            return f"{_driver(connection)}server version {version}, answered in {1000 * took:.1f} ms"

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


_SHOWN = 30


def attribute_rules(settings: Settings) -> str:
    """Say which rules hold.

    Raises:
        SettingUnusable: the document that CSC_SCHEMA names cannot be used.
    """
    from dataflows.flows.csc.schema import built_in, differences, load_schema

    ours, schema = built_in(), load_schema(settings.csc_schema)
    if schema.source is None:
        return f"DfE's schema {schema.version}, built in"
    found = differences(ours, schema)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    told = f"differs from the built-in {ours.version}: {'; '.join(found[:_SHOWN])}{more}"
    same = f"says the same as the built-in {ours.version}"
    return f"DfE's schema {schema.version} from {schema.source} {told if found else same}"


NAME = "IMPORT_DATABASE_URL"
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

        super().__init__(settings, NAME, partial(open_engine, as_it_is=True))
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
        what = f"{len(tables)} tables can be written" if tables else "tables can be made"
        return f"{what} (the trial was rolled back)"

    def _tables(self) -> list[sa.Table]:
        """Those of the newest schema that are there."""
        import sqlalchemy as sa

        from dataflows.store.practice.tables import metadata

        there = set(sa.inspect(self.engine).get_table_names())
        return [table for name, table in metadata.tables.items() if name in there]


def check_staging(settings: Settings) -> Iterator[Check]:
    """The database of the staging table: can it be reached, read and (in a transaction that is rolled back) written."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    with closing(_Staging(settings)) as database:
        yield attempt("connection string", database.address)
        if not attempt.failed:
            yield from database.privacy()
        yield attempt("connection", database.connection, "connection string")
        yield attempt("read", database.read, "connection")
        yield attempt("write", database.write, "connection", "read")


def check_schema(settings: Settings) -> Iterator[Check]:
    """The rules of a child's record, and the staging table: columns that cannot be used fail, others get their ALTER.

    Then the indexes that make a night cost what is pending: offered with their statement where they are missing.
    """
    attempt = Attempt()
    yield attempt("attribute rules", partial(attribute_rules, settings))
    with closing(_Staging(settings)) as database:
        yield attempt("connection string", database.address)
        yield attempt("table", database.look, "connection string")
        for column in database.table().columns:
            yield attempt(f"column {column.name}", partial(database.column, column.name), "table")
        for index in database.offered():
            yield attempt(f"index {index.called}", partial(database.index, index), "table")


class _Staging(Opened):
    """The staging table's database."""

    def __init__(self, settings: Settings) -> None:
        from dataflows.flows.csc.table import open_engine

        super().__init__(settings, "DB_CONNECTION_STRING", open_engine)
        self._columns: dict[str, ColumnFinding] = {}
        self._missing: dict[str, Offered] | None = None

    def table(self) -> sa.Table:
        from dataflows.flows.csc.table import staging_table

        return staging_table(self._settings.table_name)

    def read(self) -> str:
        import sqlalchemy as sa

        from dataflows.store.database import translated

        with translated("DB_CONNECTION_STRING"), self.engine.connect() as connection:
            found = connection.execute(sa.select(self.table().c.id).limit(1)).first()
        return f"{self._settings.table_name} can be read{'' if found else '; it is empty'}"

    def write(self) -> str:
        """Writes into the columns that a run writes what they hold already, in one row, and takes it back."""
        import sqlalchemy as sa

        from dataflows.flows.csc.write_back import WRITTEN
        from dataflows.store.database import translated
        from dataflows.store.failures import taken_back

        table = self.table()
        newest = sa.select(sa.func.max(table.c.id)).scalar_subquery()
        same = {name: table.c[name] for name in WRITTEN}
        with translated("DB_CONNECTION_STRING"), self.engine.connect() as connection, taken_back(connection):
            connection.execute(sa.update(table).where(table.c.id == newest).values(same))
        return f"{self._settings.table_name} can be written (the trial was rolled back)"

    def look(self) -> str:
        from dataflows.flows.csc.columns import refusal
        from dataflows.store.schema import findings

        name, found = self._settings.table_name, findings(self.engine, self.table(), refusal)
        if found is None:
            raise SettingUnusable(f"{name} is not there", hint="check TABLE_NAME, and: dataflows test-db")
        self._columns = {finding.column: finding for finding in found}
        return f"{name} is there"

    def column(self, name: str) -> Check:
        there = self._columns[name]
        if there.there is None:
            return Check(f"column {name}", False, "is missing", there.mend, ExitCode.SETTINGS)
        if there.refused:
            text = f"is {there.there}, and cannot be used: {there.refused}"
            return Check(f"column {name}", False, text, there.mend, ExitCode.SETTINGS)
        if there.fits:
            return Check(f"column {name}", True, there.there)
        return Check(f"column {name}", True, f"warning: is {there.there}, wanted is {there.wanted}", there.mend)

    def offered(self) -> list[Offered]:
        """Return the indexes that are offered; none where there is no database to make them in."""
        from dataflows.flows.csc.indexes import offered

        try:
            return offered(self.engine, self.table())
        except DataflowsError:
            return []

    def index(self, index: Offered) -> Check:
        from dataflows.flows.csc.indexes import missing

        name = f"index {index.called}"
        if self._missing is None:
            self._missing = {one.name: one for one in missing(self.engine, self.table())}
        lacking = self._missing.get(index.name)
        if lacking is None:
            return Check(name, True, "is there")
        without = f"without it {index.purpose} is looked for in the whole table"
        if lacking.replaced:
            text = f"warning: {lacking.replaced} is defined in another way, so it is not used; {without}"
            return Check(name, True, text, f"if nobody else needs it: {lacking.script}")
        return Check(name, True, f"offered: {without}", lacking.script)
