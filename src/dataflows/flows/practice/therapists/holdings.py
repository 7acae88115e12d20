"""What is held of one therapist: the row, further listings, what changed, events. See docs/person.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from dataflows.flows.practice.asked import PersonAsked, Seen
from dataflows.flows.practice.erasures import THERAPIST, therapist_signs
from dataflows.store.practice.database import within
from dataflows.store.practice.tables import outbox, therapist_changes, therapist_locations, therapists

__all__ = ["TABLES", "TherapistHoldings", "look_for", "therapists_named"]

TABLES = (therapist_changes, therapist_locations, therapists, outbox)
"""In the order in which rows are deleted: those that refer to others come first."""
TOPIC = "therapist-events"
_PERSON = ("first_name", "last_name", "email", "postal_code")


@dataclass
class TherapistHoldings:
    """The rows that are held of a therapist."""

    ids: list[int] = field(default_factory=list)
    rows: dict[sa.Table, Sequence[sa.Row[Any]]] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """How many there are, by table."""
        tables = {table.name: len(self.rows.get(table, ())) for table in reversed(TABLES)}
        return {"events": tables.pop(outbox.name), **tables}

    def signs(self) -> Iterator[tuple[str, str]]:
        """By what an entry of a scraped file is known again."""
        for table in (therapists, therapist_locations):
            for row in self.rows.get(table, ()):
                yield from ((THERAPIST, sign) for sign in therapist_signs(row._asdict()))


def therapists_named(connection: sa.Connection, asked: PersonAsked) -> dict[int, list[Seen]]:
    """The therapists of that name by id, each with all that their listings say."""
    found: dict[int, list[Seen]] = {}
    for table, owner in ((therapists, therapists.c.id), (therapist_locations, therapist_locations.c.therapist_id)):
        query = sa.select(owner, *(table.c[name] for name in _PERSON)).order_by(owner)
        for number, first_name, last_name, email, postcode in connection.execute(query):
            seen = Seen.of(first_name, last_name, email, postcode=postcode)
            if asked.is_named(seen):
                found.setdefault(number, []).append(seen)
    return found


def look_for(connection: sa.Connection, ids: Sequence[int]) -> TherapistHoldings:
    """Look through all tables for the therapists of these ids."""
    held = TherapistHoldings(list(ids))
    if not ids:
        return held
    for table in TABLES:
        column = table.c[{therapists: "id", outbox: "key"}.get(table, "therapist_id")]
        values = [str(one) for one in ids] if table is outbox else list(ids)
        chosen = sa.select(table).where(within(connection, column, values)).order_by(next(iter(table.primary_key)))
        rows = connection.execute(chosen).all()
        held.rows[table] = [row for row in rows if table is not outbox or row.topic == TOPIC]
    return held
