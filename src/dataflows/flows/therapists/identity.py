"""Who an entry is: the source's id within its postcode area, confirmed by the person; else the natural key.

``praxis67`` looks like a place in a result page and may be given to somebody else (therapists.md, identity).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from dataflows.flows.therapists.record import Entry, folded

__all__ = ["Known", "Match", "Person", "needs_ids", "who"]


class Known(NamedTuple):
    """What is read of every therapist that an entry may be."""

    id: int
    area: str
    source_id: str | None
    natural_key: str | None
    content_hash: str
    last_seen: datetime | None
    seen_in: str | None
    active: bool
    deleted_at: datetime | None


class Person(NamedTuple):
    """By what a match by id is confirmed; every text folded."""

    first_name: str
    last_name: str
    title: str
    street: str
    house_number: str
    email: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Person:
        """Take it from columns."""
        return cls(*(folded(values.get(field)) for field in cls._fields))

    def is_still(self, other: Person) -> bool:
        """Whether both are one person: the first name, and the last name or else the place and title are equal.

        A changed last name needs an address that is there, and no e-mail that says otherwise.
        """
        if self.first_name != other.first_name:
            return False
        if self.last_name == other.last_name:
            return True
        same_place = bool(self.street and self.house_number) and self[2:5] == other[2:5]
        return same_place and (not self.email or not other.email or self.email == other.email)


class Match(NamedTuple):
    """Who an entry is: ``known``, or nobody yet; ``ambiguous`` when it could be several.

    ``reassigned``: its id belonged to somebody else.
    """

    known: Known | None = None
    ambiguous: bool = False
    reassigned: bool = False


def needs_ids(entry: Entry, area: str, by_key: Collection[Known]) -> bool:
    """Whether the id has to be looked up too: not where the one with the natural key has that very id."""
    if entry.source_id is None:
        return False
    return [(known.area, known.source_id) for known in by_key] != [(area, entry.source_id)]


def who(
    entry: Entry, by_key: Collection[Known], by_id: Collection[Known] = (), people: Mapping[int, Person] | None = None
) -> Match:
    """Find out who an entry is.

    Args:
        by_key: the therapists with its natural key.
        by_id: those with its id, in its area.
        people: the persons of those among ``by_id`` whose natural key is another one.
    """
    if not by_id and len(by_key) < 2:  # nearly always
        return Match(next(iter(by_key), None))
    exact = [known for known in by_id if entry.natural_key and known.natural_key == entry.natural_key]
    if len(exact) == 1:
        return Match(exact[0])
    confirmed = _confirmed(entry, by_id, exact, people or {}) if by_id else []
    reassigned = bool(by_id) and not confirmed
    candidates = _distinct([*confirmed, *by_key])
    if len(candidates) > 1:
        return Match(ambiguous=True, reassigned=reassigned)
    return Match(candidates[0] if candidates else None, reassigned=reassigned)


def _confirmed(
    entry: Entry, by_id: Iterable[Known], exact: Collection[Known], people: Mapping[int, Person]
) -> list[Known]:
    person = Person.of(entry.values)
    return [one for one in by_id if one in exact or (one.id in people and people[one.id].is_still(person))]


def _distinct(candidates: Iterable[Known]) -> list[Known]:
    return list({known.id: known for known in candidates}.values())
