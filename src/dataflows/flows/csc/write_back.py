"""Writing outcomes into the staging table: one statement a batch, which changes only rows that are as they were read.

SQL Server and PostgreSQL are handed the batch as one value and join it with the table, so that a row costs no round
trip. The statements name the rows in ascending order, as a loader's scan takes them.
"""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

import sqlalchemy as sa

from dataflows.store.database import RowRefused, fingerprint, text_hash
from dataflows.store.failures import all_results, in_statements, in_transaction, taken_back

if TYPE_CHECKING:
    from dataflows.flows.csc.table import RowUpdate

ROWS = 200  # of one transaction: the loader waits for no more than that
_HOPELESS = 10  # rows refused, and none taken: the others are not tried


class RowOutcome(Enum):
    """What is written of a row."""

    SENT = auto()
    DELETED = auto()
    UNCHANGED = auto()
    ERROR = auto()

    @property
    def status(self) -> str:
        """The word in submission_status afterwards."""
        return "error" if self is RowOutcome.ERROR else "sent"


# per outcome the columns that are set; {row} is the row as it is, {batch} what is handed over
_ASSIGNED: Mapping[RowOutcome, Mapping[str, str]] = {
    RowOutcome.SENT: {
        "submission_status": "'sent'",
        "submission_timestamp": "CURRENT_TIMESTAMP",  # the database's own clock, as the loader's
        "api_response": "{batch}response",
        "previous_json_payload": "{row}json_payload",
        "previous_hash": "{row}current_hash",
        "partial_json_payload": "{batch}partial",
        "row_state": "'unchanged'",
    },
    RowOutcome.DELETED: {
        "submission_status": "'sent'",
        "submission_timestamp": "CURRENT_TIMESTAMP",
        "api_response": "{batch}response",
        "previous_json_payload": "NULL",
        "previous_hash": "NULL",
        "partial_json_payload": "NULL",
    },
    RowOutcome.UNCHANGED: {
        "submission_status": "'sent'",
        "api_response": "{batch}response",
        "previous_hash": "{row}current_hash",
        "row_state": "'unchanged'",
    },
    RowOutcome.ERROR: {"submission_status": "'error'", "api_response": "{batch}response"},
}
WRITTEN = tuple(_ASSIGNED[RowOutcome.SENT])


@dataclass
class Written:
    """What became of updates: rows that were ``reloaded`` meanwhile, and those that the table ``refused``, with why."""

    reloaded: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)

    def __or__(self, other: Written) -> Written:
        """Return both together."""
        return Written(self.reloaded | other.reloaded, self.refused | other.refused)


