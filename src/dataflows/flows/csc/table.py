"""The staging table as such: its columns and rows, the database it is in, and how the two are named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import mssql

from dataflows.errors import SettingUnusable
from dataflows.store.database import connect, identity, text_hash, translated
from dataflows.store.failures import in_statements

if TYPE_CHECKING:
    from dataflows.settings import Settings

_PART = re.compile(r"\[([^\[\]]+)\]|\"([^\"]+)\"|`([^`]+)`|([\w$#@-]*)")  # quoted as SQL Server, others or not at all

_IDLE_SECONDS = 10.0  # of a session, before it is asked whether it still stands; what it does is repeated anyway

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
    """Split a name as people write it: ``x``, ``dbo.x``, ``[dbo].[x]``, ``db..x``, ``db.dbo.x``."""
    parts, rest = [], f".{name.strip()}"
    while rest.startswith(".") and (part := _PART.match(rest, 1)):
        parts.append(next((group for group in part.groups() if group), ""))
        rest = rest[part.end() :]
    if len(parts) == 3 and not parts[1]:
        parts[1] = "dbo"
    if rest or not 1 <= len(parts) <= 3 or not all(parts):
        raise SettingUnusable(
            f"TABLE_NAME is not a table name: {name!r}",
            reason="setting-form",
            hint="write it as table, schema.table or database.schema.table",
        )
    return parts


class TableIdentity(NamedTuple):
    """Which table it is, however it is spelled and by whatever name its server is reached.

    Attributes:
        database: the database's own id (it stays through a failover or a renamed server).
        table: schema and table as the database names them.
        place: SQL Server: the name of the database that the table is in, where TABLE_NAME names one.
    """

    database: str
    table: str
    place: str = ""

    @property
    def key(self) -> str:
        """One text for both: what a lock and owed write-backs belong to."""
        return f"{self.database}#{self.table}"


def identified(engine: sa.Engine, name: str) -> TableIdentity:
    """Ask the database which table a name means.

    Raises:
        SettingUnusable: it has no such table.
    """
    table, ask = staging_table(name), _ASK[engine.dialect.name]
    found = in_statements(engine, lambda connection: ask(connection, table))
    if found is None:
        raise SettingUnusable(
            "DB_CONNECTION_STRING: the database has no such table",
            reason="table-missing",
            hint="check TABLE_NAME: dataflows test-schema",
        )
    return found


def _sqlite(connection: sa.Connection, table: sa.Table) -> TableIdentity | None:
    known = sa.text("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND lower(name) = lower(:name)")
    name = connection.execute(known, {"name": table.name}).scalar()
    file = connection.exec_driver_sql("PRAGMA database_list").first()
    path = os.path.normcase(os.path.realpath(file[2])) if file and file[2] else ""
    return TableIdentity(f"sqlite://{path}", f"main.{name}") if name else None


def _postgresql(connection: sa.Connection, table: sa.Table) -> TableIdentity | None:
    named = sa.text(
        "SELECT n.nspname, c.relname, d.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " JOIN pg_database d ON d.datname = current_database() WHERE c.oid = to_regclass(:name)"
    )
    full = connection.dialect.identifier_preparer.format_table(table)
    found = connection.execute(named, {"name": full}).first()
    if found is None:
        return None
    may_ask = connection.exec_driver_sql("SELECT has_function_privilege('pg_control_system()', 'EXECUTE')").scalar()
    asked = "SELECT system_identifier FROM pg_control_system()"
    cluster = connection.exec_driver_sql(asked).scalar() if may_ask else identity(connection.engine.url)
    return TableIdentity(f"postgresql://{cluster}/{found.oid}", f"{found.nspname}.{found.relname}")


def _sql_server(connection: sa.Connection, table: sa.Table) -> TableIdentity | None:
    place, full = place_and_name(connection.dialect, table)
    views = f"{connection.dialect.identifier_preparer.quote_identifier(place)}.sys" if place else "sys"
    named = sa.text(
        "SELECT s.name AS owner, o.name, o.type, (SELECT base_object_name"  # noqa: S608
        f" FROM {views}.synonyms y WHERE y.object_id = o.object_id) AS meant FROM {views}.objects o"
        f" JOIN {views}.schemas s ON s.schema_id = o.schema_id WHERE o.object_id = OBJECT_ID(:name)"
    )
    found = connection.execute(named, {"name": full}).first()
    if found is None:
        return None
    if found.meant and str(found.meant) != full:
        return _sql_server(connection, staging_table(_with_database(str(found.meant), place)))
    own = sa.text(
        "SELECT name, CAST(service_broker_guid AS NVARCHAR(36)) AS guid, CAST(@@SERVERNAME AS NVARCHAR(128)) AS server"
        " FROM sys.databases WHERE name = COALESCE(NULLIF(:place, N''), DB_NAME())"
    )
    database = connection.execute(own, {"place": place}).one()
    known = database.guid if database.guid and set(database.guid) - set("0-") else f"{database.server}/{database.name}"
    return TableIdentity(f"mssql://{known.lower()}", f"{found.owner}.{found.name}", place and database.name)


def place_and_name(dialect: sa.Dialect, table: sa.Table) -> tuple[str, str]:
    """Return the database that a name for SQL Server tells, if any, and the name as OBJECT_ID takes it."""
    owner = (table.schema or "").split(".")
    quote = dialect.identifier_preparer.quote_identifier
    return owner[0] if len(owner) == 2 else "", ".".join(quote(part) for part in (*filter(None, owner), table.name))


def _with_database(name: str, place: str) -> str:
    """Return what a synonym means, with the database that it was found in where it names none."""
    parts = _parts(name)
    return name if not place or len(parts) == 3 else ".".join(f"[{part}]" for part in (place, "dbo", *parts)[-3:])


_ASK: Mapping[str, Callable[[sa.Connection, sa.Table], TableIdentity | None]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mssql": _sql_server,
}


def open_engine(settings: Settings, *, create: bool = False) -> sa.Engine:
    """Open the database of DB_CONNECTION_STRING, else the embedded ``staging.db`` in DATA_DIR if it was made.

    ``create``: a SQLite file is made where there is none, for its owner alone.

    Raises:
        SettingUnusable: neither is there (an empty database made in passing would look like a night without work).
    """
    if settings.db_connection_string is not None:
        return connect(settings.db_connection_string, create=create, ping_after=_IDLE_SECONDS, statements=True)
    embedded = settings.data_dir / "staging.db"
    if not create and not embedded.exists():
        raise SettingUnusable(
            "DB_CONNECTION_STRING is not set, and there is no embedded staging.db in the data folder",
            reason="setting-missing",
            hint="set it; or create an embedded table to try things out: dataflows test-schema --create",
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
            reason="table-not-made-here",
            hint="run the loader's script, then: dataflows test-schema",
        )
    with translated("DB_CONNECTION_STRING"):
        staging_table(name).create(engine, checkfirst=True)
        if engine.dialect.name == "sqlite":  # a loader and a run may then work side by side, and commits cost less
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")


@lru_cache(maxsize=1000)
def _asks(status: str | None, state: str | None) -> tuple[bool, bool]:
    """Return whether the words say deleted, and whether they say pending or error."""
    return (state or "").strip().lower() == "deleted", (status or "").strip().lower() in ("pending", "error")


class StagedRow(NamedTuple):
    """One row as it was read."""

    id: int
    person_id: str | None
    payload: str | None
    previous: str | None
    response: str | None
    status: str | None
    row_state: str | None
    partial: str | None = None  # of deleted rows that were sent only

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the payload (UTF-8), worked out when it is asked for: it tells whether a payload is the same."""
        return text_hash(self.payload or "")

    @property
    def deleted(self) -> bool:
        """Whether the loader says that the child is gone."""
        return _asks(self.status, self.row_state)[0]

    @property
    def failed(self) -> bool:
        """Whether an earlier run ended this row in error."""
        return (self.status or "").strip().lower() == "error"

    def says(self, error: str | None) -> bool:
        """Tell whether it ended in this very error."""
        return self.failed and self.response == error

    @property
    def waiting(self) -> bool:
        """Whether there may be something to do about the row: pending or in error with a payload, or deleted."""
        deleted, pending = _asks(self.status, self.row_state)
        return deleted or bool(pending and self.payload)

    @property
    def settled(self) -> bool:
        """Whether the row says that it was sent."""
        return (self.status or "").strip().lower() == "sent"


class RowUpdate(NamedTuple):
    """One update: which row, what it must still hold, and what is written."""

    row: StagedRow
    response: str | None = None
    partial: str | None = None
