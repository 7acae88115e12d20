"""What the journal keeps of children, as values, and the tables in which it does.

Children are named by sealed identifiers, payloads by their hash, skeletons are sealed, so no personal data can be read
in it. What is written here is never pruned.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

PURGED = b"purged"  # stands where the hash of a payload would: the receiver holds nothing of this child
UNKNOWN = b"unknown"  # stands there too: it holds something of this child, and it is not known what

SCHEMA = (
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
    "ALTER TABLE csc_children ADD COLUMN shared INTEGER",  # the receipt was given to several children; NULL: not known
    """
    ALTER TABLE csc_tables ADD COLUMN watched INTEGER;
    CREATE TABLE csc_adopted (
        table_id INTEGER NOT NULL, receipt BLOB NOT NULL, PRIMARY KEY (table_id, receipt)
    ) WITHOUT ROWID
    """,
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

    def is_repeated_by(self, goal: bytes) -> bool:
        """Tell whether sending the payload of this hash only repeats what was never answered."""
        return self.in_doubt == goal and self.reset != Reset.CHILD

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


def digest(text: str | None) -> bytes:
    """Return a short digest (16 bytes) by which a row's response is recognised again."""
    return hashlib.sha256((text or "").encode()).digest()[:16]
