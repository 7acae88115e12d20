"""Who a registration is about: names and dates folded, and matched with known patients."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from dataflows.flows.practice.patients.fields import NotARegistration, PatientData, checked
from dataflows.flows.practice.patients.objects import ListedObject
from dataflows.flows.practice.patients.registration import Registration
from dataflows.flows.practice.values import normal
from dataflows.store.practice.tables import patient_registrations

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


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """What tells people apart. The keys are SHA-256 of what was normalised; None without an e-mail."""

    email_key: str | None
    name_key: str
    born: date | None

    @property
    def identity_key(self) -> str | None:
        """Unique among patients; None without an e-mail, where nobody is ever matched."""
        if self.email_key is None:
            return None
        return _digest(self.email_key, self.name_key, self.born.isoformat() if self.born else "")

    def met(self, born: date | None) -> PatientIdentity:
        """The same person, once a date of birth is known."""
        return PatientIdentity(self.email_key, self.name_key, self.born or born)


@dataclass(frozen=True, slots=True)
class KnownPatient:
    """A patient who shares the e-mail."""

    id: int
    name_key: str
    born: date | None


@dataclass(frozen=True, slots=True)
class PatientMatch:
    """The patient that a registration belongs to (None: a new one), and why a new one may be a duplicate.

    ``flag``: ``no_email``; ``birth_date`` (same e-mail and name, another date of birth); ``shared_email`` (another
    name); ``unclear`` (several patients would fit).
    """

    patient_id: int | None
    flag: str | None = None


def person(fields: Mapping[str, Any]) -> PatientIdentity:
    """The person behind a patient's fields (``vorname``, ``nachname``, ``email``, ``geburtsdatum``)."""
    email = fields.get("email")
    return PatientIdentity(
        _digest(normal(email)) if email else None,
        _digest(normal(fields["vorname"]), normal(fields["nachname"])),
        fields.get("geburtsdatum"),
    )


def match(who: PatientIdentity, sharing: Sequence[KnownPatient]) -> PatientMatch:
    """Find the patient among those who share the e-mail.

    The same date of birth (or none on both sides) counts most; one that is known on one side only fits when there is
    no choice. A known and different one makes a new patient.
    """
    if who.email_key is None:
        return PatientMatch(None, "no_email")
    same_name = [one for one in sharing if one.name_key == who.name_key]
    exact = [one for one in same_name if one.born == who.born]
    if exact:
        return PatientMatch(exact[0].id)
    open_ones = [one for one in same_name if one.born is None or who.born is None]
    if len(same_name) == 1 and open_ones:
        return PatientMatch(open_ones[0].id)
    if same_name:
        return PatientMatch(None, "unclear" if open_ones else "birth_date")
    return PatientMatch(None, "shared_email" if sharing else None)


def _digest(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
