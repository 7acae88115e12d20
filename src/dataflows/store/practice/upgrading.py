"""Brings a practice database to a version of its schema, with Alembic's operations and version table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext, MigrationStep, RevisionStep
from alembic.script.base import Script
from alembic.script.revision import RevisionMap

from dataflows.errors import SettingUnusable
from dataflows.store.practice import tables
from dataflows.store.practice.migrate import NEWEST, VERSION_TABLE, newer
from dataflows.store.practice.migrations import VERSIONS

_TURN = 0x6461_7461_666C_6F77  # the key of the advisory lock: "dataflow" in ASCII


def upgrade(engine: sa.Engine, to: str) -> bool:
    """Take all steps to version ``to`` in one transaction, unless another process just did. Raises as ``migrate``."""
    with _alone(engine) as connection:
        before = _context(connection).get_current_revision()
        if before == to:
            return False
        _refuse_strangers(connection, before)
        context = _context(connection, fn=lambda heads, context: _steps(heads, to))
        with Operations.context(context):
            context.run_migrations()
    return True


def _context(connection: sa.Connection, **options: Any) -> MigrationContext:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, **options})


def _steps(heads: tuple[str, ...], to: str) -> list[RevisionStep]:
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
    if version is not None and version not in [module.revision for module in VERSIONS]:
        raise newer(version)
    ours = set(tables.metadata.tables)
    strangers = sorted(ours & set(sa.inspect(connection).get_table_names())) if version is None else []
    if strangers:
        raise SettingUnusable(
            f"the database has tables of another program with the names of ours: {', '.join(strangers)}",
            hint="let IMPORT_DATABASE_URL name a database, or a schema (options=-csearch_path=name), of its own",
        )
