"""What was fetched before, per output folder and source: the journal's part of this flow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta

from dataflows.flows.cqc.folder import is_name
from dataflows.runs.journal import Item, Journal, now

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
