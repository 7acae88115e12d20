"""One batch on its way: what to ask the Directory next, and what follows from the answer.

Nothing in here sends, waits or writes: ``single`` and ``creates`` say what is to be asked, the answers come back by
``on_created``, ``on_look`` and ``on_response``. So the whole of the judgement can be tried without network and clock.

The order of things (spec page hospitals, the job): look; send what is missing; look again when every create without an
answer is older than the settle time; let rows leave that are active elsewhere by now, and remove surplus copies; only
when the Directory holds exactly the batch, activate; look again, and put right what that shows. Before an activation or
a removal the look is at everything that the Directory holds (``WiderLook``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dataflows.errors import DataflowsError, ServiceDown
from dataflows.flows.hospitals.batch_rows import BatchMatch, BatchRows
from dataflows.flows.hospitals.records import (
    INCONSISTENT,
    RESUME_LATER,
    CreateOutcome,
    DirectoryRecord,
    Inventory,
    NotSent,
    another_client,
    foreign,
    never_created,
    rows_refused,
)
from dataflows.flows.hospitals.rows import LEFT, NEVER, Hospital, State

MOST_PASSES = 6
"""So often missing rows are sent again, or an activation is tried again, before the run is left to be resumed."""
LOOKS_AT_ONCE = 3
"""So many looks may follow each other quickly; on the average they keep their distance."""
_SURE = frozenset({State.CREATED, State.REFUSED, *LEFT})


class QuestionKind(StrEnum):
    """What can be asked of the Directory about a batch."""

    LOOK = "look"
    LIST = "list"
    CREATE = "create"
    ACTIVATE = "activate"
    DELETE = "delete"
    DELETE_BATCH = "delete_batch"


@dataclass(slots=True, eq=False)
class Ask:
    """One request to be made: of a create for the row at ``place``, of a deletion for ``record_id``.

    ``left`` is set just before the request leaves: without it, it surely never did.
    """

    batch: Batch
    kind: QuestionKind
    place: int = -1
    record_id: int = -1
    left: bool = False


class WiderLook(NamedTuple):
    """A look at everything. ``elsewhere``: by text of rows that must leave the batch, the records that replace them."""

    inventory: Inventory
    elsewhere: Mapping[Hospital, Sequence[int]]


class _Phase(StrEnum):
    FILLING = "filling"
    LOOKING = "looking"
    CLEARING = "clearing"
    ACTIVATING = "activating"
    OVER = "over"


@dataclass(eq=False)
class Batch(BatchRows):
    """One batch.

    Attributes:
        error: why it was given up.
        left_alone: surplus copies that may not be removed: they are active, or their id is somebody else's too.
    """

    error: DataflowsError | None = None
    left_alone: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._phase = _Phase.LOOKING
        self._pending: deque[int] = deque()
        self._flight = 0
        self._asked = False
        self._wide = False  # the next look is at everything
        self._changed_there = False  # the next look is at what an activation or a removal made of it
        self._looked: deque[float] = deque(maxlen=LOOKS_AT_ONCE)
        self._not_before = NEVER
        self._passes = self._activations = 0
        self._doomed: list[DirectoryRecord] = []
        self._spare = 0

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing more will be asked in this run; ``error`` says why if it is not as it should be."""
        return self._phase is _Phase.OVER

    @property
    def is_ahead(self) -> bool:
        """Its first look is not answered, or rows of it wait to be sent."""
        return self._first_look or bool(self._pending)

    @property
    def is_live(self) -> bool:
        """It is active and as it should be."""
        return self.active and self.over and self.error is None

    def stop(self, error: DataflowsError) -> None:
        """Give it up for this run."""
        self.error = error
        self._phase = _Phase.OVER

    # --- what to ask ------------------------------------------------------------------------------------------

    def waiting_rows(self, now: float) -> int:
        """How many rows could be sent now."""
        return len(self._pending) if self._phase is _Phase.FILLING and now >= self._not_before else 0

    def creates(self, most: int) -> Iterator[Ask]:
        """Take up to ``most`` rows that are to be sent; they count as sent from now on."""
        for _ in range(min(most, len(self._pending))):
            place = self._pending.popleft()
            self._sending(place)
            self._flight += 1
            self.sent = True
            yield Ask(self, QuestionKind.CREATE, place)

    def single(self, now: float) -> Ask | None:
        """The call, other than a create, that is due now."""
        if self._asked or self._flight or now < self._not_before:
            return None
        if self._phase is _Phase.FILLING and not self._pending:
            self._phase = _Phase.LOOKING
        match self._phase:
            case _Phase.LOOKING:
                return self._ask_look(now)
            case _Phase.CLEARING if not self._doomed:
                self._asked = True
                return Ask(self, QuestionKind.DELETE_BATCH)
            case _Phase.CLEARING:
                self._asked = True
                return Ask(self, QuestionKind.DELETE, record_id=self._doomed[-1].id)
            case _Phase.ACTIVATING:
                self._asked = self.sent = True
                return Ask(self, QuestionKind.ACTIVATE)
            case _:
                return None

    def _ask_look(self, now: float) -> Ask | None:
        if len(self._looked) == LOOKS_AT_ONCE:
            due = self._looked[0] + LOOKS_AT_ONCE * self.policy.look_every
            if now < due:
                self._not_before = due
                return None
        self._looked.append(now)
        self._asked = True
        return Ask(self, QuestionKind.LIST if self._wide or self._is_ready(now) else QuestionKind.LOOK)

    def _is_ready(self, now: float) -> bool:
        """Whether the look will most likely be followed by the activation."""
        if self.active or self._changed_there or now < self.settled_at():
            return False
        return all(entry.state in _SURE and not entry.unanswered for entry in self.entries)

    def wakes_at(self) -> float | None:
        """The second at which something may be due without an answer coming first; None if only answers help."""
        waits = not (self.over or self._asked or self._flight)
        return self._not_before if waits else None

    # --- the answers ------------------------------------------------------------------------------------------

    def on_created(self, ask: Ask, outcome: CreateOutcome, now: float) -> None:
        """Take in what became of a create."""
        self._flight -= 1
        self._on_outcome(ask.place, outcome, now)
        if isinstance(outcome, NotSent):
            self._pending.append(ask.place)

    def on_look_failed(self, error: DataflowsError) -> None:
        """Take in that a look got no answer, all attempts included."""
        self._asked = False
        self.stop(error)

    def on_look(
        self, records: Sequence[DirectoryRecord], started: float, now: float, wider: WiderLook | None = None
    ) -> None:
        """Take in a look that left at ``started``: what is there of this batch; ``wider`` when it was at everything."""
        self._asked = self._wide = self._changed_there = False
        self.active = any(record.active for record in records)
        if self.was_active and not self.active:
            self.lose(records)
        self.was_active = self.was_active or self.active
        if wider and not self.active:
            self._let_leave(wider.elsewhere)
        found = self.match(records)
        if found.foreign:
            self.stop(foreign(found.foreign, self.batch_id))
        elif not self._is_explained(records, started, found):
            self.stop(another_client(self.batch_id))
        else:
            self._adopt(found)
            self._judge(found, started, now, wider)
        self._first_look = False

    def on_response(self, ask: Ask, status: int | None) -> None:
        """Take in that an activation or a deletion was answered (``status``) or not (None): a look shows the rest."""
        self._asked = False
        self._changed_there = True
        if ask.kind is QuestionKind.DELETE:
            self.deleted += status in (200, 204)
            self._forget(self._doomed.pop().id)
            if self._doomed:
                return
        elif ask.kind is QuestionKind.ACTIVATE:
            self.was_active = self.was_active or status == 200
        elif ask.kind is QuestionKind.DELETE_BATCH:
            self.deleted += self._spare if status == 200 else 0
        self._phase = _Phase.LOOKING

    # --- what follows from a look -----------------------------------------------------------------------------

    def _judge(self, found: BatchMatch, started: float, now: float, wider: WiderLook | None) -> None:
        if started < self.settled_at():
            self._judge_unsettled(found, started, now)
        elif self.active:
            self._judge_live(found, wider)
        else:
            self._judge_settled(found, wider)

    def _judge_unsettled(self, found: BatchMatch, started: float, now: float) -> None:
        """A row never sent need not wait, unless somebody else may be sending it or surplus copies fill the batch."""
        alone = started >= self.foreign_since + self.policy.settle()
        new = self._never_sent(self._missing(found)) if alone and not (self.active or found.surplus) else []
        if new:
            self._send(new)
        else:
            self._phase = _Phase.LOOKING
            self._not_before = min(self.settled_at(), now + self.policy.look_every)

    def _judge_settled(self, found: BatchMatch, wider: WiderLook | None) -> None:
        """What to do about a batch of which nothing is active yet."""
        missing, refused = self._missing(found), self._count(State.REFUSED)
        if found.surplus:
            self._clear(found.surplus, wider)
        elif missing:
            self._send(missing)
        elif refused and not self.policy.skip_refused:
            self.stop(rows_refused(refused))
        elif not found.kept:
            self._phase = _Phase.OVER  # every row was refused or has left: there is nothing to activate
        elif wider is None:
            self._look_wide()
        else:
            self._activate()

    def _judge_live(self, found: BatchMatch, wider: WiderLook | None) -> None:
        """What to do about a batch that was activated: nothing, or put right what came of it since."""
        spare = [*found.surplus, *(record for record in found.kept.values() if not record.active)]
        waste = [record for record in spare if record.id not in self.left_alone]
        if waste:
            self._clear(waste, wider)
        else:
            self.lose(list(found.kept.values()))
            self._phase = _Phase.OVER

    def _missing(self, found: BatchMatch) -> list[int]:
        return [place for place in found.absent if self.entries[place].state is not State.REFUSED]

    def _send(self, places: Sequence[int]) -> None:
        self._passes += 1
        if self._passes > MOST_PASSES:
            self.stop(never_created([self.entries[place] for place in places]))
            return
        for place in places:
            self.entries[place].state = State.PENDING
        self.changed.update(places)
        self._pending.extend(places)
        self._phase = _Phase.FILLING

    def _clear(self, records: Sequence[DirectoryRecord], wider: WiderLook | None) -> None:
        """Remove surplus copies, each by an id that was just seen once and is not active (spec page hospitals).

        What cannot be removed so goes with its batch, unless anything of that is active: then it is left and reported.
        """
        if wider is None:
            self._look_wide()
            return
        self._passes += 1
        if self._passes > 2 * MOST_PASSES:
            self.stop(
                ServiceDown(
                    f"{INCONSISTENT}: surplus copies appear again and again",
                    reason="hospitals-inconsistent",
                    hint=RESUME_LATER,
                )
            )
            return
        self._doomed = [record for record in records if wider.inventory.may_be_deleted(record, self.batch_id)]
        self._doomed.sort(key=lambda record: record.id)
        self._phase = _Phase.CLEARING
        if self.active:
            self.left_alone.update(record.id for record in records if record not in self._doomed)
            self._phase = _Phase.CLEARING if self._doomed else _Phase.LOOKING
        elif len(self._doomed) < len(records):
            self._doomed, self._spare = [], len(records)  # all of the batch

    def _look_wide(self) -> None:
        self._phase, self._wide = _Phase.LOOKING, True

    def _activate(self) -> None:
        self._activations += 1
        if self._activations > MOST_PASSES:
            self.stop(
                ServiceDown(
                    f"{INCONSISTENT}: the batch does not become active",
                    reason="hospitals-inconsistent",
                    hint=RESUME_LATER,
                )
            )
        else:
            self._phase = _Phase.ACTIVATING
