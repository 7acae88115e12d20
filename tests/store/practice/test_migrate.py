"""A practice database of any version comes to the newest one without loss; a new one is what the code expects."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from dataflows.errors import SettingUnusable
from dataflows.flows.practice.values import folded
from dataflows.store.database import connect
from dataflows.store.practice.migrate import NEWEST, VERSION_TABLE, is_current, migrate, version_of
from dataflows.store.practice.migrations import VERSIONS, v0002_therapists, v0003_locations
from dataflows.store.practice.tables import metadata
from tests.store.practice.frozen import thaw

OURS = set(metadata.tables)
IN_VERSION_1 = ("outbox", "patient_consents", "patient_registrations", "patient_tracking", "patients")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty database."""
    if request.param == "sqlite":
        engine = connect(f"sqlite:///{tmp_path / 'practice.db'}")
        yield engine
        engine.dispose()
        return
    server = connect(request.getfixturevalue("postgres_url"))
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE migrated"))
        engine = connect(server.url.set(database="migrated").render_as_string(hide_password=False))
        yield engine
        engine.dispose()
        connection.execute(sa.text("DROP DATABASE migrated WITH (FORCE)"))
    server.dispose()


def contents(engine: sa.Engine) -> dict[str, list[dict[str, Any]]]:
    """All rows of the tables of version 1, by the columns that are there now."""
    found = {}
    with engine.connect() as connection:
        for name in IN_VERSION_1:
            rows = connection.execute(sa.text(f"SELECT * FROM {name} ORDER BY 1")).mappings()
            found[name] = [dict(row) for row in rows]
    return found


def differences(engine: sa.Engine) -> list[Any]:
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def test_a_database_of_version_1_keeps_all_it_holds(engine: sa.Engine) -> None:
    thaw(engine)
    before = contents(engine)
    assert version_of(engine) == "0001"
    assert min(len(rows) for rows in before.values()) > 1
    assert migrate(engine) is True
    after = contents(engine)
    for name, rows in before.items():
        kept = [{column: row[column] for column in rows[0]} for row in after[name]]
        assert kept == rows, name
    assert (version_of(engine), differences(engine)) == (NEWEST, [])


def rows(engine: sa.Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def test_a_database_of_version_2_keeps_all_it_holds_and_learns_the_new_rules(engine: sa.Engine) -> None:
    thaw(engine, 2)
    assert version_of(engine) == "0002"
    before = contents(engine)
    assert rows(engine, "SELECT registered_by FROM patient_registrations ORDER BY id")[4] == ("consent",)
    assert migrate(engine) is True
    assert (version_of(engine), differences(engine)) == (NEWEST, [])
    after = contents(engine)
    for name, old in before.items():
        times = {"registered_at", "registered_by", "registered_generation"}
        stable = [
            [{key: value for key, value in row.items() if key not in times} for row in part[name]]
            for part in (before, after)
        ]
        assert stable[0] == stable[1], name
        assert len(old) == len(after[name])
    berta = "SELECT patient_id FROM patient_registrations WHERE object_name LIKE 'Muster_Berta%'"
    told = rows(
        engine, f"SELECT outcome, registered_by FROM patient_registrations WHERE patient_id IN ({berta}) ORDER BY id"
    )
    assert told == [("imported", "object"), ("superseded", "consent")]
    late = rows(engine, "SELECT count(*) FROM patient_registrations WHERE registered_at > '2098-01-01'")
    held = rows(engine, "SELECT count(*) FROM patients WHERE registered_at > '2098-01-01'")
    assert (late, held) == ([(0,)], [(0,)])
    keys = {key for (key,) in rows(engine, "SELECT natural_key FROM therapists")}
    assert "jean paul\nd'arc\n52074" in keys
    assert rows(engine, "SELECT count(*), count(notes) FROM therapists") == [(11, 11)]
    assert rows(engine, "SELECT count(*) FROM therapist_locations") == [(0,)]


def test_the_keys_of_the_migration_are_those_of_the_import() -> None:
    for text in ("Jean\u00a0Paul", "D\u2019Arc", "a \u2013 b", "Gro\u00df\u00ad", "J\u006f\u0308rg  X", "O`Neil"):
        assert v0003_locations._folded(text) == folded(text)


def test_a_new_database_is_what_the_code_expects(engine: sa.Engine) -> None:
    assert version_of(engine) is None
    assert migrate(engine) is True
    assert (version_of(engine), differences(engine)) == (NEWEST, [])
    assert set(sa.inspect(engine).get_table_names()) == OURS | {VERSION_TABLE}
    assert migrate(engine) is False


def test_step_by_step_comes_to_the_same(engine: sa.Engine) -> None:
    for version in VERSIONS:
        assert migrate(engine, to=str(version.revision)) is True
    assert differences(engine) == []


def test_a_migration_that_breaks_leaves_nothing_behind(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(v0002_therapists, "upgrade", broken)
        with pytest.raises(RuntimeError):
            migrate(engine)
    assert (version_of(engine), sa.inspect(engine).get_table_names()) == (None, [])
    assert migrate(engine) is True


def test_two_that_start_at_once_do_it_once(engine: sa.Engine) -> None:
    with ThreadPoolExecutor(2) as pool:
        did = list(pool.map(lambda _: migrate(engine), range(2)))
    assert sorted(did) == [False, True]


def test_a_database_of_a_newer_version_is_refused(engine: sa.Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for ask in (migrate, is_current):  # a rehearsal asks too, and does not promise to bring it to an older version
        with pytest.raises(SettingUnusable, match="newer version"):
            ask(engine)


def test_tables_of_another_program_are_not_touched(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE patients (id integer)")
    with pytest.raises(SettingUnusable, match="names as ours: patients"):
        migrate(engine)
    assert sa.inspect(engine).get_table_names() == ["patients"]


def test_versions_follow_each_other() -> None:
    assert VERSIONS[-1].revision == NEWEST
    assert [module.down_revision for module in VERSIONS] == [None, *(module.revision for module in VERSIONS[:-1])]


def test_text_has_no_limits_of_length() -> None:
    types = [column.type for table in metadata.tables.values() for column in table.columns]
    texts = [kind for kind in types if isinstance(kind, sa.String)]
    assert len(texts) > 20
    assert [kind for kind in texts if kind.length is not None] == []
