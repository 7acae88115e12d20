"""What an entry changes about a therapist, field by field, what it must not take away, and what is counted of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from dataflows.flows.practice.therapists.identity import FileOrigin, KnownListing
from dataflows.flows.practice.therapists.record import FIELDS, LISTS, STATUSES, TherapistEntry, in_order
from dataflows.flows.practice.values import folded

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
    values = {name: stored[name] for name in FIELDS}
    changed: list[FieldChange] = []
    kept: list[str] = []
    for name in FIELDS:
        old, new = stored[name], given.get(name)
        if _same(name, old, new):
            continue
        if new is None and _is_kept(name, given):
            if name in KEPT_WHEN_EMPTY:
                kept.append(name)
            continue
        values[name] = new
        changed.append(FieldChange(name, old, new))
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


def needs_row(entry: TherapistEntry, known: KnownListing, origin: FileOrigin) -> bool:
    """Whether the columns of a therapist have to be read to decide."""
    if entry.status == "deleted" or _is_older(known, origin):
        return False
    moved = entry.source_id is not None and (known.area, known.source_id) != (origin.area, entry.source_id)
    return moved or entry.content_hash != known.content_hash or _revives(known, origin)


def decide(
    entry: TherapistEntry, known: KnownListing | None, origin: FileOrigin, row: Mapping[str, Any] | None = None
) -> Decision:
    """Decide about one entry. ``row`` are the columns of the therapist, where ``needs_row`` wants them."""
    if known is None:
        return Create(entry, active=entry.status != "deleted")
    if entry.status == "deleted":
        return _deletion(known, origin)
    if _is_older(known, origin):
        return Nothing(known, "older")
    if row is None:
        return (
            Nothing(known, "same") if (known.last_seen, known.seen_in) == (origin.date, origin.name) else Touch(known)
        )
    changes, revived = compare(row, entry.values), _revives(known, origin)
    if revived:
        changes.changed.append(FieldChange("active", False, True))
    return Update(entry, known, changes, revived)


def _is_older(known: KnownListing, origin: FileOrigin) -> bool:
    if known.last_seen is None:
        return False
    return (origin.date, origin.name) < (known.last_seen, known.seen_in or "")


def _revives(known: KnownListing, origin: FileOrigin) -> bool:
    """A deletion counts only while no file of its date or later shows them; a date is a day."""
    return known.deleted_at is not None and origin.date.date() >= known.deleted_at.date()


def _deletion(known: KnownListing, origin: FileOrigin) -> Decision:
    here = known.seen_in == origin.name  # the file that showed them is the one that says so now
    last = known.last_seen
    if last is not None and (last > origin.date if here else last.date() >= origin.date.date()):
        return Nothing(known, "shown_elsewhere")
    if known.deleted_at is not None and known.deleted_at >= origin.date:
        return Nothing(known, "same")
    return Delete(known, news=known.active)


# --- counting ---------------------------------------------------------------------------------------------

MOST_REFUSED = 1000
_MOST_NAMED = 10
_OF_THE_FILE = frozenset(
    {"count_mismatch", "date_in_future", "folder_in_future", "odd_date_folder_used", "odd_date_file_used"}
)

CODES: Mapping[str, str] = {
    "id_reassigned": "ids that belonged to somebody else",
    "name_changed": "last names that changed",
    "kept_empty": "entries whose empty fields did not wipe what was there",
    "duplicate_entry": "entries that are in the file twice",
    "shown_elsewhere": "deletions that do not count, since a file of that date or later shows the therapist",
    "erased_person": "entries of therapists who were erased, of whom nothing was written",
    "unknown_status": "entries with an unknown status",
    "count_mismatch": "counts in the metadata that differ from the entries",
    "date_in_future": "scrape dates in the future, so the folder's or the file's date is used",
    "folder_in_future": "folders with a date in the future, so the scrape date or the file's time is used",
    "odd_date_folder_used": "scrape dates that are not of the form 2025-07-02T03:13:24, so the folder's date is used",
    "odd_date_file_used": "scrape dates that are not of the form 2025-07-02T03:13:24, so the file's time is used",
}
"""Everything that is a warning, by its stable name."""


@dataclass(slots=True)
class EntryRemark:
    """How often something was noticed in a file, and at which entries first."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def at(self, entry: int) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < _MOST_NAMED:
            self.first.append(entry)


@dataclass(slots=True)
class RefusedEntry:
    """An entry that was not taken: its index in the file, a stable name, the path of what is wrong."""

    at: int
    code: str
    path: str = ""


@dataclass(slots=True)
class FileCounts:
    """Counts of one file; ``new + updated + unchanged + deleted + refused + erased`` is the number of its entries."""

    entries: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    revived: int = 0
    locations: int = 0
    """New further listings of therapists who have one already, among the updated."""
    older: int = 0
    refused: int = 0
    broken: int = 0
    erased: int = 0
    """Entries of therapists who were erased: nothing is written of them."""
    status_mismatch: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    remarks: dict[str, EntryRemark] = field(default_factory=dict)
    first_refused: list[RefusedEntry] = field(default_factory=list)

    def refuse(self, at: int, code: str, path: str = "") -> None:
        """Count an entry that is not taken."""
        self.refused += 1
        if len(self.first_refused) < MOST_REFUSED:
            self.first_refused.append(RefusedEntry(at, code, path))

    def remark(self, code: str, at: int) -> None:
        """Count something that an operator should know of (a name of ``CODES``)."""
        self.remarks.setdefault(code, EntryRemark()).at(at)

    def count(self, entry: TherapistEntry, decision: Decision, *, further: bool) -> None:
        """Count what an entry does; ``further``: it made a further listing of a therapist."""
        match decision:
            case Create():
                self.new += not further
                self.updated += further
                self.locations += further
            case Update():
                self._count_update(entry, decision)
            case Touch():
                self.unchanged += 1
            case Delete(news=news):
                self.deleted += news
                self.unchanged += not news
            case Nothing(why=why):
                self.unchanged += 1
                self.older += why == "older"
                if why == "shown_elsewhere":
                    self.remark(why, entry.at)

    def _count_update(self, entry: TherapistEntry, decision: Update) -> None:
        changes = decision.changes
        self.updated += bool(changes.changed)
        self.unchanged += not changes.changed
        self.revived += decision.revived
        of = "" if decision.known.location is None else "locations."
        self.fields.update(of + change.field for change in changes.changed)
        self.status_mismatch += entry.status == "unchanged" and bool(changes.changed)
        if changes.kept:
            self.remark("kept_empty", entry.at)
        if any(one.field == "last_name" and folded(one.old) != folded(one.new) for one in changes.changed):
            self.remark("name_changed", entry.at)

    def check(self, said: Mapping[str, int]) -> None:
        """Compare with the file's own counts: its total, and by status where the entries have one."""
        totals = {self.entries, self.entries - self.statuses["deleted"]}  # a source may leave out the deleted ones
        wrong = int("total" in said and said["total"] not in totals)
        if any(self.statuses[status] for status in STATUSES):
            wrong += sum(said[status] != self.statuses[status] for status in STATUSES & said.keys())
        for _ in range(wrong):
            self.remark("count_mismatch", 0)

    def words(self) -> Iterator[str]:
        """What was noticed, one line each."""
        for code, remark in sorted(self.remarks.items()):
            more = ", ..." if remark.count > len(remark.first) else ""
            where = "" if code in _OF_THE_FILE else (f" (entries {', '.join(map(str, remark.first))}{more})")
            yield f"{remark.count} {CODES[code]}{where}"
