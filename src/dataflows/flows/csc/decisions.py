"""What may become of the rows of a page, as values: the planner decides, the job sends, the recorder writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dataflows.flows.csc.baseline import Basis
from dataflows.flows.csc.delta import ChildPlan, Payload, Sending, deletion
from dataflows.flows.csc.reading import Reading
from dataflows.flows.csc.records import PURGED, Ack, Doubt, Reset
from dataflows.flows.csc.schema import canonical
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.flows.csc.table import StagedRow

RESET_NEEDED = "reset_needed"  # why a row is not sent that breaks no rule: it needs a purge, and CSC_RESET=never


class ResetRule(StrEnum):
    """``CSC_RESET``: what may be purged so that a vanished field is conveyed."""

    OBJECT = "object"
    CHILD = "child"
    NEVER = "never"


@dataclass(slots=True)
class Submission:
    """One child to be sent: its requests in order, and what is known once they are acknowledged."""

    row: StagedRow | None  # None: no row speaks for the child, which is purged for that
    name: str
    child: bytes
    goal: bytes  # hash of the payload the receiver shall hold, or PURGED
    sending: Sending
    requests: tuple[bytes, ...]
    former: Doubt  # what was in doubt before, to be restored when nothing changed
    payload: Payload | None = None  # what the receiver shall hold
    skeleton: Skeleton | None = None  # that of ``payload``, where it was made already
    reset: Reset | None = None
    untrusted: bool = False
    delta: bool = False  # the last request holds only what changed
    guarded: bool = False  # a purge that counts for the guard: who speaks is asked again before it leaves
    by_hand: bool = False
    overruled: int | None = None

    @classmethod
    def of(cls, basis: Basis, plan: ChildPlan, goal: bytes, *, full: bool) -> Submission:
        """Make the requests of a plan; ``full``: a child that is reset is sent whole, too."""
        reading, ack = basis.reading, basis.ack
        scope = _scope(plan, ack)
        return cls(
            reading.row,
            reading.name or "",
            basis.child,
            goal,
            plan.sending,
            tuple(_text(part, reading) for part in (plan.first, plan.body) if part is not None),
            _former(basis.child, ack),
            payload=reading.payload or {},
            skeleton=basis.current,
            reset=scope,
            delta=plan.sending is Sending.DELTA or (scope is Reset.OBJECT and not full),
        )

    @classmethod
    def purge(cls, row: StagedRow | None, ids: Payload, child: bytes, ack: Ack | None) -> Submission:
        """Make the purge of a child, of which ``ids`` holds the identifiers."""
        name, body = str(ids["la_child_id"]), canonical(deletion(ids))
        former, reset = _former(child, ack), _reset(ack)
        return cls(row, name, child, PURGED, Sending.DELETE, (body,), former, reset=reset, guarded=True)

    @property
    def removes(self) -> bool:
        """Whether nothing is left of the child afterwards."""
        return self.sending is Sending.DELETE

    @property
    def purges_first(self) -> bool:
        """Whether its first request purges the whole child."""
        return self.removes or (self.reset is Reset.CHILD and len(self.requests) > 1)

    @property
    def key(self) -> str:
        """What the run calls it: the row id, else the keyed hash of the child."""
        return str(self.row.id) if self.row is not None else self.child[:8].hex()


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A row that cannot be sent; ``message`` names paths and rules, never a value."""

    row: StagedRow
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Contradicted:
    """A row that speaks for a child of which the table says two things; ``row`` is None where no row speaks for it."""

    row: StagedRow | None
    key: str
    message: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A row that another row of the same child, with a higher id, speaks for."""

    row: StagedRow
    by: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A row that says what the receiver holds already; ``response`` is what its api_response shall be.

    ``adopt``: the payload was acknowledged, but a crash or the loader keeps the table from saying so as its baseline;
    it is written like one just sent. ``purged``: the child is gone, and the receiver acknowledged that.
    """

    row: StagedRow
    child: bytes
    response: str | None
    adopt: bool = False
    purged: bool = False


@dataclass(frozen=True, slots=True)
class DeferredRow:
    """A row that needs a purge of a whole child: sent at the end of the run, when the number of them is known."""

    row: StagedRow


@dataclass(frozen=True, slots=True)
class Former:
    """A child that a row named before: it is owed a purge unless a row speaks for it."""

    child: bytes


Decision: TypeAlias = Submission | InvalidRow | Contradicted | Superseded | Unchanged | DeferredRow | Former


def _text(part: Payload, reading: Reading) -> bytes:
    """Return the text of a request: a child that is sent as it stands in its row was written when it was read."""
    return reading.text if part is reading.payload else canonical(part)


def _former(child: bytes, ack: Ack | None) -> Doubt:
    return Doubt(child, ack.in_doubt, ack.reset) if ack else Doubt(child, None, None)


def _reset(ack: Ack | None) -> Reset | None:
    return Reset(ack.reset) if ack and ack.reset else None


def _scope(plan: ChildPlan, ack: Ack | None) -> Reset | None:
    """Return which reset is pending while the requests of a plan are under way."""
    if plan.first is None:
        return _reset(ack)
    return Reset.CHILD if plan.first.get("purge") is True else Reset.OBJECT
