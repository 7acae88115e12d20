"""Therapists and further listings that are new, and the events about them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import REGCLASS

from dataflows.flows.practice.therapists.changes import Create, FieldChange, compare
from dataflows.flows.practice.therapists.identity import FileOrigin, KnownListing
from dataflows.flows.practice.therapists.record import FIELDS, natural_key
from dataflows.flows.practice.therapists.staging import Row, StagedFile
from dataflows.store.practice import outbox
from dataflows.store.practice.database import insert, within
from dataflows.store.practice.tables import therapists

_PUBLISHED = ("area", "source_id", "active", *FIELDS)
_LOCATIONS = "locations"  # where those have changed


def announce(connection: sa.Connection, what: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the events ``therapist.<what>`` (created, updated, deleted) for therapists as they are from now on."""
    if rows:
        outbox.add_many(connection, [_event(what, row) for row in rows])


def announce_new(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the events of therapists that were inserted just now; PostgreSQL makes them from what it has by then."""
    if connection.dialect.name != "postgresql":
        announce(connection, "created", rows)
        return
    build, column = sa.func.jsonb_build_object, therapists.c
    data = build(*(part for name in _PUBLISHED for part in (sa.text(f"'{name}'"), column[name])))
    payload = build(sa.text("'therapist_id'"), column.id, sa.text("'therapist_data'"), data)
    chosen = within(connection, column.id, [row["id"] for row in rows])
    outbox.add_from(connection, "therapist.created", column.id, payload, chosen)


def _event(what: str, row: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    data = {name: row[name] for name in (*_PUBLISHED, _LOCATIONS) if name in row}
    return f"therapist.{what}", str(row["id"]), {"therapist_id": row["id"], "therapist_data": data}


_SEQUENCE = sa.func.pg_get_serial_sequence(therapists.name, therapists.c.id.name)
_IDS = sa.select(
    # as a subquery it is looked up once, and not for every id
    sa.func.nextval(sa.select(sa.cast(_SEQUENCE, REGCLASS)).scalar_subquery()).label("id")
).select_from(sa.func.generate_series(1, sa.bindparam("count", type_=sa.Integer)).alias())
_TAKEN = _IDS.subquery().c.id
_ENDS = sa.select(sa.func.min(_TAKEN), sa.func.max(_TAKEN))


class Creating:
    """The new therapists of one file. ``newest`` is the highest id there was before it."""

    def __init__(self, connection: sa.Connection, origin: FileOrigin, now: datetime, newest: int) -> None:
        self._connection = connection
        self._sight = origin
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
        row = _columns(one, self._sight, self._now)
        row["id"] = number
        return row


def _columns(one: Create, origin: FileOrigin, now: datetime) -> Row:
    """The columns that a new therapist and a new further listing have in common."""
    entry = one.entry
    return {
        "area": origin.area,
        "source_id": entry.source_id,
        "natural_key": entry.natural_key,
        "content_hash": entry.content_hash,
        "last_seen": origin.date if one.active else None,
        "seen_in": origin.name if one.active else None,
        "active": one.active,
        "deleted_at": None if one.active else origin.date,
        "created_at": now,
        "updated_at": now,
        **{field: entry.values.get(field) for field in FIELDS},
    }


def _kept(rows: Iterable[Row], here: list[Row]) -> Iterator[Row]:
    for row in rows:
        here.append(row)
        yield row


_SHOWN = ("street", "house_number", "postal_code", "city")


class Further:
    """The further listings that one file shows."""

    def __init__(self, staging: StagedFile, origin: FileOrigin, now: datetime) -> None:
        self._staging = staging
        self._sight = origin
        self._now = now
        self._keys: set[int] = set()  # of those whom this file has made known: hashes, which need little memory
        self._owners: dict[int, int] = {}  # of those who were known, by another natural key than this file has
        self.changed: set[int] = set()
        """Therapists whose further listings are new or have changed."""
        self.shown: set[int] = set()
        """Therapists whom a further listing shows."""
        self.reviving: set[int] = set()
        """Those of them who were deleted, by no later file."""
        self._further: set[int] = set()

    def split(self, new: Iterable[Create]) -> tuple[list[Create], list[Create]]:
        """Tell new people from further listings, of people known before or made known by this file."""
        first: list[Create] = []
        others: list[Create] = []
        self._further = set()
        for one in new:
            key = hash(one.entry.natural_key)
            if one.owner is not None:
                self._owners[key] = one.owner
            owner = self._owners.get(key) if one.owner is None else one.owner
            if owner is not None or key in self._keys:
                self._further.add(id(one))
                others.append(one._replace(owner=owner))
            else:
                self._keys.add(key)
                first.append(one)
        return first, others

    def is_further(self, one: Create) -> bool:
        """Whether ``split`` took it for a further listing just now."""
        return id(one) in self._further

    def add(self, others: Sequence[Create]) -> Iterator[tuple[int, FieldChange]]:
        """Insert further listings; yields what changed about which therapist."""
        keys = {one.entry.natural_key for one in others if one.owner is None and one.entry.natural_key}
        made = self._staging.new_by_key(keys)
        owned = [(one.owner or made[one.entry.natural_key or ""], one) for one in others]
        self._staging.add_locations(
            [{"therapist_id": owner, **_columns(one, self._sight, self._now)} for owner, one in owned]
        )
        for owner, one in owned:
            self.changed.add(owner)
            if one.active:
                self.shown.add(owner)
                if one.owner is None:  # this file made them, perhaps by a deletion
                    self.reviving.add(owner)
            values = one.entry.values
            yield owner, FieldChange("locations", None, {name: values[name] for name in _SHOWN if name in values})

    def stand_in(self, ids: Collection[int]) -> Iterator[tuple[int, list[FieldChange]]]:
        """Let further listings take the place of first ones that are gone; yields what changed about which therapist.

        The two change places: should the former first listing be seen again, it is a further one.
        """
        found = [
            (first, one, compare(first, {name: one[name] for name in FIELDS if one[name] is not None}))
            for first, one in self._staging.stand_ins(ids)
        ]
        later = {"updated_at": self._now}
        here = [
            {**one, **now.values, "id": first["id"], "natural_key": natural_key(now.values), **later}
            for first, one, now in found
        ]
        self._staging.stage(here, further=False)
        self._staging.stage([{**first, "id": one["id"], **later} for first, one, _ in found], further=True)
        self._staging.apply()
        for first, _, now in found:
            self.changed.add(first["id"])
            yield first["id"], now.changed

    def shows(self, known: KnownListing, *, revived: bool = False) -> None:
        """Note that a listing was seen; one that a later file deleted stays deleted."""
        if known.location is not None and (known.active or revived):
            self.shown.add(known.id)
            self.revives(known)

    def revives(self, known: KnownListing) -> None:
        """Note that a therapist is seen by a further listing than the one that is known, in a file of this date."""
        gone = known.deleted_at if known.location is None else known.owner_deleted_at
        if gone is not None and self._sight.date.date() >= gone.date():
            self.reviving.add(known.id)
