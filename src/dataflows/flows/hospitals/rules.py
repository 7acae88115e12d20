"""The rules for a header and for each of its columns."""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from dataflows.flows.hospitals.quoting import DELIMITERS
from dataflows.flows.hospitals.rows import FileError, Hospital, RowError, Warned

COLUMNS = ("name", "address", "phone")
"""In the order of ``Hospital``; the first two have to be there."""

LENGTHS = {"name": (2, 255), "address": (5, 500)}
"""Fewest and most characters (Unicode code points, as the Directory counts) after trimming."""

DIGITS = (7, 15)
"""Fewest and most digits of a phone number, its extension not counted."""

BLANKS = "\t" + "".join(map(chr, (0x20, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000)))
"""What is trimmed: the tab and every space of Unicode (category Zs). A line end is not: it is a control character."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # exactly category Cc
_EXTENSION = re.compile(r"(?<! ) *+(?:ext\.?|x) *+[0-9]{1,10}\Z", re.IGNORECASE | re.ASCII)
_NOT_OF_PHONES = re.compile(r"[^0-9+()\-./ ]")
_NOT_DIGITS = re.compile(r"[^0-9]")
_INVISIBLE = ("Cf", "Zl", "Zp")
_SHOWN = 40


Code = TypeVar("Code", bound=str)


class Finding(NamedTuple, Generic[Code]):
    """What is wrong with (or strange about) one column of a row or of the header; None where no known one is meant."""

    column: str | None
    code: Code
    message: str


def trimmed(name: str, address: str, phone: str) -> Hospital:
    """The three texts without the blanks around them; an empty phone is None."""
    return Hospital(name.strip(BLANKS), address.strip(BLANKS), phone.strip(BLANKS) or None)


def errors(hospital: Hospital) -> Iterator[Finding[RowError]]:
    """Everything that forbids sending a hospital, one finding at most per column."""
    for column, text in zip(COLUMNS, hospital, strict=True):
        if text is None:
            continue
        found = _unprintable(text) or (_phone(text) if column == "phone" else _length(column, text))
        if found:
            yield Finding(column, *found)


def remarks(hospital: Hospital) -> Iterator[Finding[Warned]]:
    """What does not forbid it, but is hardly meant: characters that nobody sees."""
    for column, text in zip(COLUMNS, hospital, strict=True):
        if text and not text.isprintable() and (found := next(filter(_is_invisible, text), None)):
            yield Finding(
                column, "invisible_character", f"contains {_named(found)}, which is invisible; it is sent unchanged"
            )


def shown(text: str) -> str:
    """A text for a message: in quotation marks, what is not printable escaped, the end of a long one left out."""
    return repr(text) if len(text) <= _SHOWN else repr(text[:_SHOWN]) + "..."


def _unprintable(text: str) -> tuple[RowError, str] | None:
    if text.isprintable() or not (found := _CONTROL.search(text)):
        return None
    return "control_character", f"contains the control character {_named(found[0])} at character {found.start() + 1}"


def _length(column: str, text: str) -> tuple[RowError, str] | None:
    fewest, most = LENGTHS[column]
    if not text or all(map(_is_invisible, text)):
        return "required", "is empty"
    if len(text) < fewest:
        return "too_short", f"has {len(text)} character(s) and needs at least {fewest}"
    if len(text) > most:
        return "too_long", f"has {len(text):,} characters and may have at most {most}"
    return None


def _phone(text: str) -> tuple[RowError, str] | None:
    fewest, most = DIGITS
    number = _EXTENSION.sub("", text)
    if wrong := _NOT_OF_PHONES.search(number):
        allowed = "digits, + ( ) - . / and blanks, at the end ext or x and a number"
        return "phone_characters", f"contains {shown(wrong[0])} at character {wrong.start() + 1}; allowed are {allowed}"
    count = len(_NOT_DIGITS.sub("", number))
    if not fewest <= count <= most:
        return "phone_digits", f"has {count:,} digits and needs {fewest} to {most}, an extension not counted"
    return None


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


REQUIRED = ("name", "address")

_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)
_LISTED = 10  # columns that are named one by one; a wrong file can have thousands


@dataclass(frozen=True, slots=True)
class Header:
    """``places`` gives the place (0 is the first) of each known column; ``width`` is how many fields a record has."""

    places: dict[str, int]
    width: int
    complaints: list[Finding[FileError]]

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
        text = f"the first line must name the columns ({', '.join(COLUMNS)}) but names none of them"
        return Header({}, len(fields), [Finding(None, "no_header", text)])
    return Header(places, len(fields), [*_missing(places), *_duplicate(names), *_unknown(fields, names)])


def _known(field: str) -> str:
    return field.strip(BLANKS).casefold()


def _missing(places: dict[str, int]) -> list[Finding[FileError]]:
    missing = (name for name in REQUIRED if name not in places)
    return [Finding(name, "missing_column", f"the header has no column {name}") for name in missing]


def _duplicate(names: list[str]) -> list[Finding[FileError]]:
    counts = Counter(name for name in names if name in COLUMNS)
    twice = ((name, count) for name, count in counts.items() if count > 1)
    return [Finding(name, "duplicate_column", f"the header has the column {name} {n} times") for name, n in twice]


def _unknown(fields: list[str], names: list[str]) -> list[Finding[FileError]]:
    unknown = [place for place, name in enumerate(names) if name not in COLUMNS]
    found: list[Finding[FileError]] = [
        Finding(None, "unknown_column", _unknown_text(fields[place], place + 1)) for place in unknown[:_LISTED]
    ]
    if len(unknown) > _LISTED:
        more = f"{len(unknown) - _LISTED:,} more columns are unknown"
        found.append(Finding(None, "unknown_column", more))
    return found


def _unknown_text(field: str, number: int) -> str:
    name = shown(field) if field.strip() else "without a name"
    return f"column {number} of the header, {name}, is not one of {', '.join(COLUMNS)}"
