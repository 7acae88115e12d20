"""One batch on its way: what to ask the Directory next, and what follows from the answer.

Nothing in here sends, waits or writes: ``next`` says what is to be asked, the answers come back through ``created``,
``seen`` and ``told``. So the whole of the judgement can be tried without a network and without a clock.

The order of things (spec page hospitals, the job): look; send what is missing; look again when every create without an
answer is older than the settle time; remove surplus copies; only when the Directory holds exactly the batch, activate;
look again, and put right what that shows.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from dataflows.errors import AlreadyRunning, DataflowsError, ExitCode, ServiceDown
from dataflows.flows.hospitals.directory import SERVICE, Created, CreateOutcome, NotSent, Record, Refused, Unknown
from dataflows.flows.hospitals.entries import NEVER, Entry, State
from dataflows.flows.hospitals.identity import repair_id
from dataflows.flows.hospitals.reconcile import Match, match, unexplained
from dataflows.flows.hospitals.rows import Hospital

MOST_PASSES = 6
"""So often missing rows are sent again, or an activation is tried again, before the run is left to be resumed."""
LOOKS_AT_ONCE = 3
"""So many looks may follow each other quickly; on the average they keep their distance."""


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


class Kind(StrEnum):
    """What can be asked of the Directory about a batch."""

    LOOK = "look"
    CREATE = "create"
    ACTIVATE = "activate"
    DELETE = "delete"


@dataclass(slots=True, eq=False)
class Ask:
    """One request to be made. ``place`` is the row of a create, ``record_id`` what is to be deleted.

    ``left`` is set just before the request leaves, so that one that never did is told from one that may have.
    ``after``: a record that a create makes has a higher id than this, unless the Directory lost its memory.
    """

    batch: Batch
    kind: Kind
    place: int = -1
    record_id: int = -1
    left: bool = False
    after: int = 0


class Manner(NamedTuple):
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
    MENDING = "mending"
    OVER = "over"


@dataclass(eq=False)
class Batch:
    """One batch. ``suspect`` (s, monotonic): since then it may be that somebody else's creates are still landing."""

    batch_id: str
    entries: list[Entry]
    manner: Manner
    suspect: float = NEVER
    parent: Batch | None = None
    lost_id: int | None = None
    """Of a batch that replaces a lost row: the record that was lost."""

    active: bool = False
    error: DataflowsError | None = None
    changed: set[int] = field(default_factory=set)
    """Places whose entry changed since the ledger was told."""
    repairs: dict[int, Batch] = field(default_factory=dict)
    deleted: int = 0
    """Surplus copies that were removed."""
    sent: bool = False
    """This run sent a create or an activation: else everything was there already."""
    lost: bool = False
    """Records that this run saw are gone."""

    def __post_init__(self) -> None:
        self._phase = _Phase.LOOKING
        self._hospitals = [entry.row.hospital for entry in self.entries]
        self._pending: deque[int] = deque()
        self._flight = 0
        self._asked = False
        self._looked: deque[float] = deque(maxlen=LOOKS_AT_ONCE)
        self._not_before = self._last_look = NEVER
        self._familiar: set[int] = set()
        self._owed: Counter[Hospital] = Counter()
        self._first = True
        self._passes = 0
        self._activations = 0
        self._doomed: list[Record] = []
        self.recall(self.entries)

    def recall(self, entries: list[Entry]) -> None:
        """Begin with what is known of the rows from earlier runs."""
        self.entries = entries
        self._familiar = {entry.hospital_id for entry in entries if entry.hospital_id is not None}
        self._owed.clear()
        for entry in entries:
            if entry.unanswered:
                self._owed[entry.row.hospital] += entry.unanswered

    # --- how it stands ----------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Nothing more will be asked in this run; ``error`` says why if it is not as it should be."""
        return self._phase is _Phase.OVER

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

    def reopen(self) -> None:
        """Look at a batch again that was over: the Directory lost its memory since."""
        self.repairs = {}
        self._passes = self._activations = 0
        self._phase = _Phase.LOOKING

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
            yield Ask(self, Kind.CREATE, place)

    def single(self, now: float) -> Ask | None:
        """The call, other than a create, that is due now."""
        if self._asked or self._flight or now < self._not_before:
            return None
        if self._phase is _Phase.FILLING and not self._pending:
            self._phase = _Phase.LOOKING
        match self._phase:
            case _Phase.LOOKING:
                return self._ask_look(now)
            case _Phase.CLEARING:
                self._asked = True
                return Ask(self, Kind.DELETE, record_id=self._doomed[-1].id)
            case _Phase.ACTIVATING:
                self._asked = self.sent = True
                return Ask(self, Kind.ACTIVATE)
            case _:
                return None

    def _ask_look(self, now: float) -> Ask | None:
        full = len(self._looked) == LOOKS_AT_ONCE
        if full and now < self._looked[0] + LOOKS_AT_ONCE * self.manner.look_every:
            self._not_before = self._looked[0] + LOOKS_AT_ONCE * self.manner.look_every
            return None
        self._looked.append(now)
        self._asked = True
        return Ask(self, Kind.LOOK)

    def wakes_at(self) -> float | None:
        """The second at which something may be due without an answer coming first; None if only answers help."""
        waits = not (self.over or self._asked or self._flight or self._phase is _Phase.MENDING)
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
            case Refused(message, code):
                entry.unanswered -= 1
                entry.state, entry.code, entry.message = State.REFUSED, code, message
            case NotSent(code):
                self._not_left(entry, ask.place, code)
            case Unknown(code, lasting):
                self._unknown(entry, code, now, lasting=lasting)

    def _not_left(self, entry: Entry, place: int, code: str) -> None:
        entry.unanswered -= 1
        entry.state, entry.code = State.PENDING, code
        self._pending.append(place)

    def _unknown(self, entry: Entry, code: str, now: float, *, lasting: bool) -> None:
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

    def seen(self, records: Sequence[Record], started: float, now: float) -> None:
        """Take in what the Directory holds of this batch; ``started``: when the look left."""
        self._asked = False
        self.active = any(record.active for record in records)
        known = {place: e.hospital_id for place, e in enumerate(self.entries) if e.hospital_id is not None}
        found = match(self._hospitals, records, known)
        if found.foreign:
            self.stop(foreign(found.foreign, self.batch_id))
        elif not self._explained(records, started, found):
            self.stop(_another(self.batch_id))
        else:
            self._adopt(found)
            ripe = started >= self.ripe_at()
            if self.active:
                self._judge_live(found, now, ripe=ripe)
            else:
                self._judge(found, now, ripe=ripe, alone=started >= self.suspect + self.manner.settle())
        self._first = False

    def ripe_at(self) -> float:
        """From when on no create without an answer is young any more."""
        youngest = max((entry.given_up for entry in self.entries if entry.unanswered), default=NEVER)
        return max(youngest, self.suspect) + self.manner.settle()

    def _explained(self, records: Sequence[Record], started: float, found: Match) -> bool:
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

    def _adopt(self, found: Match) -> None:
        for place, entry in enumerate(self.entries):
            record = found.kept.get(place)
            if record is not None and (entry.state is not State.CREATED or entry.hospital_id != record.id):
                entry.state, entry.hospital_id, entry.code = State.CREATED, record.id, None
                self.changed.add(place)
            elif record is None and entry.state is State.CREATED and place not in self.repairs:
                entry.state, entry.code = State.UNKNOWN, "lost"  # the Directory forgot it (a restart)
                self.lost = self.lost or not self._first
                self.changed.add(place)

    def _judge(self, found: Match, now: float, *, ripe: bool, alone: bool) -> None:
        """What to do about a batch of which nothing is active yet.

        A row that was never sent need not wait, unless somebody else may be sending it (not ``alone``), or surplus
        copies fill the batch up.
        """
        self.repairs = {}  # with the batch they are gone too
        missing = [place for place in found.absent if self.entries[place].state is not State.REFUSED]
        new = self._never_sent(missing) if alone and not found.surplus else []
        refused = next((entry for entry in self.entries if entry.state is State.REFUSED), None)
        if not ripe and not new:
            self._settle(now)
        elif not ripe:
            self._send(new)
        elif found.surplus:
            self._clear(found.surplus)
        elif missing:
            self._send(missing)
        elif refused and not self.manner.skip_refused:
            self.stop(_refused(sum(entry.state is State.REFUSED for entry in self.entries)))
        elif not found.kept:
            self._phase = _Phase.OVER  # every row was refused: there is nothing to activate
        else:
            self._activate()

    def _never_sent(self, missing: Sequence[int]) -> list[int]:
        """Rows of which no copy can still be landing, so that the others need not be waited for."""
        doubtful = {entry.row.hospital for entry in self.entries if entry.unanswered}
        return [place for place in missing if self._hospitals[place] not in doubtful]

    def _judge_live(self, found: Match, now: float, *, ripe: bool) -> None:
        """What to do about a batch that was activated: nothing, or put right what came of it since."""
        refused = {place for place, entry in enumerate(self.entries) if entry.state is State.REFUSED}
        wanted = [place for place in range(len(self.entries)) if place not in refused | self.repairs.keys()]
        lost = [p for p in wanted if p not in found.kept or not found.kept[p].active]
        waste = [*found.surplus, *(found.kept[p] for p in lost if p in found.kept)]
        if not ripe:
            self._settle(now)
        elif waste:
            self._clear(waste)
        elif lost:
            self._mend(lost)
        else:
            self._phase = _Phase.OVER

    # --- what follows -----------------------------------------------------------------------------------------

    def _settle(self, now: float) -> None:
        self._phase = _Phase.LOOKING
        self._not_before = min(self.ripe_at(), now + self.manner.look_every)

    def _send(self, places: Sequence[int]) -> None:
        self._passes += 1
        if self._passes > MOST_PASSES:
            self.stop(unsettled("rows stay missing however often they are sent"))
            return
        for place in places:
            self.entries[place].state = State.PENDING
            self.changed.add(place)
        self._pending.extend(places)
        self._phase = _Phase.FILLING

    def _clear(self, records: Sequence[Record]) -> None:
        self._passes += 1
        if self._passes > 2 * MOST_PASSES:
            self.stop(unsettled("surplus copies appear again and again"))
            return
        self._doomed = sorted(records, key=lambda record: record.id)
        self._phase = _Phase.CLEARING

    def _activate(self) -> None:
        self._activations += 1
        if self._activations > MOST_PASSES:
            self.stop(unsettled("the batch does not become active"))
        else:
            self._phase = _Phase.ACTIVATING

    def told(self, ask: Ask, status: int | None) -> None:
        """Take in that an activation or a deletion was answered (``status``) or not (None): a look tells the rest."""
        self._asked = False
        if ask.kind is Kind.DELETE:
            record = self._doomed.pop()
            self.deleted += status in (200, 204)
            self._forget(record.id)
            if self._doomed:
                return
        self._phase = _Phase.LOOKING

    def _forget(self, record_id: int) -> None:
        for place, entry in enumerate(self.entries):
            if entry.hospital_id == record_id:
                entry.state, entry.hospital_id = State.UNKNOWN, None
                self.changed.add(place)

    # --- rows that were lost after activation -----------------------------------------------------------------

    def _mend(self, places: Sequence[int]) -> None:
        """Create each lost row in a batch of its own: an active batch takes nobody in."""
        if self.parent is not None:
            self.stop(unsettled("a row that was put back is lost again"))
            return
        self._phase = _Phase.MENDING
        for place in places:
            row = self.entries[place].row
            batch_id = repair_id(self.batch_id, place, row.hospital)
            lost_id = self.entries[place].hospital_id
            self.repairs[place] = Batch(batch_id, [Entry(row)], self.manner, parent=self, lost_id=lost_id)

    def mended(self) -> None:
        """Take in that one of the repairs is over. After the last one the batch is looked at once more."""
        if not all(one.over for one in self.repairs.values()):
            return
        for place, one in self.repairs.items():
            mine, its = self.entries[place], one.entries[0]
            mine.state, mine.hospital_id = its.state, its.hospital_id
            mine.code, mine.message, mine.told = its.code, its.message, mine.told or its.told
            self.sent = self.sent or (one.sent and its.state is State.CREATED)
        self.error = next((one.error for one in self.repairs.values() if one.error), None)
        self._phase = _Phase.OVER if self.error else _Phase.LOOKING


def _complete(found: Match, records: Sequence[Record]) -> bool:
    """Whether everything is there, active, and once: then it does not matter who did it."""
    return not found.absent and not found.surplus and all(record.active for record in records)


def foreign(records: Sequence[Record], batch_id: str) -> ForeignRecord:
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


def unsettled(why: str) -> ServiceDown:
    """The error for a Directory whose answers lead nowhere."""
    return ServiceDown(f"{SERVICE} does not come to rest: {why}", hint="resume later: dataflows runs resume")
