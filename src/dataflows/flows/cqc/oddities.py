"""What is odd about the records of an export that is valid all the same: rows that are no records, and repetitions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from dataflows.flows.cqc.layout import location_column, provider_column

__all__ = ["Oddities"]

_MOST_NAMED = 5


@dataclass(slots=True)
class Oddities:
    """Looks at the records below a header. ``nameless``: rows without any identifier, which are no records.

    ``headers``: where the header stands again, by record. ``begins_again``: how many records there were when the first
    one came again.
    """

    header: list[str]
    header_line: bytes
    nameless: int = 0
    headers: list[int] = field(default_factory=list)
    begins_again: int | None = None
    _first: list[str] | None = None
    _first_line: bytes = b""
    _columns: tuple[int, ...] = ()
    _is_nameless: re.Pattern[bytes] | None = None

    def __post_init__(self) -> None:
        """Find the columns of the identifiers."""
        low, high = sorted((location_column(self.header), provider_column(self.header)))
        self._columns = (low, high)
        between = rb"(?:[^,\n]*+,){%d}" % (high - low - 1)
        end = rb"[ \t]*+(?:,|\r?$)"
        pattern = rb"^(?:[^,\n]*+,){%d}[ \t]*+," % low + between + end
        self._is_nameless = re.compile(pattern, re.MULTILINE)

    def begin(self, record: list[str], line: bytes) -> None:
        """Take note of the first record, as it stands in the file."""
        if not self.lacks_identifiers(record):
            self._first, self._first_line = record, line

    @property
    def has_begun(self) -> bool:
        """Whether the first record is known."""
        return self._first is not None

    def may_be_in(self, block: bytes, marked: bytes, *, first: bool) -> bool:
        """Whether a block of whole lines has to be read record by record, for something odd may be in it.

        ``marked`` is the block with a mark in the place of each quoted text that is not blank.
        """
        again = block.find(self._first_line, 1 if first else 0) >= 0 if self._first_line else False
        pattern = self._is_nameless
        return again or self.header_line in block or (pattern is not None and pattern.search(marked) is not None)

    def is_no_record(self, record: Sequence[str], rows: int) -> bool:
        """Whether a row is none (counted then), and whether the records begin again with it."""
        if record == self.header:
            if len(self.headers) < _MOST_NAMED:
                self.headers.append(rows + self.nameless + 1)
            return True
        if self.lacks_identifiers(record):
            self.nameless += 1
            return True
        if record == self._first and rows and self.begins_again is None:
            self.begins_again = rows
        return False

    def lacks_identifiers(self, record: Sequence[str]) -> bool:
        """Whether a row has neither Location ID nor Provider ID."""
        return not any("".join(record[place : place + 1]).strip() for place in self._columns)
