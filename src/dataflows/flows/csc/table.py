"""The staging table as such: its columns, the database it is in, and how the two are named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from dataflows.errors import SettingUnusable
from dataflows.store.database import connect, translated

if TYPE_CHECKING:
    from dataflows.settings import Settings

_NAME = re.compile(r"[\w$#-]+")

LONG = sa.UnicodeText().with_variant(mssql.NVARCHAR(None), "mssql")
HASH = sa.LargeBinary(32).with_variant(mssql.BINARY(32), "mssql")


def staging_table(name: str) -> sa.Table:
    """Describe the table (Standard Safeguarding Dataset; csc.md lists the columns).

    Raises:
        SettingUnusable: ``name`` is not a table name with at most a database and a schema in front.
    """
    *owner, table = _parts(name)
    return sa.Table(
        table,
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("person_id", sa.Unicode(20)),
        sa.Column("legacy_id", sa.Unicode(36)),
        sa.Column("previous_json_payload", LONG),
        sa.Column("json_payload", LONG, nullable=False),
        sa.Column("partial_json_payload", LONG),
        sa.Column("current_hash", HASH),
        sa.Column("previous_hash", HASH),
        sa.Column("submission_status", sa.Unicode(50), server_default="Pending"),
        sa.Column("submission_timestamp", sa.DateTime),
        sa.Column("api_response", LONG),
        sa.Column("row_state", sa.Unicode(10), server_default="New"),
        sa.Column("last_updated", sa.DateTime, server_default=sa.func.current_timestamp()),
        schema=".".join(owner) or None,
    )


def _parts(name: str) -> list[str]:
    parts = [part.strip('[]"` ') for part in name.split(".")]
    if not 1 <= len(parts) <= 3 or not all(_NAME.fullmatch(part) for part in parts):
        raise SettingUnusable(
            f"TABLE_NAME is not a table name: {name!r}", hint="write it as table, schema.table or database.schema.table"
        )
    return parts


def open_engine(settings: Settings, *, create: bool = False) -> sa.Engine:
    """Open the database of DB_CONNECTION_STRING, else the embedded ``staging.db`` in DATA_DIR if it was made.

    ``create``: a SQLite file is made where there is none, for its owner alone.

    Raises:
        SettingUnusable: neither is there (an empty database made in passing would look like a night without work).
    """
    if settings.db_connection_string is not None:
        return connect(settings.db_connection_string, create=create)
    embedded = settings.data_dir / "staging.db"
    if not create and not embedded.exists():
        raise SettingUnusable(
            "DB_CONNECTION_STRING is not set, and there is no embedded staging.db in the data folder",
            hint="set it; or make an embedded table to try things out: dataflows test-schema --create",
        )
    return connect(f"sqlite:///{embedded}", create=create)


def create_table(engine: sa.Engine, name: str) -> None:
    """Create the table where it is missing; only in SQLite and PostgreSQL, never in the authority's SQL Server.

    Raises:
        SettingUnusable: the database is a SQL Server.
    """
    if engine.dialect.name == "mssql":
        raise SettingUnusable(
            "the staging table of a SQL Server is made by the authority's own SQL, not by this tool",
            hint="run the loader's script, then: dataflows test-schema",
        )
    with translated("DB_CONNECTION_STRING"):
        staging_table(name).create(engine, checkfirst=True)
        if engine.dialect.name == "sqlite":  # a loader and a run may then work side by side, and commits cost less
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
