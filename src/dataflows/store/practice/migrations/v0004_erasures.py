"""Version 4: what was erased, as keyed hashes, so that it does not come back unseen."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision: str | None = "0003"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "erasures",
        sa.Column("id", BIG, primary_key=True),
        sa.Column("mark", sa.Text(), nullable=False, comment="keyed hash of a file, an object's name or a therapist"),
        sa.Column("key_id", sa.Text(), nullable=False, comment="which data folder's journal.key it was made with"),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("erased_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_erasures"),
        sa.UniqueConstraint("mark", name="uq_erasures_mark"),
        comment="what was erased by `dataflows person erase`; nothing in here names anybody",
    )
