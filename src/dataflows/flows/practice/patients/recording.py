"""One registration, one transaction: patient, registration, consent, tracking row and event (patients.md, step 5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import sqlalchemy as sa

from dataflows.flows.practice.patients.identity import (
    COLUMNS,
    Folded,
    KnownPatient,
    PatientIdentity,
    PatientMatch,
    fold,
    match,
    person,
)  # fmt: skip
from dataflows.flows.practice.patients.objects import ListedObject
from dataflows.flows.practice.patients.registration import Registration
from dataflows.flows.practice.patients.tracking import (
    DONE,
    DUPLICATE_FILE,
    IMPORTED,
    SUPERSEDED,
    UPDATED,
    Tracking,
    put,
)
from dataflows.store.practice import outbox
from dataflows.store.practice.tables import patient_consents, patient_registrations, patient_tracking, patients


@dataclass(frozen=True)
class ReceivedRegistration:
    """A registration and where it came from."""

    bucket: str
    about: ListedObject
    registration: Registration
    copy_name: str
    run_id: str


@dataclass(frozen=True)
class RecordingResult:
    """What became of it: imported, updated, superseded or duplicate_file; ``flag`` as in ``identity.PatientMatch``."""

    outcome: str
    flag: str | None = None


def copy_of(tracking: Tracking, sha256: str) -> str | None:
    """The local copy of a file that was imported before."""
    chosen = sa.select(patient_registrations.c.copy_name).where(patient_registrations.c.sha256 == sha256)
    with tracking.reading() as connection:
        return connection.scalar(chosen)


def record(connection: sa.Connection, arrival: ReceivedRegistration) -> RecordingResult:
    """Write all there is to write, in a transaction of ``Tracking.write``.

    Doing it again changes nothing: a commit whose answer was lost may be repeated.

    Raises:
        sqlalchemy.exc.IntegrityError: another program wrote the same person or file at this moment; try again.
    """
    before = _tracked(connection, arrival)
    if before in DONE:
        return RecordingResult(str(before))
    known = connection.execute(
        sa.select(patient_registrations.c.id, patient_registrations.c.patient_id).where(
            patient_registrations.c.sha256 == arrival.registration.sha256
        )
    ).first()
    if known is not None:
        _track(connection, arrival, DUPLICATE_FILE, known.patient_id, known.id, _consent_of(connection, known.id))
        return RecordingResult(DUPLICATE_FILE)
    patient_id, recorded = _enter(connection, arrival)
    registration_id = _keep_registration(connection, arrival, patient_id, recorded)
    consent_id = _keep_consent(connection, arrival.registration, patient_id, registration_id)
    _track(connection, arrival, recorded.outcome, patient_id, registration_id, consent_id)
    return recorded


# --- the patient ------------------------------------------------------------------------------------------------------


def _enter(connection: sa.Connection, arrival: ReceivedRegistration) -> tuple[int, RecordingResult]:
    who = person(arrival.registration.fields)
    found = _match(connection, who)
    if found.patient_id is None:
        patient_id = _insert(connection, arrival, who, found)
        _announce(connection, "patient.created", patient_id)
        return patient_id, RecordingResult(IMPORTED, found.flag)
    row = _patient(connection, found.patient_id)
    folded = fold(connection, row, arrival.registration, arrival.about)
    if not folded.is_news:
        return found.patient_id, RecordingResult(SUPERSEDED)
    _update(connection, who, row, folded)
    _announce(connection, "patient.updated", found.patient_id)
    return found.patient_id, RecordingResult(UPDATED)


def _match(connection: sa.Connection, who: PatientIdentity) -> PatientMatch:
    if who.email_key is None:
        return match(who, [])
    table = patients.c
    chosen = sa.select(table.id, table.name_key, table.geburtsdatum).where(table.email_key == who.email_key)
    return match(who, [KnownPatient(*row) for row in connection.execute(chosen.order_by(table.id).with_for_update())])


def _patient(connection: sa.Connection, patient_id: int) -> sa.Row[Any]:
    return connection.execute(sa.select(patients).where(patients.c.id == patient_id)).one()


def _insert(connection: sa.Connection, arrival: ReceivedRegistration, who: PatientIdentity, found: PatientMatch) -> int:
    now = datetime.now(UTC)
    values = {
        **arrival.registration.fields,
        "extra": arrival.registration.extra or None,
        "identity_key": who.identity_key,
        "email_key": who.email_key,
        "name_key": who.name_key,
        "possible_duplicate": found.flag is not None,
        "created_at": now,
        "updated_at": now,
        "registered_at": _time_of(arrival),
        "registered_generation": arrival.about.generation,
    }
    return _inserted(connection, patients, values)


def _update(connection: sa.Connection, who: PatientIdentity, row: sa.Row[Any], folded: Folded) -> None:
    values = {
        **folded.fields,
        "extra": folded.extra or None,
        "identity_key": who.met(folded.fields.get("geburtsdatum")).identity_key,
        "registered_at": folded.registered_at,
        "registered_generation": folded.generation,
        "updated_at": datetime.now(UTC),
    }
    connection.execute(sa.update(patients).where(patients.c.id == row.id).values(values))


def _announce(connection: sa.Connection, event_type: str, patient_id: int) -> None:
    row = _patient(connection, patient_id)._mapping
    data = {name: row[name] for name in (*COLUMNS, "extra", "possible_duplicate") if row[name] is not None}
    plain = {name: value.isoformat() if isinstance(value, date) else value for name, value in data.items()}
    outbox.add(connection, event_type, patient_id, {"patient_id": patient_id, "patient_data": plain})


def _time_of(arrival: ReceivedRegistration) -> datetime:
    return arrival.registration.registered_at or arrival.about.moment


# --- the papers -------------------------------------------------------------------------------------------------------


def _keep_registration(
    connection: sa.Connection, arrival: ReceivedRegistration, patient_id: int, recorded: RecordingResult
) -> int:
    one, about = arrival.registration, arrival.about
    values = {
        "patient_id": patient_id,
        "sha256": one.sha256,
        "outcome": recorded.outcome,
        "flag": recorded.flag,
        "bucket": arrival.bucket,
        "object_name": about.name,
        "generation": about.generation,
        "copy_name": arrival.copy_name,
        "size": one.size,
        "registered_at": _time_of(arrival),
        "registered_by": one.registered_by,
        "document": one.document,
        "run_id": arrival.run_id,
        "created_at": datetime.now(UTC),
    }
    return _inserted(connection, patient_registrations, values)


def _keep_consent(connection: sa.Connection, one: Registration, patient_id: int, registration_id: int) -> int:
    values = {
        "patient_id": patient_id,
        "registration_id": registration_id,
        "consent_metadata": one.consent,
        "registration_token": one.token,
        "registration_timestamp": one.timestamp,
        "consented_at": one.consented_at,
        "file_sha256": one.sha256,
        "created_at": datetime.now(UTC),
    }
    return _inserted(connection, patient_consents, values)


def _consent_of(connection: sa.Connection, registration_id: int) -> int | None:
    table = patient_consents.c
    found = connection.scalar(sa.select(sa.func.min(table.id)).where(table.registration_id == registration_id))
    return None if found is None else int(found)


def _tracked(connection: sa.Connection, arrival: ReceivedRegistration) -> str | None:
    table = patient_tracking.c
    return connection.scalar(
        sa.select(table.status).where(
            table.bucket == arrival.bucket,
            table.object_name == arrival.about.name,
            table.generation == arrival.about.generation,
        )
    )


def _track(
    connection: sa.Connection,
    arrival: ReceivedRegistration,
    outcome: str,
    patient_id: int,
    registration_id: int,
    consent_id: int | None,
) -> None:
    values = {
        "status": outcome,
        "code": None,
        "sha256": arrival.registration.sha256,
        "copy_name": arrival.copy_name,
        "patient_id": patient_id,
        "registration_id": registration_id,
        "consent_id": consent_id,
    }
    put(connection, arrival.bucket, arrival.about, arrival.run_id, values)


def _inserted(connection: sa.Connection, table: sa.Table, values: dict[str, Any]) -> int:
    done = connection.execute(sa.insert(table).values(values))
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])
