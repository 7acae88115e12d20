"""Who speaks for a child."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from dataflows.flows.csc.acknowledgements import Acknowledgements
from dataflows.flows.csc.indexes import UNDECIDED
from dataflows.flows.csc.names import NamedRows, Seeming
from dataflows.flows.csc.reading import Reading
from dataflows.flows.csc.staging import StagingTable

_AT_ONCE = 20  # rows of one child that are read in one go, highest first


class SpeakingRows(NamedTuple):
    """Who speaks for one child.

    Attributes:
        reading: the row that speaks, None when none does.
        living: a row that names the child and stands for it, although the row that speaks is deleted.
        variant: a row that speaks and stands for the identifier in other letter case, which receivers may ignore, while
            the row that speaks is deleted or there is none.
    """

    reading: Reading | None = None
    living: int | None = None
    variant: int | None = None

    @property
    def speaker(self) -> int | None:
        """The id of the row that speaks."""
        return self.reading.row.id if self.reading else None

    @property
    def contradicted(self) -> bool:
        """Whether the table says two things, so that only a person can decide."""
        return self.living is not None or self.variant is not None


class Speakers:
    """Answers who speaks."""

    def __init__(self, names: NamedRows) -> None:
        self.names = names

    @classmethod
    def of_table(cls, staging: StagingTable, acks: Acknowledgements) -> Speakers:
        """Return those of a staging table."""
        return cls(NamedRows(staging, acks.journal, staging.engine, acks.schema))

    def of(self, page: Sequence[Reading], names: Iterable[str] | None = None) -> dict[str, SpeakingRows]:
        """Return who speaks for these children, or for all whom the rows of a page name, which was read just now."""
        wanted = {reading.name for reading in page if reading.name} if names is None else set(names)
        if not wanted:
            self.names.note(page)
            return {}
        found = self._resolve(wanted, page, self.names.find(wanted, page))
        # beside a row that speaks and stands for its child, none below it matters
        unsure = {name for name, one in found.items() if one.reading is None or one.reading.goes}
        if unsure and self.names.complete():
            found |= self._resolve(unsure, page, self.names.find(unsure, page))
        return found

    def now(self, names: Iterable[str]) -> dict[str, SpeakingRows]:
        """Return who speaks for these children at this moment (csc.md: asked again before a purge leaves)."""
        wanted = set(names)
        return self._resolve(wanted, (), self.names.find_now(wanted)) if wanted else {}

    def rows_of(self, name: str) -> list[Reading]:
        """Return every row that names a child, highest id first."""
        found = self.names.readings(one.row_id for one in self.names.find_now([name]))
        return sorted((one for one in found if one.name == name), key=lambda one: one.row.id, reverse=True)

    def _resolve(
        self, names: Set[str], readings: Sequence[Reading], seeming: Sequence[Seeming]
    ) -> dict[str, SpeakingRows]:
        by_key: defaultdict[str, list[Reading]] = defaultdict(list)
        for reading in readings:
            if reading.name:
                by_key[reading.name.lower()].append(reading)
        asked_of = {one.key for one in seeming}
        alone = {}
        for name in names:  # as a rule nobody else names the child
            rows = by_key[name.lower()]
            if len(rows) == 1 and name.lower() not in asked_of and rows[0].name == name and not rows[0].goes:
                alone[name] = SpeakingRows(rows[0])
        return alone | self._compared(names - alone.keys(), by_key, seeming)

    def _compared(
        self, names: Set[str], by_key: Mapping[str, Sequence[Reading]], seeming: Sequence[Seeming]
    ) -> dict[str, SpeakingRows]:
        groups: defaultdict[str, _Group] = defaultdict(_Group)
        for name in names:
            groups[name.lower()].read = {reading.row.id: reading for reading in by_key.get(name.lower(), ())}
        for one in seeming:
            groups[one.key].seeming[one.row_id] = one
        self._read_what_matters(names, groups)
        return {name: groups[name.lower()].standing(name) for name in names}

    def _read_what_matters(self, names: Set[str], groups: Mapping[str, _Group]) -> None:
        """Read rows until none is left that could change an answer; as a rule there is none at all."""
        while unread := {row_id for name in names for row_id in groups[name.lower()].unread(name)}:
            found = {reading.row.id: reading for reading in self.names.readings(unread)}
            for key in {name.lower() for name in names}:
                groups[key].take(unread, found)


@dataclass
class _Group:
    """The rows that may name a child in any letter case: what SQL says of them, and those that were read."""

    seeming: dict[int, Seeming] = field(default_factory=dict)
    read: dict[int, Reading] = field(default_factory=dict)

    def speaker(self, name: str) -> Reading | None:
        return max((one for one in self.read.values() if one.name == name), key=lambda one: one.row.id, default=None)

    def standing(self, name: str) -> SpeakingRows:
        reading = self.speaker(name)
        if reading is not None and not reading.goes:
            return SpeakingRows(reading)
        others = {one.name for one in self.read.values() if one.name} - {name}
        variants = [one for other in others if (one := self.speaker(other)) is not None and not one.goes]
        variant = max((one.row.id for one in variants if (one.name or "").lower() == name.lower()), default=None)
        return SpeakingRows(reading, self.living(name, reading), variant)

    def living(self, name: str, speaker: Reading | None) -> int | None:
        if speaker is None or not speaker.goes:
            return None
        return max((one.row.id for one in self.read.values() if one.name == name and one.living), default=None)

    def take(self, unread: set[int], found: Mapping[int, Reading]) -> None:
        for row_id in unread & self.seeming.keys():
            if row_id in found:
                self.read[row_id] = found[row_id]
            del self.seeming[row_id]

    def unread(self, name: str) -> list[int]:
        """Return the rows that have to be read next, for they could change who speaks for this child."""
        rest = [one for one in self.seeming.values() if one.row_id not in self.read]
        if not rest:
            return []
        unsure = [one.row_id for one in rest if one.name == UNDECIDED]
        if unsure:
            return unsure
        speaker = self.speaker(name)
        own = [one for one in rest if one.name == name]
        higher = [one.row_id for one in own if speaker is None or one.row_id > speaker.row.id]
        if higher or (speaker is not None and not speaker.goes):
            return _highest(higher)
        against = [one.row_id for one in own if one.living] if self.living(name, speaker) is None else []
        return _highest(against) + self._variants(name, rest)

    def _variants(self, name: str, rest: Sequence[Seeming]) -> list[int]:
        by_name: defaultdict[str, list[int]] = defaultdict(list)
        for one in rest:
            if one.name != name:
                by_name[one.name].append(one.row_id)
        return [row_id for other, ids in by_name.items() for row_id in _highest(self._above(other, ids))]

    def _above(self, other: str, row_ids: Sequence[int]) -> list[int]:
        speaker = self.speaker(other)
        return [row_id for row_id in row_ids if speaker is None or row_id > speaker.row.id]


def _highest(row_ids: Iterable[int]) -> list[int]:
    return sorted(row_ids, reverse=True)[:_AT_ONCE]
