"""Which record belongs to which row: a multiset of the exact text that was sent. Pure functions, no state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from dataflows.flows.hospitals.directory import DirectoryRecord
from dataflows.flows.hospitals.rows import Hospital


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
