"""What is made from exports: what changed between two files of a source, and one file of several sources.

Both read the records of their files again and again, and write cells that are safe in a spreadsheet.
"""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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


_CACHE_KIB = 8192

packed = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
"""A record as one text. It is ASCII, so it also holds bytes that were no UTF-8."""


@contextmanager
def scratch(table: str) -> Iterator[sqlite3.Connection]:
    """An empty database with one table, gone at the end; ``table`` is its CREATE statement."""
    db = sqlite3.connect("", isolation_level=None)  # no name: a temporary file, removed by SQLite itself
    try:
        for statement in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", f"PRAGMA cache_size=-{_CACHE_KIB}"):
            db.execute(statement)
        db.execute(table)
        db.execute("BEGIN")
        yield db
    finally:
        db.close()


def unpacked(text: str) -> Sequence[str]:
    """The record of a text."""
    record: list[str] = json.loads(text)
    return record


# --- what changed -----------------------------------------------------------------------------------------------------

HEADER = ("change", "location_id", "provider_id", "name", "column", "before", "after")
_BEFORE = """
    CREATE TABLE before (
        kind TEXT, id TEXT, nth INTEGER, record TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (kind, id, nth)
    ) WITHOUT ROWID
"""


class RecordChange(NamedTuple):
    """One line of the result: a record that is new or gone, or one column of a record that changed."""

    change: str
    location_id: str
    provider_id: str
    name: str
    column: str = ""
    before: str = ""
    after: str = ""


@dataclass(slots=True)
class ChangeCount:
    """How many records are new, gone and changed, and which columns only one of the two files has."""

    new: int = 0
    gone: int = 0
    changed: int = 0
    columns: tuple[str, ...] = ()


def write_changes(before: Path, after: Path, path: Path) -> ChangeCount:
    """Write what happened between two files of one source to a new file; returns the counts.

    Raises OSError when it cannot be written, ValueError or csv.Error when ``before`` is not as it was once verified.
    """
    totals = ChangeCount()
    with written(path, HEADER) as writer:
        for change in compare(Table(before), Table(after), totals):
            writer.write(change)
    return totals


def compare(before: Table, after: Table, totals: ChangeCount | None = None) -> Iterator[RecordChange]:
    """Yield the changes: new and changed ones in the order of ``after``, then what is gone.

    Records are the same by Location ID, else by Provider ID; several of one id are told apart by their order. Columns
    are compared by name, and only those that both files have.
    """
    totals = totals or ChangeCount()
    pairs = [(before.names.index(name), place) for place, name in enumerate(after.names) if name in before.names]
    totals.columns = tuple(sorted(set(before.names) ^ set(after.names)))
    same_columns = before.names == after.names
    with scratch(_BEFORE) as db:
        _remember(db, before)
        for record in after:
            held = _taken(db, after.key(record))
            if held is None:
                totals.new += 1
                yield RecordChange("new", *after.facts(record))
            elif not (same_columns and held == packed(record)):
                found = list(_differences(after, unpacked(held), record, pairs))
                totals.changed += bool(found)
                yield from found
        for (held,) in db.execute("SELECT record FROM before WHERE NOT seen ORDER BY kind, id, nth"):
            totals.gone += 1
            yield RecordChange("gone", *before.facts(unpacked(held)))


def _remember(db: sqlite3.Connection, table: Table) -> None:
    insert = (
        "INSERT INTO before (kind, id, nth, record)"
        " VALUES (:kind, :id, (SELECT count(*) FROM before WHERE kind = :kind AND id = :id), :record)"
    )
    db.executemany(insert, ({**table.key(record)._asdict(), "record": packed(record)} for record in table))


def _taken(db: sqlite3.Connection, key: Key) -> str | None:
    """The first record of a key that was not taken yet."""
    row = db.execute(
        "UPDATE before SET seen = 1 WHERE kind = :kind AND id = :id AND nth = (SELECT min(nth) FROM before"
        " WHERE kind = :kind AND id = :id AND NOT seen) RETURNING record",
        key._asdict(),  # by name: Python 3.14 takes no sequence for numbered parameters
    ).fetchone()
    return row[0] if row else None


def _differences(
    after: Table, old: Sequence[str], new: Sequence[str], pairs: Iterable[tuple[int, int]]
) -> Iterator[RecordChange]:
    for here, there in pairs:
        if old[here] != new[there]:
            yield RecordChange("changed", *after.facts(new), after.columns[there], old[here], new[there])


# --- the union --------------------------------------------------------------------------------------------------------

SEPARATOR = "|"
"""Between the sources of a record, as in the export's own lists."""
_MERGED = """
    CREATE TABLE merged (
        place INTEGER PRIMARY KEY, kind TEXT, id TEXT, sources TEXT NOT NULL, record TEXT NOT NULL, UNIQUE (kind, id)
    )
"""


def write_merged(files: Sequence[tuple[str, Path]], path: Path) -> int:
    """Write the union of files, given with their sources, to a new file; returns its number of records.

    A record is known by its Location ID, else (a provider's own) by its Provider ID. What the first file says of it
    counts; later ones add what is empty there. Columns are the same when their names are, remarks and case apart.
    Raises OSError when it cannot be written.
    """
    tables = [(source, Table(file)) for source, file in files]
    columns = _columns([table for _, table in tables])
    with scratch(_MERGED) as db, written(path, ["source", *columns.values()]) as writer:
        for source, table in tables:
            _add(db, source, table, list(columns))
        rows = 0
        for sources, text in db.execute("SELECT sources, record FROM merged ORDER BY place"):
            writer.write([sources, *unpacked(text)])
            rows += 1
    return rows


def _columns(tables: Sequence[Table]) -> dict[str, str]:
    """All columns by the names under which they are compared, as the first file that has them writes them."""
    found: dict[str, str] = {}
    for table in tables:
        for name, column in zip(table.names, table.columns, strict=True):
            found.setdefault(name, column)
    return found


def _add(db: sqlite3.Connection, source: str, table: Table, columns: Sequence[str]) -> None:
    places = [table.names.index(column) if column in table.names else None for column in columns]
    for record in table:
        kind, name = table.key(record)
        values = [record[place] if place is not None else "" for place in places]
        held = db.execute(
            "SELECT place, sources, record FROM merged WHERE kind = ? AND id = ?", (kind, name)
        ).fetchone()
        if held is None:
            insert = "INSERT INTO merged (kind, id, sources, record) VALUES (?, ?, ?, ?)"
            db.execute(insert, (kind, name, source, packed(values)))
        else:
            _complete(db, held, source, values)


def _complete(db: sqlite3.Connection, held: tuple[int, str, str], source: str, values: Sequence[str]) -> None:
    place, sources, text = held
    record = [old or new for old, new in zip(unpacked(text), values, strict=True)]
    if source not in sources.split(SEPARATOR):
        sources = f"{sources}{SEPARATOR}{source}"
    db.execute("UPDATE merged SET sources = ?, record = ? WHERE place = ?", (sources, packed(record), place))
