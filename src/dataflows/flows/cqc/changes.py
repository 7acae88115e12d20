"""What is new, gone and changed in an export since the last good one, column by column."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dataflows.flows.cqc.scratch import scratch
from dataflows.flows.cqc.tables import Key, Table, written

HEADER = ("change", "location_id", "provider_id", "name", "column", "before", "after")
_BEFORE = """
    CREATE TABLE before (
        kind TEXT, id TEXT, nth INTEGER, record TEXT NOT NULL, seen INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (kind, id, nth)
    ) WITHOUT ROWID
"""
_CHUNK = 1000


class Change(NamedTuple):
    """One line of the result: a record that is new or gone, or one column of a record that changed."""

    change: str
    location_id: str
    provider_id: str
    name: str
    column: str = ""
    before: str = ""
    after: str = ""


@dataclass(slots=True)
class Changes:
    """How many records are new, gone and changed, and which columns only one of the two files has."""

    new: int = 0
    gone: int = 0
    changed: int = 0
    columns: tuple[str, ...] = ()


def write_changes(before: Path, after: Path, path: Path) -> Changes:
    """Write what happened between two files of one source to a new file; returns the counts.

    Raises OSError when it cannot be written, ValueError or csv.Error when ``before`` is not as it was once verified.
    """
    totals = Changes()
    with written(path, HEADER) as writer:
        for change in compare(Table(before), Table(after), totals):
            writer.write(change)
    return totals


def compare(before: Table, after: Table, totals: Changes | None = None) -> Iterator[Change]:
    """Yield the changes: new and changed ones in the order of ``after``, then what is gone.

    Records are the same by Location ID, else by Provider ID; several of one id are told apart by their order. Columns
    are compared by name, and only those that both files have.
    """
    totals = totals or Changes()
    shared = [(name, before.names.index(name), place) for place, name in enumerate(after.names) if name in before.names]
    totals.columns = tuple(sorted(set(before.names) ^ set(after.names)))
    with scratch(_BEFORE) as db:
        _remember(db, before)
        for key, record in numbered(db, after):
            yield from _compared(db, before, after, shared, key, record, totals)
        gone = db.execute("SELECT record FROM before WHERE NOT seen ORDER BY kind, id, nth")
        for (text,) in gone:
            totals.gone += 1
            yield Change("gone", *before.facts(json.loads(text)))


def numbered(db: sqlite3.Connection, table: Table) -> Iterator[tuple[Key, list[str]]]:
    """The records of a table, each with a key of its own: repeated ids are counted (on the disk, like all else)."""
    db.execute("CREATE TABLE seen (kind TEXT, id TEXT, n INTEGER NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID")
    count = "INSERT INTO seen VALUES (?, ?, 0) ON CONFLICT (kind, id) DO UPDATE SET n = n + 1 RETURNING n"
    for record in table:
        kind, name, _ = table.key(record)
        (nth,) = db.execute(count, (kind, name)).fetchone()
        yield Key(kind, name, nth), record
    db.execute("DROP TABLE seen")


def _remember(db: sqlite3.Connection, table: Table) -> None:
    insert = "INSERT INTO before (kind, id, nth, record) VALUES (?, ?, ?, ?)"
    rows: list[tuple[str, str, int, str]] = []
    for key, record in numbered(db, table):
        rows.append((*key, _text(record)))
        if len(rows) == _CHUNK:
            db.executemany(insert, rows)
            rows.clear()
    db.executemany(insert, rows)


def _compared(
    db: sqlite3.Connection,
    before: Table,
    after: Table,
    shared: Sequence[tuple[str, int, int]],
    key: Key,
    record: list[str],
    totals: Changes,
) -> Iterable[Change]:
    row = db.execute(
        "UPDATE before SET seen = 1 WHERE kind = ? AND id = ? AND nth = ? RETURNING record", key
    ).fetchone()
    if row is None:
        totals.new += 1
        return [Change("new", *after.facts(record))]
    if row[0] == _text(record) and before.names == after.names:
        return ()
    old = json.loads(row[0])
    found = [
        Change("changed", *after.facts(record), after.columns[there], old[here], record[there])
        for _, here, there in shared
        if old[here] != record[there]
    ]
    totals.changed += bool(found)
    return found


def _text(record: Sequence[str]) -> str:
    return json.dumps(record, separators=(",", ":"))  # ASCII: it also takes bytes that are no UTF-8
