"""What a run of csc-submit remembers for itself, in temporary tables of the journal's connection: memory stays flat."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from dataflows.runs.journal import Journal, of_values


class NameTable:
    """Which rows name a child, whatever the letter case, under a keyed hash that dies with the run."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._key = secrets.token_bytes(32)
        self._hash = lru_cache(4000)(self._hash_of)  # of a page each is asked twice
        with journal.reading() as db:
            db.execute(
                "CREATE TEMP TABLE IF NOT EXISTS csc_named (name BLOB, row_id INTEGER, PRIMARY KEY (name, row_id))"
                " WITHOUT ROWID"
            )
            db.execute("DELETE FROM csc_named")

    def enter(self, named: Iterable[tuple[str, int]]) -> None:
        """Remember rows: the la_child_id that they name, and their id."""
        with self._journal.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO csc_named VALUES (?, ?)",
                ((self._hash(name.lower()), row_id) for name, row_id in named),
            )

    def of(self, keys: Sequence[str]) -> list[tuple[str, int]]:
        """Return the rows of children, which are given in lower case: child and row id."""
        hashes = {self._hash(key): key for key in keys}
        with self._journal.reading() as db:
            found = of_values(db, "SELECT name, row_id FROM csc_named", "name", list(hashes))
            return [(hashes[name], row_id) for name, row_id in found]

    def _hash_of(self, key: str) -> bytes:
        return hashlib.blake2b(key.encode(), digest_size=16, key=self._key).digest()


_BELOW_ALL = -(2**63)


class Deferred:
    """Rows that ask for the purge of a whole child, children that rows named before, and those to be purged of them."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        with journal.reading() as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS csc_later (row_id INTEGER PRIMARY KEY)")
            db.execute("CREATE TEMP TABLE IF NOT EXISTS csc_former (child BLOB UNIQUE)")
            db.execute("CREATE TEMP TABLE IF NOT EXISTS csc_purges (child BLOB UNIQUE)")
            for table in ("csc_later", "csc_former", "csc_purges"):
                db.execute(f"DELETE FROM {table}")  # noqa: S608

    def keep_rows(self, row_ids: Iterable[int]) -> None:
        """Keep rows for the end of the run."""
        self._insert("csc_later", row_ids)

    def keep_former(self, children: Iterable[bytes]) -> None:
        """Keep children that rows named before."""
        self._insert("csc_former", children)

    def keep_purges(self, children: Iterable[bytes]) -> None:
        """Keep children that no row speaks for any more."""
        self._insert("csc_purges", children)

    def counts(self) -> tuple[int, int]:
        """Return how many purges wait for the end of the run: those that rows ask for, and those no row speaks for."""
        with self._journal.reading() as db:
            rows = db.execute("SELECT (SELECT count(*) FROM csc_later), (SELECT count(*) FROM csc_purges)")
            asked, unnamed = rows.fetchone()
        return int(asked), int(unnamed)

    def rows(self, size: int) -> Iterator[list[int]]:
        """Yield the ids of the kept rows in pages."""
        yield from self._pages("csc_later", "row_id", size)

    def former(self, size: int) -> Iterator[list[bytes]]:
        """Yield the children that rows named before, in pages."""
        yield from self._pages("csc_former", "child", size)

    def purges(self, size: int) -> Iterator[list[bytes]]:
        """Yield the children to be purged, in pages."""
        yield from self._pages("csc_purges", "child", size)

    def _insert(self, table: str, values: Iterable[int] | Iterable[bytes]) -> None:
        with self._journal.transaction() as db:
            db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", [(value,) for value in values])  # noqa: S608

    def _pages(self, table: str, column: str, size: int) -> Iterator[list[Any]]:
        after = _BELOW_ALL
        while True:
            with self._journal.reading() as db:
                rows = db.execute(
                    f"SELECT rowid, {column} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?",  # noqa: S608
                    (after, size),
                ).fetchall()
            if not rows:
                return
            yield [row[1] for row in rows]
            after = rows[-1][0]
