"""One receiver and one staging table as the journal knows them: whose table it is, how long, and who sent before."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from urllib.parse import urlsplit, urlunsplit

from dataflows.flows.csc.records import PURGED, SCHEMA, UNKNOWN, Place, digest
from dataflows.runs.journal import Journal, now, of_values

_KEYS = ("CREATE TABLE csc_keys (fingerprint BLOB NOT NULL)",)


class ClaimedKey:
    """The key that the children of the journal are named with, by its fingerprint."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        journal.ensure("csc key", _KEYS)
        journal.ensure("csc", SCHEMA)

    def known(self) -> tuple[bytes | None, bytes | None]:
        """Return the fingerprint of the key; in a journal of an earlier version, some child that was named with it."""
        with self._journal.reading() as db:
            known = db.execute("SELECT fingerprint FROM csc_keys").fetchone()
            if known is not None:
                return known[0], None
            sample = db.execute("SELECT child FROM csc_children WHERE receiver > 0 LIMIT 1").fetchone()
        return None, sample[0] if sample else None

    def remember(self, fingerprint: bytes, *, archive: bool) -> None:
        """Take a key from now on; with ``archive`` the children of the former one are put away."""
        with self._journal.transaction() as db:
            if archive:  # no receiver has such a number
                db.execute(
                    "UPDATE OR REPLACE csc_children SET receiver = -receiver, write_back = NULL WHERE receiver > 0"
                )
                db.execute("UPDATE csc_tables SET receiver = NULL")
            db.execute("DELETE FROM csc_keys")
            db.execute("INSERT INTO csc_keys VALUES (?)", (fingerprint,))


