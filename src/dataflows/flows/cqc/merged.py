"""The union of several exports: one record per location, with the sources in which it stands."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from dataflows.flows.cqc.scratch import packed, scratch, unpacked
from dataflows.flows.cqc.tables import Table, written

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
