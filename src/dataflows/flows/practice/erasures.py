"""What was erased, as keyed hashes: an object, a restored copy or a scraped entry is known again, and nobody else.

They are kept twice: in the practice database, and in the journal, which outlives a database that comes back from a
backup or is left for another one.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from dataflows.events import Warned
from dataflows.flows.practice.values import folded
from dataflows.runs.journal import Journal
from dataflows.runs.keys import IdentifierCipher
from dataflows.runs.runner import Run
from dataflows.store.practice.database import translated, within
from dataflows.store.practice.tables import erasures, patient_registrations

__all__ = ["CONTENT", "OBJECT", "THERAPIST", "Erasures", "said_of_erasures", "therapist_signs"]

CONTENT, OBJECT, THERAPIST = "content", "object", "therapist"
"""What a mark is of: the SHA-256 of a file, an object's name, a therapist by name and postcode or e-mail."""
_SCHEMA: Final = (
    "CREATE TABLE erasures (mark TEXT PRIMARY KEY, key_id TEXT NOT NULL, run_id TEXT NOT NULL, erased_at TEXT NOT NULL)"
    " WITHOUT ROWID",
)


class Erasures:
    """The marks of what was erased that this data folder's key can read. Reading and writing raise as ``translated``.

    ``of_other_keys`` is how many there are in the database that were made with another key, and tell nothing here.
    """

    def __init__(self, cipher: IdentifierCipher, marks: Collection[str] = (), of_other_keys: int = 0) -> None:
        self._key = cipher.hash_key("erasures")
        self.key_id = cipher.key_fingerprint[:8].hex()
        self._marks = frozenset(marks)
        self._in_database: frozenset[str] = frozenset()
        self.of_other_keys = of_other_keys

    @classmethod
    def of(cls, engine: sa.Engine, run: Run) -> Erasures:
        """Read them, from a database whose tables are there and from the run's journal."""
        found = cls(IdentifierCipher.of(run.data_dir))
        with translated(), engine.connect() as connection:
            rows = connection.execute(sa.select(erasures.c.mark, erasures.c.key_id)).all()
        found._in_database = frozenset(mark for mark, key_id in rows if key_id == found.key_id)
        found._marks = found._in_database | _in_journal(run.journal, found.key_id)
        found.of_other_keys = sum(key_id != found.key_id for _, key_id in rows)
        return found

    def __bool__(self) -> bool:
        return bool(self._marks)

    def mark(self, kind: str, value: str) -> str:
        """The keyed hash of something that is erased."""
        return hmac.new(self._key, f"{kind}\n{value}".encode(), hashlib.sha256).hexdigest()

    def has(self, kind: str, value: str) -> bool:
        """Whether it was erased."""
        return bool(self._marks) and self.mark(kind, value) in self._marks

    def has_therapist(self, values: Mapping[str, Any]) -> bool:
        """Whether an entry of a scraped file (its columns) is of a therapist who was erased."""
        return bool(self._marks) and any(self.has(THERAPIST, sign) for sign in therapist_signs(values))

    def add(self, connection: sa.Connection, run: Run, signs: Iterable[tuple[str, str]]) -> None:
        """Note what is erased (kind and value of each), in the transaction of ``connection`` and in the journal."""
        marks, now = sorted({self.mark(*sign) for sign in signs}), datetime.now(UTC)
        run.journal.ensure("erasures", _SCHEMA)
        with run.journal.transaction() as db:
            rows = [(mark, self.key_id, run.id, now.isoformat()) for mark in marks]
            db.executemany("INSERT OR IGNORE INTO erasures VALUES (?, ?, ?, ?)", rows)
        known = set(connection.scalars(sa.select(erasures.c.mark).where(within(connection, erasures.c.mark, marks))))
        values = {"key_id": self.key_id, "run_id": run.id, "erased_at": now}
        if new := [{"mark": mark, **values} for mark in marks if mark not in known]:
            connection.execute(sa.insert(erasures), new)

    def returned(self, engine: sa.Engine) -> int:
        """How many registrations of the database were erased before it came back from a backup, or was another one."""
        if self._marks <= self._in_database:
            return 0
        with translated(), engine.connect() as connection:
            hashes = connection.scalars(sa.select(patient_registrations.c.sha256))
            return sum(self.has(CONTENT, one) for one in hashes)


def said_of_erasures(marks: Erasures, returned: int = 0) -> Iterator[Warned]:
    """What an import has to say of earlier erasures: people who came back with a database, marks that tell nothing."""
    if returned:
        yield Warned(
            f"the practice database holds {returned} registrations of people who were erased: it is an older one",
            reason="person-came-back",
            hint="erase them again: dataflows person erase",
        )
    if marks.of_other_keys:
        yield Warned(
            f"{marks.of_other_keys} marks of erasures were made with another journal.key: what they stand for is not"
            " recognised here",
            reason="person-other-key",
            hint="run the imports with the DATA_DIR that the erasures were made with",
        )


def therapist_signs(values: Mapping[str, Any]) -> list[str]:
    """By what a therapist is known again: names and postcode, names and e-mail."""
    names = f"{folded(values['first_name'])}\n{folded(values['last_name'])}"
    email = [f"{names}\n{folded(values['email'])}"] if values.get("email") else []
    return [f"{names}\n{folded(values.get('postal_code'))}", *email]


def _in_journal(journal: Journal, key_id: str) -> frozenset[str]:
    journal.ensure("erasures", _SCHEMA)
    with journal.reading() as db:
        rows = db.execute("SELECT mark FROM erasures WHERE key_id = ?", (key_id,)).fetchall()
    return frozenset(mark for (mark,) in rows)
