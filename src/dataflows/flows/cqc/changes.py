"""What was fetched before, and what has changed since."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from dataflows.flows.cqc.folder import is_name
from dataflows.flows.cqc.tables import Key, Table, packed, scratch, unpacked, written
from dataflows.runs.journal import Item, Journal, now

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


_SCHEMA = (
    """
    CREATE TABLE cqc_fetches (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        run_id TEXT NOT NULL,
        folder TEXT NOT NULL,
        at TEXT NOT NULL,
        source TEXT NOT NULL,
        url TEXT NOT NULL,
        file TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        rows INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        etag TEXT,
        last_modified TEXT,
        seconds REAL NOT NULL,
        tries INTEGER NOT NULL,
        good INTEGER NOT NULL
    );
    CREATE INDEX cqc_fetches_by_source ON cqc_fetches (folder, source, good, id)
    """,
    "ALTER TABLE cqc_fetches ADD COLUMN columns TEXT",
)


@dataclass(frozen=True, slots=True)
class Fetch:
    """One file that was fetched and passed every check. ``good`` is False while it is suspiciously small."""

    source: str
    url: str
    file: str
    bytes: int
    rows: int
    sha256: str
    etag: str | None
    last_modified: str | None
    seconds: float
    tries: int
    good: bool
    columns: str | None = None
    """The names of the file's columns, as a JSON list."""


_COLUMNS = ", ".join(field.name for field in fields(Fetch))


class History:
    """The fetches into one folder. Order comes from the journal, so a clock that steps back harms nothing."""

    def __init__(self, journal: Journal, folder: str) -> None:
        self._journal = journal
        self._folder = folder
        journal.ensure("cqc", _SCHEMA)

    def last_good(self, source: str) -> Fetch | None:
        """The latest good fetch of a source."""
        with self._journal.reading() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM cqc_fetches WHERE folder = ? AND source = ? AND good"  # noqa: S608
                " ORDER BY id DESC LIMIT 1",
                (self._folder, source),
            ).fetchone()
        return Fetch(*row) if row else None

    def names(self, command: str, file: str) -> bool:
        """Whether a run of ``command`` into this folder has named a file, as a download or as one made from some."""
        if is_name(file):
            with self._journal.reading() as db:
                return any(
                    db.execute(statement, values).fetchone()
                    for statement, values in (
                        ("SELECT 1 FROM cqc_fetches WHERE folder = ? AND file = ?", (self._folder, file)),
                        (
                            "SELECT 1 FROM runs JOIN run_reports USING (run_id)"
                            " WHERE command = ? AND target = ? AND instr(report, ?)",
                            (command, self._folder, file),
                        ),
                    )
                )
        return False

    def sources(self) -> set[str]:
        """The sources that were ever fetched into this folder."""
        with self._journal.reading() as db:
            rows = db.execute("SELECT DISTINCT source FROM cqc_fetches WHERE folder = ?", (self._folder,))
            return {source for (source,) in rows}

    def good_files(self, sources: Iterable[str]) -> set[str]:
        """The names of the newest good file of each of these sources."""
        newest = (self.last_good(source) for source in sources)
        return {fetch.file for fetch in newest if fetch is not None}

    def add(self, run_id: str, fetch: Fetch) -> None:
        """Record a fetch, and that its source is done in this run."""
        marks = ", ".join("?" * len(fields(Fetch)))
        with self._journal.transaction() as db:
            db.execute(
                f"INSERT INTO cqc_fetches (run_id, folder, at, {_COLUMNS}) VALUES (?, ?, ?, {marks})",  # noqa: S608
                (run_id, self._folder, now(), *astuple(fetch)),
            )
            self._journal.record(run_id, [Item(fetch.source, "done", fetch.tries)], db)

    def forget(self, sources: Iterable[str], *, older_than: timedelta) -> None:
        """Drop old records of these sources; the last good one of each stays whatever its age."""
        limit = (datetime.now(UTC) - older_than).isoformat(timespec="milliseconds")
        with self._journal.transaction() as db:
            db.executemany(
                "DELETE FROM cqc_fetches WHERE folder = ? AND source = ? AND at < ? AND id NOT IN"
                " (SELECT max(id) FROM cqc_fetches WHERE folder = ? AND source = ? AND good)",
                [(self._folder, source, limit, self._folder, source) for source in sources],
            )