class ClaimedTable:
    """The staging table of a run, beside the receiver that it speaks to; ``receiver`` and ``id`` are their numbers."""

    def __init__(self, journal: Journal, place: Place) -> None:
        self._journal = journal
        journal.ensure("csc", SCHEMA)
        with journal.transaction() as db:
            self.receiver = _receiver_of(db, place)
            db.execute("UPDATE OR IGNORE csc_tables SET name = ? WHERE name = ?", (place.table, place.former))
            self.id = _id_of(db, "csc_tables (name)", (place.table,))
        self.same = self._same_tables(place.table)
        """This table and those that it may have been before it was moved."""

    def _same_tables(self, name: str) -> list[int]:
        """Return this table and those that it may have been before it was moved or copied: those of other databases.

        Another table of the same database is another table.
        """
        beside = name.rpartition("#")[0] + "#"
        with self._journal.reading() as db:
            rows = db.execute(
                "SELECT id FROM csc_tables WHERE id = ? OR substr(name, 1, ?) <> ?", (self.id, len(beside), beside)
            )
            return [row[0] for row in rows]

    def is_new(self) -> bool:
        """Tell whether nothing was ever sent to this receiver, as far as the journal knows."""
        with self._journal.reading() as db:
            return not db.execute("SELECT 1 FROM csc_children WHERE receiver = ?", (self.receiver,)).fetchone()

    def took_over(self) -> bool:
        """Tell whether somebody else sent to this receiver before: it may hold children that the journal has not."""
        with self._journal.reading() as db:
            found = db.execute("SELECT taken_over FROM csc_receivers WHERE id = ?", (self.receiver,)).fetchone()
        return bool(found and found[0])

    def former_receiver(self) -> str | None:
        """Return the address and LA code of the last write-back to this table when it was another receiver."""
        with self._journal.reading() as db:
            row = db.execute(
                "SELECT r.address, r.la_code, r.id FROM csc_tables t JOIN csc_receivers r ON r.id = t.receiver"
                " WHERE t.id = ?",
                (self.id,),
            ).fetchone()
        return f"{row[0]} (LA {row[1]})" if row and row[2] != self.receiver else None

    def claimed(self) -> bool:
        """Tell whether this journal knows this table, by its last write-back, as one of this receiver."""
        with self._journal.reading() as db:
            found = db.execute("SELECT receiver FROM csc_tables WHERE id = ?", (self.id,)).fetchone()
        return found is not None and found[0] == self.receiver

    def receivers_of(self, receipts: Collection[str]) -> set[str | None]:
        """Return which receivers gave these receipts, as far as the journal knows; None stands for this one."""
        givers = (
            "SELECT DISTINCT r.id, r.address, r.la_code FROM csc_children c JOIN csc_receivers r ON r.id = c.receiver"
        )
        with self._journal.reading() as db:
            rows = list(of_values(db, givers, "c.receipt", list(receipts)))
        return {None if row[0] == self.receiver else f"{row[1]} (LA {row[2]})" for row in rows}

    def is_watched(self) -> bool:
        """Tell whether it is looked at each night who sent this table last; earlier versions did so once only."""
        with self._journal.reading() as db:
            found = db.execute("SELECT watched FROM csc_tables WHERE id = ?", (self.id,)).fetchone()
        return bool(found and found[0])

    def adopt(self, receipts: Collection[str]) -> None:
        """Keep the receipts that the newest rows show now, whoever wrote them: they are no reason to ask later."""
        wanted = {digest(receipt) for receipt in receipts}
        with self._journal.transaction() as db:
            kept = db.execute("SELECT receipt FROM csc_adopted WHERE table_id = ?", (self.id,)).fetchall()
            if {receipt for (receipt,) in kept} == wanted and self.is_watched():
                return
            db.execute("DELETE FROM csc_adopted WHERE table_id = ?", (self.id,))
            db.executemany("INSERT INTO csc_adopted VALUES (?, ?)", [(self.id, receipt) for receipt in wanted])
            db.execute("UPDATE csc_tables SET watched = 1 WHERE id = ?", (self.id,))

    def knows_any(self, receipts: Collection[str]) -> bool:
        """Tell whether this journal wrote or adopted one of these receipts, or waits to write over one of them."""
        if self.receivers_of(receipts):
            return True
        adopted, waiting = "SELECT 1 FROM csc_adopted", "SELECT 1 FROM csc_children"
        digests = [digest(receipt) for receipt in receipts]
        with self._journal.reading() as db:
            return any(
                next(of_values(db, select, column, digests, " AND table_id = ?", [self.id]), None)
                for select, column in ((adopted, "receipt"), (waiting, "unwritten"))
            )

    def note_walk(self, rows: int) -> bool:
        """Note how long the table is; returns whether that is at least half of what is usual.

        What is usual follows a table that grows at once, and one that shrinks slowly.
        """
        with self._journal.transaction() as db:
            found = db.execute(
                "SELECT usual FROM csc_walks WHERE receiver = ? AND table_id = ?", (self.receiver, self.id)
            ).fetchone()
            usual = max(rows, found[0] * 9 // 10 if found else 0)
            db.execute(
                "INSERT INTO csc_walks (receiver, table_id, usual) VALUES (?, ?, ?)"
                " ON CONFLICT (receiver, table_id) DO UPDATE SET usual = excluded.usual",
                (self.receiver, self.id, usual),
            )
        return found is None or rows * 2 >= found[0]

    def note_orphans(self, count: int) -> None:
        """Keep how many orphans were counted, with the moment."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_walks SET orphans = ?, at = ? WHERE receiver = ? AND table_id = ?",
                (count, now(), self.receiver, self.id),
            )

    def orphans(self) -> tuple[int, str]:
        """Return how many orphans were counted last, and when (ISO 8601); 0 and nothing before the first time."""
        with self._journal.reading() as db:
            found = db.execute(
                "SELECT orphans, at FROM csc_walks WHERE receiver = ? AND table_id = ?", (self.receiver, self.id)
            ).fetchone()
        return (int(found[0] or 0), found[1] or "") if found else (0, "")

    def start_anew(self) -> None:
        """Trust no baseline at this receiver any more (``--requeue``); doubts, pending resets and purges stay."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_children SET held = NULL, receipt = NULL, unwritten = NULL, write_back = NULL,"
                " skeleton = NULL WHERE receiver = ? AND held IS NOT ?",
                (self.receiver, PURGED),
            )
            self.claim()

    def take_over(self) -> None:
        """Go on after somebody else: what is held is not known any more; doubts, pending resets and purges stay."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_children SET held = ?, receipt = NULL, unwritten = NULL, write_back = NULL,"
                " skeleton = NULL WHERE receiver = ? AND held <> ?",
                (UNKNOWN, self.receiver, PURGED),
            )
            db.execute("UPDATE csc_receivers SET taken_over = 1 WHERE id = ?", (self.receiver,))
            self.claim()

    def claim(self) -> None:
        """Note that this table now says what this receiver holds."""
        with self._journal.transaction() as db:
            db.execute(
                "UPDATE csc_tables SET receiver = ?, watched = CASE WHEN receiver IS NULL THEN 1 ELSE watched END"
                " WHERE id = ?",
                (self.receiver, self.id),
            )


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
