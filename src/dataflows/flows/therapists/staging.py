"""Reads and writes therapists in sets: pages of candidates are read at once, changed rows are staged and then joined.

All of it happens inside the one transaction of a file, and what is read is how things were before it: new rows of the
file are left out by their ids, changed ones wait in the staging table for its end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.flows.therapists.deciding import Sight
from dataflows.flows.therapists.identity import Known, Person
from dataflows.flows.therapists.record import FIELDS
from dataflows.store.practice.bulk import insert, within
from dataflows.store.practice.therapist_tables import therapist_changes, therapists

__all__ = ["Row", "Staging"]

Row: TypeAlias = dict[str, Any]

_KNOWN = [therapists.c[name] for name in Known._fields]
_UPDATED = (
    *("area", "source_id", "natural_key", "content_hash", "last_seen", "seen_in", "active", "deleted_at", "updated_at"),
    *FIELDS,
)


def _staging_table(*prefixes: str, **options: Any) -> sa.Table:
    return sa.Table(
        "therapists_staged",
        sa.MetaData(),
        sa.Column("id", therapists.c.id.type, primary_key=True, autoincrement=False),
        *(sa.Column(name, therapists.c[name].type) for name in _UPDATED),
        prefixes=list(prefixes),
        **options,
    )


# SQLite keeps temporary tables in files outside its database; one that is dropped before the commit stays inside
_STAGED = {"postgresql": _staging_table("TEMPORARY", postgresql_on_commit="DROP"), "sqlite": _staging_table()}


class Staging:
    """The therapists, as one file sees and changes them on ``connection``.

    ``newest`` is the highest id there was before.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._staged = _STAGED[connection.dialect.name]
        self._made = False
        self.newest = int(connection.execute(sa.select(sa.func.max(therapists.c.id))).scalar() or 0)
        self._areas: dict[str, bool] = {}

    # --- reading ----------------------------------------------------------------------------------------------

    def by_key(self, keys: Collection[str]) -> dict[str, list[Known]]:
        """The therapists with these natural keys."""
        found: dict[str, list[Known]] = {}
        for known in self._known(therapists.c.natural_key, keys):
            found.setdefault(known.natural_key or "", []).append(known)
        return found

    def by_id(self, area: str, source_ids: Collection[str]) -> dict[str, list[Known]]:
        """The therapists with these ids of the source in an area."""
        found: dict[str, list[Known]] = {}
        if not source_ids or not self._is_known(area):
            return found
        for known in self._known(therapists.c.source_id, source_ids, therapists.c.area == area):
            found.setdefault(known.source_id or "", []).append(known)
        return found

    def people(self, ids: Collection[int]) -> dict[int, Person]:
        """By what a match by id is confirmed, for these therapists."""
        columns = [therapists.c[name] for name in Person._fields]
        return {row["id"]: Person.of(row) for row in self._rows(columns, ids)}

    def rows(self, ids: Collection[int]) -> dict[int, Row]:
        """The columns of these therapists that an import fills."""
        return {row["id"]: row for row in self._rows([therapists.c[name] for name in FIELDS], ids)}

    def active_in(self, area: str) -> int:
        """How many therapists of an area are active."""
        query = sa.select(sa.func.count()).where(therapists.c.area == area, therapists.c.active.is_(True))
        return int(self._connection.execute(query).scalar_one())

    def _is_known(self, area: str) -> bool:
        """Whether anybody of an area was there before this file; of a new one nobody has to be looked for by id."""
        if area not in self._areas:
            anybody = sa.exists().where(therapists.c.area == area, therapists.c.id <= self.newest)
            self._areas[area] = bool(self._connection.execute(sa.select(anybody)).scalar_one())
        return self._areas[area]

    def _known(
        self, column: sa.Column[Any], values: Collection[str], *conditions: sa.ColumnElement[bool]
    ) -> Iterable[Known]:
        if not values or not self.newest:
            return []
        wanted = within(self._connection, column, list(values))
        query = sa.select(*_KNOWN).where(wanted, therapists.c.id <= self.newest, *conditions)
        return [Known(*row) for row in self._connection.execute(query).all()]

    def _rows(self, columns: Sequence[sa.Column[Any]], ids: Collection[int]) -> Iterable[Row]:
        if not ids:
            return []
        wanted = within(self._connection, therapists.c.id, list(ids))
        query = sa.select(therapists.c.id, *columns).where(wanted)
        return (dict(row) for row in self._connection.execute(query).mappings())

    # --- writing ----------------------------------------------------------------------------------------------

    def look_around(self) -> None:
        """Let PostgreSQL see that many are new: until it does by itself, it would read all for a page of candidates.

        A small sample is enough to know that names and ids are many.
        """
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(sa.text("SET LOCAL default_statistics_target = 10"))
            self._connection.execute(sa.text("ANALYZE therapists (natural_key, area, source_id)"))

    def stage(self, rows: Sequence[Row]) -> None:
        """Put changed therapists aside until ``apply``."""
        if rows and not self._made:
            self._staged.create(self._connection)
            self._made = True
        insert(self._connection, self._staged, rows)

    def note(self, changes: Sequence[Row]) -> None:
        """Write down what changed, field by field."""
        insert(self._connection, therapist_changes, changes)

    def apply(self) -> None:
        """Write what was staged, by one join."""
        if not self._made:
            return
        staged = self._staged
        values = {name: staged.c[name] for name in _UPDATED}
        self._connection.execute(therapists.update().values(values).where(therapists.c.id == staged.c.id))
        self._staged.drop(self._connection)
        self._made = False

    def touch(self, ids: Collection[int], sight: Sight) -> None:
        """Note that these therapists were seen again as they were."""
        if ids:
            values = {"last_seen": sight.date, "seen_in": sight.name, "area": sight.area}
            self._change(ids, values)

    def delete(self, ids: Collection[int], values: Mapping[str, Any]) -> None:
        """Mark these therapists deleted."""
        if ids:
            self._change(ids, {"active": False, **values})

    def _change(self, ids: Collection[int], values: Mapping[str, Any]) -> None:
        wanted = within(self._connection, therapists.c.id, list(ids))
        self._connection.execute(therapists.update().values(dict(values)).where(wanted))
