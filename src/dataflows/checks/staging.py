"""``test-db --target staging`` and ``test-schema``: the staging table's database and columns. Nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.attribute_rules import attribute_rules
from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.checks.engine import Opened
from dataflows.errors import ExitCode, SettingUnusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.settings import Settings
    from dataflows.store.schema import Finding


def check_staging(settings: Settings) -> Iterator[Check]:
    """The database of the staging table: can it be reached, read and (in a transaction that is rolled back) written."""
    attempt = Attempt()
    yield Check(ENV_FILE, True, env_file(settings))
    with closing(_Staging(settings)) as database:
        yield attempt("connection string", database.address)
        yield attempt("connection", database.connection, "connection string")
        yield attempt("read", database.read, "connection")
        yield attempt("write", database.write, "connection", "read")


def check_schema(settings: Settings) -> Iterator[Check]:
    """The rules of a child's record, and the columns of the staging table.

    A missing column fails, another type is a warning with the ALTER that mends it.
    """
    attempt = Attempt()
    yield attempt("attribute rules", partial(attribute_rules, settings))
    with closing(_Staging(settings)) as database:
        yield attempt("connection string", database.address)
        yield attempt("table", database.look, "connection string")
        for column in database.table().columns:
            yield attempt(f"column {column.name}", partial(database.column, column.name), "table")


class _Staging(Opened):
    """The staging table's database."""

    def __init__(self, settings: Settings) -> None:
        from dataflows.flows.csc.table import open_engine

        super().__init__(settings, "DB_CONNECTION_STRING", open_engine)
        self._columns: dict[str, Finding] = {}

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


_WRITTEN = (
    "submission_status",
    "submission_timestamp",
    "api_response",
    "previous_json_payload",
    "previous_hash",
    "partial_json_payload",
    "row_state",
)
