"""What is new, gone and changed in an export since the last good one, column by column."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dataflows.flows.cqc.scratch import packed, scratch, unpacked
from dataflows.flows.cqc.tables import Key, Table, written

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