class TableWriter:
    """Writes outcomes into one staging table."""

    def __init__(self, engine: sa.Engine, table: sa.Table) -> None:
        self._engine = engine
        self._table = table
        self._statements: _Statements | None = None
        self._refusals: dict[RowOutcome, int] = {}
        self._taken: set[RowOutcome] = set()

    def write(self, outcome: RowOutcome, changes: Collection[RowUpdate]) -> Written:
        """Write an outcome of rows; each row only where its payload, status and row state are what was read.

        A row that the table does not take (a constraint, a trigger, a column that is too short) holds up no other.

        Raises:
            DataflowsError: as ``translated``, but for a refusal of single rows.
        """
        written = Written()
        ordered = sorted(changes, key=lambda change: change.row.id)
        for start in range(0, len(ordered), ROWS):
            self._part(outcome, ordered[start : start + ROWS], written)
        return written

    def _part(
        self, outcome: RowOutcome, part: Sequence[RowUpdate], written: Written, *, known: RowRefused | None = None
    ) -> None:
        if known is not None and self._hopeless(outcome):
            written.refused.update((change.row.id, known.message) for change in part)
            return
        try:
            written.reloaded |= in_statements(self._engine, lambda connection: self._once(connection, outcome, part))
            self._taken.add(outcome)
        except RowRefused as refused:
            if len(part) > 1:
                for half in (part[: len(part) // 2], part[len(part) // 2 :]):
                    self._part(outcome, half, written, known=refused)
                return
            self._refusals[outcome] = self._refusals.get(outcome, 0) + 1
            written.refused[part[0].row.id] = refused.message

    def _hopeless(self, outcome: RowOutcome) -> bool:
        return outcome not in self._taken and self._refusals.get(outcome, 0) >= _HOPELESS

    def _once(self, connection: sa.Connection, outcome: RowOutcome, part: Sequence[RowUpdate]) -> set[int]:
        if self._statements is None:
            self._statements = _statements(connection, self._table)
        missed = {change.row.id: change for change in part}
        for row_id in self._statements.update(connection, outcome, part):
            missed.pop(row_id, None)
        return set(missed) - self._shown(connection, outcome, missed)

    def _shown(self, connection: sa.Connection, outcome: RowOutcome, missed: Mapping[int, RowUpdate]) -> set[int]:
        """Find rows that show already what was to be written: by a transaction whose session was lost at its end."""
        if not missed:
            return set()
        columns = self._table.c
        found = connection.execute(
            sa.select(columns.id, columns.api_response, columns.submission_status).where(columns.id.in_(missed))
        )
        return {
            row.id
            for row in found
            if (row.api_response or "").rstrip() == (missed[row.id].response or "")
            and (row.submission_status or "").strip().lower() == outcome.status
        }

    def prove(self, row_id: int) -> None:
        """Make sure that this account may write, by an update of one row that changes nothing and is taken back.

        Raises:
            DataflowsError: as ``translated``; a row that cannot be written proves nothing and is passed over.
        """
        columns = self._table.c
        same = {name: columns[name] for name in WRITTEN}
        statement = sa.update(self._table).where(columns.id == row_id).values(same)

        def tried(connection: sa.Connection) -> None:
            with taken_back(connection):
                connection.execute(statement)

        try:
            in_transaction(self._engine, tried)
        except RowRefused:
            return


def _statements(connection: sa.Connection, table: sa.Table) -> _Statements:
    if connection.dialect.name == "postgresql":
        return _PostgreSqlUpdate(connection, table)
    if connection.dialect.name == "mssql":
        return (
            _SqlServerUpdate(connection, table)
            if _has_openjson(connection.engine)
            else _SqlServerValues(connection, table)
        )
    return _Sqlite(connection, table)


def _has_openjson(engine: sa.Engine) -> bool:
    """SQL Server has it where the database's compatibility level is that of 2016 at least.

    Some that speak its language hand on a text with the escapes of JSON still in it: theirs is none.
    """
    try:
        with engine.connect() as connection:  # one of its own: what is refused may end a transaction
            asked = """SELECT v FROM OPENJSON(N'[["\\""]]') WITH (v NVARCHAR(9) '$[0]')"""
            return connection.exec_driver_sql(asked).scalar() == '"'
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated:
            raise
        return False


def _hashed_encoding(connection: sa.Connection) -> str:
    """SQL Server hashes UTF-16; some that speak its language hash UTF-8, and every row would seem to be reloaded."""
    asked = "SELECT HASHBYTES('SHA2_256', CAST(N'\N{LATIN SMALL LETTER U WITH DIAERESIS}' AS NVARCHAR(MAX)))"
    found = connection.exec_driver_sql(asked).scalar()
    same = text_hash("\N{LATIN SMALL LETTER U WITH DIAERESIS}", "utf-8")
    return "utf-8" if found == same else "utf-16-le"


class _Statements(ABC):
    """The updates in one database's words."""

    row = "csc_row"  # what a row of the table is called in them

    def __init__(self, connection: sa.Connection, table: sa.Table) -> None:
        self._name = connection.dialect.identifier_preparer.format_table(table)
        payload: sa.ColumnElement[str] = sa.func.coalesce(
            sa.literal_column(f"{self.row}.json_payload"), sa.literal_column("''")
        )
        self._fingerprint = str(fingerprint(payload).compile(dialect=connection.dialect))
        self._encoding = "utf-8"  # of the texts that the database hashes

    @abstractmethod
    def update(self, connection: sa.Connection, outcome: RowOutcome, part: Sequence[RowUpdate]) -> Iterator[int]:
        """Update rows; yield the ids of those that were as they had been read."""

    def _as_read(self, same: str, collation: str = "") -> str:
        """Say that a row is as it was read: as a case, so that no planner joins by it and hashes the whole table."""
        return (
            f"CASE WHEN {same} AND coalesce({self.row}.submission_status, '') = batch.status{collation}"
            f" AND coalesce({self.row}.row_state, '') = batch.state{collation} THEN 1 ELSE 0 END = 1"
        )

    def _set(self, outcome: RowOutcome, batch: str = "batch.") -> str:
        values = {name: value.format(row=f"{self.row}.", batch=batch) for name, value in _ASSIGNED[outcome].items()}
        return ", ".join(f"{name} = {value}" for name, value in values.items())

    def _values(self, change: RowUpdate) -> tuple[int, bytes, str, str, str | None, str | None]:
        row = change.row
        read = text_hash(row.payload or "", self._encoding)
        return row.id, read, row.status or "", row.row_state or "", change.response, change.partial


class _PostgreSqlUpdate(_Statements):
    def update(self, connection: sa.Connection, outcome: RowOutcome, part: Sequence[RowUpdate]) -> Iterator[int]:
        same = f"{self._fingerprint} = batch.fingerprint"
        statement = (
            f"UPDATE {self._name} AS csc_row SET {self._set(outcome)}"  # noqa: S608
            " FROM unnest(%s::bigint[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::text[])"
            " AS batch (id, fingerprint, status, state, response, partial)"
            f" WHERE csc_row.id = batch.id AND csc_row.id = ANY(%s::bigint[]) AND {self._as_read(same)}"
            " RETURNING csc_row.id"
        )
        columns = [list(column) for column in zip(*map(self._values, part), strict=True)]
        values = (*columns, columns[0])
        return (int(row[0]) for row in connection.exec_driver_sql(statement, values))


class _SqlServerUpdate(_Statements):
    """The batch is one JSON text. JSON has no bytes: of a fingerprint the first 16 are handed over, as two numbers."""

    batch = (
        "(SELECT * FROM OPENJSON(?) WITH (id BIGINT '$[0]', first BIGINT '$[1]', second BIGINT '$[2]',"
        " status NVARCHAR(50) '$[3]', state NVARCHAR(50) '$[4]', response NVARCHAR(MAX) '$[5]',"
        " partial NVARCHAR(MAX) '$[6]'))"
    )

    def __init__(self, connection: sa.Connection, table: sa.Table) -> None:
        self.row = connection.dialect.identifier_preparer.quote(table.name)  # its own name: not every server of this
        super().__init__(connection, table)  # language takes an alias beside OUTPUT
        self._encoding = _hashed_encoding(connection)

    def update(self, connection: sa.Connection, outcome: RowOutcome, part: Sequence[RowUpdate]) -> Iterator[int]:
        rows = [
            [row_id, *struct.unpack(">2q", hashed[:16]), *rest] for row_id, hashed, *rest in map(self._values, part)
        ]
        same = " AND ".join(
            f"CAST(SUBSTRING({self._fingerprint}, {start}, 8) AS BIGINT) = batch.{name}"
            for start, name in ((1, "first"), (9, "second"))
        )
        return self._updated(connection, outcome, self.batch, same, json.dumps(rows))

    def _updated(
        self, connection: sa.Connection, outcome: RowOutcome, batch: str, same: str, *values: object
    ) -> Iterator[int]:
        # the ids go through a table variable: a table with triggers gives none back otherwise
        statement = (
            "SET NOCOUNT ON; DECLARE @done TABLE (id BIGINT);"  # noqa: S608
            f" UPDATE {self._name} SET {self._set(outcome)} OUTPUT inserted.id INTO @done"
            f" FROM {batch} AS batch WHERE batch.id = {self.row}.id"
            f" AND {self._as_read(same, ' COLLATE DATABASE_DEFAULT')}; SELECT id FROM @done; SET NOCOUNT OFF"
        )
        return (int(row[0]) for row in all_results(connection, statement, *values))


class _SqlServerValues(_SqlServerUpdate):
    """For databases without OPENJSON: the batch is a list of parameters (2,100 at most)."""

    marks = "(CAST(? AS BIGINT), CAST(? AS BINARY(32)), ?, ?, CAST(? AS NVARCHAR(MAX)), CAST(? AS NVARCHAR(MAX)))"
    rows = 100

    def update(self, connection: sa.Connection, outcome: RowOutcome, part: Sequence[RowUpdate]) -> Iterator[int]:
        for start in range(0, len(part), self.rows):
            some = part[start : start + self.rows]
            # no NULL among the parameters: the driver would ask the server for the type of each
            values = [("" if value is None else value) for change in some for value in self._values(change)]
            listed = (
                "(SELECT id, fingerprint, status, state, NULLIF(response, N'') AS response,"  # noqa: S608
                " NULLIF(partial, N'') AS partial"
                f" FROM (VALUES {', '.join([self.marks] * len(some))})"
                " AS listed (id, fingerprint, status, state, response, partial))"
            )
            same = f"{self._fingerprint} = batch.fingerprint"
            yield from self._updated(connection, outcome, listed, same, *values)


class _Sqlite(_Statements):
    """There is no round trip to save: one execution per row is the fastest way."""

    def update(self, connection: sa.Connection, outcome: RowOutcome, part: Sequence[RowUpdate]) -> Iterator[int]:
        statement = (
            f"UPDATE {self._name} AS csc_row SET {self._set(outcome, batch=':')} WHERE id = :id"  # noqa: S608
            f" AND {self._fingerprint} = :fingerprint AND coalesce(submission_status, '') = :status"
            " AND coalesce(row_state, '') = :state"
        )
        names = ("id", "fingerprint", "status", "state", "response", "partial")
        rows = [dict(zip(names, self._values(change), strict=True)) for change in part]
        done = connection.exec_driver_sql(statement, rows).rowcount
        return (change.row.id for change in part) if done == len(part) else iter(())
