"""Who an entry is: listings known by id and confirmed, and entries that claim the same person."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from dataflows.flows.practice.therapists.record import TherapistEntry
from dataflows.flows.practice.values import folded


class FileOrigin(NamedTuple):
    """Where and when entries were seen: the file's scrape date, its name below the import folder, its area."""

    date: datetime
    name: str
    area: str


Key: TypeAlias = tuple[int, int | None]
"""A listing: its therapist, and its own number if it is a further one."""
Target: TypeAlias = Key | str
"""A listing that is known, or one that is new: by the person and the street."""
Claim: TypeAlias = Literal["speaks", "duplicate_entry", "shown_elsewhere", "ambiguous", "again"]


class ClaimsVerdict(NamedTuple):
    """Whom several entries mean (``doubled``); of those, about whom they say different things (``contested``), and who
    is both shown and deleted (``shown``).
    """

    doubled: frozenset[Target] = frozenset()
    contested: frozenset[Target] = frozenset()
    shown: frozenset[Target] = frozenset()


class Claims:
    """The claims of one reading of a file, under the verdict of the readings before.

    Of most therapists only a hash is kept, so a large file needs little memory. A file in which nobody is meant twice
    needs one reading.
    """

    def __init__(self, verdict: ClaimsVerdict) -> None:
        self._verdict = verdict
        self._hashes: set[int] = set()
        self._marks: dict[Target, int] = {}
        self._doubled: set[Target] = set()
        self._contested: set[Target] = set()
        self._shown: set[Target] = set()

    def claim(self, target: Target, entry: TherapistEntry) -> Claim:
        """Claim a therapist for an entry; ``again``: the file has to be read once more, by the new verdict."""
        if target in self._verdict.doubled:
            return self._among_several(target, entry)
        if hash(target) in self._hashes:
            self._doubled.add(target)
            return "again"
        self._hashes.add(hash(target))
        return "speaks"

    def verdict(self) -> ClaimsVerdict | None:
        """The verdict for the next reading; None when this one stands."""
        if not (self._doubled or self._contested or self._shown):
            return None
        doubled, contested, shown = self._verdict
        return ClaimsVerdict(doubled | self._doubled, contested | self._contested, shown | self._shown)

    def _among_several(self, target: Target, entry: TherapistEntry) -> Claim:
        deleted = entry.status == "deleted"
        if target in self._verdict.contested:
            return "ambiguous"
        if deleted and target in self._verdict.shown:
            return "shown_elsewhere"
        mark = 0 if deleted else int(entry.content_hash, 16) + 1
        before = self._marks.get(target)
        if before is None:
            self._marks[target] = mark
            return "speaks"
        if before == mark:
            return "duplicate_entry"
        (self._contested if before and mark else self._shown).add(target)
        return "again"


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


def target_of(entry: TherapistEntry, found: ListingMatch) -> Target:
    """What an entry claims to speak for: a listing, a further one of a therapist, or somebody new."""
    if found.known is not None:
        return found.known.key
    street = folded(entry.values.get("street")) if entry.source_id is not None else ""
    owner = entry.natural_key if found.further is None else found.further.id
    return f"{owner}\n{street}"


def needs_ids(entry: TherapistEntry, area: str, by_key: Collection[KnownListing]) -> bool:
    """Whether the id and the people have to be looked up too: not where one with the natural key has that very id."""
    if entry.source_id is None and len(by_key) < 2:
        return False
    return len(_exact(entry, area, by_key)) != 1


def identify(
    entry: TherapistEntry,
    origin: FileOrigin,
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
    exact = _exact(entry, origin.area, by_key)
    if len(exact) == 1:  # nearly always
        return ListingMatch(exact[0])
    people = people or {}
    person = TherapistIdentity.of(entry.values)
    confirmed = [one for one in by_id if one in exact or (one.key in people and people[one.key].is_still(person))]
    reassigned = bool(by_id) and not confirmed
    by_place = [one for one in confirmed if one in exact or not by_key or _is_of(origin, one)]
    candidates = list({one.key: one for one in [*by_place, *by_key]}.values())
    if not candidates:
        return ListingMatch(reassigned=reassigned)
    if len({one.id for one in candidates}) > 1:
        return ListingMatch(ambiguous=True, reassigned=reassigned)
    return _listing(entry, origin, candidates, confirmed, people)._replace(reassigned=reassigned)


def _listing(
    entry: TherapistEntry,
    origin: FileOrigin,
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
    moved = unnamed or [one for one in confirmed if _is_of(origin, one)]
    return ListingMatch(moved[0]) if moved else ListingMatch(further=candidates[0])


def _exact(entry: TherapistEntry, area: str, by_key: Iterable[KnownListing]) -> list[KnownListing]:
    if entry.source_id is None:
        return []
    return [one for one in by_key if (one.area, one.source_id) == (area, entry.source_id)]


def _street(one: KnownListing, people: Mapping[Key, TherapistIdentity]) -> str:
    return people[one.key].street if one.key in people else ""


def _is_of(origin: FileOrigin, one: KnownListing) -> bool:
    """Whether a listing was last in this file of a ZIP code, whatever its folder: who is in another has not moved."""
    return one.seen_in is None or one.seen_in.rpartition("/")[2] == origin.name.rpartition("/")[2]
