"""Which rows of a file a run creates, in which batches, and which are there already: decided once, kept in the journal.

Rules: hospitals.md "Which rows are new". Places are those of the rows in the file's valid rows (0 is the first): the
numbers of the rows change when a wrong row is put in between, their places do not.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from dataflows.errors import BadInput, ServiceDown
from dataflows.flows.hospitals.batch import Batch, WiderLook
from dataflows.flows.hospitals.batch_rows import BatchPolicy
from dataflows.flows.hospitals.records import INCONSISTENT, MOST_KEPT, RESUME_LATER, Inventory, allot, excess
from dataflows.flows.hospitals.rows import (
    LEFT,
    BatchEntry,
    FileContent,
    Hospital,
    KeptPlan,
    Portion,
    State,
    fresh_portions,
    portions,
)
from dataflows.flows.hospitals.uploads import Upload, UploadStore

if TYPE_CHECKING:
    from dataflows.settings import Settings

MOST_ROUNDS = 5
"""So often what vanished meanwhile is created anew before the run is left to be resumed."""
_NUMBERS_TRIED = 4
"""A batch may have been made under these numbers by a run that the journal forgot."""


class UploadPlan:
    """The batches of a run, open or over, and the rows that are there without one of them.

    Attributes:
        content: what the file asks for.
        policy: how its batches are treated.
        again: only what its own batches hold counts as there.
        number: the first number for new batches: 0, or the occurrence of ``--again``.
        there: the records of rows that are there without a batch of the run, by the places of the rows.
        overlapping: the numbers of rows that somebody else brought there too in the same moments.
    """

    def __init__(self, content: FileContent, policy: BatchPolicy, *, again: bool = False) -> None:
        self.content = content
        self.policy = policy
        self.again = again
        self.number = 0
        self.batches: list[Batch] = []
        self.there: dict[int, int] = {}
        self.overlapping: list[int] = []
        self._places: dict[str, list[int]] = {}
        self._wanted = Counter(row.hospital for row in content.rows)
        self._holders: defaultdict[Hospital, list[tuple[Batch, BatchEntry]]] = defaultdict(list)

    @classmethod
    def of(cls, settings: Settings, content: FileContent, *, skip_refused: bool, again: bool) -> UploadPlan:
        """An empty plan; its batches are treated as the settings say."""
        return cls(content, BatchPolicy.of(settings, skip_refused=skip_refused), again=again)

    def add(self, batch_id: str, places: Sequence[int]) -> Batch:
        """Take in one batch that is to hold the rows at these places."""
        batch = Batch(batch_id, [BatchEntry(self.content.rows[place]) for place in places], self.policy)
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

        ``used`` says which of these batch ids were activated before.
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

    def wider_look(self, batch: Batch, inventory: Inventory) -> WiderLook:
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


class UploadPlanner:
    """Brings the plan of a run, empty at first, to what is there, and writes it down.

    ``path`` is the file that the rows come from; ``foreign_since`` as of ``BatchRows``.
    """

    def __init__(self, run_id: str, plan: UploadPlan, uploads: UploadStore, path: str, foreign_since: float) -> None:
        self._run_id = run_id
        self._plan = plan
        self._uploads = uploads
        self._path = path
        self._foreign_since = foreign_since
        self._earlier: str | None = None
        self._is_new = True
        self._rounds = 0

    def recall(self) -> None:
        """Take over the plan of the run that this one goes on with."""
        plan, content = self._plan, self._plan.content
        found = self._uploads.unfinished(self._run_id, content.known_names, content.size, again=plan.again)
        if found is not None:
            self._earlier, upload = found
            plan.number = upload.occurrence
            for batch_id, places in self._uploads.plan(upload).batches:
                plan.add(batch_id, places)
            self._uploads.batches.fill(plan.batches)
            self._is_new = False

    def decide(self, inventory: Inventory) -> None:
        """Find out which rows are there already and which batches make the others; every batch has its first look.

        Raises:
            BadInput: the Directory would have to forget others.
            AlreadyRunning: a living run has one of the batches.
            ServiceDown: this was done ``MOST_ROUNDS`` times already.
        """
        self._rounds += 1
        if self._rounds > MOST_ROUNDS:
            raise ServiceDown(
                f"{INCONSISTENT}: hospitals vanish as often as they are created",
                reason="hospitals-inconsistent",
                hint=RESUME_LATER,
            )
        plan, batches = self._plan, self._uploads.batches
        if self._is_new and plan.again:
            plan.number = self._next_occurrence(inventory)
        elif self._is_new and inventory.total:
            known = (batch for kept in self._uploads.plans(plan.content.known_names) for batch in kept.batches)
            plan.adopt(inventory, chain(known, plan.candidates()), batches.fill)
        self._is_new = False
        self._look_at_live(inventory)
        fresh = plan.settle(inventory, batches.active)
        self._refuse_too_many(inventory)
        self._write_down()
        batches.fill(fresh)
        for batch in fresh:
            batch.reclaim()
        batches.recall_foreign([batch for batch in plan.batches if batch.is_new])
        plan.index()
        self._first_look(inventory)

    def finish(self, inventory: Inventory) -> None:
        """Everything is there for good: note what is there too often, and forget what belongs to runs of long ago."""
        assert self._plan.is_whole, "every row has a batch or is there"
        self._plan.overlapping = self._plan.too_often(inventory)
        self._uploads.sweep(self._plan.content.key)

    def _look_at_live(self, inventory: Inventory) -> None:
        """First what was activated before: rows that it lost are to be created elsewhere."""
        active = self._uploads.batches.active([batch.batch_id for batch in self._plan.batches])
        for batch in self._plan.batches:
            records = inventory.batch(batch.batch_id)
            batch.was_active = batch.was_active or batch.batch_id in active
            if batch.over:
                batch.lose(records)
                self._uploads.batches.note(batch)
            elif batch.was_active or inventory.is_active(batch.batch_id):
                batch.on_look(records, inventory.started, time.monotonic(), WiderLook(inventory, {}))

    def _first_look(self, inventory: Inventory) -> None:
        for batch in self._plan.batches:
            if batch.is_new:
                wider = self._plan.wider_look(batch, inventory)
                batch.on_look(inventory.batch(batch.batch_id), inventory.started, time.monotonic(), wider)
            self._uploads.batches.note(batch)

    def _refuse_too_many(self, inventory: Inventory) -> None:
        more = sum(max(0, len(one.wanted) - len(inventory.batch(one.batch_id))) for one in self._plan.open)
        if more and inventory.total + more > MOST_KEPT:
            raise BadInput(
                f"the Directory holds {inventory.total:,} hospitals and keeps at most {MOST_KEPT:,}:"
                f" {more:,} more would make it drop the oldest",
                reason="hospitals-full",
                hint="have unused hospitals removed there, or send fewer rows",
            )

    def _write_down(self) -> None:
        plan, content = self._plan, self._plan.content
        kept = plan.kept().to_json()
        upload = Upload(content.key, plan.number, self._path, content.rows_key, content.size, kept)
        ids = [batch.batch_id for batch in plan.batches]
        self._uploads.begin(self._run_id, upload, ids, self._foreign_since, content.first_batch)
        if self._earlier is not None:
            self._uploads.take_over(self._run_id, self._earlier)

    def _next_occurrence(self, inventory: Inventory) -> int:
        """The first occurrence of which no batch was ever activated, as far as Directory and journal know."""
        content, occurrence = self._plan.content, 0
        while True:
            ids = [part.batch_id for part in portions(content.address, content.rows, content.size, occurrence)]
            finished = self._uploads.is_finished(content.key, occurrence)
            if not (finished or any(map(inventory.is_active, ids)) or self._uploads.batches.active(ids)):
                return occurrence
            occurrence += 1
