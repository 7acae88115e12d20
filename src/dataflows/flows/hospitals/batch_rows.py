"""The rows of one batch: where each stands, and what a look at the Directory says about them.

Nothing in here sends, waits or writes. Rows are named by their places in the batch (0 is the first).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from dataflows.flows.hospitals.records import Created, CreateOutcome, DirectoryRecord, HospitalRefused, NotSent, Unknown
from dataflows.flows.hospitals.rows import LEFT, NEVER, BatchEntry, Hospital, State

if TYPE_CHECKING:
    from dataflows.settings import Settings


@dataclass
class SettleTime:
    """How long a create without an answer may still land (s): longer where creates were seen to take long (s)."""

    at_least: float
    slowest: float = 0.0

    def __call__(self) -> float:
        """The settle time as it is known now."""
        return max(self.at_least, 2 * self.slowest)

    def saw(self, seconds: float) -> None:
        """A create was answered after that time."""
        self.slowest = max(self.slowest, seconds)


class BatchPolicy(NamedTuple):
    """How a run treats its batches: distance of looks in seconds, and whether refused rows may be left out."""

    settle: SettleTime
    look_every: float
    skip_refused: bool = False

    @classmethod
    def of(cls, settings: Settings, *, slowest: float = 0.0, skip_refused: bool = False) -> BatchPolicy:
        """The policy of HOSPITALS_SETTLE_SECONDS and HOSPITALS_LOOK_EVERY_SECONDS."""
        settle = SettleTime(settings.hospitals_settle_seconds, slowest)
        return cls(settle, settings.hospitals_look_every_seconds, skip_refused)


@dataclass(eq=False)
class BatchRows:
    """The rows of one batch.

    Attributes:
        foreign_since: since then (s, monotonic) it may be that somebody else's creates are still landing.
        was_active: it was activated once, so nothing is sent into it again, whatever became of it.
        changed: places whose entry changed since it was last written down.
        lost: the records of rows that the Directory lost after activation, by the places of the rows.
        deleted: surplus copies that were removed.
        sent: this run sent a create or an activation: else everything was there already.
    """

    batch_id: str
    entries: list[BatchEntry]
    policy: BatchPolicy
    foreign_since: float = NEVER
    active: bool = False
    was_active: bool = False
    changed: set[int] = field(default_factory=set)
    lost: dict[int, int] = field(default_factory=dict)
    deleted: int = 0
    sent: bool = False

    def __post_init__(self) -> None:
        self._hospitals = [entry.row.hospital for entry in self.entries]
        self._known_ids: set[int] = set()
        self._unanswered: Counter[Hospital] = Counter()
        self._first_look = True
        self._last_look = NEVER
        self.recall(self.entries)

    def recall(self, entries: list[BatchEntry]) -> None:
        """Begin with what is known of the rows from earlier runs."""
        self.entries = entries
        self._known_ids = {one.hospital_id for one in entries if one.hospital_id is not None and one.state not in LEFT}
        self._unanswered.clear()
        for entry in entries:
            if entry.unanswered:
                self._unanswered[entry.row.hospital] += entry.unanswered

    def reclaim(self) -> None:
        """Rows that had left it in an earlier run are its own again."""
        for place in self._left():
            self._set(place, State.PENDING, None, self.entries[place].code)

    # --- how they stand ---------------------------------------------------------------------------------------

    @property
    def is_new(self) -> bool:
        """It has seen nothing yet of what the Directory holds."""
        return self._first_look

    @property
    def created(self) -> int:
        """How many rows are there for sure."""
        return self._count(State.CREATED)

    @property
    def wanted(self) -> list[int]:
        """The places of the rows that it is to hold in the end."""
        return [place for place, entry in enumerate(self.entries) if entry.state not in (*LEFT, State.REFUSED)]

    @property
    def size(self) -> int:
        """How many rows it has, refused ones too."""
        return sum(entry.state not in LEFT for entry in self.entries)

    def settled_at(self) -> float:
        """From when on no create without an answer is young any more."""
        youngest = max((entry.given_up for entry in self.entries if entry.unanswered), default=NEVER)
        return max(youngest, self.foreign_since) + self.policy.settle()

    def match(self, records: Sequence[DirectoryRecord]) -> BatchMatch:
        """Match records of this batch with its rows as they stand."""
        known = {place: one.hospital_id for place, one in enumerate(self.entries) if one.hospital_id is not None}
        return match(self._hospitals, records, known, self._left())

    def match_all(self, records: Sequence[DirectoryRecord]) -> BatchMatch:
        """Match records with the rows as the file has them, whatever became of these."""
        return match(self._hospitals, records)

    def was_there(self, entry: BatchEntry) -> bool:
        """Whether a row was there without anything that this run did."""
        return entry.state is State.THERE or (entry.state is State.CREATED and not (self.sent or self.deleted))

    def _left(self) -> set[int]:
        return {place for place, entry in enumerate(self.entries) if entry.state in LEFT}

    def _count(self, state: State) -> int:
        return sum(entry.state is state for entry in self.entries)

    def _set(self, place: int, state: State, hospital_id: int | None, code: str | None = None) -> None:
        entry = self.entries[place]
        entry.state, entry.hospital_id, entry.code = state, hospital_id, code
        self.changed.add(place)

    # --- what became of creates -------------------------------------------------------------------------------

    def _sending(self, place: int) -> None:
        entry = self.entries[place]
        entry.state, entry.attempts, entry.unanswered = State.SENDING, entry.attempts + 1, entry.unanswered + 1
        self.changed.add(place)

    def _on_outcome(self, place: int, outcome: CreateOutcome, now: float) -> None:
        entry = self.entries[place]
        self.changed.add(place)
        match outcome:
            case Created(record_id, seconds):
                entry.unanswered -= 1
                entry.state, entry.hospital_id, entry.seconds, entry.code = State.CREATED, record_id, seconds, None
                self._known_ids.add(record_id)
            case HospitalRefused(message, code):
                entry.unanswered -= 1
                entry.state, entry.code, entry.message = State.REFUSED, code, message
            case NotSent(code):
                entry.unanswered -= 1
                entry.state, entry.code = State.PENDING, code
            case Unknown(code, lasting):
                self._unknown(entry, code, now, lasting=lasting)

    def _unknown(self, entry: BatchEntry, code: str, now: float, *, lasting: bool) -> None:
        entry.state, entry.code = State.UNKNOWN, code
        if lasting:
            entry.given_up = now
            self._unanswered[entry.row.hospital] += 1
        else:
            entry.unanswered -= 1

    # --- what a look says of them -----------------------------------------------------------------------------

    def lose(self, records: Sequence[DirectoryRecord]) -> None:
        """Rows of an active batch without an active record move on: an active batch takes nobody in."""
        kept = self.match([one for one in records if one.active]).kept
        for place in self.wanted:
            if place not in kept:
                record_id = self.entries[place].hospital_id
                if record_id is not None:
                    self.lost[place] = record_id
                self._set(place, State.MOVED, None, "lost")

    def _let_leave(self, elsewhere: Mapping[Hospital, Sequence[int]]) -> None:
        """Rows that are active elsewhere leave; of equal ones first those that have no record here."""
        for text, ids in elsewhere.items():
            equal = [place for place in self.wanted if self._hospitals[place] == text]
            equal.sort(key=lambda place: (self.entries[place].state is State.CREATED, -place))
            for place, record_id in zip(equal, ids, strict=False):
                self._set(place, State.THERE, record_id)

    def _is_explained(self, records: Sequence[DirectoryRecord], started: float, found: BatchMatch) -> bool:
        """Whether every record comes from a create of ours, or was there before this run.

        What was there before may be of an earlier run that the journal forgot, and more of it may be landing for one
        settle time; what is new since a look within that time may have come within it.
        """
        since, self._last_look = self._last_look, started
        strange = unexplained(records, self._known_ids, self._unanswered)
        strange_ids = {record.id for record in strange}
        for record in records:
            if record.id not in self._known_ids and record.id not in strange_ids:
                self._unanswered[record.hospital] -= 1
        self._known_ids.update(record.id for record in records)
        if self._first_look and found.is_complete:
            self.foreign_since = NEVER
        elif self._first_look and strange:
            self.foreign_since = started
        return not strange or self._first_look or since < self.foreign_since + self.policy.settle()

    def _adopt(self, found: BatchMatch) -> None:
        for place, entry in enumerate(self.entries):
            record = found.kept.get(place)
            if record is not None and (entry.state is not State.CREATED or entry.hospital_id != record.id):
                self._set(place, State.CREATED, record.id)
            elif record is None and entry.state is State.CREATED and not self.active:
                self._set(place, State.UNKNOWN, entry.hospital_id, "lost")  # the Directory forgot it (a restart)

    def _never_sent(self, missing: Sequence[int]) -> list[int]:
        """Rows of which no copy can still be landing, so that the others need not be waited for."""
        doubtful = {entry.row.hospital for entry in self.entries if entry.unanswered}
        return [place for place in missing if self._hospitals[place] not in doubtful]

    def _forget(self, record_id: int) -> None:
        for place in self.wanted:
            if self.entries[place].hospital_id == record_id:
                self._set(place, State.UNKNOWN, None, self.entries[place].code)


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

    @property
    def is_complete(self) -> bool:
        """Whether everything is there, active, and once: then it does not matter who did it."""
        return not (self.absent or self.surplus or self.foreign) and all(one.active for one in self.kept.values())


def match(
    hospitals: Sequence[Hospital],
    records: Sequence[DirectoryRecord],
    known: Mapping[int, int] = MappingProxyType({}),
    left: Container[int] = (),
) -> BatchMatch:
    """Match the records of a batch with its rows.

    Of equal copies the active ones stay before the others, and of those the lowest ids. ``known`` holds the ids that
    rows have from an answer: a row keeps its own where that is among those that stay. Rows at the places ``left``
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
    records: Sequence[DirectoryRecord], known_ids: Container[int], unanswered: Mapping[Hospital, int]
) -> list[DirectoryRecord]:
    """The records that no create of ours explains, neither a known id (from an answer, or seen before) nor, by their
    text, one of the creates whose answer never came and whose record was not seen yet.
    """
    left = dict(unanswered)
    found = []
    for record in sorted(records, key=lambda one: one.id):
        if record.id in known_ids:
            continue
        if left.get(record.hospital, 0) > 0:
            left[record.hospital] -= 1
        else:
            found.append(record)
    return found
