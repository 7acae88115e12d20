"""The staging table: it belongs to the authority, whose loader may write to it at any moment.

It is read in short pages by key and updated row by row, each update only where the row still is what was read.
One code path serves SQL Server, PostgreSQL and SQLite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from dataflows.flows.csc.table import staging_table
from dataflows.store.database import fingerprint, translated

PAGE = 1000


class StagedRow(NamedTuple):
    """One row as it was read; ``fingerprint`` (SHA-256, by the database) tells whether its payload is the same."""

    id: int
    person_id: str | None
    payload: str | None
    previous: str | None
    response: str | None
    status: str | None
    row_state: str | None
    fingerprint: bytes
    partial: str | None = None  # of deleted rows only

    @property
    def deleted(self) -> bool:
        """Whether the loader says that the child is gone."""
        return (self.row_state or "").strip().lower() == "deleted"

    @property
    def failed(self) -> bool:
        """Whether an earlier run ended this row in error."""
        return (self.status or "").strip().lower() == "error"

    @property
    def settled(self) -> bool:
        """Whether the row says that it was sent."""
        return (self.status or "").strip().lower() == "sent"


class Change(NamedTuple):
    """One update: which row, what it must still hold, and what is written."""

    row: StagedRow
    response: str | None = None
    partial: str | None = None


class Staging:
    """Reads and updates one staging table."""

    def __init__(self, engine: sa.Engine, name: str) -> None:
        self._engine = engine
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
            _fingerprint(self.table).label("fingerprint"),
            sa.case((_word(columns.row_state) == "deleted", columns.partial_json_payload)).label("partial"),
        )
        self._state = _word(columns.row_state)
        self._status = _word(columns.submission_status)
        self._updates = _Updates(self.table)

    # --- reading ----------------------------------------------------------------------------------------------

    def count(self, *, retry_errors: bool = True) -> int:
        """Return how many rows are to be looked at."""
        return self._number(self._waiting(retry_errors))

    def _number(self, where: sa.ColumnElement[bool]) -> int:
        statement = sa.select(sa.func.count()).select_from(self.table).where(where)
        with translated("DB_CONNECTION_STRING"), self._engine.connect() as connection:
            return int(connection.execute(statement).scalar_one())

    def pages(
        self,
        *,
        retry_errors: bool = True,
        about: str | None = None,
        wanted: Callable[[StagedRow, str], bool] | None = None,
    ) -> Iterator[list[StagedRow]]:
        """Yield the rows to be looked at, newest id first, in pages; each page is a short read of its own.

        Args:
            retry_errors: also rows that ended in error.
            about: only rows that mention this identifier somewhere; ``wanted`` then tells which of them are meant.
            wanted: asked with a row and ``about``.
        """
        where = self._waiting(retry_errors)
        if about is not None:
            where = sa.and_(where, self._mentions(about))
        before: int | None = None
        while True:
            below = where if before is None else sa.and_(where, self.table.c.id < before)
            page = self._read(self._select.where(below).order_by(self.table.c.id.desc()).limit(PAGE))
            if not page:
                return
            before = page[-1].id
            chosen = [row for row in page if wanted is None or about is None or wanted(row, about)]
            if chosen:
                yield chosen

    def rows(self, ids: Sequence[int]) -> list[StagedRow]:
        """Return these rows as they are now (those that are gone are missing), at most 1,000 at a time."""
        return self._read(self._select.where(self.table.c.id.in_(ids))) if ids else []

    def of_person(self, person_id: str) -> list[StagedRow]:
        """Return the rows of a person, whatever their status, at most 1,000."""
        return self._read(self._select.where(self.table.c.person_id == person_id).limit(PAGE))

    def _read(self, statement: sa.Select[Any]) -> list[StagedRow]:
        with translated("DB_CONNECTION_STRING"), self._engine.connect() as connection:
            return [StagedRow(*row) for row in connection.execute(statement)]

    def _waiting(self, retry_errors: bool) -> sa.ColumnElement[bool]:
        columns = self.table.c
        statuses = ["pending", "error"] if retry_errors else ["pending"]
        waiting = sa.and_(self._status.in_(statuses), columns.json_payload.is_not(None), columns.json_payload != "")
        return sa.or_(waiting, self._state == "deleted")

    def _mentions(self, identifier: str) -> sa.ColumnElement[bool]:
        columns = self.table.c
        texts = (columns.json_payload, columns.previous_json_payload)
        return sa.or_(columns.person_id == identifier, *(text.contains(identifier, autoescape=True) for text in texts))

    # --- writing ----------------------------------------------------------------------------------------------

    def record_sent(self, changes: Sequence[Change]) -> set[int]:
        """Write that rows were acknowledged; returns the ids of those that had been reloaded and stay as they are."""
        return self._apply(self._updates.sent, changes)

    def record_deleted(self, changes: Sequence[Change]) -> set[int]:
        """Write that the children of rows were purged; returns the ids of rows that had been reloaded."""
        return self._apply(self._updates.deleted, changes)

    def record_unchanged(self, changes: Sequence[Change]) -> set[int]:
        """Write that the receiver already holds what rows say; returns the ids of rows that had been reloaded."""
        return self._apply(self._updates.unchanged, changes)

    def record_errors(self, changes: Sequence[Change]) -> set[int]:
        """Write why rows were not sent; returns the ids of rows that had been reloaded."""
        return self._apply(self._updates.error, changes, "error")

    def requeue(self) -> int:
        """Set every row that carries a payload and is not deleted to pending; returns how many."""
        statement = (
            sa.update(self.table)
            .where(self._state != "deleted", self.table.c.json_payload.is_not(None))
            .values(submission_status="Pending")
        )
        with translated("DB_CONNECTION_STRING"), self._engine.begin() as connection:
            return int(connection.execute(statement).rowcount)

    def _apply(self, statement: sa.Update, changes: Sequence[Change], status: str = "sent") -> set[int]:
        if not changes:
            return set()
        with translated("DB_CONNECTION_STRING"), self._engine.begin() as connection:
            done = connection.execute(statement, [_values(change) for change in changes]).rowcount
            return set() if done == len(changes) else self._left_alone(connection, changes, status)

    def _left_alone(self, connection: sa.Connection, changes: Sequence[Change], status: str) -> set[int]:
        """Find the rows that do not hold what was written: some drivers count no rows, and some were reloaded."""
        columns = self.table.c
        wanted = {change.row.id: change.response for change in changes}
        found = connection.execute(
            sa.select(columns.id, columns.api_response).where(columns.id.in_(wanted), self._status == status)
        )
        return set(wanted) - {row.id for row in found if row.api_response == wanted[row.id]}


class _Updates:
    """The four updates. Each applies only where payload, status and row state still are what was read."""

    def __init__(self, table: sa.Table) -> None:
        columns = table.c
        clock = sa.func.current_timestamp()  # the database's own, as the loader's
        self.sent = self._guarded(table).values(
            submission_status="sent",
            submission_timestamp=clock,
            api_response=sa.bindparam("b_response"),
            previous_json_payload=columns.json_payload,
            previous_hash=columns.current_hash,
            partial_json_payload=sa.bindparam("b_partial"),
            row_state="unchanged",
        )
        self.deleted = self._guarded(table).values(
            submission_status="sent",
            submission_timestamp=clock,
            api_response=sa.bindparam("b_response"),
            previous_json_payload=sa.null(),  # not a parameter: a driver would send it as text, which BINARY refuses
            previous_hash=sa.null(),
            partial_json_payload=sa.null(),
        )
        self.unchanged = self._guarded(table).values(
            submission_status="sent",
            api_response=sa.bindparam("b_response"),
            previous_hash=columns.current_hash,
            row_state="unchanged",
        )
        self.error = self._guarded(table).values(submission_status="error", api_response=sa.bindparam("b_response"))

    @staticmethod
    def _guarded(table: sa.Table) -> sa.Update:
        columns = table.c
        return sa.update(table).where(
            columns.id == sa.bindparam("b_id"),
            _fingerprint(table) == sa.bindparam("b_fingerprint", type_=sa.LargeBinary),
            sa.func.coalesce(columns.submission_status, "") == sa.bindparam("b_status"),
            sa.func.coalesce(columns.row_state, "") == sa.bindparam("b_state"),
        )


def _fingerprint(table: sa.Table) -> sa.ColumnElement[bytes]:
    return fingerprint(sa.func.coalesce(table.c.json_payload, ""))


def _word(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    """Compare status words without case and blanks: loaders differ in both."""
    return sa.func.lower(sa.func.ltrim(sa.func.rtrim(sa.func.coalesce(column, ""))))


def _values(change: Change) -> dict[str, object]:
    row = change.row
    return {
        "b_id": row.id,
        "b_fingerprint": row.fingerprint,
        "b_status": row.status or "",
        "b_state": row.row_state or "",
        "b_response": change.response,
        "b_partial": change.partial,
    }
