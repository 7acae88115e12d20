"""A table on the disk that forgets itself, so that comparing files takes no memory for their records."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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
