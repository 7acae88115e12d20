"""What may become of the rows of a page, as values: the planner decides, the job sends, the recorder writes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from dataflows.flows.csc.delta import Payload, Sending
from dataflows.flows.csc.records import Doubt, Reset
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.flows.csc.table import StagedRow

RESET_NEEDED = "reset_needed"  # why a row is not sent that breaks no rule: it needs a purge, and CSC_RESET=never


class ResetRule(StrEnum):
    """``CSC_RESET``: what may be purged so that a vanished field is conveyed."""

    OBJECT = "object"
    CHILD = "child"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Rules:
    """How requests are built: ``full`` sends whole children instead of deltas."""

    full: bool = False
    reset: ResetRule = ResetRule.OBJECT


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

    @property
    def purges_first(self) -> bool:
        """Whether its first request purges the whole child."""
        return self.sending is Sending.DELETE or (self.reset is Reset.CHILD and len(self.requests) > 1)

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
