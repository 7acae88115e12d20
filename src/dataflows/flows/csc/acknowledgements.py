"""What the receiver is known to hold: per child the hash and the skeleton of the payload it acknowledged, what is in
doubt, and which purges are owed.

The tables live in the journal. Children are named by sealed identifiers, payloads by their hash, skeletons are sealed,
so no personal data can be read in it. What is written here is never pruned.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from dataflows.flows.csc.claims import ClaimedTable
from dataflows.flows.csc.delta import Payload
from dataflows.flows.csc.records import PURGED, Ack, Doubt, Owed, Place, Receipt, digest
from dataflows.flows.csc.schema import ChildSchema, built_in
from dataflows.flows.csc.skeleton import Skeleton
from dataflows.runs.journal import Item, Journal, now, of_values
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run

_FLUSH_EVERY = 1000
_KEPT_KEYS = 8000

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


class Acknowledgements:
    """The acknowledgements of one receiver, for the rows of one staging table."""

    def __init__(
        self, journal: Journal, cipher: IdentifierCipher, place: Place, schema: ChildSchema | None = None
    ) -> None:
        self.schema = schema or built_in()
        self.journal = self._journal = journal
        self._cipher = cipher
        self._skeleton_key = cipher.hash_key("csc skeletons")
        self.table = ClaimedTable(journal, place)
        self._receiver, self._table = self.table.receiver, self.table.id
        self._tables = ", ".join(map(str, self.table.same))
        self._columns = (
            f"child, held, receipt, in_doubt, reset, CASE WHEN table_id = {self._table:d} THEN row_id END, person,"
            " unwritten, skeleton, overruled"
        )
        self._sealed = lru_cache(_KEPT_KEYS)(cipher.encrypt)  # several steps ask for the same ones
        self._written: list[bytes] = []
        self._stale: list[bytes] = []

    def key(self, la_child_id: str) -> bytes:
        """Return the name of a child in the journal."""
        return self._sealed(la_child_id)

    def person(self, person_id: str | None) -> bytes:
        """Return the name of a person in the journal; empty for nobody."""
        return self._sealed(person_id) if person_id else b""

    def child(self, key: bytes) -> str | None:
        """Return the la_child_id behind a name; None when the key of the data folder was changed since."""
        return self._cipher.decrypt(key)

    def skeleton(self, payload: Payload) -> Skeleton:
        """Make the skeleton of a payload, with the key of the data folder."""
        return Skeleton.of(payload, self._skeleton_key, self.schema.kind)

    def close_skeleton(self, child: bytes, skeleton: Skeleton) -> bytes:
        """Return the skeleton of what a child holds, as the journal keeps it."""
        return self._cipher.encrypt_bytes(skeleton.to_bytes(), child)

    def open_skeleton(self, ack: Ack) -> Skeleton | None:
        """Return the skeleton of what a child holds; None where there is none, or one of another schema or key."""
        blob = self._cipher.decrypt_bytes(ack.skeleton, ack.child) if ack.skeleton else None
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
        alone = "SELECT receipt, CASE WHEN max(coalesce(shared, 1)) = 0 THEN max(child) END FROM csc_children"
        with self._journal.reading() as db:
            ours = " AND receiver = ? GROUP BY receipt"
            yield from of_values(db, alone, "receipt", list(receipts), ours, [self._receiver])

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
        with self._journal.reading() as db:
            ours = f" AND receiver = ? {extra}"
            yield from of_values(db, f"SELECT {columns} FROM csc_children", column, values, ours, [self._receiver])  # noqa: S608

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
        given = Counter(receipt.receipt for receipt in receipts)  # a service may give one to a whole request
        with self._journal.transaction() as db:
            db.executemany(
                "UPDATE csc_children SET held = ?, receipt = ?, row_id = ?, person = ?, unwritten = ?, write_back = ?,"
                " fingerprint = ?, status = ?, row_state = ?, skeleton = ?, overruled = coalesce(?, overruled),"
                " in_doubt = NULL, reset = NULL, owed = NULL, shared = ?, table_id = ?, at = ?"
                " WHERE receiver = ? AND child = ?",
                [(*one[1:], given[one.receipt] > 1, self._table, at, self._receiver, one.child) for one in receipts],
            )
            db.executemany(
                "UPDATE csc_children SET in_doubt = ?, reset = ? WHERE receiver = ? AND child = ?",
                [(doubt.in_doubt, doubt.reset, self._receiver, doubt.child) for doubt in restored],
            )
            if receipts:
                self.table.claim()
            run.journal.record(run.id, items)

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
