"""Finds the rows that may name a child: by the offered index, else by one walk of the whole table.

What a walk finds goes into a temporary table of the journal, under keyed hashes that die with the run, so memory is
flat and no identifier is written anywhere. Reads are short, so the authority's loader never waits for long.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from dataflows.flows.csc import indexes
from dataflows.flows.csc.narrowing import UNDECIDED, child_key, named_child
from dataflows.flows.csc.reading import SUPERSEDED, Reading, read_row
from dataflows.flows.csc.schema import ChildSchema, built_in
from dataflows.flows.csc.staging import Staging
from dataflows.runs.journal import Journal
from dataflows.store.transactions import in_transaction

T = TypeVar("T")

_WALK_PAGE = 10_000
_LOOK_UP = 500
_READ = 200  # rows with their payloads at a time
_WALK_SHARE = 4  # a walk costs less than look-ups once every fourth row or more is asked about


class Seeming(NamedTuple):
    """What SQL says of a row: the la_child_id that it seems to name, and whether it seems to stand for it.

    ``key`` is the identifier in lower case, also where SQL alone could not tell the name and the row was read.
    """

    row_id: int
    name: str
    living: bool
    key: str


@dataclass
class Walked:
    """What a walk counted: all rows, and those that are not deleted and name nobody."""

    rows: int = 0
    nameless: int = 0


class Names:
    """Which rows seem to name a child; nothing is read before it is asked for.

    ``pending``: about how many rows will be asked about in this run; None: a few at most, so that nothing is kept.
    """

    def __init__(
        self, staging: Staging, journal: Journal, engine: sa.Engine, schema: ChildSchema | None = None
    ) -> None:
        self._staging = staging
        self._schema = schema or built_in()
        self._engine = engine
        self._rows = _NamedRows(journal)
        self._undecided_known = False
        self.pending: int | None = 0
        self.walked: Walked | None = None
        dialect, columns = engine.dialect.name, staging.table.c
        self._name: sa.ColumnElement[str] = sa.literal_column(named_child(dialect), sa.UnicodeText)
        self._key: sa.ColumnElement[str] = sa.literal_column(child_key(dialect), sa.UnicodeText)
        status, state = _word(columns.submission_status), _word(columns.row_state)
        ours = sa.and_(status == "error", columns.api_response.like(f"{SUPERSEDED}%"))
        self._living = sa.case((sa.or_(state == "deleted", ours), 0), else_=1)

    # --- looking up -------------------------------------------------------------------------------------------

    def find(self, names: Iterable[str], read: Set[int]) -> list[Seeming]:
        """Return the rows that seem to name one of these children, whatever the letter case.

        Rows that were ``read`` just now may be left out.
        """
        keys = sorted({name.lower() for name in names})
        if self.pending is None:
            return self.find_now(keys)
        if not self._use_index(self.pending):
            self.walk()
        elif not self._undecided_known:
            self._note_undecided()
        found = self._by_key(keys) if self.walked is None else []
        known = {one.row_id for one in found} | read
        return found + self._by_id({row_id: key for key, row_id in self._rows.of(keys) if row_id not in known})

    def find_now(self, names: Iterable[str]) -> list[Seeming]:
        """Return the same straight from the table, from nothing that is remembered."""
        keys = sorted({name.lower() for name in names})
        if indexes.CHILD in self._staging.indexes:
            unsure = self._ordered(self._column() == UNDECIDED)
            return self._by_key(keys) + [one for page in unsure for one in self._told(page, frozenset(keys))]
        return [
            one
            for part in _parts(keys, _LOOK_UP)
            for page in self._ordered(self._column().in_([*part, UNDECIDED]))
            for one in self._told(page, frozenset(part))
        ]

    def _told(self, page: Sequence[Seeming], keys: Set[str]) -> list[Seeming]:
        """Return the rows of a page that name one of these children; those that SQL cannot judge are read."""
        unsure = self.readings(one.row_id for one in page if one.name == UNDECIDED)
        named = [(one, one.name) for one in unsure if one.name and one.name.lower() in keys]
        return [one for one in page if one.name != UNDECIDED] + [
            Seeming(one.row.id, name, one.living, name.lower()) for one, name in named
        ]

    def readings(self, row_ids: Iterable[int]) -> list[Reading]:
        """Read these rows as they are now."""
        parts = _parts(sorted(row_ids), _READ)
        return [read_row(row, self._schema) for part in parts for row in self._staging.rows(part)]

    def _by_key(self, keys: Sequence[str]) -> list[Seeming]:
        return [
            one for part in _parts(keys, _LOOK_UP) for one in self._page(self._select().where(self._column().in_(part)))
        ]

    def _by_id(self, keys: Mapping[int, str]) -> list[Seeming]:
        """Return what SQL says now of rows that named these children when they were read or walked over."""
        column = self._staging.table.c.id
        found = [
            one for part in _parts(sorted(keys), _LOOK_UP) for one in self._page(self._select().where(column.in_(part)))
        ]
        return [one._replace(key=keys[one.row_id]) if one.name == UNDECIDED else one for one in found]

    def _note_undecided(self) -> None:
        for page in self._ordered(self._column() == UNDECIDED):
            self._rows.enter(self.readings(one.row_id for one in page))
        self._undecided_known = True

    # --- index or walk ----------------------------------------------------------------------------------------

    def _use_index(self, pending: int) -> bool:
        """Tell whether look-ups by the offered index cost less than a walk."""
        if self.walked is not None:
            return False
        return indexes.CHILD in self._staging.indexes and (
            self._undecided_known or self._is_longer_than(pending * _WALK_SHARE)
        )

    def _is_longer_than(self, rows: int) -> bool:
        some = sa.select(self._staging.table.c.id).limit(rows + 1).subquery()
        statement = sa.select(sa.func.count()).select_from(some)
        return in_transaction(self._engine, lambda connection: int(connection.execute(statement).scalar_one())) > rows

    def walk(self) -> Walked:
        """Go through the whole table, in short reads by key; only the first call does."""
        if self.walked is None:
            walked = Walked()
            for page in self._ordered(None):
                walked.rows += len(page)
                self._enter(page, walked)
            self.walked = walked
        return self.walked

    def _enter(self, page: Sequence[Seeming], walked: Walked) -> None:
        self._rows.enter(one for one in page if one.name and one.name != UNDECIDED)
        unsure = self.readings(one.row_id for one in page if not one.name or one.name == UNDECIDED)
        self._rows.enter(unsure)
        walked.nameless += sum(reading.name is None and not reading.row.deleted for reading in unsure)

    def unnamed(self, names: Iterable[str]) -> list[str]:
        """Return those of these children that no row seemed to name when the table was walked through."""
        asked = list(names)
        named = {key for key, _ in self._rows.of(sorted({name.lower() for name in asked}))}
        return [name for name in asked if name.lower() not in named]

    def shown_as_sent(self) -> Iterator[list[str]]:
        """Yield the children that rows show as sent and not as purged, in pages; some may come twice."""
        columns = self._staging.table.c
        there = sa.func.coalesce(columns.previous_json_payload, "") != ""
        gone = _word(columns.row_state) == "deleted"
        for page in self._ordered(sa.or_(there, sa.and_(_word(columns.submission_status) == "sent", sa.not_(gone)))):
            unsure = self.readings(one.row_id for one in page if one.name == UNDECIDED)
            yield [
                *(one.name for one in page if one.name and one.name != UNDECIDED),
                *(reading.name for reading in unsure if reading.name),
            ]

    # --- SQL --------------------------------------------------------------------------------------------------

    def _select(self) -> sa.Select[Any]:
        return sa.select(self._staging.table.c.id, self._name, self._living)

    def _ordered(self, where: sa.ColumnElement[bool] | None) -> Iterator[list[Seeming]]:
        """Go through the table by its key, in short reads."""
        key = self._staging.table.c.id
        statement = self._select().order_by(key).limit(_WALK_PAGE)
        statement = statement if where is None else statement.where(where)
        page = self._page(statement)
        while page:
            yield page
            page = self._page(statement.where(key > page[-1].row_id)) if len(page) == _WALK_PAGE else []

    def _page(self, statement: sa.Select[Any]) -> list[Seeming]:
        return in_transaction(self._engine, lambda connection: [_seeming(row) for row in connection.execute(statement)])

    def _column(self) -> sa.ColumnElement[str]:
        if self._engine.dialect.name == "mssql" and indexes.CHILD in self._staging.indexes:
            return sa.literal_column(indexes.CHILD_KEY, sa.UnicodeText)
        return self._key


class _NamedRows:
    """The temporary table: hash of the la_child_id in lower case, row id."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._key = secrets.token_bytes(32)
        with journal.reading() as db:
            db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS csc_named (name BLOB, row_id INTEGER, PRIMARY KEY (name, row_id))"
                " WITHOUT ROWID"
            )
            db.execute("DELETE FROM csc_named")

    def enter(self, rows: Iterable[Seeming | Reading]) -> None:
        named = (
            (row.name, row.row_id) if isinstance(row, Seeming) else (row.name, row.row.id) for row in rows if row.name
        )
        with self._journal.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO csc_named VALUES (?, ?)", ((self._hash(name), row_id) for name, row_id in named)
            )

    def of(self, keys: Sequence[str]) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        for keys_of_part in _parts(keys, _LOOK_UP):
            part = {self._hash(key): key for key in keys_of_part}
            statement = f"SELECT name, row_id FROM csc_named WHERE name IN ({', '.join('?' * len(part))})"  # noqa: S608
            with self._journal.reading() as db:
                found += [(part[name], row_id) for name, row_id in db.execute(statement, list(part))]
        return found

    def _hash(self, name: str) -> bytes:
        return hashlib.blake2b(name.lower().encode(), digest_size=16, key=self._key).digest()


def _parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _seeming(row: Any) -> Seeming:
    name = row[1] or ""
    return Seeming(row[0], name, bool(row[2]), name.lower())


def _word(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    return sa.func.lower(sa.func.ltrim(sa.func.rtrim(sa.func.coalesce(column, ""))))
