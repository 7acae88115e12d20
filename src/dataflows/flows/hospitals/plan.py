"""Which rows of a file a run creates, in which batches, and which are there already: decided once, kept in the journal.

Rules: hospitals.md "Which rows are new". Places are those of the rows in the file's valid rows (0 is the first): the
numbers of the rows change when a wrong row is put in between, their places do not.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from dataflows.flows.hospitals.batch import Batch, BatchPolicy, WiderLook
from dataflows.flows.hospitals.copies import FileContent, Portion, fresh_portions, portions
from dataflows.flows.hospitals.inventory import Inventory, allot, excess
from dataflows.flows.hospitals.rows import LEFT, BatchEntry, Hospital, HospitalRow, State

_NUMBERS_TRIED = 4
"""A batch may have been made under these numbers by a run that the journal forgot."""


class KeptPlan(NamedTuple):
    """A plan as the journal has it: batch ids with the places of their rows, and the records of rows that are there."""

    batches: list[tuple[str, list[int]]]
    there: dict[int, int]

    @classmethod
    def whole(cls, content: FileContent, number: int, extra: Iterable[tuple[str, str, int]] = ()) -> KeptPlan:
        """What a run of an earlier version carried: all rows, and one-row batches that stood in for lost ones.

        Args:
            content: the copy of its rows.
            number: the occurrence.
            extra: id, the batch that lost a row, and the place of the row in that.
        """
        found: list[tuple[str, list[int]]] = []
        for part in portions(content.address, content.rows, content.size, number):
            first = sum(len(places) for _, places in found)
            found.append((part.batch_id, list(range(first, first + len(part.rows)))))
        by_id = dict(found)
        return cls([*found, *((batch_id, [by_id[parent][place]]) for batch_id, parent, place in extra)], {})

    def portions(self, rows: Sequence[HospitalRow]) -> list[Portion]:
        """Its batches with their rows."""
        return [Portion(batch_id, [rows[place] for place in places]) for batch_id, places in self.batches]

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps([self.batches, list(self.there.items())], separators=(",", ":"))

    @classmethod
    def of_json(cls, text: str) -> KeptPlan:
        """Read what ``to_json`` wrote."""
        batches, there = json.loads(text)
        return cls([(batch_id, places) for batch_id, places in batches], dict(there))


class UploadPlan:
    """The batches of a run, open or over, and the rows that are there without one of them.

    Args:
        content: what the file asks for.
        manner: how its batches are treated.
        number: the first number for new batches: 0, or the occurrence of ``--again``.
        again: only what its own batches hold counts as there.
    """

    def __init__(self, content: FileContent, manner: BatchPolicy, *, number: int = 0, again: bool = False) -> None:
        self.content = content
        self.number = number
        self.again = again
        self.batches: list[Batch] = []
        self.there: dict[int, int] = {}
        self.overlapping: list[int] = []
        """The numbers of rows that somebody else brought there too in the same moments."""
        self._manner = manner
        self._places: dict[str, list[int]] = {}
        self._wanted = Counter(row.hospital for row in content.rows)
        self._holders: defaultdict[Hospital, list[tuple[Batch, BatchEntry]]] = defaultdict(list)

    def add(self, batch_id: str, places: Sequence[int]) -> Batch:
        """Take in one batch that is to hold the rows at these places."""
        batch = Batch(batch_id, [BatchEntry(self.content.rows[place]) for place in places], self._manner)
        self._places[batch_id] = list(places)
        self.batches.append(batch)
        return batch

    def index(self) -> None:
        """Know by their text where rows are; once the batches have their entries."""
        self._holders.clear()
        for batch in self.batches:
            for entry in batch.entries:
                self._holders[entry.row.hospital].append((batch, entry))

    def kept(self) -> KeptPlan:
        """The plan as it is to be written down."""
        return KeptPlan(list(self._places.items()), self.there)

    @property
    def open(self) -> list[Batch]:
        """The batches about which something is to be done."""
        return [batch for batch in self.batches if not batch.over]

    @property
    def present(self) -> int:
        """How many rows are at the Directory for sure, created by whomever."""
        left = sum(
            entry.state is State.THERE and place not in self.there
            for batch in self.batches
            for place, entry in zip(self._places[batch.batch_id], batch.entries, strict=True)
        )
        return len(self.there) + left + sum(batch.created for batch in self.batches)

    def has(self, batch_id: str) -> bool:
        """Whether this batch is one of the plan's."""
        return batch_id in self._places

    def entries(self) -> dict[int, tuple[Batch, BatchEntry]]:
        """The batch that each row is in now, by the place of the row. Rows that moved on are in their latest one."""
        found: dict[int, tuple[Batch, BatchEntry]] = {}
        for batch in self.batches:
            for place, entry in zip(self._places[batch.batch_id], batch.entries, strict=True):
                if entry.state is not State.MOVED:
                    found[place] = (batch, entry)
        return found

    @property
    def is_whole(self) -> bool:
        """Whether every row is in a batch or there without one."""
        return len(self.there.keys() | self.entries().keys()) == len(self.content.rows)

    # --- what is there ----------------------------------------------------------------------------------------

    def adopt(
        self,
        inventory: Inventory,
        candidates: Iterable[tuple[str, list[int]]],
        fill: Callable[[Sequence[Batch]], None],
    ) -> None:
        """Take in batches of this file that the Directory shows, whoever made them, as far as their rows are free.

        ``fill`` brings batches to what the journal knows of them.
        """
        free = set(range(len(self.content.rows)))
        found: list[tuple[Batch, set[int]]] = []
        for batch_id, places in candidates:
            mine = free.intersection(places)
            if mine and inventory.batch(batch_id) and not self.has(batch_id):
                found.append((self.add(batch_id, places), mine))
                free -= mine
        fill([batch for batch, _ in found])
        for batch, mine in found:
            for place, entry in zip(self._places[batch.batch_id], batch.entries, strict=True):
                if place not in mine:
                    entry.state = State.MOVED

    def candidates(self) -> Iterable[tuple[str, list[int]]]:
        """The batches in which these rows would have been made without a journal."""
        for number in range(_NUMBERS_TRIED):
            yield from KeptPlan.whole(self.content, number).batches

    def settle(self, inventory: Inventory, used: Callable[[Sequence[str]], set[str]]) -> list[Batch]:
        """Give every row that no batch has to what is there, and make new batches of the rest; returns those.

        Args:
            inventory: what the Directory holds.
            used: which of these batch ids were activated before.
        """
        taken: defaultdict[Hospital, Counter[int]] = defaultdict(Counter)
        free = dict(enumerate(self.content.rows))
        for batch in self.batches:
            live = inventory.is_active(batch.batch_id)
            for place, entry in zip(self._places[batch.batch_id], batch.entries, strict=True):
                if entry.state not in LEFT:
                    free.pop(place, None)
                    if live and entry.hospital_id is not None:
                        taken[entry.row.hospital][entry.hospital_id] += 1
        found = allot(free.items(), inventory, taken, self._within())
        self.there = found.there
        return self._fresh(found.missing, inventory, used)

    def _fresh(
        self, places: Sequence[int], inventory: Inventory, used: Callable[[Sequence[str]], set[str]]
    ) -> list[Batch]:
        content = self.content
        rows = [content.rows[place] for place in places]
        first = portions(content.address, rows, content.size, self.number)
        asked = {one.batch_id for one in first}
        known = used(list(asked))

        def is_used(part: Portion) -> bool:
            before = part.batch_id in known if part.batch_id in asked else bool(used([part.batch_id]))
            return before or self.has(part.batch_id) or inventory.is_active(part.batch_id)

        parts = fresh_portions(content.address, first, is_used, self.number)
        left = iter(places)
        return [self.add(part.batch_id, [next(left) for _ in part.rows]) for part in parts]

    def sight(self, batch: Batch, inventory: Inventory) -> WiderLook:
        """What an inventory says about the rows of one batch that is not active: which of them must leave it."""
        elsewhere: dict[Hospital, list[int]] = {}
        for text in {batch.entries[place].row.hospital for place in batch.wanted}:
            ids = inventory.active(text, self._within())
            if ids:
                holders = self._coming(text, inventory)
                count = min(excess(len(ids), self._wanted[text], len(holders)), holders.count(batch))
                elsewhere[text] = ids[len(ids) - count :]
        return WiderLook(inventory, elsewhere)

    def _coming(self, text: Hospital, inventory: Inventory) -> list[Batch]:
        """The batches, once for each row of this text, that have yet to be activated."""
        return [
            batch
            for batch, entry in self._holders[text]
            if entry.state not in (*LEFT, State.REFUSED) and not inventory.is_active(batch.batch_id)
        ]

    def too_often(self, inventory: Inventory) -> list[int]:
        """The numbers of rows that this run created and that are there more often than the file holds them."""
        if self.again:
            return []
        return sorted(
            entry.row.number
            for batch, entry in self.entries().values()
            if batch.sent
            and entry.state is State.CREATED
            and len(inventory.active(entry.row.hospital)) > self._wanted[entry.row.hospital]
        )

    def _within(self) -> Callable[[str | None], bool] | None:
        return (lambda batch_id: batch_id is not None and self.has(batch_id)) if self.again else None
