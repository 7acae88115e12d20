"""Inserts new therapists with their events; the database works on the first rows while others are still made."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCLASS

from dataflows.flows.therapists.deciding import Create
from dataflows.flows.therapists.events import announce_new
from dataflows.flows.therapists.record import FIELDS
from dataflows.flows.therapists.sight import Sighting
from dataflows.flows.therapists.staging import Row
from dataflows.store.practice.bulk import insert
from dataflows.store.practice.therapist_tables import therapists

__all__ = ["Creating"]

_SEQUENCE = sa.func.pg_get_serial_sequence(therapists.name, therapists.c.id.name)
_IDS = sa.select(
    # as a subquery it is looked up once, and not for every id
    sa.func.nextval(sa.select(sa.cast(_SEQUENCE, REGCLASS)).scalar_subquery()).label("id")
).select_from(sa.func.generate_series(1, sa.bindparam("count", type_=sa.Integer)).alias())
_TAKEN = _IDS.subquery().c.id
_ENDS = sa.select(sa.func.min(_TAKEN), sa.func.max(_TAKEN))


class Creating:
    """The new therapists of one file. ``newest`` is the highest id there was before it."""

    def __init__(self, connection: sa.Connection, sight: Sighting, now: datetime, newest: int) -> None:
        self._connection = connection
        self._sight = sight
        self._now = now
        self._last = newest

    def write(self, new: Sequence[Create]) -> None:
        """Insert therapists and their events."""
        rows: list[Row] = []
        insert(self._connection, therapists, _kept(map(self._row, new, self._ids(len(new))), rows))
        announce_new(self._connection, rows)

    def _ids(self, count: int) -> Sequence[int]:
        """Ids for so many; of a sequence only the two ends come over the line, unless somebody took one in between."""
        if self._connection.dialect.name != "postgresql":
            self._last += count
            return range(self._last - count + 1, self._last + 1)
        first, last = self._connection.execute(_ENDS, {"count": count}).one()
        if last - first + 1 == count:
            return range(first, last + 1)
        return [int(one) for one in self._connection.execute(_IDS, {"count": count}).scalars()]

    def _row(self, one: Create, number: int) -> Row:
        entry, sight = one.entry, self._sight
        return {
            "id": number,
            "area": sight.area,
            "source_id": entry.source_id,
            "natural_key": entry.natural_key,
            "content_hash": entry.content_hash,
            "last_seen": sight.date if one.active else None,
            "seen_in": sight.name if one.active else None,
            "active": one.active,
            "deleted_at": None if one.active else sight.date,
            "created_at": self._now,
            "updated_at": self._now,
            **{field: entry.values.get(field) for field in FIELDS},
        }


def _kept(rows: Iterable[Row], here: list[Row]) -> Iterator[Row]:
    for row in rows:
        here.append(row)
        yield row
