"""Further listings of therapists: one person, another id and another street (therapists.md).

Each is a row of ``therapist_locations`` with all that it says: it has its own updates, never those of another one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime

from dataflows.flows.therapists.changes import FieldChange, compare
from dataflows.flows.therapists.deciding import Create
from dataflows.flows.therapists.identity import KnownListing
from dataflows.flows.therapists.record import FIELDS, natural_key
from dataflows.flows.therapists.sight import Sighting
from dataflows.flows.therapists.staging import Row, StagedFile

__all__ = ["Further"]

_SHOWN = ("street", "house_number", "postal_code", "city")


class Further:
    """The further listings that one file shows."""

    def __init__(self, staging: StagedFile, sight: Sighting, now: datetime) -> None:
        self._staging = staging
        self._sight = sight
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
        self._staging.add_locations([self._row(owner, one) for owner, one in owned])
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

    def _row(self, owner: int, one: Create) -> Row:
        entry, sight = one.entry, self._sight
        return {
            "therapist_id": owner,
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
