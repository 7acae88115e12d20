"""``test-db --target practice``: the database of the imports, in every state in which it can be met."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa

from dataflows.checks import DATABASES, Check, check_all
from dataflows.errors import ExitCode
from dataflows.settings import Secret, Settings
from dataflows.store.database import connect
from dataflows.store.practice.migrate import VERSION_TABLE, migrate
from tests.accounts import posix
from tests.remote.loopback import closed_port
from tests.store.practice.frozen import thaw

PASSWORD = "synthetic-password"


def checked(settings: Settings) -> dict[str, Check]:
    found = {check.name: check for check in DATABASES["practice"].check(settings)}
    assert PASSWORD not in repr(found)
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """A database without tables."""
    if request.param == "sqlite":
        engine = connect(f"sqlite:///{tmp_path / 'practice.db'}")
        engine.connect().close()
        yield engine
        engine.dispose()
        return
    server = connect(request.getfixturevalue("postgres_url"))
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("CREATE DATABASE checked"))
        engine = connect(server.url.set(database="checked").render_as_string(hide_password=False))
        yield engine
        engine.dispose()
        connection.execute(sa.text("DROP DATABASE checked WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def settings(engine: sa.Engine, tmp_path: Path) -> Settings:
    address = engine.url.render_as_string(hide_password=False)
    return Settings(data_dir=tmp_path, import_database_url=Secret(address))


def tables(engine: sa.Engine) -> list[str]:
    return sorted(sa.inspect(engine).get_table_names())


def test_a_database_of_the_newest_version_passes_and_stays_as_it_is(engine: sa.Engine, settings: Settings) -> None:
    migrate(engine)
    found = checked(settings)
    assert {check.passed for check in found.values()} == {True}
    assert found["schema"].text == "version 0004"
    assert found["read"].text == "10 tables can be read"
    assert found["write"].text == "10 tables can be written (the trial was rolled back)"


def test_a_database_without_tables_passes_and_gets_none(engine: sa.Engine, settings: Settings) -> None:
    found = checked(settings)
    assert {check.passed for check in found.values()} == {True}
    assert found["schema"].text == "no tables yet; the first import makes them"
    assert found["write"].text == "tables can be created (the trial was rolled back)"
    assert tables(engine) == []


def test_a_database_of_an_older_version_passes(engine: sa.Engine, settings: Settings) -> None:
    thaw(engine)
    found = checked(settings)
    assert {check.passed for check in found.values()} == {True}
    assert found["schema"].text == "version 0001; the next import makes it 0004"
    assert found["write"].text.startswith("5 tables")


def test_a_database_of_a_newer_version_fails(engine: sa.Engine, settings: Settings) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    found = checked(settings)
    assert (found["schema"].passed, found["schema"].exit_code) == (False, ExitCode.SETTINGS)
    assert (found["read"].passed, found["write"].passed) == (None, None)


@pytest.mark.parametrize("migrated", [True, False])
def test_an_account_that_may_only_read_fails(
    engine: sa.Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, migrated: bool
) -> None:
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no accounts")
    if migrated:
        migrate(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP ROLE IF EXISTS reader")
        connection.exec_driver_sql("CREATE ROLE reader LOGIN")
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    address = engine.url.set(username="reader").render_as_string(hide_password=False)
    found = checked(replace(settings, import_database_url=Secret(address)))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP OWNED BY reader")
        connection.exec_driver_sql("DROP ROLE reader")
    assert found["read"].passed is True
    assert (found["write"].passed, found["write"].exit_code) == (False, ExitCode.ACCESS_REFUSED)


def test_a_server_that_is_away_fails(tmp_path: Path) -> None:
    address = f"postgresql+psycopg://user:{PASSWORD}@127.0.0.1:{closed_port()}/base"
    found = checked(Settings(data_dir=tmp_path, import_database_url=Secret(address)))
    assert (found["connection"].passed, found["connection"].exit_code) == (False, ExitCode.SERVICE_DOWN)
    assert found["schema"].passed is None


@pytest.mark.parametrize("address", [None, "sqlite:///{}/other.db"])
def test_a_file_that_is_not_there_yet_is_not_made(tmp_path: Path, address: str | None) -> None:
    secret = Secret(address.format(tmp_path.as_posix())) if address else None
    found = checked(Settings(data_dir=tmp_path, import_database_url=secret))
    assert list(found) == ["env file", "database address"]
    assert found["database address"].text.endswith("not there yet; the first import makes it")
    assert list(tmp_path.iterdir()) == []


def test_a_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "practice.db"
    engine = connect(f"sqlite:///{file}")
    migrate(engine)
    engine.dispose()
    before = file.read_bytes()
    assert {check.passed for check in checked(Settings(data_dir=tmp_path)).values()} == {True}
    assert (file.read_bytes() == before, list(tmp_path.iterdir())) == (True, [file])


def test_an_address_that_is_none_fails(tmp_path: Path) -> None:
    found = checked(Settings(data_dir=tmp_path, import_database_url=Secret(f"nonsense {PASSWORD}")))
    assert found["database address"].exit_code is ExitCode.SETTINGS
    assert found["connection"].passed is None


def test_both_databases_are_checked_where_both_are_there(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    skipped = {check.name for check in check_all(DATABASES, settings) if check.passed is None}
    assert skipped == {"practice", "staging: connection", "staging: read", "staging: write"}
    for name in ("practice.db", "staging.db"):
        (tmp_path / name).touch()
    names = {check.name.partition(":")[0] for check in check_all(DATABASES, settings) if check.passed is not None}
    assert names == {"env file", "staging", "practice"}


@posix
@pytest.mark.parametrize("target", DATABASES)
def test_a_database_that_is_open_to_all_is_told_and_the_hint_mends_it(target: str) -> None:
    check = DATABASES[target].check
    with TemporaryDirectory() as name:  # pytest's own folders are closed to others
        Path(name).chmod(0o755)
        folder = Path(name) / "of the loader's"
        folder.mkdir(mode=0o755)
        url = Secret(f"sqlite:///{folder / 'x.db'}")
        settings = Settings(data_dir=folder, import_database_url=url, db_connection_string=url)
        connect(url).connect().close()
        assert "database file" not in {one.name for one in check(settings)}
        files = [folder / "x.db", folder / "x.db-wal"]
        files[1].touch()
        for file in files:
            file.chmod(0o644)
        folder.chmod(0o777)
        [told] = [one for one in check(settings) if one.name == "database file"]
        assert told.passed and all(f"{one}" in told.text for one in (*files, folder))
        subprocess.run(told.hint, shell=True, check=True)
        assert "database file" not in {one.name for one in check(settings)}
