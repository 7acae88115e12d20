"""Who an entry is: the source's id within its postcode area, confirmed by the person; else the natural key.

``praxis67`` looks like a place in a result page and may be given to somebody else (therapists.md, identity). A
therapist may have several listings: each is told by its id and natural key, else by its street.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeAlias

from dataflows.flows.therapists.record import TherapistEntry, folded
from dataflows.flows.therapists.sight import Sighting

__all__ = ["Key", "KnownListing", "ListingMatch", "TherapistIdentity", "needs_ids", "who"]


Key: TypeAlias = tuple[int, int | None]
"""A listing: its therapist, and its own number if it is a further one."""


class KnownListing(NamedTuple):
    """What is read of every listing that an entry may be: the one in ``therapists``, or a further one of a therapist.

    ``id`` is the therapist's; ``location`` the further listing's own, whose therapist is deleted since
    ``owner_deleted_at`` if at all.
    """

    id: int
    area: str
    source_id: str | None
    natural_key: str | None
    content_hash: str
    last_seen: datetime | None
    seen_in: str | None
    active: bool
    deleted_at: datetime | None
    location: int | None = None
    owner_deleted_at: datetime | None = None

    @property
    def key(self) -> Key:
        """What tells listings apart."""
        return self.id, self.location


class TherapistIdentity(NamedTuple):
    """By what a match by id is confirmed; every text folded."""

    first_name: str
    last_name: str
    title: str
    street: str
    house_number: str
    email: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TherapistIdentity:
        """Take it from columns."""
        return cls(*(folded(values.get(field)) for field in cls._fields))

    def is_still(self, other: TherapistIdentity) -> bool:
        """Whether both are one person: the first name, and the last name or else the place and title are equal.

        A changed last name needs an address that is there, and no e-mail that says otherwise.
        """
        if self.first_name != other.first_name:
            return False
        if self.last_name == other.last_name:
            return True
        same_place = bool(self.street and self.house_number) and self[2:5] == other[2:5]
        return same_place and (not self.email or not other.email or self.email == other.email)


class ListingMatch(NamedTuple):
    """Who an entry is: the listing that is ``known``, or nobody yet; ``ambiguous`` when it could be several people.

    ``further``: a listing of a therapist whom another listing has made known (that one). ``reassigned``: the entry's id
    belonged to somebody else.
    """

    known: KnownListing | None = None
    ambiguous: bool = False
    reassigned: bool = False
    further: KnownListing | None = None


def needs_ids(entry: TherapistEntry, area: str, by_key: Collection[KnownListing]) -> bool:
    """Whether the id and the people have to be looked up too: not where one with the natural key has that very id."""
    if entry.source_id is None and len(by_key) < 2:
        return False
    return len(_exact(entry, area, by_key)) != 1


def who(
    entry: TherapistEntry,
    sight: Sighting,
    by_key: Collection[KnownListing],
    by_id: Collection[KnownListing] = (),
    people: Mapping[Key, TherapistIdentity] | None = None,
) -> ListingMatch:
    """Find out who an entry is.

    Args:
        by_key: the listings with its natural key.
        by_id: those with its id, in its area.
        people: the persons behind all of these, where ``needs_ids`` wants them.
    """
    exact = _exact(entry, sight.area, by_key)
    if len(exact) == 1:  # nearly always
        return ListingMatch(exact[0])
    people = people or {}
    person = TherapistIdentity.of(entry.values)
    confirmed = [one for one in by_id if one in exact or (one.key in people and people[one.key].is_still(person))]
    reassigned = bool(by_id) and not confirmed
    by_place = [one for one in confirmed if one in exact or not by_key or _is_of(sight, one)]
    candidates = list({one.key: one for one in [*by_place, *by_key]}.values())
    if not candidates:
        return ListingMatch(reassigned=reassigned)
    if len({one.id for one in candidates}) > 1:
        return ListingMatch(ambiguous=True, reassigned=reassigned)
    return _listing(entry, sight, candidates, confirmed, people)._replace(reassigned=reassigned)


def _listing(
    entry: TherapistEntry,
    sight: Sighting,
    candidates: list[KnownListing],
    confirmed: list[KnownListing],
    people: Mapping[Key, TherapistIdentity],
) -> ListingMatch:
    """Which of the listings of one therapist an entry is, or a further one (other id and other street)."""
    street = folded(entry.values.get("street"))
    here = [one for one in candidates if not street or _street(one, people) in ("", street)]
    if here or entry.source_id is None:
        return ListingMatch(min(here or candidates, key=lambda one: (one not in confirmed, one.location or 0)))
    unnamed = [one for one in candidates if one.source_id is None]
    moved = unnamed or [one for one in confirmed if _is_of(sight, one)]
    return ListingMatch(moved[0]) if moved else ListingMatch(further=candidates[0])


def _exact(entry: TherapistEntry, area: str, by_key: Iterable[KnownListing]) -> list[KnownListing]:
    if entry.source_id is None:
        return []
    return [one for one in by_key if (one.area, one.source_id) == (area, entry.source_id)]


def _street(one: KnownListing, people: Mapping[Key, TherapistIdentity]) -> str:
    return people[one.key].street if one.key in people else ""


def _is_of(sight: Sighting, one: KnownListing) -> bool:
    """Whether a listing was last in this file of a ZIP code, whatever its folder: who is in another has not moved."""
    return one.seen_in is None or one.seen_in.rpartition("/")[2] == sight.name.rpartition("/")[2]
