"""What is at the Directory already, and what a look says about a batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from dataflows.flows.hospitals.directory import DirectoryRecord, ListedHospital
from dataflows.flows.hospitals.rows import Hospital, HospitalRow
from dataflows.flows.hospitals.rules import trimmed

Within = Callable[[str | None], bool] | None
"""Which batches count; None for all of them, and for records without a batch."""


def text_of(hospital: Hospital) -> Hospital:
    """The text by which two hospitals are one."""
    return trimmed(hospital.name, hospital.address, hospital.phone or "")


_NO_TEXT = Hospital("", "", None)  # equals no row


class Inventory:
    """One answer to ``GET /hospitals/``. ``started``: when it was asked for (s, monotonic)."""

    def __init__(self, records: Sequence[ListedHospital], started: float) -> None:
        self.started = started
        self.total = len(records)
        self._ids = Counter([record.id for record in records])
        self._batches: defaultdict[str, list[DirectoryRecord]] = defaultdict(list)
        self._active: defaultdict[Hospital, list[ListedHospital]] = defaultdict(list)
        self._live: set[str | None] = set()
        for record in records:
            number, hospital, active, batch_id = record
            if active:
                self._live.add(batch_id)
                if hospital is not None:
                    self._active[text_of(hospital)].append(record)
            if batch_id is not None:
                self._batches[batch_id].append(DirectoryRecord(number, hospital or _NO_TEXT, active))

    def batch(self, batch_id: str) -> list[DirectoryRecord]:
        """The records of one batch, in order of arrival."""
        return self._batches.get(batch_id, [])

    def is_active(self, batch_id: str) -> bool:
        """Whether any record of a batch is active."""
        return batch_id in self._live

    def active(self, text: Hospital, within: Within = None) -> list[int]:
        """The ids of the active records of a text; only of batches that ``within`` accepts."""
        return [one.id for one in self._active.get(text, ()) if within is None or within(one.batch_id)]

    def may_be_deleted(self, record: DirectoryRecord, batch_id: str) -> bool:
        """Whether a DELETE by id can hit nothing but this record of a batch: the id is there once, and not active."""
        return self._ids[record.id] == 1 and not record.active and record in self._batches.get(batch_id, ())


class Allotment(NamedTuple):
    """What an inventory says of rows that no batch of the run has."""

    there: dict[int, int]
    """Rows that are there already: the id of a record by the row's place in the file."""
    missing: list[int]
    """Rows that are not, by their places, in order."""


def allot(
    rows: Iterable[tuple[int, HospitalRow]],
    inventory: Inventory,
    taken: Mapping[Hospital, Counter[int]],
    within: Within,
) -> Allotment:
    """Give the active records of a text to the rows of that text, first come, first served.

    Args:
        rows: places in the file, and rows, that no batch of the run has.
        inventory: what is there.
        taken: by text, the ids of records that stand for other rows of the file.
        within: as for ``Inventory.active``.
    """
    stock: dict[Hospital, list[int]] = {}
    there: dict[int, int] = {}
    missing: list[int] = []
    for place, row in rows:
        text = row.hospital
        if text not in stock:
            stock[text] = _free(inventory.active(text, within), taken.get(text))
        if stock[text]:
            there[place] = stock[text].pop()
        else:
            missing.append(place)
    return Allotment(there, missing)


def _free(ids: list[int], taken: Counter[int] | None) -> list[int]:
    """The ids that stand for no other row, the lowest last."""
    return sorted((Counter(ids) - taken).elements() if ids and taken else ids, reverse=True)


def excess(active: int, wanted: int, coming: int) -> int:
    """How many rows of one text must leave the batches that are still to be activated.

    Args:
        active: how many of it are active now.
        wanted: how many of it the file holds.
        coming: how many of it the batches hold that are not active yet.
    """
    return max(0, min(coming, active + coming - wanted))


class BatchMatch(NamedTuple):
    """What a look at a batch says about its rows, which are named by their places (0 is the first)."""

    kept: dict[int, DirectoryRecord]
    """The record that stands for each row that has one."""
    absent: list[int]
    """The rows that have none, in order."""
    surplus: list[DirectoryRecord]
    """Records that equal a row but are one copy too many."""
    foreign: list[DirectoryRecord]
    """Records that equal no row at all."""


def match(
    hospitals: Sequence[Hospital],
    records: Sequence[DirectoryRecord],
    known: Mapping[int, int] = MappingProxyType({}),
    left: Container[int] = (),
) -> BatchMatch:
    """Match the records of a batch with its rows.

    Of equal copies the active ones stay before the others, and of those the lowest ids. ``known`` holds the ids that
    rows were told by an answer: a row keeps its own where that is among those that stay. Rows at the places ``left``
    are not wanted: their text is ours, and a record of it is surplus.
    """
    places: defaultdict[Hospital, list[int]] = defaultdict(list)
    for place, hospital in enumerate(hospitals):
        places[hospital] += [] if place in left else [place]
    copies: defaultdict[Hospital, list[DirectoryRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda one: (not one.active, one.id)):
        copies[record.hospital].append(record)
    kept: dict[int, DirectoryRecord] = {}
    surplus: list[DirectoryRecord] = []
    for hospital, equal in places.items():
        kept.update(_shared_out(equal, copies[hospital][: len(equal)], known))
        surplus += copies[hospital][len(equal) :]
    foreign = [record for record in records if record.hospital not in places]
    absent = [place for place in range(len(hospitals)) if place not in kept and place not in left]
    return BatchMatch(kept, absent, surplus, foreign)


def _shared_out(
    places: Sequence[int], records: Sequence[DirectoryRecord], known: Mapping[int, int]
) -> dict[int, DirectoryRecord]:
    """Give each record to one of the rows that it equals, to its own where it is known. Two may have one id."""
    if len(places) <= 1:
        return dict(zip(places, records, strict=False))
    free = list(records)
    shared: dict[int, DirectoryRecord] = {}
    for place in places:
        own = next((record for record in free if record.id == known.get(place)), None)
        if own is not None:
            free.remove(own)
            shared[place] = own
    others = (place for place in places if place not in shared)
    return {**shared, **dict(zip(others, free, strict=False))}


def unexplained(
    records: Sequence[DirectoryRecord], known_ids: Container[int], owed: Mapping[Hospital, int]
) -> list[DirectoryRecord]:
    """The records that no create of ours explains.

    Args:
        records: what a look showed.
        familiar: ids that we know: from answers, or seen before.
        owed: per text, how many creates were sent whose answer never came and whose record was not seen yet.
    """
    left = dict(owed)
    found = []
    for record in sorted(records, key=lambda one: one.id):
        if record.id in known_ids:
            continue
        if left.get(record.hospital, 0) > 0:
            left[record.hospital] -= 1
        else:
            found.append(record)
    return found
