"""``test-db`` and ``test-schema``: the staging table of csc-submit, asked without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from dataflows.checks.check import ENV_FILE, Attempt, Check, env_file
from dataflows.checks.databases import Opened
from dataflows.errors import DataflowsError, ExitCode, SettingUnusable

if TYPE_CHECKING:
    import sqlalchemy as sa

    from dataflows.flows.csc.indexes import Offered
    from dataflows.settings import Settings
    from dataflows.store.schema import ColumnFinding


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


def check_columns(settings: Settings) -> Iterator[Check]:
    """The columns of the staging table: those that cannot be used fail, others get their ALTER.

    Then the indexes that make a night cost what is pending: offered with their statement where they are missing.
    """
    attempt = Attempt()
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

        with self.connected() as connection:
            found = connection.execute(sa.select(self.table().c.id).limit(1)).first()
        return f"{self._settings.table_name} can be read{'' if found else '; it is empty'}"

    def write(self) -> str:
        """Writes into the columns that a run writes what they hold already, in one row, and takes it back."""
        from dataflows.flows.csc.columns import trial

        with self.connected() as connection:
            connection.execute(trial(self.table()))
        return f"{self._settings.table_name} can be written (the trial was rolled back)"

    def look(self) -> str:
        from dataflows.flows.csc.columns import findings

        name, found = self._settings.table_name, findings(self.engine, self.table())
        if found is None:
            raise SettingUnusable(
                f"{name} does not exist", reason="table-missing", hint="check TABLE_NAME, and: dataflows test-db"
            )
        self._columns = {finding.column: finding for finding in found}
        return f"{name} is there"

    def column(self, name: str) -> Check:
        there = self._columns[name]
        if there.there is None:
            return Check(f"column {name}", False, "is missing", there.mend, ExitCode.SETTINGS, reason="column-unfit")
        if there.refused:
            text = f"is {there.there}, and cannot be used: {there.refused}"
            return Check(f"column {name}", False, text, there.mend, ExitCode.SETTINGS, reason="column-unfit")
        if there.fits:
            return Check(f"column {name}", True, there.there)
        return Check(f"column {name}", True, f"warning: is {there.there}, should be {there.wanted}", there.mend)

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
        without = f"without it, the whole table is searched for {index.purpose}"
        if lacking.replaced:
            text = f"warning: {lacking.replaced} is defined differently, so it is not used; {without}"
            return Check(name, True, text, f"if nobody else needs it: {lacking.script}")
        return Check(name, True, f"offered: {without}", lacking.script)
