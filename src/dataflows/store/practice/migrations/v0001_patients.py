"""Version 1: patients, their registrations, consents and objects, and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision: str | None = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "patients",
        sa.Column("id", BIG, primary_key=True),
        sa.Column(
            "identity_key", sa.Text(), comment="SHA-256 of e-mail, name and date of birth; NULL without an e-mail"
        ),
        sa.Column("email_key", sa.Text(), comment="SHA-256 of the e-mail, trimmed, NFC, case-folded"),
        sa.Column("name_key", sa.Text(), nullable=False, comment="SHA-256 of first and last name, likewise"),
        sa.Column("possible_duplicate", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False, comment="of the newest registration"),
        sa.Column("registered_generation", BIG, nullable=False, comment="decides between registrations of one moment"),
        sa.Column("anrede", sa.Text()),
        sa.Column("geschlecht", sa.Text()),
        sa.Column("vorname", sa.Text(), nullable=False),
        sa.Column("nachname", sa.Text(), nullable=False),
        sa.Column("strasse", sa.Text()),
        sa.Column("plz", sa.Text()),
        sa.Column("ort", sa.Text()),
        sa.Column("email", sa.Text()),
        sa.Column("telefon", sa.Text()),
        sa.Column("geburtsdatum", sa.Date()),
        sa.Column("hausarzt", sa.Text()),
        sa.Column("krankenkasse", sa.Text()),
        sa.Column("krankenversicherungsnummer", sa.Text()),
        sa.Column("diagnose", sa.Text()),
        sa.Column("symptome", JSON),
        sa.Column("erfahrung_mit_psychotherapie", sa.Boolean(create_constraint=False)),
        sa.Column("letzte_sitzung_vorherige_psychotherapie", sa.Date()),
        sa.Column("vertraege_unterschrieben", sa.Boolean(create_constraint=False)),
        sa.Column("psychotherapeutische_sprechstunde", sa.Boolean(create_constraint=False)),
        sa.Column("offen_fuer_gruppentherapie", sa.Boolean(create_constraint=False)),
        sa.Column("offen_fuer_diga", sa.Boolean(create_constraint=False)),
        sa.Column("empfehler_der_unterstuetzung", sa.Text()),
        sa.Column("zeitliche_verfuegbarkeit", JSON),
        sa.Column("raeumliche_verfuegbarkeit", JSON),
        sa.Column("verkehrsmittel", sa.Text()),
        sa.Column("bevorzugtes_therapeutengeschlecht", sa.Text()),
        sa.Column("bevorzugtes_therapieverfahren", sa.Text()),
        sa.Column("ausgeschlossene_therapeuten", JSON),
        sa.Column("extra", JSON, comment="fields that no column is made for"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_patients"),
        sa.UniqueConstraint("identity_key", name="uq_patients_identity_key"),
    )
    op.create_index("ix_patients_email_key", "patients", ["email_key"])
    op.create_table(
        "patient_registrations",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("patient_id", BIG, nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False, comment="of the file's bytes"),
        sa.Column("outcome", sa.Text(), nullable=False, comment="imported, updated or superseded"),
        sa.Column(
            "flag", sa.Text(), comment="why the patient may be a duplicate: no_email, birth_date, shared_email, unclear"
        ),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("object_name", sa.Text(), nullable=False),
        sa.Column("generation", BIG, nullable=False),
        sa.Column("copy_name", sa.Text(), nullable=False, comment="the local copy, in PATIENT_BACKUP_DIR"),
        sa.Column("size", BIG, nullable=False, comment="bytes"),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.Column(
            "registered_by", sa.Text(), nullable=False, comment="where that time is from: consent, body or object"
        ),
        sa.Column("document", JSON, nullable=False, comment="the whole body"),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_patient_registrations_patient_id_patients"),
        sa.PrimaryKeyConstraint("id", name="pk_patient_registrations"),
        sa.UniqueConstraint("sha256", name="uq_patient_registrations_sha256"),
    )
    op.create_index("ix_patient_registrations_patient_id", "patient_registrations", ["patient_id"])
    op.create_table(
        "patient_consents",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("patient_id", BIG, nullable=False),
        sa.Column("registration_id", BIG, nullable=False),
        sa.Column("consent_metadata", JSON, comment="the whole section; NULL where the body had none"),
        sa.Column("registration_token", sa.Text()),
        sa.Column("registration_timestamp", sa.Text(), comment="as it was sent"),
        sa.Column("consented_at", MOMENT, comment="consent_metadata.timestamp_utc"),
        sa.Column("file_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_patient_consents_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["registration_id"],
            ["patient_registrations.id"],
            name="fk_patient_consents_registration_id_patient_registrations",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_patient_consents"),
        comment="append-only",
    )
    op.create_index("ix_patient_consents_patient_id", "patient_consents", ["patient_id"])
    op.create_index("ix_patient_consents_registration_id", "patient_consents", ["registration_id"])
    op.create_table(
        "patient_tracking",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("object_name", sa.Text(), nullable=False),
        sa.Column("generation", BIG, nullable=False),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="imported, updated, superseded, duplicate_file, failed, dead, unrecognised",
        ),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, comment="that failed by the content; faults of others never count"
        ),
        sa.Column("code", sa.Text(), comment="of the last failure"),
        sa.Column("sha256", sa.Text()),
        sa.Column("size", BIG, comment="bytes"),
        sa.Column("object_time", MOMENT),
        sa.Column("copy_name", sa.Text()),
        sa.Column("patient_id", BIG),
        sa.Column("registration_id", BIG),
        sa.Column("consent_id", BIG),
        sa.Column("deleted_at", MOMENT, comment="when it was known that this generation is gone from the bucket"),
        sa.Column("told", sa.Text(), comment="the last status that a mail was written about"),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["consent_id"], ["patient_consents.id"], name="fk_patient_tracking_consent_id_patient_consents"
        ),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_patient_tracking_patient_id_patients"),
        sa.ForeignKeyConstraint(
            ["registration_id"],
            ["patient_registrations.id"],
            name="fk_patient_tracking_registration_id_patient_registrations",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_patient_tracking"),
        sa.UniqueConstraint(
            "bucket", "object_name", "generation", name="uq_patient_tracking_bucket_object_name_generation"
        ),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", BIG, primary_key=True),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False, comment="order is kept per key"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("payload", JSON, comment="NULL once published or older than 30 days"),
        sa.Column("published_at", MOMENT),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sa.UniqueConstraint("event_id", name="uq_outbox_event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["topic", "seq"],
        postgresql_where=sa.text("published_at IS NULL"),
        sqlite_where=sa.text("published_at IS NULL"),
    )
