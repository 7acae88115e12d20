"""``test-db --target practice``: the database of patients and therapists. What is written is taken back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.checks.engine import Opened

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.settings import Settings

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

        from dataflows.store.practice.database import translated
        from dataflows.store.practice.transactions import writing

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

        from dataflows.store.practice import tables, therapist_tables
        from dataflows.store.practice.metadata import metadata

        there = set(sa.inspect(self.engine).get_table_names())
        ours = (*tables.__all__, *therapist_tables.__all__)
        return [metadata.tables[name] for name in ours if name in there]
