"""Which version of its schema a practice database has, and the way to the newest one.

Nearly every run finds the newest one there; Alembic, with whose operations and version table the way is taken, is
loaded when it is not: its libraries are a tenth of a second and 9 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from dataflows.errors import SettingUnusable
from dataflows.store.practice import tables

if TYPE_CHECKING:
    from alembic.runtime.migration import MigrationContext, RevisionStep

NEWEST = "0004"
VERSION_TABLE = "dataflows_practice_version"  # a database may hold the tables of other programs that use Alembic too
_TURN = 0x6461_7461_666C_6F77  # the key of the advisory lock: "dataflow" in ASCII
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
        raise _newer(version)
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
    from alembic.operations import Operations

    with _alone(engine) as connection:
        before = _context(connection).get_current_revision()
        if before == to:  # another process just did it
            return False
        _refuse_strangers(connection, before)
        context = _context(connection, fn=lambda heads, _: _steps(heads, to))
        with Operations.context(context):
            context.run_migrations()
    return True


def _newer(version: str) -> SettingUnusable:
    """Return the error for a database whose schema is of a version that this program does not know."""
    return SettingUnusable(
        f"the practice database was written by a newer version of dataflows (schema {version})",
        reason="practice-database-newer",
        hint="install that version again, or let IMPORT_DATABASE_URL name another database",
    )


def _context(connection: sa.Connection, **options: Any) -> MigrationContext:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, **options})


def _steps(heads: tuple[str, ...], to: str) -> list[RevisionStep]:
    from alembic.runtime.migration import MigrationStep
    from alembic.script.base import Script
    from alembic.script.revision import RevisionMap

    from dataflows.store.practice.migrations import VERSIONS

    known = [str(module.revision) for module in VERSIONS]
    done = known.index(heads[0]) + 1 if heads else 0
    scripts = [Script(module, module.revision, str(module.__file__)) for module in VERSIONS]
    revisions = RevisionMap(lambda: scripts)
    revisions.get_revision(NEWEST)  # which makes the map connect its revisions
    return [MigrationStep.upgrade_from_script(revisions, script) for script in scripts[done : known.index(to) + 1]]


@contextmanager
def _alone(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that no other migration runs beside, and that takes table definitions back as well."""
    if engine.dialect.name != "sqlite":
        with engine.begin() as connection:
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _TURN})
            yield connection
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver itself begins none for a CREATE TABLE
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _refuse_strangers(connection: sa.Connection, version: str | None) -> None:
    from dataflows.store.practice.migrations import VERSIONS

    if version is not None and version not in [module.revision for module in VERSIONS]:
        raise _newer(version)
    ours = set(tables.metadata.tables)
    strangers = sorted(ours & set(sa.inspect(connection).get_table_names())) if version is None else []
    if strangers:
        raise SettingUnusable(
            f"the database has another program's tables with the same names as ours: {', '.join(strangers)}",
            reason="practice-tables-foreign",
            hint="let IMPORT_DATABASE_URL name a separate database, or a separate schema (options=-csearch_path=name)",
        )
