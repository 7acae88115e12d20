"""What one run has come across so far, in temporary tables, so that memory stays flat however many rows there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dataflows.runs.journal import Journal


class Seen:
    """Which children this run has come across, and which row spoke for each: a temporary table, so memory is flat."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        with journal.reading() as db:
            db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS csc_seen (child BLOB PRIMARY KEY, row_id INTEGER) WITHOUT ROWID"
            )
            db.execute("CREATE TEMP TABLE IF NOT EXISTS csc_later (row_id INTEGER PRIMARY KEY)")
            db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS csc_newest (person BLOB PRIMARY KEY, row_id INTEGER) WITHOUT ROWID"
            )
            for table in ("csc_seen", "csc_later", "csc_newest"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608

    def first(self, children: Sequence[tuple[bytes, int]]) -> dict[bytes, int]:
        """Enter children with their rows; return, for each, the row that was entered first."""
        with self._journal.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO csc_seen VALUES (?, ?)", children)
        return self.rows_of([child for child, _ in children])

    def rows_of(self, children: Sequence[bytes]) -> dict[bytes, int]:
        """Return the row that speaks for each of these children, where one does."""
        return self._look_up("SELECT child, row_id FROM csc_seen WHERE child IN ({})", children)

    def enter_newest(self, persons: Iterable[tuple[bytes, int]]) -> None:
        """Enter persons with several rows in the table, each with the highest id of them."""
        with self._journal.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO csc_newest VALUES (?, ?)", persons)

    def newest_of(self, persons: Sequence[bytes]) -> dict[bytes, int]:
        """Return the highest row id of each of these persons, where there are several rows."""
        return self._look_up("SELECT person, row_id FROM csc_newest WHERE person IN ({})", persons)

    def _look_up(self, statement: str, values: Sequence[bytes]) -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        with self._journal.reading() as db:
            for start in range(0, len(values), 500):
                part = values[start : start + 500]
                found.update(db.execute(statement.format(", ".join("?" * len(part))), part))
        return found

    def defer(self, row_ids: Iterable[int]) -> None:
        """Keep rows for the end of the run."""
        with self._journal.transaction() as db:
            db.executemany("INSERT OR IGNORE INTO csc_later VALUES (?)", [(row_id,) for row_id in row_ids])

    def deferred(self) -> int:
        """Return how many rows were kept."""
        with self._journal.reading() as db:
            return int(db.execute("SELECT count(*) FROM csc_later").fetchone()[0])

    def deferred_pages(self, size: int) -> Iterator[list[int]]:
        """Yield the ids of the kept rows in pages."""
        after: int | None = None  # an identity column may begin below zero
        while True:
            with self._journal.reading() as db:
                rows = db.execute(
                    "SELECT row_id FROM csc_later WHERE ? IS NULL OR row_id > ? ORDER BY row_id LIMIT ?",
                    (after, after, size),
                ).fetchall()
            if not rows:
                return
            yield [row[0] for row in rows]
            after = rows[-1][0]
