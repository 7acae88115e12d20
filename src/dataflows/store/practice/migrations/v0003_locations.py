"""Version 3: further listings of therapists; names as they are compared now; no registration of the future."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision: str | None = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
MOMENT = sa.DateTime(timezone=True)
_PAGE = 1000
_AHEAD = timedelta(days=1)
_COMMENTS = (
    ("therapists", "natural_key", "first name, last name, postcode, as names are compared"),
    ("therapist_changes", "field", "a column of therapists; of a further listing locations.<column>"),
)
_ALIKE = str.maketrans(
    dict.fromkeys("\u2018\u2019\u201b\u02bc\u02b9\u2032\u00b4`", "'")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-")
    | {"\u00ad": None}
)


def upgrade() -> None:
    """Make the table, and bring what is there to the new rules."""
    op.create_table(
        "therapist_locations",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("therapist_id", BIG, nullable=False),
        sa.Column("area", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text()),
        sa.Column("natural_key", sa.Text()),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("last_seen", MOMENT),
        sa.Column("seen_in", sa.Text()),
        sa.Column("active", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("deleted_at", MOMENT),
        sa.Column("salutation", sa.Text()),
        sa.Column("title", sa.Text()),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text()),
        sa.Column("classification", sa.Text()),
        sa.Column("street", sa.Text()),
        sa.Column("house_number", sa.Text()),
        sa.Column("postal_code", sa.Text()),
        sa.Column("city", sa.Text()),
        sa.Column("phone", sa.Text()),
        sa.Column("email", sa.Text()),
        sa.Column("fax", sa.Text()),
        sa.Column("languages", JSON),
        sa.Column("therapy_methods", JSON),
        sa.Column("telephone_hours", JSON),
        sa.Column("extra", JSON),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["therapist_id"], ["therapists.id"], name="fk_therapist_locations_therapist_id_therapists"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_therapist_locations"),
        comment="further listings of a therapist, each with what it says; the first one is the row in therapists",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_therapist_locations_therapist_id", "therapist_locations", ["therapist_id"])
    op.create_index("ix_therapist_locations_natural_key", "therapist_locations", ["natural_key"])
    op.create_index("ix_therapist_locations_area_source_id", "therapist_locations", ["area", "source_id"])
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        for table, column, comment in _COMMENTS:
            op.alter_column(table, column, comment=comment)
    _renew_keys(connection)
    _bring_back_times(connection)


def _renew_keys(connection: sa.Connection) -> None:
    """Names are compared with single blanks, and plain apostrophes and hyphens."""
    table = sa.Table("therapists", sa.MetaData(), autoload_with=connection)
    column, last = table.c, 0
    names = (column.first_name, column.last_name, column.postal_code)
    while True:
        chosen = sa.select(column.id, column.natural_key, *names).where(column.id > last).order_by(column.id)
        rows = connection.execute(chosen.limit(_PAGE)).all()
        for number, before, *texts in rows:
            key = "\n".join(map(_folded, texts)) if texts[-1] else None
            if key != before:
                connection.execute(table.update().where(column.id == number).values(natural_key=key))
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]


def _folded(text: str) -> str:
    plain = " ".join(text.casefold().split())
    return unicodedata.normalize("NFC", plain.translate(_ALIKE))


def _bring_back_times(connection: sa.Connection) -> None:
    """A time of a registration more than a day ahead of its object's is not believed: it would block its patient."""
    metadata = sa.MetaData()
    registrations = sa.Table("patient_registrations", metadata, autoload_with=connection)
    tracking = sa.Table("patient_tracking", metadata, autoload_with=connection)
    patients = sa.Table("patients", metadata, autoload_with=connection)
    told = sa.select(
        registrations.c.id, registrations.c.patient_id, registrations.c.registered_at, tracking.c.object_time
    ).join(tracking, tracking.c.registration_id == registrations.c.id)
    late = told.where(registrations.c.registered_at > tracking.c.object_time)
    for number, patient, registered, made in connection.execute(late).all():
        if registered <= made + _AHEAD:
            continue
        values = {"registered_at": made, "registered_by": "object"}
        connection.execute(registrations.update().where(registrations.c.id == number).values(values))
        newest = (
            sa.select(registrations.c.registered_at, registrations.c.generation)
            .where(registrations.c.patient_id == patient)
            .order_by(registrations.c.registered_at.desc(), registrations.c.generation.desc())
        )
        at, generation = connection.execute(newest.limit(1)).one()
        now = {"registered_at": at, "registered_generation": generation}
        connection.execute(patients.update().where(patients.c.id == patient).values(now))
