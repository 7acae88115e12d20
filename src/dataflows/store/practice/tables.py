"""The tables of the practice database, as the newest schema has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A whole number of 64 bits (every INTEGER of SQLite is one, and only INTEGER counts up by itself there)."""

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
"""Any JSON; Python's None is NULL."""


class Instant(sa.TypeDecorator[datetime]):
    """A moment: an aware datetime here, ``timestamptz`` in PostgreSQL, UTC as text in SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Hand the moment over in UTC.

        Raises:
            ValueError: it is naive, so nobody knows which moment it is.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Take the moment back, aware and in UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


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


therapists = sa.Table(
    "therapists",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("area", sa.Text, nullable=False, comment="postcode area of the newest file, such as 52XXX"),
    sa.Column("source_id", sa.Text, comment="the source's number within its area, such as praxis67; it may be reused"),
    sa.Column("natural_key", sa.Text, comment="first name, last name, postcode, as names are compared"),
    sa.Column("content_hash", sa.Text, nullable=False, comment="SHA-256 of the newest entry's canonical JSON"),
    sa.Column("last_seen", Instant, comment="scrape date of the newest file that shows them; NULL: only seen deleted"),
    sa.Column("seen_in", sa.Text, comment="that file; decides between files of one date"),
    sa.Column("active", sa.Boolean(create_constraint=False), nullable=False),
    sa.Column("deleted_at", Instant, comment="scrape date of the file that deleted them; NULL while active"),
    sa.Column("salutation", sa.Text),
    sa.Column("title", sa.Text),
    sa.Column("first_name", sa.Text, nullable=False),
    sa.Column("last_name", sa.Text, nullable=False),
    sa.Column("full_name", sa.Text),
    sa.Column("classification", sa.Text),
    sa.Column("street", sa.Text),
    sa.Column("house_number", sa.Text),
    sa.Column("postal_code", sa.Text),
    sa.Column("city", sa.Text),
    sa.Column("phone", sa.Text),
    sa.Column("email", sa.Text),
    sa.Column("fax", sa.Text),
    sa.Column("languages", JSON),
    sa.Column("therapy_methods", JSON),
    sa.Column("telephone_hours", JSON),
    sa.Column("extra", JSON, comment="fields that no column is made for"),
    sa.Column(
        "status", sa.Text, nullable=False, server_default="aktiv", comment="operator's: aktiv, gesperrt or inaktiv"
    ),
    sa.Column("sperrgrund", sa.Text, comment="operator's"),
    sa.Column("notes", sa.Text, comment="operator's"),
    sa.Column("contact_history", JSON, comment="operator's"),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index(None, "natural_key"),
    sa.Index(None, "area", "source_id"),
    sqlite_autoincrement=True,
)

therapist_locations = sa.Table(
    "therapist_locations",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("therapist_id", BIG, sa.ForeignKey("therapists.id"), nullable=False),
    *(
        sa.Column(name, therapists.c[name].type, nullable=therapists.c[name].nullable)
        for name in (
            *("area", "source_id", "natural_key", "content_hash", "last_seen", "seen_in", "active", "deleted_at"),
            *("salutation", "title", "first_name", "last_name", "full_name", "classification"),
            *("street", "house_number", "postal_code", "city", "phone", "email", "fax"),
            *("languages", "therapy_methods", "telephone_hours", "extra", "created_at", "updated_at"),
        )
    ),
    sa.Index(None, "therapist_id"),
    sa.Index(None, "natural_key"),
    sa.Index(None, "area", "source_id"),
    comment="further listings of a therapist, each with what it says; the first one is the row in therapists",
    sqlite_autoincrement=True,
)

therapist_changes = sa.Table(
    "therapist_changes",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("therapist_id", BIG, sa.ForeignKey("therapists.id"), nullable=False),
    sa.Column(
        "field", sa.Text, nullable=False, comment="a column of therapists; of a further listing locations.<column>"
    ),
    sa.Column("old_value", JSON),
    sa.Column("new_value", JSON),
    sa.Column("file_name", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("changed_at", Instant, nullable=False),
    sa.Index(None, "therapist_id"),
)

import_tracking = sa.Table(
    "import_tracking",
    metadata,
    sa.Column("id", BIG, primary_key=True),
    sa.Column("file_name", sa.Text, nullable=False, comment="path below the import folder, with /"),
    sa.Column("file_hash", sa.Text, nullable=False, comment="SHA-256 of the bytes; empty where it could not be read"),
    sa.Column("processed_at", Instant, nullable=False),
    sa.Column("therapist_count", BIG, nullable=False, comment="entries in the file"),
    sa.Column("new_count", BIG, nullable=False),
    sa.Column("updated_count", BIG, nullable=False),
    sa.Column("unchanged_count", BIG, nullable=False),
    sa.Column("deleted_count", BIG, nullable=False),
    sa.Column("status", sa.Text, nullable=False, comment="success, partial, failed, superseded"),
    sa.Column("error", sa.Text, comment="why it failed, or what was wrong with its entries, as stable names"),
    sa.Column("attempts", BIG, nullable=False, comment="how often this content failed, in whole or in part"),
    sa.Column("scrape_date", Instant),
    sa.Column("told", sa.Text, comment="the last state that a mail was written about: failed or dead"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Index(None, "file_name"),
)

erasures = sa.Table(
    "erasures",
    metadata,
    _id(),
    sa.Column("mark", sa.Text, nullable=False, comment="keyed hash of a file, an object's name or a therapist"),
    sa.Column("key_id", sa.Text, nullable=False, comment="which data folder's journal.key it was made with"),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("erased_at", Instant, nullable=False),
    sa.UniqueConstraint("mark"),
    comment="what was erased by `dataflows person erase`; nothing in here names anybody",
)
