"""Reading exports that were verified, and writing files that are made from them.

A download stays byte for byte what came. Files made from it are opened in spreadsheets, so no cell of theirs can start
a formula there (CWE-1236): what begins like one gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TextIO

from dataflows.flows.cqc.layout import is_header, location_column, name_column, plain, provider_column
from dataflows.flows.cqc.verify import HEADER_WITHIN

_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


class Key(NamedTuple):
    """What a record is known by: its Location ID, else its Provider ID."""

    kind: str
    id: str


class Table:
    """One export: its columns and its records, read again from the file at each iteration.

    Rows without any identifier are no records; nor is the header where it stands again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.columns: list[str] = []
        self._below = 0
        with self._open() as lines:
            self._find_header(lines)
        self._names = [plain(column) for column in self.columns]
        self._location = location_column(self.columns)
        self._provider = provider_column(self.columns)
        self._name = name_column(self.columns)

    def __iter__(self) -> Iterator[list[str]]:
        width = len(self.columns)
        with self._open() as lines:
            for _ in range(self._below):
                next(lines)
            reader = csv.reader(lines, strict=True)
            next(reader)
            for record in reader:
                row = record if len(record) == width else (record + [""] * width)[:width]  # ragged, and tolerated
                if row != self.columns and (row[self._location].strip() or row[self._provider].strip()):
                    yield row

    @property
    def names(self) -> list[str]:
        """The columns by the names under which they are compared."""
        return self._names

    def key(self, record: Sequence[str]) -> Key:
        """What a record is known by; several records of a file may have the same key."""
        if location := record[self._location].strip():
            return Key("location", _ascii(location))
        return Key("provider", _ascii(record[self._provider].strip()))

    def facts(self, record: Sequence[str]) -> tuple[str, str, str]:
        """Location ID, Provider ID and name of a record."""
        return record[self._location], record[self._provider], record[self._name]

    def _open(self) -> TextIO:
        # bytes that are no UTF-8 come out again as they went in
        return self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _find_header(self, lines: TextIO) -> None:
        top = [line for line, _ in zip(lines, range(2 * HEADER_WITHIN), strict=False)]
        for number in range(min(len(top), HEADER_WITHIN)):
            try:
                record = next(csv.reader(top[number:], strict=True), [])
            except csv.Error:
                continue
            if is_header(record):
                self.columns, self._below = record, number
                return
        raise ValueError("no export: it has no header")


def _ascii(text: str) -> str:
    return text if text.isascii() else json.dumps(text)  # bytes that were no UTF-8 are no text for a database


def guarded(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if cell.lstrip(" ").startswith(_FORMULA) else cell


class Writer:
    """Writes records of guarded cells."""

    def __init__(self, stream: TextIO) -> None:
        self._csv = csv.writer(stream, lineterminator="\n")

    def write(self, cells: Iterable[str]) -> None:
        """Write one record."""
        self._csv.writerow([guarded(cell) for cell in cells])


@contextmanager
def written(path: Path, header: Iterable[str]) -> Iterator[Writer]:
    """A new file with this header, flushed to the disk at the end."""
    with path.open("x", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        writer = Writer(stream)
        writer.write(header)
        yield writer
        stream.flush()
        os.fsync(stream.fileno())
