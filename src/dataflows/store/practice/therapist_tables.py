"""The tables of therapists: who they are, their further listings, what changed, and which files were imported.

Columns that an import never touches are the operator's own: ``status``, ``sperrgrund``, ``notes``, ``contact_history``.
"""

from __future__ import annotations

import sqlalchemy as sa

from dataflows.store.practice.metadata import BIG, JSON, Instant, metadata

__all__ = ["import_tracking", "therapist_changes", "therapist_locations", "therapists"]

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
