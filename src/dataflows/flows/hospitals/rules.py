"""The rules for one hospital. What passes them is sent exactly as it is returned here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from dataflows.flows.hospitals.codes import RowError, Warned
from dataflows.flows.hospitals.rows import Hospital

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


class ColumnProblem(NamedTuple):
    """What is wrong with one column."""

    column: str
    code: RowError
    message: str


class ColumnRemark(NamedTuple):
    """What is strange about one column."""

    column: str
    code: Warned
    message: str


def trimmed(name: str, address: str, phone: str) -> Hospital:
    """The three texts without the blanks around them; an empty phone is None."""
    return Hospital(name.strip(BLANKS), address.strip(BLANKS), phone.strip(BLANKS) or None)


def errors(hospital: Hospital) -> Iterator[ColumnProblem]:
    """Everything that forbids sending a hospital, one finding at most per column."""
    for column, text in zip(COLUMNS, hospital, strict=True):
        if text is None:
            continue
        found = _unprintable(text) or (_phone(text) if column == "phone" else _length(column, text))
        if found:
            yield ColumnProblem(column, *found)


def remarks(hospital: Hospital) -> Iterator[ColumnRemark]:
    """What does not forbid it, but is hardly meant: characters that nobody sees."""
    for column, text in zip(COLUMNS, hospital, strict=True):
        if text and not text.isprintable() and (found := next(filter(_is_invisible, text), None)):
            yield ColumnRemark(
                column, "invisible_character", f"holds {_named(found)}, which nobody sees; it is sent as it is"
            )


def shown(text: str) -> str:
    """A text for a message: in quotation marks, what is not printable escaped, the end of a long one left out."""
    return repr(text) if len(text) <= _SHOWN else repr(text[:_SHOWN]) + "..."


def _unprintable(text: str) -> tuple[RowError, str] | None:
    if text.isprintable() or not (found := _CONTROL.search(text)):
        return None
    return "control_character", f"holds the control character {_named(found[0])} at character {found.start() + 1}"


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
        return "phone_characters", f"holds {shown(wrong[0])} at character {wrong.start() + 1}; allowed are {allowed}"
    count = len(_NOT_DIGITS.sub("", number))
    if not fewest <= count <= most:
        return "phone_digits", f"has {count:,} digits and needs {fewest} to {most}, an extension not counted"
    return None


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")
