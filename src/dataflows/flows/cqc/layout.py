"""Which columns of an export mean what, and what is odd about its records."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_LOCATION, _PROVIDER, _NAME = "cqc location id", "cqc provider id", "name"
_ALSO = {
    "cqc location": _LOCATION,
    "location id": _LOCATION,
    "cqc provider": _PROVIDER,
    "provider id": _PROVIDER,
    "location name": _NAME,
}
"""Other names under which the most important columns are known."""


_SEARCH = (
    "name", "address 1", "address 2", "town/city", "county", "postcode", "phone number", _PROVIDER, _LOCATION,
    "website", "local authority", "region", "report publication date", "url", "also known as", "specialisms/services",
    "service types", "provider name",
)  # fmt: skip
_DIRECTORY = (
    "name", "also known as", "address", "postcode", "phone number", "service's website", "service types",
    "date of latest check", "specialisms/services", "provider name", "local authority", "region", "location url",
    _LOCATION, _PROVIDER,
)  # fmt: skip
COLUMNS = frozenset((*_SEARCH, *_DIRECTORY))
"""The columns of the two layouts that are fetched, by the names under which they are compared."""


def plain(name: str) -> str:
    """A column's one name, without remark, case and superfluous blanks: what names are compared by."""
    name = name.partition("(")[0]  # "(for office use only)", also where its end was lost
    words = " ".join(name.lower().split())
    return _ALSO.get(words, words)


def is_header(names: Sequence[str]) -> bool:
    """Whether a record is the header: it names a column for the location's id, the provider's id, and the name."""
    return {_LOCATION, _PROVIDER, _NAME} <= {plain(name) for name in names}


def is_other_export(names: Sequence[str]) -> bool:
    """Whether a header is that of another export: more than half of its columns are none of ours."""
    unknown = [name for name in names if plain(name) not in COLUMNS]
    return len(unknown) * 2 > len(names)


def location_column(header: Sequence[str]) -> int:
    """Where the Location ID stands in a header."""
    return _place(header, _LOCATION)


def provider_column(header: Sequence[str]) -> int:
    """Where the Provider ID stands in a header."""
    return _place(header, _PROVIDER)


def name_column(header: Sequence[str]) -> int:
    """Where the name stands in a header."""
    return _place(header, _NAME)


def _place(header: Sequence[str], wanted: str) -> int:
    return [plain(name) for name in header].index(wanted)


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
