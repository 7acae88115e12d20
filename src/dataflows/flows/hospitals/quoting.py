"""Records of a CSV file, strictly by RFC 4180: nothing is repaired, nothing is cut.

The standard library's ``csv`` is not strict enough for this, not even with ``strict=True``: a blank before a quotation
mark, or a mark inside a value, is read as part of the value, and the comma behind it then splits an address in two.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Literal, NamedTuple

from dataflows.flows.hospitals.rows import QuoteError
from dataflows.flows.hospitals.source import NotUtf8

LONGEST_RECORD = 64 * 1024
"""In characters. The longest row that the rules allow has under 2,000; Excel's longest cell has 32,767."""

MOST_BLANK_LINES = 10_000
"""More of them are no table but garbage, which could go on for gigabytes."""

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
"""What may stand between two fields, with its name for messages."""

_LINE = re.compile(r"[^\r\n]*+(?:\r\n|[\r\n])")
_INSIDE = re.compile(r'[^"]*+(?:""[^"]*+)*+')


class Fault(NamedTuple):
    """Why a record cannot be read: in the field at ``column`` (0 is the first).

    ``contained`` says that the record surely ends with its line, so that the records below it can be trusted.
    """

    code: QuoteError
    message: str
    column: int
    contained: bool


class CsvRecord(NamedTuple):
    """Fields in their order, the line (1 is the first) where the record begins; a faulty one has the fields before."""

    line: int
    fields: list[str]
    fault: Fault | None = None


class Unending(Exception):
    """Something goes on for longer than any record may; the file is not read any further."""

    def __init__(
        self, line: int, code: Literal["record_too_long", "unclosed_quote", "blank_lines"], message: str
    ) -> None:
        super().__init__(message)
        self.line = line
        self.code = code


class TextLines:
    """The lines of a text with their ends (CRLF, LF, or CR alone).

    ``number`` is that of the last one given, ``blank`` how many were skipped as blank.
    """

    def __init__(self, pieces: Iterable[str]) -> None:
        self.number = self.blank = 0
        self._lines = _lines(pieces)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        if len(line) > LONGEST_RECORD:
            raise Unending(self.number, "record_too_long", f"the line is longer than {LONGEST_RECORD:,} characters")
        return line

    def push_back(self, line: str) -> None:
        """Give this line, the last one given, once more."""
        self._lines = chain((line,), self._lines)
        self.number -= 1

    def skip_blank(self) -> None:
        """Count the last line as a blank one; raises Unending where they do not come to an end."""
        self.blank += 1
        if self.blank > MOST_BLANK_LINES:
            raise Unending(self.number, "blank_lines", f"there are more than {MOST_BLANK_LINES:,} blank lines")


def _lines(pieces: Iterable[str]) -> Iterator[str]:
    """Lines with their ends; one that is too long comes as far as it was read."""
    rest = ""
    try:
        for piece in pieces:
            text = rest + piece
            known = len(text) - text.endswith("\r")  # its line feed may be in the next piece
            end = max(text.rfind("\n", 0, known), text.rfind("\r", 0, known)) + 1
            rest = text[end:]
            yield from _LINE.findall(text, 0, end)  # without a line end it would try again from every character
            if len(rest) > LONGEST_RECORD:
                break
    except NotUtf8:
        if rest.endswith("\r"):  # that line was whole
            yield rest
        raise
    if rest:
        yield rest


class Records:
    """The records of ``lines``; an empty line is none."""

    def __init__(self, lines: TextLines, delimiter: str) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._line = ""  # of a record with quotation marks: the line that is being read, and how far it was
        self._at = self._size = 0
        mark = re.escape(delimiter)
        self._unquoted = re.compile(rf'[^"\r\n{mark}]*+')
        self._lenient = [_lenient(mark, blanks) for blanks in ("", rf"[^\S\r\n{mark}]*+")]

    def __iter__(self) -> Iterator[CsvRecord]:
        """Raises Unending where a line or a record is too long, and whatever the source of the lines raises."""
        for line in self._lines:
            if '"' in line:
                yield self._record(line)
            elif text := line.rstrip("\r\n"):
                yield CsvRecord(self._lines.number, text.split(self._delimiter))
            else:
                self._lines.skip_blank()

    def _record(self, line: str) -> CsvRecord:
        begin, fields = self._lines.number, list[str]()
        self._line, self._at, self._size = line, 0, len(line)
        while True:
            fault = self._quoted(fields) if self._line.startswith('"', self._at) else self._plain(fields)
            if fault or not self._line.startswith(self._delimiter, self._at):
                return CsvRecord(begin, fields, fault)
            self._at += 1

    def _plain(self, fields: list[str]) -> Fault | None:
        """Take a field without quotation marks; one that has some is a fault."""
        start = self._at
        self._at = _end(self._unquoted, self._line, start)
        value = self._line[start : self._at]
        if not self._line.startswith('"', self._at):
            fields.append(value)
            return None
        if value.strip():
            inside = "a quotation mark is inside a value that does not begin with one"
            return self._fault("quote_in_field", inside, fields, start)
        blank = "there is a blank before the quotation mark that opens the value; remove the blank"
        return self._fault("blank_before_quote", blank, fields, start)

    def _quoted(self, fields: list[str]) -> Fault | None:
        """Take a field in quotation marks, over as many lines as it has."""
        opened, parts = self._lines.number, list[str]()
        self._at += 1
        while True:
            end = _end(_INSIDE, self._line, self._at)
            parts.append(self._line[self._at : end])
            if end < len(self._line):
                break
            if not self._next_line(opened):
                return Fault("unclosed_quote", _never(opened, "in the file"), len(fields), contained=False)
        self._at = end + 1
        if self._line[self._at : self._at + 1] not in (self._delimiter, "", "\r", "\n"):
            what = "there is a blank or other text between the closing quotation mark and the end of the value"
            return self._fault("text_after_quote", what, fields, self._at)
        fields.append("".join(parts).replace('""', '"'))
        return None

    def _next_line(self, opened: int) -> bool:
        line = next(self._lines, None)
        if line is None:
            return False
        self._line, self._at = line, 0
        self._size += len(line)
        if self._size > LONGEST_RECORD:
            within = f"within the {LONGEST_RECORD:,} characters that a record may have"
            raise Unending(opened, "unclosed_quote", _never(opened, within))
        return True

    def _fault(self, code: QuoteError, message: str, fields: list[str], start: int) -> Fault:
        """The record surely ends with this line if no way of reading the marks leaves a value open at its end."""
        rest = self._line[start:]
        contained = rest.count('"') % 2 == 0 and all(pattern.fullmatch(rest) for pattern in self._lenient)
        return Fault(code, message, len(fields), contained)


def _lenient(mark: str, blanks: str) -> re.Pattern[str]:
    """The rest of a line as a program would read it that takes marks within a value as they are, and lets ``blanks``
    stand before an opening one. It does not match where a value would go on in the next line.
    """
    field = rf'(?:{blanks}"[^"]*+(?:""[^"]*+)*+"|(?!{blanks}"))[^\r\n{mark}]*+'
    return re.compile(rf"{field}(?:{mark}{field})*[\r\n]*")  # not *+, which Python gets wrong before 3.11.5


def _never(opened: int, where: str) -> str:
    return f"the quotation mark that opens a value in line {opened} is never closed {where}"


def _end(pattern: re.Pattern[str], line: str, at: int) -> int:
    found = pattern.match(line, at)
    return found.end() if found else at  # both patterns match nothing, too
