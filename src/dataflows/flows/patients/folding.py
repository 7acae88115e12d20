"""A patient's row is the fold of all of the person's registrations, in the order of their own time.

Whatever order they arrive in, the row comes out the same: each field has the value of the newest registration that says
it. So an older one that arrives late fills what the newer ones left empty, and takes nothing from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.flows.patients.bucket import ListedObject
from dataflows.flows.patients.fields import NotARegistration, PatientData, checked
from dataflows.flows.patients.registration import Registration
from dataflows.store.practice.tables import patient_registrations

__all__ = ["COLUMNS", "Folded", "fold"]

COLUMNS = tuple(PatientData.model_fields)
_MOST = 200  # earlier registrations that are read again; nobody has so many, and a flood must not cost its square

Order: TypeAlias = tuple[datetime, int, str]
"""Time, generation and SHA-256 of a registration: no two are equal."""


@dataclass(frozen=True)
class Folded:
    """A patient's fields as they are from now on. ``is_news``: the registration is the newest, or it adds something."""

    fields: dict[str, Any]
    extra: dict[str, Any]
    registered_at: datetime
    generation: int
    is_news: bool


def fold(connection: sa.Connection, row: sa.Row[Any], registration: Registration, about: ListedObject) -> Folded:
    """Fold a registration into a patient's row."""
    mine: Order = (registration.registered_at or about.moment, about.generation, registration.sha256)
    before = {name: row._mapping[name] for name in COLUMNS if row._mapping[name] is not None}
    extra_before: dict[str, Any] = row.extra or {}
    newest = max((row.registered_at, row.registered_generation), mine[:2])
    is_newest = newest == mine[:2]
    folded = [*_earlier(connection, row.id), (mine, registration.fields, registration.extra)]
    fields, extra = dict(before), dict(extra_before)
    for _, values, others in sorted(folded, key=lambda one: one[0]):
        fields |= values
        extra |= others
    return Folded(fields, extra, *newest, is_newest or (fields, extra) != (before, extra_before))


def _earlier(
    connection: sa.Connection, patient_id: int
) -> Iterator[tuple[Order, Mapping[str, Any], Mapping[str, Any]]]:
    """The registrations of a patient that are kept, the newest ones; those that no rule of today takes are left out.

    What those said is in the row, on which the others are laid.
    """
    table = patient_registrations.c
    chosen = (
        sa.select(table.registered_at, table.generation, table.sha256, table.document)
        .where(table.patient_id == patient_id)
        .order_by(table.registered_at.desc(), table.generation.desc(), table.sha256.desc())
    )
    for *order, document in connection.execute(chosen.limit(_MOST)).all():
        try:
            fields, extra, _ = checked(document["patient_data"])
        except (NotARegistration, KeyError, TypeError):
            continue
        registered_at, generation, sha256 = order
        yield (registered_at, generation, sha256), fields, extra
