"""What the receiver is known to hold: per child the hash of the payload it acknowledged, and what is in doubt.

The table lives in the journal. Children are named by sealed identifiers, payloads by their hash, so no personal data
is in it. What is written here is never pruned.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from dataflows.runs.journal import Item, Journal, now
from dataflows.runs.keys import Seal
from dataflows.runs.runner import Run

PURGED = b"purged"  # stands where the hash of a payload would: the receiver holds nothing of this child
_FLUSH_EVERY = 1000

_SCHEMA = (
    """
    CREATE TABLE csc_receivers (
        id INTEGER PRIMARY KEY, address TEXT NOT NULL, la_code TEXT NOT NULL, UNIQUE (address, la_code)
    );
    CREATE TABLE csc_tables (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, receiver INTEGER REFERENCES csc_receivers (id)
    );
    CREATE TABLE csc_children (
        id INTEGER PRIMARY KEY,
        receiver INTEGER NOT NULL,
        child BLOB NOT NULL,
        held BLOB,
        receipt TEXT,
        in_doubt BLOB,
        reset TEXT,
        table_id INTEGER,
        row_id INTEGER,
        person BLOB,
        unwritten BLOB,
        write_back TEXT,
        fingerprint BLOB,
        status TEXT,
        row_state TEXT,
        at TEXT NOT NULL,
        UNIQUE (receiver, child)
    );
    CREATE INDEX csc_children_by_row ON csc_children (table_id, row_id);
    CREATE INDEX csc_children_to_write ON csc_children (table_id) WHERE write_back IS NOT NULL
    """,
)

# where nothing is acknowledged, only the row that was sent last can tell which child it was, should it be renamed
_HELD = f"coalesce(held, X'{PURGED.hex()}') <> X'{PURGED.hex()}'"
_MARK = (
    "INSERT INTO csc_children (receiver, table_id, child, in_doubt, reset, row_id, person, at)"  # noqa: S608
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (receiver, child) DO UPDATE"
    " SET in_doubt = excluded.in_doubt, reset = excluded.reset,"
    + ", ".join(
        f" {name} = CASE WHEN {_HELD} THEN {name} ELSE coalesce(excluded.{name}, {name}) END"
        for name in ("table_id", "row_id", "person")
    )
)


class Reset(StrEnum):
    """A purge that was begun and whose second request is not acknowledged yet."""

    OBJECT = "object"
    CHILD = "child"


class WriteBack(StrEnum):
    """Which update of the staging table an acknowledgement still waits for."""

    FULL = "full"
    DELTA = "delta"
    DELETE = "delete"


class Ack(NamedTuple):
    """What is known of one child at one receiver.

    ``held`` is the hash of the payload last acknowledged, ``PURGED``, or None when nothing is trusted; ``in_doubt``
    the hash of what was sent without a well-formed answer. ``row_id`` is the row it was last acknowledged from (None:
    of another table), ``person`` is the row's person_id, sealed. ``unwritten`` is the digest of the response that the
    row shows in place of the receipt: the one from before, until the receipt reaches the row, or our own words since.
    """

    child: bytes
    held: bytes | None
    receipt: str | None
    in_doubt: bytes | None
    reset: str | None
    row_id: int | None
    person: bytes | None
    unwritten: bytes | None


class Doubt(NamedTuple):
    """Set before a request: ``in_doubt`` and ``reset`` of one child, and the row that speaks for it."""

    child: bytes
    in_doubt: bytes | None
    reset: str | None
    row_id: int | None = None
    person: bytes | None = None


class Receipt(NamedTuple):
    """Set after a well-formed answer, together with the update of the staging table that now has to follow."""

    child: bytes
    held: bytes
    receipt: str
    row_id: int
    person: bytes
    unwritten: bytes
    write_back: str | None
    fingerprint: bytes | None
    status: str | None
    row_state: str | None


class Owed(NamedTuple):
    """An update of the staging table that an earlier run could not make."""

    child: bytes
    row_id: int
    receipt: str
    write_back: str
    fingerprint: bytes
    status: str | None
    row_state: str | None


@dataclass(frozen=True)
class Place:
    """Where children go to (receiver address and LA code) and which table they come from.

    ``table`` is the table's own identity; ``former`` what earlier versions called it, by the spelling of the settings.
    """

    address: str
    la_code: str
    table: str
    former: str = ""


class Acknowledgements:
    """The acknowledgements of one receiver, for the rows of one staging table."""

    def __init__(self, journal: Journal, seal: Seal, place: Place) -> None:
        self._journal = journal
        self._seal = seal
        journal.ensure("csc", _SCHEMA)
        with journal.transaction() as db:
            self._receiver = _id_of(db, "csc_receivers (address, la_code)", (place.address, place.la_code))
            db.execute("UPDATE OR IGNORE csc_tables SET name = ? WHERE name = ?", (place.table, place.former))
            self._table = _id_of(db, "csc_tables (name)", (place.table,))
        self._written: list[bytes] = []
        self._stale: list[bytes] = []

    def key(self, la_child_id: str) -> bytes:
        """Return the name of a child in the journal."""
        return self._seal.close(la_child_id)

    def person(self, person_id: str | None) -> bytes:
        """Return the name of a person in the journal; empty for nobody."""
        return self._seal.close(person_id) if person_id else b""

    def child(self, key: bytes) -> str | None:
        """Return the la_child_id behind a name; None when the key of the data folder was changed since."""
        return self._seal.open(key)

    # --- reading ----------------------------------------------------------------------------------------------

    def of(self, children: Sequence[bytes]) -> dict[bytes, Ack]:
        """Return what is known of these children (those never sent are missing)."""
        return {ack.child: ack for ack in self._select("child", children)}

    def of_rows(self, row_ids: Sequence[int]) -> list[Ack]:
        """Return what was last acknowledged from these rows of the table."""
        return list(self._select("row_id", row_ids, f"AND table_id = {self._table:d}"))

    def holds(self) -> int:
        """Return how many children the receiver holds, as far as we know."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT count(*) FROM csc_children WHERE receiver = ? AND held IS NOT NULL AND held <> ?",
                (self._receiver, PURGED),
            ).fetchone()
        return int(row[0])

    def in_doubt(self) -> int:
        """Return for how many children the receiver's answer is missing."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT count(*) FROM csc_children WHERE receiver = ? AND in_doubt IS NOT NULL", (self._receiver,)
            ).fetchone()
        return int(row[0])

    def former_receiver(self) -> str | None:
        """Return the address and LA code of the last write-back to this table when it was another receiver."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT r.address, r.la_code, r.id FROM csc_tables t JOIN csc_receivers r ON r.id = t.receiver"
                " WHERE t.id = ?",
                (self._table,),
            ).fetchone()
        return f"{row[0]} (LA {row[1]})" if row and row[2] != self._receiver else None

    def owed(self) -> Iterator[list[Owed]]:
        """Yield the updates of the table that are still to be made, in bounded pages, each once."""
        after: int | None = None  # an identity column may begin below zero
        while page := self._owed_after(after):
            yield page
            after = page[-1].row_id

    def _owed_after(self, after: int | None) -> list[Owed]:
        with self._journal.reading() as db:
            rows = db.execute(
                "SELECT child, row_id, receipt, write_back, fingerprint, status, row_state FROM csc_children"
                " INDEXED BY csc_children_to_write"  # which holds nothing on most nights; the other one holds everybody
                " WHERE table_id = ? AND write_back IS NOT NULL AND receiver = ? AND (? IS NULL OR row_id > ?)"
                " ORDER BY row_id LIMIT 200",
                (self._table, self._receiver, after, after),
            ).fetchall()
        return [Owed(*row) for row in rows]

    def _select(self, column: str, values: Sequence[object], extra: str = "") -> Iterator[Ack]:
        statement = (
            "SELECT child, held, receipt, in_doubt, reset,"  # noqa: S608
            f" CASE WHEN table_id = {self._table:d} THEN row_id END, person, unwritten FROM csc_children"
            f" WHERE receiver = ? {extra} AND {column} IN ({{marks}})"
        )
        with self._journal.reading() as db:
            for start in range(0, len(values), 500):
                part = values[start : start + 500]
                marks = ", ".join("?" * len(part))
                for row in db.execute(statement.format(marks=marks), (self._receiver, *part)):
                    yield Ack(*row)

    # --- writing ----------------------------------------------------------------------------------------------

    def mark(self, doubts: Iterable[Doubt]) -> None:
        """Commit, before a request leaves, that its children are in doubt."""
        at = now()
        with self._journal.transaction() as db:
            db.executemany(
                _MARK,
                [(self._receiver, self._table, *doubt, at) for doubt in doubts],
            )

    def settle(self, receipts: Sequence[Receipt], restored: Iterable[Doubt], run: Run, items: Sequence[Item]) -> None:
        """Commit what the answers said, all at once.

        Args:
            receipts: children that were acknowledged; no doubt is left on them.
            restored: children whose request is known to have changed nothing: their doubt is what it was before.
            run: the run that ``items`` belong to.
            items: the outcome per row, for ``runs show``.
        """
        at = now()
        with self._journal.transaction() as db:
            db.executemany(
                "UPDATE csc_children SET held = ?, receipt = ?, row_id = ?, person = ?, unwritten = ?, write_back = ?,"
                " fingerprint = ?, status = ?, row_state = ?, in_doubt = NULL, reset = NULL, table_id = ?, at = ?"
                " WHERE receiver = ? AND child = ?",
                [(*receipt[1:], self._table, at, self._receiver, receipt.child) for receipt in receipts],
            )
            db.executemany(
                "UPDATE csc_children SET in_doubt = ?, reset = ? WHERE receiver = ? AND child = ?",
                [(doubt.in_doubt, doubt.reset, self._receiver, doubt.child) for doubt in restored],
            )
            if receipts:
                self._claim(db)
            run.journal.record(run.id, items, db if run.journal is self._journal else None)

    def overwritten(self, responses: Iterable[tuple[int, str | None, str | None]]) -> None:
        """Commit, before our own words replace the response of rows, that they stand for our receipt from then on.

        Args:
            responses: per row its id, the response that it shows and the one that it will show.
        """
        with self._journal.transaction() as db:
            db.executemany(
                "UPDATE csc_children SET unwritten = ? WHERE table_id = ? AND row_id = ? AND receiver = ?"
                " AND (receipt = ? OR unwritten = ?)",
                [
                    (digest(then), self._table, row_id, self._receiver, shown, digest(shown))
                    for row_id, shown, then in responses
                ],
            )

    def written(self, children: Iterable[bytes], *, stale: Iterable[bytes] = ()) -> None:
        """Note that the table was updated; ``stale`` rows had been reloaded, so their receipt stays unwritten.

        Notes are gathered and committed now and then (``flush``): one that is lost makes the next run look at a row
        once more, and find it as it should be.
        """
        self._written += children
        self._stale += stale
        if len(self._written) >= _FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Commit the notes of ``written``."""
        if not self._written and not self._stale:
            return
        with self._journal.transaction() as db:
            self._clear(db, self._written, "write_back = NULL, unwritten = NULL, fingerprint = NULL")
            self._clear(db, self._stale, "write_back = NULL, fingerprint = NULL")
        self._written, self._stale = [], []

    def _clear(self, db: sqlite3.Connection, children: Iterable[bytes], what: str) -> None:
        db.executemany(
            f"UPDATE csc_children SET {what} WHERE receiver = ? AND child = ?",  # noqa: S608
            [(self._receiver, child) for child in children],
        )

    def start_anew(self) -> None:
        """Trust no baseline at this receiver any more (``--requeue``); doubts and pending resets stay."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_children SET held = NULL, receipt = NULL, unwritten = NULL, write_back = NULL"
                " WHERE receiver = ?",
                (self._receiver,),
            )
            self._claim(db)

    def _claim(self, db: sqlite3.Connection) -> None:
        """Note that this table now says what this receiver holds."""
        db.execute("UPDATE csc_tables SET receiver = ? WHERE id = ?", (self._receiver, self._table))


def digest(text: str | None) -> bytes:
    """Return a short digest (16 bytes) by which a row's response is recognised again."""
    return hashlib.sha256((text or "").encode()).digest()[:16]


def _id_of(db: sqlite3.Connection, target: str, values: tuple[str, ...]) -> int:
    table, columns = target.split(" ", 1)
    marks = ", ".join("?" * len(values))
    where = " AND ".join(f"{name.strip('() ')} = ?" for name in columns.split(","))
    db.execute(f"INSERT OR IGNORE INTO {table} {columns} VALUES ({marks})", values)  # noqa: S608
    return int(db.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()[0])  # noqa: S608
