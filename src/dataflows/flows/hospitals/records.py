"""What the Directory holds and answers, as values, and the errors that follow from it for a batch."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dataflows.errors import AlreadyRunning, DataflowsError, ExitCode, ServiceDown
from dataflows.flows.hospitals.rows import BatchEntry, Hospital, HospitalRow
from dataflows.flows.hospitals.rules import trimmed
from dataflows.hints import RESUME
from dataflows.remote.failures import Blocked

SERVICE = "the Hospital Directory"
INCONSISTENT = f"{SERVICE} keeps giving inconsistent answers"
RESUME_LATER = f"resume later: {RESUME}"


MOST_KEPT = 10_000
"""The Directory forgets its oldest records beyond that (spec page hospitals)."""


class DirectoryRecord(NamedTuple):
    """One hospital as the Directory holds it; ``batch_id`` is there in the list of everything."""

    id: int
    hospital: Hospital
    active: bool
    batch_id: str | None = None


NO_TEXT = Hospital("", "", None)
"""Equals no row: what stands for a hospital of which name or address is no text."""


@dataclass(frozen=True, slots=True)
class Created:
    """The create was answered with the record that it made; ``seconds`` from sending to answer."""

    id: int
    seconds: float


@dataclass(frozen=True, slots=True)
class HospitalRefused:
    """422: nothing was created, and the same row will not do better."""

    message: str
    code: str = "refused"


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing was created, and the row may be sent again; ``limited`` when the Directory's rate limit was the reason.

    ``error`` is there where no connection came about.
    """

    code: str
    limited: bool = False
    error: ServiceDown | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The create may have been done, or may still be. ``lasting`` is False when the answer rules out a later landing.

    ``error`` is there where the Directory gave no answer.
    """

    code: str
    lasting: bool = True
    error: ServiceDown | None = None


CreateOutcome = Created | HospitalRefused | NotSent | Unknown


Within = Callable[[str | None], bool] | None
"""Which batches count; None for all of them, and for records without a batch."""


def text_of(hospital: Hospital) -> Hospital:
    """The text by which two hospitals are one."""
    return trimmed(hospital.name, hospital.address, hospital.phone or "")


class Inventory:
    """One answer to ``GET /hospitals/``. ``started``: when it was asked for (s, monotonic)."""

    def __init__(self, records: Sequence[DirectoryRecord], started: float) -> None:
        self.started = started
        self.total = len(records)
        self._ids = Counter([record.id for record in records])
        self._batches: defaultdict[str | None, list[DirectoryRecord]] = defaultdict(list)
        self._active: defaultdict[Hospital, list[DirectoryRecord]] = defaultdict(list)
        self._live = {record.batch_id for record in records if record.active}
        for record in records:
            self._batches[record.batch_id].append(record)
            if record.active:
                self._active[text_of(record.hospital)].append(record)

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
    """Give the active records of a text to the rows of that text that no batch has, first come, first served.

    ``taken``: by text, the ids of records that stand for other rows of the file. ``within``: as ``Inventory.active``.
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

    ``active`` of it are active now, the file holds ``wanted``, and inactive batches hold ``coming``.
    """
    return max(0, min(coming, active + coming - wanted))


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


def foreign(records: Sequence[DirectoryRecord], batch_id: str) -> ForeignRecord:
    """The error for records that equal no row of ours."""
    shown = ", ".join(str(record.id) for record in records[:5])
    return ForeignRecord(
        f"the Directory's batch {batch_id} contains records that are not rows of this file: {shown}",
        reason="hospitals-foreign-record",
        hint="nothing was changed there; find out who created it, have it removed, then resume",
    )


def another_client(batch_id: str) -> AnotherClient:
    return AnotherClient(
        f"somebody else is creating records in batch {batch_id}: the same file, on another machine?",
        reason="hospitals-other-client",
        hint=f"let the other run finish, then remove what is there twice: {RESUME}",
    )


def rows_refused(count: int) -> RowsRefused:
    return RowsRefused(
        f"{SERVICE} refuses {count} row{'s' * (count != 1)}, so their batch stays inactive",
        reason="hospitals-rows-refused",
        hint="correct the file and run it with --replace, or activate the others by adding --skip-invalid",
    )


def never_created(entries: Sequence[BatchEntry]) -> ServiceDown:
    """Rows that stay missing, those that always get the same 5xx by their numbers."""
    answers = {entry.code or "" for entry in entries}
    status = answers.pop().removeprefix("answered_") if len(answers) == 1 else ""
    if not status.isdigit():
        return ServiceDown(
            f"{INCONSISTENT}: rows stay missing however often they are sent",
            reason="hospitals-inconsistent",
            hint=RESUME_LATER,
        )
    named = ", ".join(str(entry.row.number) for entry in entries[:ROWS_NAMED])
    more = f" and {len(entries) - ROWS_NAMED} more" if len(entries) > ROWS_NAMED else ""
    return ServiceDown(
        f"{SERVICE} answers {status} whenever row {named}{more} of the file is sent",
        reason="hospitals-row-unanswered",
        hint=f"ask whoever runs the Directory why it rejects that row, or leave it out; then: {RESUME}",
    )


def is_outage(error: DataflowsError) -> bool:
    """Whether the service, and not the way to it, is to blame for there being no answer."""
    return isinstance(error, ServiceDown) and not isinstance(error, Blocked)
