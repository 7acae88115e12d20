"""Reads and writes therapists in sets: pages of candidates are read at once, changed rows are staged and then joined.

All of it happens inside the one transaction of a file, and what is read is how things were before it: new rows of the
file are left out by their ids, changed ones wait in the staging table for its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.flows.practice.therapists.identity import FileOrigin, Key, KnownListing, TherapistIdentity
from dataflows.flows.practice.therapists.record import FIELDS
from dataflows.store.practice.database import insert, within
from dataflows.store.practice.tables import therapist_changes, therapist_locations, therapists

Row: TypeAlias = dict[str, Any]

_OF_LOCATIONS = {"id": therapist_locations.c.therapist_id, "location": therapist_locations.c.id}
_KNOWN = [therapists.c[name] for name in KnownListing._fields[:9]]
_KNOWN_FURTHER = [
    *(_OF_LOCATIONS.get(name, therapist_locations.c[name]) for name in KnownListing._fields[:9]),
    _OF_LOCATIONS["location"],
    therapists.c.deleted_at,
]
_UPDATED = (
    *("area", "source_id", "natural_key", "content_hash", "last_seen", "seen_in", "active", "deleted_at", "updated_at"),
    *FIELDS,
)


def _staging_table(target: sa.Table, *prefixes: str, **options: Any) -> sa.Table:
    return sa.Table(
        f"{target.name}_staged",
        sa.MetaData(),
        sa.Column("id", target.c.id.type, primary_key=True, autoincrement=False),
        *(sa.Column(name, target.c[name].type) for name in _UPDATED),
        prefixes=list(prefixes),
        **options,
    )


# SQLite keeps temporary tables in files outside its database; one that is dropped before the commit stays inside
_STAGED = {
    (dialect, target.name): _staging_table(target, *prefixes, **options)
    for target in (therapists, therapist_locations)
    for dialect, prefixes, options in (
        ("postgresql", ("TEMPORARY",), {"postgresql_on_commit": "DROP"}),
        ("sqlite", (), {}),
    )
}


class _Changed:
    """Rows of one table that change, put aside until the end of the file."""

    def __init__(self, connection: sa.Connection, target: sa.Table) -> None:
        self._connection = connection
        self._target = target
        self._staged = _STAGED[connection.dialect.name, target.name]
        self._made = False

    def stage(self, rows: Sequence[Row]) -> None:
        """Put rows aside."""
        if rows and not self._made:
            self._staged.create(self._connection)
            self._made = True
        insert(self._connection, self._staged, rows)

    def apply(self) -> None:
        """Write what was put aside, by one join."""
        if not self._made:
            return
        staged, target = self._staged, self._target
        values = {name: staged.c[name] for name in _UPDATED}
        self._connection.execute(target.update().values(values).where(target.c.id == staged.c.id))
        staged.drop(self._connection)
        self._made = False


class StagedFile:
    """The therapists and their further listings, as one file sees and changes them on ``connection``.

    ``newest`` is the highest id of a therapist there was before.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._changed = {False: _Changed(connection, therapists), True: _Changed(connection, therapist_locations)}
        self.newest = self._highest(therapists)
        self._newest_location = self._highest(therapist_locations)
        self._areas: dict[str, bool] = {}

    def _highest(self, table: sa.Table) -> int:
        return int(self._connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0)

    # --- reading ----------------------------------------------------------------------------------------------

    def by_key(self, keys: Collection[str]) -> dict[str, list[KnownListing]]:
        """The listings with these natural keys."""
        found: dict[str, list[KnownListing]] = {}
        for known in self._known("natural_key", keys):
            found.setdefault(known.natural_key or "", []).append(known)
        return found

    def by_id(self, area: str, source_ids: Collection[str]) -> dict[str, list[KnownListing]]:
        """The listings with these ids of the source in an area."""
        found: dict[str, list[KnownListing]] = {}
        if not source_ids or not self._is_known(area):
            return found
        for known in self._known("source_id", source_ids, area):
            found.setdefault(known.source_id or "", []).append(known)
        return found

    def people(self, listings: Iterable[KnownListing]) -> dict[Key, TherapistIdentity]:
        """By what a match by id is confirmed, for these listings."""
        return {key: TherapistIdentity.of(row) for key, row in self._rows(TherapistIdentity._fields, listings)}

    def rows(self, listings: Iterable[KnownListing]) -> dict[Key, Row]:
        """The columns of these listings that an import fills."""
        return dict(self._rows(FIELDS, listings))

    def therapists(self, ids: Collection[int]) -> list[Row]:
        """Therapists by id, as events tell of them."""
        if not ids:
            return []
        columns = [therapists.c[name] for name in ("id", "area", "source_id", "active", *FIELDS)]
        chosen = sa.select(*columns).where(within(self._connection, therapists.c.id, list(ids)))
        return [dict(row) for row in self._connection.execute(chosen.order_by(therapists.c.id)).mappings()]

    def locations(self, ids: Collection[int]) -> dict[int, list[Row]]:
        """The active further listings of therapists."""
        found: dict[int, list[Row]] = {}
        table, names = therapist_locations.c, ("area", "source_id", *FIELDS)
        if ids:
            chosen = sa.select(table.therapist_id, *(table[name] for name in names)).where(
                within(self._connection, table.therapist_id, list(ids)), table.active.is_(True)
            )
            for owner, *values in self._connection.execute(chosen.order_by(table.id)):
                found.setdefault(owner, []).append(dict(zip(names, values, strict=True)))
        return found

    def new_by_key(self, keys: Collection[str]) -> dict[str, int]:
        """The therapists with these natural keys that this very file has made."""
        if not keys:
            return {}
        column = therapists.c
        wanted = within(self._connection, column.natural_key, list(keys))
        chosen = sa.select(column.natural_key, sa.func.min(column.id)).where(wanted, column.id > self.newest)
        return {row[0]: row[1] for row in self._connection.execute(chosen.group_by(column.natural_key))}

    def shown_by_locations(self, ids: Collection[int], day: date, gone: Collection[int | None]) -> set[int]:
        """Which of these therapists a further listing, none of ``gone``, shows in a file of that day or later."""
        if not ids or not self._newest_location:
            return set()
        table = therapist_locations.c
        chosen = sa.select(table.therapist_id, table.id, table.last_seen).where(
            within(self._connection, table.therapist_id, list(ids)), table.active.is_(True)
        )
        found = [row for row in self._connection.execute(chosen) if row[1] not in gone]
        return {owner for owner, _, seen in found if seen is not None and seen.date() >= day}

    def stand_ins(self, ids: Collection[int]) -> list[tuple[Row, Row]]:
        """Those of these therapists who are deleted, each with the active further listing that was seen last."""
        table, names = therapist_locations.c, ("id", *_UPDATED)
        gone = sa.select(*(therapists.c[name] for name in names)).where(
            within(self._connection, therapists.c.id, list(ids)), therapists.c.active.is_(False)
        )
        shown = sa.select(table.therapist_id, *(table[name] for name in names)).where(
            within(self._connection, table.therapist_id, list(ids)), table.active.is_(True)
        )
        found: dict[int, Row] = {}
        for owner, *values in self._connection.execute(shown.order_by(table.last_seen, table.id)):
            found[owner] = dict(zip(names, values, strict=True))
        first = [dict(row) for row in self._connection.execute(gone.order_by(therapists.c.id)).mappings()]
        return [(row, found[row["id"]]) for row in first if row["id"] in found]

    def active_in(self, area: str) -> int:
        """How many listings of an area are active."""
        counts = (
            sa.select(sa.func.count()).select_from(table).where(table.c.area == area, table.c.active.is_(True))
            for table in (therapists, therapist_locations)
        )
        return sum(int(self._connection.execute(count).scalar_one()) for count in counts)

    def _is_known(self, area: str) -> bool:
        """Whether anybody of an area was there before this file; of a new one nobody has to be looked for by id."""
        if area not in self._areas:
            anybody = sa.exists().where(therapists.c.area == area, therapists.c.id <= self.newest)
            further = sa.exists().where(
                therapist_locations.c.area == area, therapist_locations.c.id <= self._newest_location
            )
            self._areas[area] = bool(self._connection.execute(sa.select(sa.or_(anybody, further))).scalar_one())
        return self._areas[area]

    def _known(self, column: str, values: Collection[str], area: str | None = None) -> Iterator[KnownListing]:
        if not values or not self.newest:
            return
        table, further = therapists.c, therapist_locations.c
        query = sa.select(*_KNOWN).where(within(self._connection, table[column], list(values)), table.id <= self.newest)
        if area is not None:
            query = query.where(table.area == area)
        yield from (KnownListing(*row) for row in self._connection.execute(query).all())
        if not self._newest_location:
            return
        query = sa.select(*_KNOWN_FURTHER).where(
            within(self._connection, further[column], list(values)),
            further.id <= self._newest_location,
            further.therapist_id == table.id,
        )
        if area is not None:
            query = query.where(further.area == area)
        yield from (KnownListing(*row) for row in self._connection.execute(query).all())

    def _rows(self, names: Sequence[str], listings: Iterable[KnownListing]) -> Iterator[tuple[Key, Row]]:
        listings = list(listings)
        ids = [known.id for known in listings if known.location is None]
        if ids:
            columns = [therapists.c[name] for name in names]
            query = sa.select(therapists.c.id, *columns).where(within(self._connection, therapists.c.id, ids))
            for row in self._connection.execute(query).mappings():
                yield (row["id"], None), dict(row)
        if further := [known.location for known in listings if known.location is not None]:
            table = therapist_locations.c
            query = sa.select(table.therapist_id, table.id, *(table[name] for name in names)).where(
                within(self._connection, table.id, further)
            )
            for row in self._connection.execute(query).mappings():
                yield (row["therapist_id"], row["id"]), dict(row)

    # --- writing ----------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Let PostgreSQL see that many are new: until it does by itself, it would read all for a page of candidates.

        A small sample is enough to know that names and ids are many.
        """
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.text("SET LOCAL default_statistics_target = 10"))
            self._connection.execute(sa.text("ANALYZE therapists (natural_key, area, source_id)"))

    def stage(self, rows: Sequence[Row], *, further: bool) -> None:
        """Put changed therapists, or further listings, aside until ``apply``."""
        self._changed[further].stage(rows)

    def note(self, changes: Sequence[Row]) -> None:
        """Write down what changed, field by field."""
        insert(self._connection, therapist_changes, changes)

    def add_locations(self, rows: Sequence[Row]) -> None:
        """Insert further listings."""
        insert(self._connection, therapist_locations, rows)

    def apply(self) -> None:
        """Write what was put aside."""
        for changed in self._changed.values():
            changed.apply()

    def touch(self, listings: Iterable[KnownListing], origin: FileOrigin) -> None:
        """Note that these were seen again as they were."""
        self._change(listings, {"last_seen": origin.date, "seen_in": origin.name, "area": origin.area})

    def delete(self, listings: Iterable[KnownListing], values: Mapping[str, Any]) -> None:
        """Mark these deleted."""
        self._change(listings, {"active": False, **values})

    def revive(self, ids: Collection[int], now: datetime) -> list[int]:
        """Mark therapists active whom a further listing shows; returns those that were not."""
        if not ids:
            return []
        column = therapists.c
        wanted = within(self._connection, column.id, list(ids))
        gone = list(self._connection.execute(sa.select(column.id).where(wanted, column.active.is_(False))).scalars())
        values = {"active": True, "deleted_at": None, "updated_at": now}
        if gone:
            self._connection.execute(
                therapists.update().values(values).where(within(self._connection, column.id, gone))
            )
        return gone

    def _change(self, listings: Iterable[KnownListing], values: Mapping[str, Any]) -> None:
        ids: dict[str, list[int]] = {therapists.name: [], therapist_locations.name: []}
        for one in listings:
            ids[(therapists if one.location is None else therapist_locations).name].append(one.location or one.id)
        for table in (therapists, therapist_locations):
            if ids[table.name]:
                wanted = within(self._connection, table.c.id, ids[table.name])
                self._connection.execute(table.update().values(dict(values)).where(wanted))
