"""What is counted while a file is applied: its therapists, what was refused, and what an operator should know of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dataflows.flows.practice.therapists.record import STATUSES

__all__ = ["CODES", "EntryRemark", "FileCounts"]

MOST_REFUSED = 1000
_MOST_NAMED = 10
_OF_THE_FILE = frozenset(
    {"count_mismatch", "date_in_future", "folder_in_future", "odd_date_folder_used", "odd_date_file_used"}
)

CODES: Mapping[str, str] = {
    "id_reassigned": "ids that belonged to somebody else",
    "name_changed": "last names that changed",
    "kept_empty": "entries whose empty fields did not wipe what was there",
    "duplicate_entry": "entries that stand twice in the file",
    "shown_elsewhere": "deletions that do not count, since a file of that date or later shows the therapist",
    "unknown_status": "entries with a status that is not known",
    "count_mismatch": "counts in the metadata that differ from the entries",
    "date_in_future": "scrape dates in the future, so the folder's or the file's date counts",
    "folder_in_future": "folders with a date in the future, so the scrape date or the file's time counts",
    "odd_date_folder_used": "scrape dates that are not of the form 2025-07-02T03:13:24, so the folder's date counts",
    "odd_date_file_used": "scrape dates that are not of the form 2025-07-02T03:13:24, so the file's time counts",
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
    """Counts of one file; ``new + updated + unchanged + deleted + refused`` is the number of its entries."""

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
