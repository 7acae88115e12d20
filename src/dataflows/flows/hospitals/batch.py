"""One batch on its way: what to ask the Directory next, and what follows from the answer.

Nothing in here sends, waits or writes: ``next`` says what is to be asked, the answers come back through ``created``,
``seen`` and ``told``. So the whole of the judgement can be tried without a network and without a clock.

The order of things (spec page hospitals, the job): look; send what is missing; look again when every create without an
answer is older than the settle time; let rows leave that are active elsewhere by now, and remove surplus copies; only
when the Directory holds exactly the batch, activate; look again, and put right what that shows. Before an activation or
a removal the look is at everything that the Directory holds (``WiderLook``).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dataflows.errors import AlreadyRunning, DataflowsError, ExitCode, ServiceDown
from dataflows.flows.hospitals.directory import (
    SERVICE,
    Created,
    CreateOutcome,
    DirectoryRecord,
    HospitalRefused,
    NotSent,
    Unknown,
)
from dataflows.flows.hospitals.inventory import BatchMatch, Inventory, match, unexplained
from dataflows.flows.hospitals.rows import LEFT, NEVER, BatchEntry, Hospital, State

MOST_PASSES = 6
"""So often missing rows are sent again, or an activation is tried again, before the run is left to be resumed."""
LOOKS_AT_ONCE = 3
"""So many looks may follow each other quickly; on the average they keep their distance."""
_SURE = frozenset({State.CREATED, State.REFUSED, *LEFT})
ROWS_NAMED = 5


class AnotherClient(AlreadyRunning):
    """Records appear in our batch that we did not send: somebody else is at work on the same file."""

    code = "another_client"
    resumable = True


class ForeignRecord(DataflowsError):
    """A record in our batch equals no row of ours."""

    exit_code = ExitCode.SOME_FAILED
    code = "foreign_record"
    resumable = True


class RowsRefused(DataflowsError):
    """The Directory refuses rows, so their batch is not activated."""

    exit_code = ExitCode.SOME_FAILED
    code = "rows_refused"
    resumable = True


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
    """One request to be made. ``place`` is the row of a create, ``record_id`` what is to be deleted.

    ``left`` is set just before the request leaves, so that one that never did is told from one that may have.
    """

    batch: Batch
    kind: QuestionKind
    place: int = -1
    record_id: int = -1
    left: bool = False


class WiderLook(NamedTuple):
    """What a look at everything says beyond the batch itself.

    ``elsewhere``: for each text of which rows must leave the batch, the ids of records that stand for them.
    """

    inventory: Inventory
    elsewhere: Mapping[Hospital, Sequence[int]]


class BatchPolicy(NamedTuple):
    """How a run treats its batches: settle time (s, may grow), distance of looks (s), and whether refused rows may be
    left out.
    """

    settle: Callable[[], float]
    look_every: float
    skip_refused: bool = False


class _Phase(StrEnum):
    FILLING = "filling"
    LOOKING = "looking"
    CLEARING = "clearing"
    ACTIVATING = "activating"
    OVER = "over"


@dataclass(eq=False)
class Batch:
    """One batch. ``suspect`` (s, monotonic): since then it may be that somebody else's creates are still landing."""

    batch_id: str
    entries: list[BatchEntry]
    manner: BatchPolicy
    suspect: float = NEVER

    active: bool = False
    was_active: bool = False
    """It was activated once, so nothing is sent into it again, whatever became of it."""
    error: DataflowsError | None = None
    changed: set[int] = field(default_factory=set)
    """Places whose entry changed since the ledger was told."""
    lost: dict[int, int] = field(default_factory=dict)
    """The records of rows that the Directory lost after activation, by the places of the rows."""
    deleted: int = 0
    """Surplus copies that were removed."""
    left_alone: set[int] = field(default_factory=set)
    """Surplus copies that may not be removed: they are active, or their id is somebody else's too."""
    sent: bool = False
    """This run sent a create or an activation: else everything was there already."""

    def __post_init__(self) -> None:
        self._phase = _Phase.LOOKING
        self._hospitals = [entry.row.hospital for entry in self.entries]
        self._pending: deque[int] = deque()
        self._flight = 0
        self._asked = False
        self._wide = False  # the next look is at everything
        self._changed_there = False  # the next look is at what an activation or a removal made of it
        self._looked: deque[float] = deque(maxlen=LOOKS_AT_ONCE)
        self._not_before = self._last_look = NEVER
        self._familiar: set[int] = set()
        self._owed: Counter[Hospital] = Counter()
        self._first = True
        self._passes = 0
        self._activations = 0
        self._doomed: list[DirectoryRecord] = []
        self._spare = 0
        self.recall(self.entries)

    def recall(self, entries: list[BatchEntry]) -> None:
        """Begin with what is known of the rows from earlier runs."""
        self.entries = entries
        self._familiar = {one.hospital_id for one in entries if one.hospital_id is not None and one.state not in LEFT}
        self._owed.clear()
        for entry in entries:
            if entry.unanswered:
                self._owed[entry.row.hospital] += entry.unanswered

    def take_back(self) -> None:
        """Rows that had left it in an earlier run are its own again."""
        for place in self._left():
            self.entries[place].state, self.entries[place].hospital_id = State.PENDING, None
            self.changed.add(place)

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing more will be asked in this run; ``error`` says why if it is not as it should be."""
        return self._phase is _Phase.OVER

    @property
    def is_new(self) -> bool:
        """It has seen nothing yet of what the Directory holds."""
        return self._first

    @property
    def is_ahead(self) -> bool:
        """Its first look is not answered, or rows of it wait to be sent."""
        return self._first or bool(self._pending)

    @property
    def created(self) -> int:
        """How many rows are there for sure."""
        return sum(entry.state is State.CREATED for entry in self.entries)

    def stop(self, error: DataflowsError) -> None:
        """Give it up for this run."""
        self.error = error
        self._phase = _Phase.OVER

    @property
    def wanted(self) -> list[int]:
        """The places of the rows that it is to hold in the end."""
        return [place for place, entry in enumerate(self.entries) if entry.state not in (*LEFT, State.REFUSED)]

    @property
    def size(self) -> int:
        """How many rows it has, refused ones too."""
        return sum(entry.state not in LEFT for entry in self.entries)

    @property
    def is_live(self) -> bool:
        """It is active and as it should be."""
        return self.active and self.over and self.error is None

    # --- what to ask ------------------------------------------------------------------------------------------

    def waiting_rows(self, now: float) -> int:
        """How many rows could be sent now."""
        return len(self._pending) if self._phase is _Phase.FILLING and now >= self._not_before else 0

    def creates(self, most: int) -> Iterator[Ask]:
        """Take up to ``most`` rows that are to be sent; they count as sent from now on."""
        for _ in range(min(most, len(self._pending))):
            place = self._pending.popleft()
            entry = self.entries[place]
            entry.state, entry.attempts, entry.unanswered = State.SENDING, entry.attempts + 1, entry.unanswered + 1
            self.changed.add(place)
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
        full = len(self._looked) == LOOKS_AT_ONCE
        if full and now < self._looked[0] + LOOKS_AT_ONCE * self.manner.look_every:
            self._not_before = self._looked[0] + LOOKS_AT_ONCE * self.manner.look_every
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

    # --- the answer to a create -------------------------------------------------------------------------------

    def answered(self, ask: Ask, outcome: CreateOutcome, now: float) -> None:
        """Take in what became of a create."""
        entry = self.entries[ask.place]
        self._flight -= 1
        self.changed.add(ask.place)
        match outcome:
            case Created(record_id, seconds):
                entry.unanswered -= 1
                entry.state, entry.hospital_id, entry.seconds, entry.code = State.CREATED, record_id, seconds, None
                self._familiar.add(record_id)
            case HospitalRefused(message, code):
                entry.unanswered -= 1
                entry.state, entry.code, entry.message = State.REFUSED, code, message
            case NotSent(code):
                self._not_left(entry, ask.place, code)
            case Unknown(code, lasting):
                self._unknown(entry, code, now, lasting=lasting)

    def _not_left(self, entry: BatchEntry, place: int, code: str) -> None:
        entry.unanswered -= 1
        entry.state, entry.code = State.PENDING, code
        self._pending.append(place)

    def _unknown(self, entry: BatchEntry, code: str, now: float, *, lasting: bool) -> None:
        entry.state, entry.code = State.UNKNOWN, code
        if lasting:
            entry.given_up = now
            self._owed[entry.row.hospital] += 1
        else:
            entry.unanswered -= 1

    def wait(self, until: float) -> None:
        """Send nothing and ask nothing before that second."""
        self._not_before = max(self._not_before, until)

    # --- the answer to a look ---------------------------------------------------------------------------------

    def unseen(self, error: DataflowsError) -> None:
        """A look got no answer, all attempts included."""
        self._asked = False
        self.stop(error)

    def seen(
        self, records: Sequence[DirectoryRecord], started: float, now: float, sight: WiderLook | None = None
    ) -> None:
        """Take in what the Directory holds of this batch; ``started``: when the look left.

        ``sight`` is there when the look was at everything.
        """
        self._asked = self._wide = self._changed_there = False
        self.active = any(record.active for record in records)
        if self.was_active and not self.active:
            self.lose(records)
        self.was_active = self.was_active or self.active
        if sight and not self.active:
            self._let_leave(sight.elsewhere)
        known = {place: e.hospital_id for place, e in enumerate(self.entries) if e.hospital_id is not None}
        found = match(self._hospitals, records, known, self._left())
        if found.foreign:
            self.stop(foreign(found.foreign, self.batch_id))
        elif not self._explained(records, started, found):
            self.stop(_another(self.batch_id))
        else:
            self._adopt(found)
            settled = started >= self.settled_at()
            if self.active:
                self._judge_live(found, now, sight, settled=settled)
            else:
                self._judge(found, now, sight, settled=settled, alone=started >= self.suspect + self.manner.settle())
        self._first = False

    def _let_leave(self, elsewhere: Mapping[Hospital, Sequence[int]]) -> None:
        """Rows that are active elsewhere leave; of equal ones first those that have no record here."""
        for text, ids in elsewhere.items():
            equal = [place for place in self.wanted if self._hospitals[place] == text]
            equal.sort(key=lambda place: (self.entries[place].state is State.CREATED, -place))
            for place, record_id in zip(equal, ids, strict=False):
                entry = self.entries[place]
                entry.state, entry.hospital_id, entry.code = State.THERE, record_id, None
                self.changed.add(place)

    def _left(self) -> set[int]:
        return {place for place, entry in enumerate(self.entries) if entry.state in LEFT}

    def settled_at(self) -> float:
        """From when on no create without an answer is young any more."""
        youngest = max((entry.given_up for entry in self.entries if entry.unanswered), default=NEVER)
        return max(youngest, self.suspect) + self.manner.settle()

    def _explained(self, records: Sequence[DirectoryRecord], started: float, found: BatchMatch) -> bool:
        """Whether every record comes from a create of ours, or was there before this run.

        What was there before may be of an earlier run that the journal forgot, and more of it may be landing: so it
        makes the batch suspect, and for one settle time more of it may come; what is new since a look within that
        time may have come within it.
        """
        since, self._last_look = self._last_look, started
        strange = unexplained(records, self._familiar, self._owed)
        strange_ids = {record.id for record in strange}
        for record in records:
            if record.id not in self._familiar and record.id not in strange_ids:
                self._owed[record.hospital] -= 1
        self._familiar.update(record.id for record in records)
        if self._first:
            if _complete(found, records):
                self.suspect = NEVER
            elif strange:
                self.suspect = started
        return not strange or self._first or since < self.suspect + self.manner.settle()

    def _adopt(self, found: BatchMatch) -> None:
        for place, entry in enumerate(self.entries):
            record = found.kept.get(place)
            if record is not None and (entry.state is not State.CREATED or entry.hospital_id != record.id):
                entry.state, entry.hospital_id, entry.code = State.CREATED, record.id, None
                self.changed.add(place)
            elif record is None and entry.state is State.CREATED and not self.active:
                entry.state, entry.code = State.UNKNOWN, "lost"  # the Directory forgot it (a restart)
                self.changed.add(place)

    def lose(self, records: Sequence[DirectoryRecord]) -> None:
        """Rows of an active batch without an active record move on: an active batch takes nobody in."""
        known = {place: e.hospital_id for place, e in enumerate(self.entries) if e.hospital_id is not None}
        kept = match(self._hospitals, [one for one in records if one.active], known, self._left()).kept
        for place in self.wanted:
            if place not in kept:
                entry = self.entries[place]
                if entry.hospital_id is not None:
                    self.lost[place] = entry.hospital_id
                entry.state, entry.hospital_id, entry.code = State.MOVED, None, "lost"
                self.changed.add(place)

    def _judge(self, found: BatchMatch, now: float, sight: WiderLook | None, *, settled: bool, alone: bool) -> None:
        """What to do about a batch of which nothing is active yet.

        A row that was never sent need not wait, unless somebody else may be sending it (not ``alone``), or surplus
        copies fill the batch up.
        """
        missing = [place for place in found.absent if self.entries[place].state is not State.REFUSED]
        new = self._never_sent(missing) if alone and not found.surplus else []
        refused = next((entry for entry in self.entries if entry.state is State.REFUSED), None)
        if not settled and not new:
            self._settle(now)
        elif not settled:
            self._send(new)
        elif found.surplus:
            self._clear(found.surplus, sight)
        elif missing:
            self._send(missing)
        elif refused and not self.manner.skip_refused:
            self.stop(_refused(sum(entry.state is State.REFUSED for entry in self.entries)))
        elif not found.kept:
            self._phase = _Phase.OVER  # every row was refused or has left: there is nothing to activate
        elif sight is None:
            self._look_wide()
        else:
            self._activate()

    def _never_sent(self, missing: Sequence[int]) -> list[int]:
        """Rows of which no copy can still be landing, so that the others need not be waited for."""
        doubtful = {entry.row.hospital for entry in self.entries if entry.unanswered}
        return [place for place in missing if self._hospitals[place] not in doubtful]

    def _judge_live(self, found: BatchMatch, now: float, sight: WiderLook | None, *, settled: bool) -> None:
        """What to do about a batch that was activated: nothing, or put right what came of it since."""
        spare = [*found.surplus, *(record for record in found.kept.values() if not record.active)]
        waste = [record for record in spare if record.id not in self.left_alone]
        if not settled:
            self._settle(now)
        elif waste:
            self._clear(waste, sight)
        else:
            self.lose(list(found.kept.values()))
            self._phase = _Phase.OVER

    # --- what follows -----------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._phase = _Phase.LOOKING
        self._not_before = min(self.settled_at(), now + self.manner.look_every)

    def _send(self, places: Sequence[int]) -> None:
        self._passes += 1
        if self._passes > MOST_PASSES:
            self.stop(_never_created([self.entries[place] for place in places]))
            return
        for place in places:
            self.entries[place].state = State.PENDING
            self.changed.add(place)
        self._pending.extend(places)
        self._phase = _Phase.FILLING

    def _clear(self, records: Sequence[DirectoryRecord], sight: WiderLook | None) -> None:
        """Remove surplus copies, each by an id that was just seen once and is not active (spec page hospitals).

        What cannot be removed so goes with its batch, unless anything of that is active: then it is left and reported.
        """
        if sight is None:
            self._look_wide()
            return
        self._passes += 1
        if self._passes > 2 * MOST_PASSES:
            self.stop(unsettled("surplus copies appear again and again"))
            return
        held = sight.inventory
        self._doomed = [record for record in records if held.may_be_deleted(record, self.batch_id)]
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
            self.stop(unsettled("the batch does not become active"))
        else:
            self._phase = _Phase.ACTIVATING

    def told(self, ask: Ask, status: int | None) -> None:
        """Take in that an activation or a deletion was answered (``status``) or not (None): a look tells the rest."""
        self._asked = False
        self._changed_there = True
        if ask.kind is QuestionKind.DELETE:
            record = self._doomed.pop()
            self.deleted += status in (200, 204)
            self._forget(record.id)
            if self._doomed:
                return
        elif ask.kind is QuestionKind.ACTIVATE:
            self.was_active = self.was_active or status == 200
        elif ask.kind is QuestionKind.DELETE_BATCH:
            self.deleted += self._spare if status == 200 else 0
        self._phase = _Phase.LOOKING

    def _forget(self, record_id: int) -> None:
        for place in self.wanted:
            entry = self.entries[place]
            if entry.hospital_id == record_id:
                entry.state, entry.hospital_id = State.UNKNOWN, None
                self.changed.add(place)


def _complete(found: BatchMatch, records: Sequence[DirectoryRecord]) -> bool:
    """Whether everything is there, active, and once: then it does not matter who did it."""
    return not found.absent and not found.surplus and all(record.active for record in records)


def foreign(records: Sequence[DirectoryRecord], batch_id: str) -> ForeignRecord:
    """The error for records that equal no row of ours."""
    shown = ", ".join(str(record.id) for record in records[:5])
    return ForeignRecord(
        f"the Directory's batch {batch_id} holds what is no row of this file: record {shown}",
        hint="nothing was changed there; find out who created it, remove it, then resume",
    )


def _another(batch_id: str) -> AnotherClient:
    return AnotherClient(
        f"somebody else is creating records in batch {batch_id}: the same file, on another machine?",
        hint="let the other one end, then: dataflows runs resume, which puts right what is there twice",
    )


def _refused(count: int) -> RowsRefused:
    return RowsRefused(
        f"{SERVICE} refuses {count} row{'s' * (count != 1)}, so their batch stays inactive",
        hint="correct the file and run it with --replace, or activate the others: the same command with --skip-invalid",
    )


def _never_created(entries: Sequence[BatchEntry]) -> ServiceDown:
    """Rows that stay missing, those that always get the same 5xx by their numbers."""
    answers = {entry.code or "" for entry in entries}
    status = answers.pop().removeprefix("answered_") if len(answers) == 1 else ""
    if not status.isdigit():
        return unsettled("rows stay missing however often they are sent")
    named = ", ".join(str(entry.row.number) for entry in entries[:ROWS_NAMED])
    more = f" and {len(entries) - ROWS_NAMED} more" if len(entries) > ROWS_NAMED else ""
    return ServiceDown(
        f"{SERVICE} answers {status} whenever row {named}{more} of the file is sent",
        hint="ask who runs the Directory what it has against that row, or leave it out; then: dataflows runs resume",
    )


def unsettled(why: str) -> ServiceDown:
    """The error for a Directory whose answers lead nowhere."""
    return ServiceDown(f"{SERVICE} does not come to rest: {why}", hint="resume later: dataflows runs resume")
