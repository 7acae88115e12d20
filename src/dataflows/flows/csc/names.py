"""Finds the rows that may name a child: by the offered index, else by one walk of the whole table.

What a walk finds goes into a temporary table of the journal, under keyed hashes that die with the run, so memory is
flat and no identifier is written anywhere. Reads are short, so the authority's loader never waits for long. Where most
rows are read in this run anyway, the walk leaves those to their pages: newest first, they are known in time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from operator import neg
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from dataflows.flows.csc import indexes
from dataflows.flows.csc.indexes import UNDECIDED, child_key, named_child
from dataflows.flows.csc.reading import SUPERSEDED, Reading, read_row
from dataflows.flows.csc.schema import ChildSchema, built_in
from dataflows.flows.csc.scratch import NameTable
from dataflows.flows.csc.staging import StagingTable
from dataflows.runs.journal import Journal
from dataflows.store.failures import in_statements

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


class NamedRows:
    """Which rows seem to name a child; nothing is read before it is asked for.

    ``pending``: about how many rows will be asked about in this run; None: a few at most, so that nothing is kept.
    """

    def __init__(
        self, staging: StagingTable, journal: Journal, engine: sa.Engine, schema: ChildSchema | None = None
    ) -> None:
        self._staging = staging
        self._schema = schema or built_in()
        self._engine = engine
        self._rows = NameTable(journal)
        self._undecided_known = False
        self.pending: int | None = 0
        self._listed: Sequence[int] = ()
        self._passed = 0  # so many of those listed were read, or are gone
        self._spared = array("q")  # those that the walk left to their pages, in ascending order
        self.walked: Walked | None = None
        dialect, columns = engine.dialect.name, staging.table.c
        self._name: sa.ColumnElement[str] = sa.literal_column(named_child(dialect), sa.UnicodeText)
        self._key: sa.ColumnElement[str] = sa.literal_column(child_key(dialect), sa.UnicodeText)
        status, state = _word(columns.submission_status), _word(columns.row_state)
        ours = sa.and_(status == "error", columns.api_response.like(f"{SUPERSEDED}%"))
        self._living = sa.case((sa.or_(state == "deleted", ours), 0), else_=1)

    # --- what is read anyway ----------------------------------------------------------------------------------

    def expect(self, ids: Sequence[int]) -> None:
        """Take the ids of the rows that this run will read page by page, the highest first."""
        self.pending, self._listed, self._passed = len(ids), ids, 0

    def note(self, page: Sequence[Reading]) -> None:
        """Remember whom the rows of the next page name, which were read just now."""
        if not page or not self._listed:
            return
        first, lowest = self._passed, min(reading.row.id for reading in page)
        self._passed = max(first, bisect_right(self._listed, -lowest, key=neg))
        if self.walked is not None:
            self._enter_read(page)
            gone = set(self._listed[first : self._passed]).difference(reading.row.id for reading in page)
            if gone:  # they wait no more, and name somebody all the same
                self._enter_read(self.readings(gone))

    def complete(self) -> bool:
        """Go over the rows that are still left to their pages; tells whether there were any."""
        unread = self._passed < len(self._listed)
        rest = self._spared[: bisect_right(self._spared, self._listed[self._passed])] if unread else self._spared[:0]
        self._enter_rows(rest)
        self._spared = array("q")
        return bool(rest)

    # --- looking up -------------------------------------------------------------------------------------------

    def find(self, names: Iterable[str], page: Sequence[Reading]) -> list[Seeming]:
        """Return the rows that seem to name one of these children, whatever the letter case.

        Those of the ``page`` that was read just now may be left out, and lower ones that this run has yet to read
        (``complete``).
        """
        keys = sorted({name.lower() for name in names})
        if self.pending is None:
            return self.find_now(keys)
        if not self._use_index(self.pending):
            self._walk()
        elif not self._undecided_known:
            self._note_undecided()
        self.note(page)
        found = self._by_key(keys) if self.walked is None else []
        known = {*(one.row_id for one in found), *(reading.row.id for reading in page)}
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
            self._enter_read(self.readings(one.row_id for one in page))
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
        return in_statements(self._engine, lambda connection: int(connection.execute(statement).scalar_one())) > rows

    def walk(self) -> Walked:
        """Go through the whole table, in short reads by key; only the first call does."""
        walked = self._walk()
        self.complete()
        return walked

    def _walk(self) -> Walked:
        """Go through all rows but those that are read anyway, where these are most of a stretch of the table."""
        if self.walked is None:
            self.walked = Walked()
            coming = array("q", reversed(self._listed[self._passed :]))
            stretch = self._stretch(coming, None)
            while stretch:
                self.walked.rows += len(stretch)
                stretch = self._stretch(coming, stretch[-1])
        return self.walked

    def _stretch(self, coming: array[int], after: int | None) -> Sequence[int]:
        """Enter the next rows behind an id; return their ids."""
        key = self._staging.table.c.id
        sparing = _mostly(coming, after)
        statement = (sa.select(key) if sparing else self._select()).order_by(key).limit(_WALK_PAGE)
        statement = statement if after is None else statement.where(key > after)
        if not sparing:
            page = self._page(statement)
            self._enter(page)
            return [one.row_id for one in page]
        ids = [row[0] for row in self._staging.look(statement)]
        if ids:
            spared = coming[bisect_left(coming, ids[0]) : bisect_right(coming, ids[-1])]
            self._spared += spared
            self._enter_rows(sorted(set(ids).difference(spared)))
        return ids

    def _enter_rows(self, row_ids: Sequence[int]) -> None:
        for part in _parts(row_ids, _LOOK_UP):
            self._enter(self._page(self._select().where(self._staging.table.c.id.in_(part))))

    def _enter(self, page: Sequence[Seeming]) -> None:
        self._rows.enter((one.name, one.row_id) for one in page if one.name and one.name != UNDECIDED)
        self._enter_read(self.readings(one.row_id for one in page if not one.name or one.name == UNDECIDED))

    def _enter_read(self, readings: Sequence[Reading]) -> None:
        self._rows.enter((one.name, one.row.id) for one in readings if one.name)
        if self.walked is not None:
            self.walked.nameless += sum(reading.name is None and not reading.row.deleted for reading in readings)

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

    def _ordered(self, where: sa.ColumnElement[bool]) -> Iterator[list[Seeming]]:
        """Go through some of the table by its key, in short reads."""
        key = self._staging.table.c.id
        statement = self._select().order_by(key).limit(_WALK_PAGE).where(where)
        page = self._page(statement)
        while page:
            yield page
            page = self._page(statement.where(key > page[-1].row_id)) if len(page) == _WALK_PAGE else []

    def _page(self, statement: sa.Select[Any]) -> list[Seeming]:
        return in_statements(self._engine, lambda connection: [_seeming(row) for row in connection.execute(statement)])

    def _column(self) -> sa.ColumnElement[str]:
        if self._engine.dialect.name == "mssql" and indexes.CHILD in self._staging.indexes:
            return sa.literal_column(indexes.CHILD_KEY, sa.UnicodeText)
        return self._key


def _mostly(coming: array[int], after: int | None) -> bool:
    """Tell whether most of the next rows behind an id are among those that are coming anyway (ascending ids)."""
    if not coming:
        return False
    start = coming[0] - 1 if after is None else after
    within = bisect_right(coming, start + _WALK_PAGE) - bisect_right(coming, start)
    return within > 0 and 2 * within > min(_WALK_PAGE, coming[-1] - start)


def _parts(values: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _seeming(row: Any) -> Seeming:
    name = row[1] or ""
    return Seeming(row[0], name, bool(row[2]), name.lower())


def _word(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    return sa.func.lower(sa.func.ltrim(sa.func.rtrim(sa.func.coalesce(column, ""))))
