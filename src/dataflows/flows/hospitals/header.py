"""The first record of the file: which columns there are, where, and what stands between them."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dataflows.flows.hospitals.codes import FileError
from dataflows.flows.hospitals.quoting import DELIMITERS
from dataflows.flows.hospitals.rows import Hospital
from dataflows.flows.hospitals.rules import BLANKS, COLUMNS, shown

REQUIRED = ("name", "address")

_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)
_LISTED = 10  # columns that are named one by one; a wrong file can have thousands


class Complaint(NamedTuple):
    """What is wrong with the header; ``column`` is a known name or None."""

    column: str | None
    code: FileError
    message: str


@dataclass(frozen=True, slots=True)
class Header:
    """``places`` gives the place (0 is the first) of each known column; ``width`` is how many fields a record has."""

    places: dict[str, int]
    width: int
    complaints: list[Complaint]

    @property
    def names(self) -> dict[int, str]:
        """The known column at each place."""
        return {place: name for name, place in self.places.items()}

    @property
    def is_usable(self) -> bool:
        """Whether it is sure where name, address and phone stand."""
        return all(one.code == "unknown_column" for one in self.complaints)


def is_exact(path: Path) -> bool:
    """Whether the first line of a file names just the columns, in their order and with commas: seed 004's rule."""
    with path.open("rb") as file:
        line = file.readline(200).removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")
    try:
        return next(csv.reader([line]), []) == list(COLUMNS)
    except csv.Error:  # such as a carriage return in the middle of what is no CSV
        return False


def delimiter_of(line: str) -> str:
    """What separates the names in the first line: where the most known columns are found; a comma when in doubt."""
    names = line.rstrip("\r\n").replace('"', "")
    found = {mark: len(set(map(_known, names.split(mark))) & set(COLUMNS)) for mark in DELIMITERS}
    if not any(found.values()):  # no header; what is said about that should still name the delimiter
        found = {mark: line.count(mark) for mark in DELIMITERS}
    return max(found, key=lambda mark: found[mark])


def separator_of(line: str) -> str | None:
    """What a first line such as ``sep=;`` says, which Excel writes and reads and which is no header; else None."""
    found = _SEPARATOR.fullmatch(line.strip("\r\n ").strip('"'))
    return found[1] if found else None


def repeats(hospital: Hospital) -> bool:
    """Whether a row holds the names of the columns again, as files have that were put together."""
    return [_known(text.lstrip("\ufeff")) for text in hospital[:2]] == list(REQUIRED)


def read_header(fields: list[str]) -> Header:
    """Find the columns by their names, without regard to case, order and the blanks around them."""
    names = [_known(field) for field in fields]
    places = {name: names.index(name) for name in COLUMNS if name in names}
    if not places:
        text = f"the first line has to name the columns ({', '.join(COLUMNS)}) and names none of them"
        return Header({}, len(fields), [Complaint(None, "no_header", text)])
    return Header(places, len(fields), [*_missing(places), *_duplicate(names), *_unknown(fields, names)])


def _known(field: str) -> str:
    return field.strip(BLANKS).casefold()


def _missing(places: dict[str, int]) -> list[Complaint]:
    missing = (name for name in REQUIRED if name not in places)
    return [Complaint(name, "missing_column", f"the header has no column {name}") for name in missing]


def _duplicate(names: list[str]) -> list[Complaint]:
    counts = Counter(name for name in names if name in COLUMNS)
    twice = ((name, count) for name, count in counts.items() if count > 1)
    return [Complaint(name, "duplicate_column", f"the header has the column {name} {n} times") for name, n in twice]


def _unknown(fields: list[str], names: list[str]) -> list[Complaint]:
    unknown = [place for place, name in enumerate(names) if name not in COLUMNS]
    found = [Complaint(None, "unknown_column", _unknown_text(fields[place], place + 1)) for place in unknown[:_LISTED]]
    if len(unknown) > _LISTED:
        more = f"{len(unknown) - _LISTED:,} more columns are unknown"
        found.append(Complaint(None, "unknown_column", more))
    return found


def _unknown_text(field: str, number: int) -> str:
    name = shown(field) if field.strip() else "without a name"
    return f"column {number} of the header, {name}, is none of {', '.join(COLUMNS)}"
