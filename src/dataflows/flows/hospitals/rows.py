"""Hospitals as rows of a file and of a batch, and stable names for what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, NamedTuple


class Hospital(NamedTuple):
    """The exact text that is sent: trimmed, never empty; ``phone`` is None where the file has none."""

    name: str
    address: str
    phone: str | None


class HospitalRow(NamedTuple):
    """One hospital of a file; ``number`` is 1 for the first record below the header (as in seed 003)."""

    number: int
    hospital: Hospital


def batches(rows: Sequence[HospitalRow], size: int) -> list[Sequence[HospitalRow]]:
    """The rows in their order, ``size`` (1 or more) at a time; the last batch may be smaller."""
    return [rows[start : start + size] for start in range(0, len(rows), size)]


FileError = Literal[
    "encoding",
    "empty_file",
    "no_header",
    "missing_column",
    "duplicate_column",
    "unknown_column",
    "no_rows",
    "too_many_rows",
    "record_too_long",
    "blank_lines",
    "sep_line",
]
"""The file as a whole cannot be used, whatever its rows are."""

QuoteError = Literal["blank_before_quote", "quote_in_field", "text_after_quote", "unclosed_quote"]
"""One row cannot be read; where it is not sure where that row ends, the file as a whole cannot be used."""

RowError = Literal[
    "field_count",
    "header_repeated",
    "required",
    "too_short",
    "too_long",
    "control_character",
    "phone_characters",
    "phone_digits",
]
"""One row cannot be sent; the others can."""

Warned = Literal["duplicate_row", "invisible_character", "blank_lines", "sep_line"]
"""Strange, but no error."""

Error = FileError | QuoteError | RowError


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
