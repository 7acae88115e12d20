"""What is known of fetches: in the report of their run, and in the journal for later ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

from dataflows.flows.cqc.derived import ChangeCount
from dataflows.flows.cqc.fetching import Fetched
from dataflows.flows.cqc.folder import is_name
from dataflows.flows.cqc.layout import plain
from dataflows.flows.cqc.verify import FileSummary
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


_COLUMNS = ", ".join(one.name for one in fields(Fetch))


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
        if not is_name(file):
            return False
        with self._journal.reading() as db:
            found = db.execute("SELECT 1 FROM cqc_fetches WHERE folder = ? AND file = ?", (self._folder, file))
            return found.fetchone() is not None or self._journal.reports_mention(command, self._folder, file)

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
            self._journal.record(run_id, [Item(fetch.source, "done", fetch.tries)])

    def failed(self, run_id: str, item: str, tries: int, code: str, message: str) -> None:
        """Record that a source, or what is made from some, failed in this run."""
        self._journal.record(run_id, [Item(item, "failed", tries, code, message)])

    def forget(self, sources: Iterable[str], *, older_than: timedelta) -> None:
        """Drop old records of these sources; the last good one of each stays whatever its age."""
        limit = (datetime.now(UTC) - older_than).isoformat(timespec="milliseconds")
        with self._journal.transaction() as db:
            db.executemany(
                "DELETE FROM cqc_fetches WHERE folder = ? AND source = ? AND at < ? AND id NOT IN"
                " (SELECT max(id) FROM cqc_fetches WHERE folder = ? AND source = ? AND good)",
                [(self._folder, source, limit, self._folder, source) for source in sources],
            )


# --- the report -------------------------------------------------------------------------------------------------------

_A_FEW = 5  # rows without an identifier; more of them make a file suspect


@dataclass(slots=True)
class Result:
    """What became of one source: the seed's fields, and ours."""

    file: str | None = None
    bytes: int | None = None
    url: str | None = None
    error: str | None = None
    code: str | None = None
    warning: str | None = None
    rows: int | None = None
    blank: int | None = None
    ragged: int | None = None
    nameless: int | None = None
    sha256: str | None = None
    unchanged: bool | None = None
    tries: int = 0
    seconds: float | None = None
    changes: dict[str, object] | None = None


def of_fetch(got: Fetched, path: Path, *, unchanged: bool) -> Result:
    """The result of a source whose file is at ``path``."""
    content = got.content
    return Result(
        file=path.name,
        bytes=got.size,
        url=f"/files/{path.name}",
        rows=content.rows,
        blank=content.blank,
        ragged=content.ragged,
        nameless=content.nameless,
        sha256=content.sha256,
        unchanged=unchanged,
        tries=got.tries,
        seconds=round(got.seconds, 3),
    )


def recorded(got: Fetched, path: Path, *, good: bool) -> Fetch:
    """The same for the journal."""
    return Fetch(
        got.source.name,
        got.source.url,
        path.name,
        got.size,
        got.content.rows,
        got.content.sha256,
        got.headers.get("ETag"),
        got.headers.get("Last-Modified"),
        got.seconds,
        got.tries,
        good,
        json.dumps(got.content.columns),
    )


def suspicions(content: FileSummary) -> Iterator[str]:
    """Why a file is not to be the measure of later ones."""
    if content.nameless > _A_FEW:
        yield f"{content.nameless} rows have no identifier and are not records"
    if content.is_twice:
        yield f"the whole content is there twice: record {content.rows // 2 + 1} repeats the first one"


def repetitions(content: FileSummary) -> Iterator[str]:
    """Where the header stands again."""
    if content.headers:
        rows = ", ".join(map(str, content.headers))
        yield f"the header is repeated in the middle, at record {rows}"


def came_and_went(before: Sequence[str], now: Sequence[str]) -> str:
    """Which columns only one of two files has; empty when they have the same. Names are compared loosely."""
    old, new = {plain(name): name for name in before}, {plain(name): name for name in now}
    words = [
        f"{what}: {', '.join(names)}"
        for what, names in (
            ("new columns", [name for key, name in new.items() if key not in old]),
            ("columns that are gone", [name for key, name in old.items() if key not in new]),
        )
        if names
    ]
    return "; ".join(words)


def counted(changes: ChangeCount, path: Path) -> dict[str, object]:
    """What a comparison found, and the file that holds it."""
    return {"file": path.name, "new": changes.new, "gone": changes.gone, "changed": changes.changed}
