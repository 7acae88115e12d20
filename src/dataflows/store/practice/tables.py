"""The tables of patients, their registrations, consents and objects, and the outbox. Therapists: ``therapist_tables``.

The migrations make them (``migrations/versions``); a test compares what they make with what stands here.
"""

from __future__ import annotations

import sqlalchemy as sa

from dataflows.store.practice.metadata import BIG, JSON, Instant, metadata

__all__ = ["outbox", "patient_consents", "patient_registrations", "patient_tracking", "patients"]


def _id() -> sa.Column[int]:
    return sa.Column("id", BIG, primary_key=True)


def _reference(name: str, to: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, BIG, sa.ForeignKey(to), nullable=nullable)


patients = sa.Table(
    "patients",
    metadata,
    _id(),
    sa.Column("identity_key", sa.Text, comment="SHA-256 of e-mail, name and date of birth; NULL without an e-mail"),
    sa.Column("email_key", sa.Text, comment="SHA-256 of the e-mail, trimmed, NFC, case-folded"),
    sa.Column("name_key", sa.Text, nullable=False, comment="SHA-256 of first and last name, likewise"),
    sa.Column("possible_duplicate", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("registered_at", Instant, nullable=False, comment="of the newest registration"),
    sa.Column("registered_generation", BIG, nullable=False, comment="decides between registrations of one moment"),
    sa.Column("anrede", sa.Text),
    sa.Column("geschlecht", sa.Text),
    sa.Column("vorname", sa.Text, nullable=False),
    sa.Column("nachname", sa.Text, nullable=False),
    sa.Column("strasse", sa.Text),
    sa.Column("plz", sa.Text),
    sa.Column("ort", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("telefon", sa.Text),
    sa.Column("geburtsdatum", sa.Date),
    sa.Column("hausarzt", sa.Text),
    sa.Column("krankenkasse", sa.Text),
    sa.Column("krankenversicherungsnummer", sa.Text),
    sa.Column("diagnose", sa.Text),
    sa.Column("symptome", JSON),
    sa.Column("erfahrung_mit_psychotherapie", sa.Boolean(create_constraint=False)),
    sa.Column("letzte_sitzung_vorherige_psychotherapie", sa.Date),
    sa.Column("vertraege_unterschrieben", sa.Boolean(create_constraint=False)),
    sa.Column("psychotherapeutische_sprechstunde", sa.Boolean(create_constraint=False)),
    sa.Column("offen_fuer_gruppentherapie", sa.Boolean(create_constraint=False)),
    sa.Column("offen_fuer_diga", sa.Boolean(create_constraint=False)),
    sa.Column("empfehler_der_unterstuetzung", sa.Text),
    sa.Column("zeitliche_verfuegbarkeit", JSON),
    sa.Column("raeumliche_verfuegbarkeit", JSON),
    sa.Column("verkehrsmittel", sa.Text),
    sa.Column("bevorzugtes_therapeutengeschlecht", sa.Text),
    sa.Column("bevorzugtes_therapieverfahren", sa.Text),
    sa.Column("ausgeschlossene_therapeuten", JSON),
    sa.Column("extra", JSON, comment="fields that no column is made for"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.UniqueConstraint("identity_key"),
    sa.Index(None, "email_key"),
)

patient_registrations = sa.Table(
    "patient_registrations",
    metadata,
    _id(),
    _reference("patient_id", "patients.id"),
    sa.Column("sha256", sa.Text, nullable=False, comment="of the file's bytes"),
    sa.Column("outcome", sa.Text, nullable=False, comment="imported, updated or superseded"),
    sa.Column(
        "flag", sa.Text, comment="why the patient may be a duplicate: no_email, birth_date, shared_email, unclear"
    ),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("object_name", sa.Text, nullable=False),
    sa.Column("generation", BIG, nullable=False),
    sa.Column("copy_name", sa.Text, nullable=False, comment="the local copy, in PATIENT_BACKUP_DIR"),
    sa.Column("size", BIG, nullable=False, comment="bytes"),
    sa.Column("registered_at", Instant, nullable=False),
    sa.Column("registered_by", sa.Text, nullable=False, comment="where that time is from: consent, body or object"),
    sa.Column("document", JSON, nullable=False, comment="the whole body"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.UniqueConstraint("sha256"),
    sa.Index(None, "patient_id"),
)

patient_consents = sa.Table(
    "patient_consents",
    metadata,
    _id(),
    _reference("patient_id", "patients.id"),
    _reference("registration_id", "patient_registrations.id"),
    sa.Column("consent_metadata", JSON, comment="the whole section; NULL where the body had none"),
    sa.Column("registration_token", sa.Text),
    sa.Column("registration_timestamp", sa.Text, comment="as it was sent"),
    sa.Column("consented_at", Instant, comment="consent_metadata.timestamp_utc"),
    sa.Column("file_sha256", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Index(None, "patient_id"),
    sa.Index(None, "registration_id"),
    comment="append-only",
)

patient_tracking = sa.Table(
    "patient_tracking",
    metadata,
    _id(),
    sa.Column("bucket", sa.Text, nullable=False),
    sa.Column("object_name", sa.Text, nullable=False),
    sa.Column("generation", BIG, nullable=False),
    sa.Column(
        "status",
        sa.Text,
        nullable=False,
        comment="imported, updated, superseded, duplicate_file, failed, dead, unrecognised",
    ),
    sa.Column(
        "attempts", sa.Integer, nullable=False, comment="that failed by the content; faults of others never count"
    ),
    sa.Column("code", sa.Text, comment="of the last failure"),
    sa.Column("sha256", sa.Text),
    sa.Column("size", BIG, comment="bytes"),
    sa.Column("object_time", Instant),
    sa.Column("copy_name", sa.Text),
    _reference("patient_id", "patients.id", nullable=True),
    _reference("registration_id", "patient_registrations.id", nullable=True),
    _reference("consent_id", "patient_consents.id", nullable=True),
    sa.Column("deleted_at", Instant, comment="when it was known that this generation is gone from the bucket"),
    sa.Column("told", sa.Text, comment="the last status that a mail was written about"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.UniqueConstraint("bucket", "object_name", "generation"),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("seq", BIG, primary_key=True),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("event_type", sa.Text, nullable=False),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False, comment="order is kept per key"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("payload", JSON, comment="NULL once published or older than 30 days"),
    sa.Column("published_at", Instant),
    sa.UniqueConstraint("event_id"),
    sa.Index(
        "ix_outbox_unpublished",
        "topic",
        "seq",
        postgresql_where=sa.text("published_at IS NULL"),
        sqlite_where=sa.text("published_at IS NULL"),
    ),
    sqlite_autoincrement=True,
)
