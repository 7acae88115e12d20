"""What is known of one row on its way into the Directory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dataflows.flows.hospitals.rows import HospitalRow

NEVER = float("-inf")


class State(StrEnum):
    """Where a row stands in its batch. ``PENDING``, ``SENDING`` and ``UNKNOWN`` are not its end.

    A row that is ``THERE`` or ``MOVED`` has left the batch: it is active in another one of whoever's, or another batch
    of the same run has it now.
    """

    PENDING = "pending"
    SENDING = "sending"
    CREATED = "created"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    THERE = "there"
    MOVED = "moved"


LEFT = frozenset({State.THERE, State.MOVED})
"""The states of rows that their batch is not to hold any more."""


@dataclass(slots=True)
class BatchEntry:
    """One row of a batch.

    Attributes:
        row: number in the file, and the text that is sent.
        state: where it stands.
        hospital_id: the record that stands for it at the Directory, as far as we know.
        attempts: how often it was sent.
        unanswered: how many of those creates got no answer; one may have landed, or land yet.
        given_up: the second of the system's monotonic clock when the last of them was given up.
        seconds: how long its create took.
        code, message: why it was refused, or is not known.
    """

    row: HospitalRow
    state: State = State.PENDING
    hospital_id: int | None = None
    attempts: int = 0
    unanswered: int = 0
    given_up: float = NEVER
    seconds: float | None = None
    code: str | None = None
    message: str | None = None
