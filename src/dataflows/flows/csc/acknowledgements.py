"""What the receiver is known to hold: per child the hash and the skeleton of the payload it acknowledged, what is in
doubt, and which purges are owed.

The tables live in the journal. Children are named by sealed identifiers, payloads by their hash, skeletons are sealed,
so no personal data can be read in it. What is written here is never pruned.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from dataflows.flows.csc.delta import Payload
from dataflows.flows.csc.schema import ChildSchema, built_in
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.runs.journal import Item, Journal, now
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run

PURGED = b"purged"  # stands where the hash of a payload would: the receiver holds nothing of this child
UNKNOWN = b"unknown"  # stands there too: it holds something of this child, and it is not known what
_FLUSH_EVERY = 1000
_KEPT_KEYS = 8000

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
    """
    ALTER TABLE csc_children ADD COLUMN skeleton BLOB;
    ALTER TABLE csc_children ADD COLUMN owed INTEGER;
    ALTER TABLE csc_children ADD COLUMN overruled INTEGER;
    CREATE INDEX csc_children_by_receipt ON csc_children (receipt) WHERE receipt IS NOT NULL;
    ALTER TABLE csc_receivers ADD COLUMN taken_over INTEGER;
    CREATE INDEX csc_children_owed ON csc_children (owed) WHERE owed IS NOT NULL;
    CREATE INDEX csc_children_in_doubt ON csc_children (receiver) WHERE in_doubt IS NOT NULL;
    CREATE TABLE csc_walks (
        receiver INTEGER NOT NULL, table_id INTEGER NOT NULL, usual INTEGER NOT NULL, orphans INTEGER, at TEXT,
        PRIMARY KEY (receiver, table_id)
    )
    """,
)

# where nothing is acknowledged, only the row that was sent last can tell which child it was, should it be renamed
_THERE = f"(held <> X'{PURGED.hex()}' OR (held IS NULL AND in_doubt <> X'{PURGED.hex()}'))"
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
    ``skeleton`` is sealed. ``overruled`` is the deleted row that somebody set aside by hand in favour of an older one.
    """

    child: bytes
    held: bytes | None
    receipt: str | None
    in_doubt: bytes | None
    reset: str | None
    row_id: int | None
    person: bytes | None
    unwritten: bytes | None
    skeleton: bytes | None
    overruled: int | None

    @property
    def holds(self) -> bool:
        """Whether the receiver holds a payload of this child."""
        return self.held not in (None, PURGED)

    @property
    def doubtful(self) -> bool:
        """Whether an answer is missing, or a reset was begun and not finished."""
        return self.in_doubt is not None or self.reset is not None

    @property
    def purged(self) -> bool:
        """Whether the receiver acknowledged that this child is gone."""
        return self.held == PURGED and not self.doubtful

    @property
    def knows_nothing(self) -> bool:
        """Whether nothing is known but that this child was met once."""
        return self.held is None and not self.doubtful


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
    row_id: int | None = None
    person: bytes = b""
    unwritten: bytes = b""
    write_back: str | None = None
    fingerprint: bytes | None = None
    status: str | None = None
    row_state: str | None = None
    skeleton: bytes | None = None
    overruled: int | None = None


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

    def __init__(
        self, journal: Journal, seal: IdentifierCipher, place: Place, schema: ChildSchema | None = None
    ) -> None:
        self.schema = schema or built_in()
        self._journal = journal
        self._seal = seal
        self._skeleton_key = seal.hash_key("csc skeletons")
        journal.ensure("csc", _SCHEMA)
        with journal.transaction() as db:
            self._receiver = _receiver_of(db, place)
            db.execute("UPDATE OR IGNORE csc_tables SET name = ? WHERE name = ?", (place.table, place.former))
            self._table = _id_of(db, "csc_tables (name)", (place.table,))
        self._tables = ", ".join(str(table) for table in self._same_tables(place.table))
        self._columns = (
            f"child, held, receipt, in_doubt, reset, CASE WHEN table_id = {self._table:d} THEN row_id END, person,"
            " unwritten, skeleton, overruled"
        )
        self._sealed = lru_cache(_KEPT_KEYS)(seal.close)  # several steps ask for the same ones
        self._written: list[bytes] = []
        self._stale: list[bytes] = []

    def _same_tables(self, name: str) -> list[int]:
        """Return this table and those that it may have been before it was moved or copied: those of other databases.

        Another table of the same database is another table.
        """
        beside = name.rpartition("#")[0] + "#"
        with self._journal.reading() as db:
            rows = db.execute(
                "SELECT id FROM csc_tables WHERE id = ? OR substr(name, 1, ?) <> ?", (self._table, len(beside), beside)
            )
            return [row[0] for row in rows]

    def is_new(self) -> bool:
        """Tell whether nothing was ever sent to this receiver, as far as the journal knows."""
        with self._journal.reading() as db:
            return not db.execute("SELECT 1 FROM csc_children WHERE receiver = ?", (self._receiver,)).fetchone()

    def took_over(self) -> bool:
        """Tell whether somebody else sent to this receiver before: it may hold children that the journal has not."""
        with self._journal.reading() as db:
            found = db.execute("SELECT taken_over FROM csc_receivers WHERE id = ?", (self._receiver,)).fetchone()
        return bool(found and found[0])

    def key(self, la_child_id: str) -> bytes:
        """Return the name of a child in the journal."""
        return self._sealed(la_child_id)

    def person(self, person_id: str | None) -> bytes:
        """Return the name of a person in the journal; empty for nobody."""
        return self._sealed(person_id) if person_id else b""

    def child(self, key: bytes) -> str | None:
        """Return the la_child_id behind a name; None when the key of the data folder was changed since."""
        return self._seal.open(key)

    def skeleton(self, payload: Payload) -> Skeleton:
        """Make the skeleton of a payload, with the key of the data folder."""
        return Skeleton.of(payload, self._skeleton_key, self.schema.kind)

    def close_skeleton(self, child: bytes, skeleton: Skeleton) -> bytes:
        """Return the skeleton of what a child holds, as the journal keeps it."""
        return self._seal.close_bytes(skeleton.to_bytes(), child)

    def open_skeleton(self, ack: Ack) -> Skeleton | None:
        """Return the skeleton of what a child holds; None where there is none, or one of another schema or key."""
        blob = self._seal.open_bytes(ack.skeleton, ack.child) if ack.skeleton else None
        return Skeleton.from_bytes(blob, self._skeleton_key, self.schema.kind) if blob else None

    # --- reading ----------------------------------------------------------------------------------------------

    def of(self, children: Sequence[bytes]) -> dict[bytes, Ack]:
        """Return what is known of these children (those never sent are missing)."""
        return {ack.child: ack for ack in self._select("child", children)}

    def of_rows(self, row_ids: Sequence[int]) -> list[Ack]:
        """Return what was last acknowledged from these rows of the table."""
        return list(self._select("row_id", row_ids, f"AND table_id = {self._table:d}"))

    def held_from_rows(self, row_ids: Sequence[int]) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield row, child and person of what was last acknowledged from these rows and may be held still."""
        held = f"AND table_id = {self._table:d} AND (held <> X'{PURGED.hex()}' OR in_doubt IS NOT NULL)"
        yield from self._among("row_id, child, person", "row_id", row_ids, held)

    def written_by_us(self, receipts: Collection[str]) -> set[str]:
        """Return those of these receipts that this journal knows: it wrote them, for whichever child."""
        return {receipt for receipt, _ in self._by_receipt(receipts)}

    def of_receipts(self, receipts: Collection[str]) -> dict[str, Ack]:
        """Return, for each of these receipts that was given to one child alone, what is known of that child."""
        by_child = {child: receipt for receipt, child in self._by_receipt(receipts) if child is not None}
        return {by_child[child]: ack for child, ack in self.of(list(by_child)).items()}

    def _by_receipt(self, receipts: Collection[str]) -> Iterator[tuple[str, bytes | None]]:
        values = list(receipts)
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            with self._journal.reading() as db:
                yield from db.execute(
                    "SELECT receipt, CASE WHEN count(*) = 1 THEN max(child) END FROM csc_children"  # noqa: S608
                    f" WHERE receiver = ? AND receipt IN ({', '.join('?' * len(part))}) GROUP BY receipt",
                    (self._receiver, *part),
                ).fetchall()

    def holds(self) -> int:
        """Return how many children the receiver holds, or may hold, as far as we know."""
        with self._journal.reading() as db:
            row = db.execute(
                f"SELECT count(*) FROM csc_children WHERE receiver = ? AND {_THERE}",  # noqa: S608
                (self._receiver,),
            ).fetchone()
        return int(row[0])

    def holds_with(self, pages: Iterable[Sequence[bytes]]) -> int:
        """Return how many children the receiver holds when these, which the table shows, are counted too."""
        with self._journal.reading() as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS csc_shown (child BLOB PRIMARY KEY) WITHOUT ROWID")
            db.execute("DELETE FROM csc_shown")
        for page in pages:
            with self._journal.transaction() as db:
                db.executemany("INSERT OR IGNORE INTO csc_shown VALUES (?)", [(child,) for child in page])
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT count(*) FROM csc_shown WHERE child NOT IN (SELECT child FROM csc_children"  # noqa: S608
                f" WHERE receiver = ? AND ({_THERE} OR held = ?))",
                (self._receiver, PURGED),
            ).fetchone()
        return self.holds() + int(row[0])

    def of_table(self) -> Iterator[list[bytes]]:
        """Yield, in pages, the children that are held from this table and not owed a purge."""
        yield from self._pages(f"table_id IN ({self._tables}) AND {_HELD} AND owed IS NULL")

    def owed_purges(self) -> Iterator[list[bytes]]:
        """Yield, in pages, the children that are owed a purge because their row names another child now."""
        yield from self._pages(f"owed IN ({self._tables})")

    def owes(self) -> bool:
        """Tell whether any purge is owed."""
        return next(self.owed_purges(), None) is not None

    def _pages(self, where: str) -> Iterator[list[bytes]]:
        after = 0
        while True:
            with self._journal.reading() as db:
                rows = db.execute(
                    "SELECT id, child FROM csc_children"  # noqa: S608
                    f" WHERE receiver = ? AND {where} AND id > ? ORDER BY id LIMIT 1000",
                    (self._receiver, after),
                ).fetchall()
            if not rows:
                return
            yield [child for _, child in rows]
            after = rows[-1][0]

    def in_doubt(self) -> int:
        """Return for how many children the receiver's answer is missing."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT count(*) FROM csc_children INDEXED BY csc_children_in_doubt"
                " WHERE receiver = ? AND in_doubt IS NOT NULL",
                (self._receiver,),
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

    def claimed(self) -> bool:
        """Tell whether this journal knows this table, by its last write-back, as one of this receiver."""
        with self._journal.reading() as db:
            found = db.execute("SELECT receiver FROM csc_tables WHERE id = ?", (self._table,)).fetchone()
        return found is not None and found[0] == self._receiver

    def receivers_of(self, receipts: Collection[str]) -> set[str | None]:
        """Return which receivers gave these receipts, as far as the journal knows; None stands for this one."""
        found: set[str | None] = set()
        values = list(receipts)
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            with self._journal.reading() as db:
                rows = db.execute(
                    "SELECT DISTINCT r.id, r.address, r.la_code FROM csc_children c"  # noqa: S608
                    f" JOIN csc_receivers r ON r.id = c.receiver WHERE c.receipt IN ({', '.join('?' * len(part))})",
                    part,
                ).fetchall()
            found |= {None if row[0] == self._receiver else f"{row[1]} (LA {row[2]})" for row in rows}
        return found

    def owed(self) -> Iterator[list[Owed]]:
        """Yield the updates of the table that are still to be made, in bounded pages, each once."""
        after = 0
        while True:
            with self._journal.reading() as db:
                rows = db.execute(
                    "SELECT id, child, row_id, receipt, write_back, fingerprint, status, row_state FROM csc_children"
                    " INDEXED BY csc_children_to_write"  # it holds nothing on most nights; others hold everybody
                    " WHERE table_id = ? AND write_back IS NOT NULL AND receiver = ? AND id > ?"
                    " ORDER BY id LIMIT 200",
                    (self._table, self._receiver, after),
                ).fetchall()
            if not rows:
                return
            yield [Owed(*row[1:]) for row in rows]
            after = rows[-1][0]

    def _select(self, column: str, values: Sequence[object], extra: str = "") -> Iterator[Ack]:
        return map(Ack._make, self._among(self._columns, column, values, extra))

    def _among(self, columns: str, column: str, values: Sequence[object], extra: str) -> Iterator[tuple[Any, ...]]:
        statement = (
            f"SELECT {columns} FROM csc_children"  # noqa: S608
            f" WHERE receiver = ? {extra} AND {column} IN ({{marks}})"
        )
        with self._journal.reading() as db:
            for start in range(0, len(values), 500):
                part = values[start : start + 500]
                marks = ", ".join("?" * len(part))
                yield from db.execute(statement.format(marks=marks), (self._receiver, *part))

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
                " fingerprint = ?, status = ?, row_state = ?, skeleton = ?, overruled = coalesce(?, overruled),"
                " in_doubt = NULL, reset = NULL, owed = NULL, table_id = ?, at = ?"
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

    def owe(self, children: Iterable[bytes]) -> None:
        """Commit that children are owed a purge, before the rows that named them send anything else."""
        at = now()
        with self._journal.transaction() as db:
            db.executemany(
                "INSERT INTO csc_children (receiver, child, owed, table_id, at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (receiver, child) DO UPDATE SET owed = excluded.owed",
                [(self._receiver, child, self._table, self._table, at) for child in children],
            )

    def owe_no_more(self, children: Iterable[bytes]) -> None:
        """Commit that children need no purge: a row speaks for them again."""
        with self._journal.transaction() as db:
            self._clear(db, children, "owed = NULL")

    def note_walk(self, rows: int) -> bool:
        """Note how long the table is; returns whether that is at least half of what is usual.

        What is usual follows a table that grows at once, and one that shrinks slowly.
        """
        with self._journal.transaction() as db:
            found = db.execute(
                "SELECT usual FROM csc_walks WHERE receiver = ? AND table_id = ?", (self._receiver, self._table)
            ).fetchone()
            usual = max(rows, found[0] * 9 // 10 if found else 0)
            db.execute(
                "INSERT INTO csc_walks (receiver, table_id, usual) VALUES (?, ?, ?)"
                " ON CONFLICT (receiver, table_id) DO UPDATE SET usual = excluded.usual",
                (self._receiver, self._table, usual),
            )
        return found is None or rows * 2 >= found[0]

    def note_orphans(self, count: int) -> None:
        """Keep how many orphans were counted, with the moment."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_walks SET orphans = ?, at = ? WHERE receiver = ? AND table_id = ?",
                (count, now(), self._receiver, self._table),
            )

    def orphans(self) -> tuple[int, str]:
        """Return how many orphans were counted last, and when (ISO 8601); 0 and nothing before the first time."""
        with self._journal.reading() as db:
            found = db.execute(
                "SELECT orphans, at FROM csc_walks WHERE receiver = ? AND table_id = ?", (self._receiver, self._table)
            ).fetchone()
        return (int(found[0] or 0), found[1] or "") if found else (0, "")

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
        """Trust no baseline at this receiver any more (``--requeue``); doubts, pending resets and purges stay."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_children SET held = NULL, receipt = NULL, unwritten = NULL, write_back = NULL,"
                " skeleton = NULL WHERE receiver = ? AND held IS NOT ?",
                (self._receiver, PURGED),
            )
            self._claim(db)

    def take_over(self) -> None:
        """Go on after somebody else: what is held is not known any more; doubts, pending resets and purges stay."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_children SET held = ?, receipt = NULL, unwritten = NULL, write_back = NULL,"
                " skeleton = NULL WHERE receiver = ? AND held <> ?",
                (UNKNOWN, self._receiver, PURGED),
            )
            db.execute("UPDATE csc_receivers SET taken_over = 1 WHERE id = ?", (self._receiver,))
            self._claim(db)

    def _claim(self, db: sqlite3.Connection) -> None:
        """Note that this table now says what this receiver holds."""
        db.execute("UPDATE csc_tables SET receiver = ? WHERE id = ?", (self._receiver, self._table))


def digest(text: str | None) -> bytes:
    """Return a short digest (16 bytes) by which a row's response is recognised again."""
    return hashlib.sha256((text or "").encode()).digest()[:16]


def _receiver_of(db: sqlite3.Connection, place: Place) -> int:
    """Return the number of a receiver; earlier versions kept its address as API_ENDPOINT spelled it."""
    wanted = _lower_host(place.address)
    known = db.execute("SELECT id, address FROM csc_receivers WHERE la_code = ?", (place.la_code,)).fetchall()
    for number, address in known:
        if address != wanted and _lower_host(address) == wanted:
            db.execute("UPDATE OR IGNORE csc_receivers SET address = ? WHERE id = ?", (wanted, number))
    return _id_of(db, "csc_receivers (address, la_code)", (wanted, place.la_code))


def _lower_host(url: str) -> str:
    """Return an address with its scheme and host in lower case, where case means nothing."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.lower()))


def _id_of(db: sqlite3.Connection, target: str, values: tuple[str, ...]) -> int:
    table, columns = target.split(" ", 1)
    marks = ", ".join("?" * len(values))
    where = " AND ".join(f"{name.strip('() ')} = ?" for name in columns.split(","))
    db.execute(f"INSERT OR IGNORE INTO {table} {columns} VALUES ({marks})", values)  # noqa: S608
    return int(db.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()[0])  # noqa: S608
