"""Which version of its schema a practice database has, and the way to the newest one.

Nearly every run finds the newest one there; Alembic, which takes the way (``upgrading``), is loaded when it is not: its
libraries are a tenth of a second and 9 MB.
"""

from __future__ import annotations

import sqlalchemy as sa

from dataflows.errors import SettingUnusable

NEWEST = "0003"
VERSION_TABLE = "dataflows_practice_version"  # a database may hold the tables of other programs that use Alembic too
_VERSION = sa.Table(VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32)))  # as Alembic makes it


def version_of(engine: sa.Engine) -> str | None:
    """The version of a database's schema, such as ``"0001"``; None where none of ours is there."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table(VERSION_TABLE):
            return None
        version: str | None = connection.execute(sa.select(_VERSION.c.version_num)).scalar()
        return version


def is_current(engine: sa.Engine) -> bool:
    """Whether a database has the newest version, which a rehearsal needs. Raises SettingUnusable for a newer one."""
    version = version_of(engine)
    if version is not None and version > NEWEST:
        raise newer(version)
    return version == NEWEST


def migrate(engine: sa.Engine, to: str = NEWEST) -> bool:
    """Make the tables, or bring them to version ``to``; all steps in one transaction. Returns whether there was need.

    Two processes may call this at the same time: one of them does it, the other one waits.

    Raises:
        SettingUnusable: a newer version of the program wrote the database, or it holds tables of another program that
            have the names of ours.
        sqlalchemy.exc.DBAPIError: see ``database.translated``.
    """
    if version_of(engine) == to:
        return False
    from dataflows.store.practice.upgrading import upgrade

    return upgrade(engine, to)


def newer(version: str) -> SettingUnusable:
    """Return the error for a database whose schema is of a version that this program does not know."""
    return SettingUnusable(
        f"the practice database was written by a newer version of dataflows (schema {version})",
        hint="install that version again, or let IMPORT_DATABASE_URL name another database",
    )
