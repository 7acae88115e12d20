"""Tells others what changed about therapists: one row of the outbox per change, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from dataflows.flows.therapists.record import FIELDS
from dataflows.store.practice import outbox
from dataflows.store.practice.bulk import within
from dataflows.store.practice.therapist_tables import therapists

__all__ = ["announce", "announce_new"]

_TOLD = ("area", "source_id", "active", *FIELDS)
_LOCATIONS = "locations"  # where those have changed


def announce(connection: sa.Connection, what: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the events ``therapist.<what>`` (created, updated, deleted) for therapists as they are from now on."""
    if rows:
        outbox.add_many(connection, [_event(what, row) for row in rows])


def announce_new(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the events of therapists that were inserted just now; PostgreSQL makes them from what it has by then."""
    if connection.dialect.name != "postgresql":
        announce(connection, "created", rows)
        return
    build, column = sa.func.jsonb_build_object, therapists.c
    data = build(*(part for name in _TOLD for part in (sa.text(f"'{name}'"), column[name])))
    payload = build(sa.text("'therapist_id'"), column.id, sa.text("'therapist_data'"), data)
    chosen = within(connection, column.id, [row["id"] for row in rows])
    outbox.add_from(connection, "therapist.created", column.id, payload, chosen)


def _event(what: str, row: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    data = {name: row[name] for name in (*_TOLD, _LOCATIONS) if name in row}
    return f"therapist.{what}", str(row["id"]), {"therapist_id": row["id"], "therapist_data": data}
