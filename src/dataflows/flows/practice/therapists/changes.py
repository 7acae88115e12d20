"""What an entry changes about a therapist, field by field, and what it must not take away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from dataflows.flows.practice.therapists.identity import KnownListing, Sighting
from dataflows.flows.practice.therapists.record import FIELDS, LISTS, TherapistEntry, in_order

KEPT_WHEN_EMPTY = frozenset(
    {"phone", "email", "street", "house_number", "city", "title", "telephone_hours", "languages"}
)
"""Fields whose good value an empty one never wipes (therapists.md). A house number goes with its street."""
_NEVER_GUESSED = frozenset({"salutation", "postal_code"})  # kept too, and nobody is warned


class FieldChange(NamedTuple):
    """One field that changes: a column, its value before and after."""

    field: str
    old: Any
    new: Any


class FieldChanges(NamedTuple):
    """``values``: every field as it will be; ``kept``: fields whose empty value was not taken over."""

    values: dict[str, Any]
    changed: list[FieldChange]
    kept: list[str]


def compare(stored: Mapping[str, Any], given: Mapping[str, Any]) -> FieldChanges:
    """Compare the columns of a therapist with the values of an entry, which leaves out what is empty."""
    values = {field: stored[field] for field in FIELDS}
    changed: list[FieldChange] = []
    kept: list[str] = []
    for field in FIELDS:
        old, new = stored[field], given.get(field)
        if _same(field, old, new):
            continue
        if new is None and _is_kept(field, given):
            if field in KEPT_WHEN_EMPTY:
                kept.append(field)
            continue
        values[field] = new
        changed.append(FieldChange(field, old, new))
    return FieldChanges(values, changed, kept)


def _same(field: str, old: Any, new: Any) -> bool:
    if field in LISTS and old and new:
        return in_order(old) == in_order(new)
    return bool(old == new)


def _is_kept(field: str, given: Mapping[str, Any]) -> bool:
    if field == "house_number":
        return "street" not in given  # another street without a number is an address of its own
    return field in KEPT_WHEN_EMPTY or field in _NEVER_GUESSED


class Create(NamedTuple):
    """The therapist is new, or (with an ``owner``) a further listing of theirs.

    Not ``active`` when all that is known is that the source deleted them.
    """

    entry: TherapistEntry
    active: bool
    owner: int | None = None


class Update(NamedTuple):
    """Columns change. Without ``changes.changed`` only what is kept about the source does (its id, the hash)."""

    entry: TherapistEntry
    known: KnownListing
    changes: FieldChanges
    revived: bool = False


class Touch(NamedTuple):
    """Nothing changes but that they were seen again."""

    known: KnownListing


class Delete(NamedTuple):
    """The source deleted them. Not ``news`` when they were deleted before: only the date moves. ``at``: the entry."""

    known: KnownListing
    news: bool
    at: int = 0


class Nothing(NamedTuple):
    """The entry counts for nothing: ``why`` is older, same or shown_elsewhere."""

    known: KnownListing
    why: str


Decision: TypeAlias = Create | Update | Touch | Delete | Nothing


def needs_row(entry: TherapistEntry, known: KnownListing, sight: Sighting) -> bool:
    """Whether the columns of a therapist have to be read to decide."""
    if entry.status == "deleted" or _is_older(known, sight):
        return False
    moved = entry.source_id is not None and (known.area, known.source_id) != (sight.area, entry.source_id)
    return moved or entry.content_hash != known.content_hash or _revives(known, sight)


def decide(
    entry: TherapistEntry, known: KnownListing | None, sight: Sighting, row: Mapping[str, Any] | None = None
) -> Decision:
    """Decide about one entry. ``row`` are the columns of the therapist, where ``needs_row`` wants them."""
    if known is None:
        return Create(entry, active=entry.status != "deleted")
    if entry.status == "deleted":
        return _deletion(known, sight)
    if _is_older(known, sight):
        return Nothing(known, "older")
    if row is None:
        return Nothing(known, "same") if (known.last_seen, known.seen_in) == (sight.date, sight.name) else Touch(known)
    changes, revived = compare(row, entry.values), _revives(known, sight)
    if revived:
        changes.changed.append(FieldChange("active", False, True))
    return Update(entry, known, changes, revived)


def _is_older(known: KnownListing, sight: Sighting) -> bool:
    if known.last_seen is None:
        return False
    return (sight.date, sight.name) < (known.last_seen, known.seen_in or "")


def _revives(known: KnownListing, sight: Sighting) -> bool:
    """A deletion counts only while no file of its date or later shows them; a date is a day."""
    return known.deleted_at is not None and sight.date.date() >= known.deleted_at.date()


def _deletion(known: KnownListing, sight: Sighting) -> Decision:
    here = known.seen_in == sight.name  # the file that showed them is the one that says so now
    last = known.last_seen
    if last is not None and (last > sight.date if here else last.date() >= sight.date.date()):
        return Nothing(known, "shown_elsewhere")
    if known.deleted_at is not None and known.deleted_at >= sight.date:
        return Nothing(known, "same")
    return Delete(known, news=known.active)
