"""What an entry does to a therapist, decided from it and from what is known of them; nothing is read here.

Data is ordered by (scrape date, file name), so that the order in which files arrive does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from dataflows.flows.therapists.changes import FieldChange, FieldChanges, compare
from dataflows.flows.therapists.identity import KnownListing
from dataflows.flows.therapists.record import TherapistEntry
from dataflows.flows.therapists.sight import Sighting

__all__ = ["Create", "Decision", "Delete", "Nothing", "Touch", "Update", "decide", "needs_row"]


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
