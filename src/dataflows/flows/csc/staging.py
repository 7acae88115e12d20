"""The staging table: it belongs to the authority, whose loader may write to it at any moment.

Which rows are waiting is asked once, by an index over the states where there is one; they are read in short pages by
key. Writing is in ``write_back``. One code path serves SQL Server, PostgreSQL and SQLite.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.flows.csc import indexes
from dataflows.flows.csc.reading import shows_its_purge
from dataflows.flows.csc.records import Place
from dataflows.flows.csc.table import RowUpdate, StagedRow, TableIdentity, identified, open_engine, staging_table
from dataflows.flows.csc.write_back import RowOutcome, TableWriter, Written
from dataflows.store.database import DatabaseLock, identity
from dataflows.store.failures import in_statements, in_transaction

if TYPE_CHECKING:
    from dataflows.settings import Settings

PAGE = 1000
_STREAMED = 20 * PAGE  # ids; more than that are not held twice
_MOST_WORDS = 100  # pairs of status and row state in one condition; a table with more is walked
_DENSE = 1.1  # a page is read as a range of ids when at most so many rows lie in it per row that is wanted


class StagingTable:
    """Reads and updates one staging table."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self.engine = self._engine = engine
        self._named = name
        self.table = staging_table(name)
        columns = self.table.c
        self._select = sa.select(
            columns.id,
            columns.person_id,
            columns.json_payload,
            columns.previous_json_payload,
            columns.api_response,
            columns.submission_status,
            columns.row_state,
        )
        self._writer = TableWriter(engine, self.table)

    @classmethod
    def open(cls, settings: Settings) -> StagingTable:
        """Open the table that the settings name. Raises SettingUnusable: there is no such database."""
        return cls(open_engine(settings), settings.table_name)

    @property
    def address(self) -> str:
        """The table and its database as the settings name them."""
        return f"{identity(self._engine.url)}#{self.table.fullname.lower()}"

    @cached_property
    def identity(self) -> TableIdentity:
        """Which table this is, however it is spelled. Raises SettingUnusable where it is missing."""
        return identified(self._engine, self._named)

    def lock(self, name: str) -> DatabaseLock:
        """Return a lock that keeps others off the table; of them, what is called so."""
        return DatabaseLock(self._engine, f"{name} {self.identity.table}", database=self.identity.place)

    def place(self, receiver: str, la_code: str) -> Place:
        """Say where children go to, and which table they come from, however it is spelled."""
        former = f"{identity(self._engine.url)}#{self._named.lower()}"  # as earlier versions named it
        return Place(receiver, la_code, self.identity.key, former)

    # --- reading ----------------------------------------------------------------------------------------------

    def waiting(self, *, retry_errors: bool = True) -> Sequence[int]:
        """Return the ids of the rows to be looked at, newest first (eight bytes each)."""
        wanted = _Wanted(self.table, retry_errors=retry_errors)
        condition = wanted.by_function
        if indexes.STATES in self.indexes:
            pairs = [tuple(row) for row in self.look(_pairs(self._engine.dialect, self.table))]
            condition = wanted.among(pairs) if len(pairs) <= _MOST_WORDS else condition
        return array("q", sorted(self._ids_where(condition), reverse=True))

    def _ids_where(self, condition: sa.ColumnElement[bool]) -> array[int]:
        """Read ids at once; many of them, as a stream that takes no memory and some round trips."""
        statement = sa.select(self.table.c.id).where(condition)
        found = self.look(statement.limit(_STREAMED + 1))
        if len(found) <= _STREAMED:
            return array("q", (_number(row[0]) for row in found))

        def streamed(connection: sa.Connection) -> array[int]:
            rows = connection.execution_options(yield_per=_STREAMED).execute(statement)
            return array("q", (_number(row[0]) for row in rows))

        return in_transaction(self._engine, streamed)

    @cached_property
    def indexes(self) -> frozenset[str]:
        """Which of the offered indexes the table has."""
        return indexes.present(self._engine, self.table)

    def pages(self, ids: Sequence[int]) -> Iterator[list[StagedRow]]:
        """Yield the rows of ``ids`` that are still waiting, in pages; each is a short read of its own."""
        for start in range(0, len(ids), PAGE):
            page = [row for row in self.rows(ids[start : start + PAGE]) if row.waiting]
            if page:
                yield page

    def rows(self, ids: Sequence[int]) -> list[StagedRow]:
        """Return these rows as they are now, newest first, at most 1,000 at a time; those that are gone are missing."""
        if not ids:
            return []
        lowest, highest = min(ids), max(ids)
        column = self.table.c.id
        if highest - lowest < _DENSE * len(ids):
            chosen, wanted = column.between(lowest, highest), frozenset(ids)
        else:
            chosen, wanted = column.in_(list(ids)), frozenset()
        found = self._read(self._select.where(chosen).order_by(column.desc()))
        return [row for row in found if row.id in wanted] if wanted else found

    def of_person(self, person_id: str) -> list[StagedRow]:
        """Return the rows of a person, whatever their status, at most 1,000."""
        return self._read(self._select.where(self.table.c.person_id == person_id).limit(PAGE))

    def look(self, statement: sa.Executable) -> Sequence[Any]:
        """Return the rows of a short read of some columns."""
        return in_statements(self._engine, lambda connection: connection.execute(statement).all())

    def _read(self, statement: sa.Select[Any]) -> list[StagedRow]:
        """Read rows as the driver gives them: there is nothing to convert, and SQLAlchemy's cost as much again."""

        def fetched(connection: sa.Connection) -> Sequence[Any]:
            return connection.execute(statement).cursor.fetchall()

        rows = [_row(values) for values in in_statements(self._engine, fetched)]
        gone = [row.id for row in rows if row.deleted and row.settled and not shows_its_purge(row)]
        return self._with_partials(rows, gone) if gone else rows

    def _with_partials(self, rows: list[StagedRow], gone: Sequence[int]) -> list[StagedRow]:
        """Read a further long column of the few rows where it tells something: drivers fetch each by its own call."""
        columns = self.table.c
        found = self.look(sa.select(columns.id, columns.partial_json_payload).where(columns.id.in_(gone)))
        partials = {row.id: row.partial_json_payload for row in found}
        return [row._replace(partial=partials[row.id]) if row.id in partials else row for row in rows]

    # --- writing ----------------------------------------------------------------------------------------------

    def prove_writable(self, row_id: int) -> None:
        """Make sure, before anything is sent, that this account may write. Raises as ``translated``."""
        self._writer.prove(row_id)

    def record(self, outcome: RowOutcome, changes: Collection[RowUpdate]) -> Written:
        """Write an outcome of rows; a row that was reloaded meanwhile stays as its loader left it."""
        return self._writer.write(outcome, changes)

    def requeue(self) -> int:
        """Set every row with a payload that is not deleted to pending, in short transactions; return how many."""
        columns = self.table.c
        wanted = sa.and_(_word(columns.row_state) != "deleted", columns.json_payload.is_not(None))
        return sum(self._set_pending(sa.and_(wanted, part)) for part in self._ranges())

    def _set_pending(self, where: sa.ColumnElement[bool]) -> int:
        statement = sa.update(self.table).where(where).values(submission_status="Pending")
        return in_statements(self._engine, lambda connection: int(connection.execute(statement).rowcount))

    def _ranges(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield conditions that hold for a page of rows each, in ascending order, and together for all."""
        column = self.table.c.id
        ids = self._ids(sa.select(column))
        while ids:
            yield column.between(ids[0], ids[-1])
            ids = self._ids(sa.select(column).where(column > ids[-1]))

    def _ids(self, statement: sa.Select[Any]) -> Sequence[int]:
        page = statement.order_by(self.table.c.id).limit(PAGE)
        return in_statements(self._engine, lambda connection: connection.execute(page).scalars().all())


class _Wanted:
    """Which rows are waiting, in SQL. Loaders differ in case and blanks of their words."""

    def __init__(self, table: sa.Table, *, retry_errors: bool) -> None:
        self.words = (table.c.submission_status, table.c.row_state)
        self._statuses = ("pending", "error") if retry_errors else ("pending",)

    @property
    def by_function(self) -> sa.ColumnElement[bool]:
        """For a walk through the table."""
        status, state = self.words
        return sa.or_(_word(status).in_(self._statuses), _word(state) == "deleted")

    def among(self, pairs: Sequence[tuple[Any, ...]]) -> sa.ColumnElement[bool]:
        """For an index: the spellings that there are, as they are."""
        fitting = [pair for pair in pairs if self._fits(*pair)]
        return sa.or_(sa.false(), *(sa.and_(*map(_same, self.words, pair)) for pair in fitting))

    def _fits(self, status: str | None, state: str | None) -> bool:
        return (status or "").strip().lower() in self._statuses or (state or "").strip().lower() == "deleted"


def _pairs(dialect: sa.Dialect, table: sa.Table) -> sa.Executable:
    """Ask for the pairs of status and row state that there are; of some, (status, NULL), there may be none.

    An index tells the next word in a moment, so no row is counted; only SQL Server does not take it said like this,
    and goes through the index once.
    """
    status, state = table.c.submission_status, table.c.row_state
    if dialect.name == "mssql":
        return sa.select(status, state).group_by(status, state).limit(_MOST_WORDS + 1)
    name = dialect.identifier_preparer.format_table(table)
    return sa.text(
        f"WITH RECURSIVE a (v) AS (SELECT min(submission_status) FROM {name} UNION ALL"  # noqa: S608
        f" SELECT (SELECT min(submission_status) FROM {name} WHERE submission_status > a.v) FROM a"
        " WHERE a.v IS NOT NULL),"
        f" b (v, w) AS (SELECT a.v, (SELECT min(row_state) FROM {name} WHERE submission_status = a.v) FROM a"
        f" WHERE a.v IS NOT NULL UNION ALL SELECT b.v, (SELECT min(row_state) FROM {name} WHERE submission_status = b.v"
        " AND row_state > b.w) FROM b WHERE b.w IS NOT NULL),"
        f" c (w) AS (SELECT min(row_state) FROM {name} WHERE submission_status IS NULL UNION ALL"
        f" SELECT (SELECT min(row_state) FROM {name} WHERE submission_status IS NULL AND row_state > c.w) FROM c"
        " WHERE c.w IS NOT NULL)"
        f" SELECT v, w FROM b UNION ALL SELECT NULL, w FROM c LIMIT {_MOST_WORDS + 1}"
    )


def _same(column: sa.Column[Any], value: str | None) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _number(row_id: object) -> int:
    if not isinstance(row_id, int):
        raise SettingUnusable(
            "the id column of the staging table does not hold whole numbers",
            reason="row-id-type",
            hint="compare it with what is needed: dataflows test-schema",
        )
    return row_id


def _row(values: Iterable[Any]) -> StagedRow:
    """Make a row of what the driver gave: person_id may be a number there, and CHAR columns come with blanks."""
    row = StagedRow(*values)
    if type(row.id) is not int:
        _number(row.id)
    if row.person_id is not None and type(row.person_id) is not str:
        row = row._replace(person_id=str(row.person_id))
    return row._replace(response=row.response.rstrip()) if row.response and row.response[-1] == " " else row


def _word(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    """Compare status words without case and blanks."""
    return sa.func.lower(sa.func.ltrim(sa.func.rtrim(sa.func.coalesce(column, ""))))
