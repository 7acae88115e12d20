"""SQLite files that a URL names: made for their owner alone, and never by a slip of the pen."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from dataflows.cli.main import main
from dataflows.errors import SettingUnusable
from dataflows.store.database import DatabaseLock, connect
from dataflows.store.sqlite_files import file_of
from tests.accounts import any_mask, open_to_others, posix

Capture = pytest.CaptureFixture[str]
FORMS = ["sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite:///file:{}?uri=true", "sqlite:///file:{}?mode=rwc&uri=true"]


@posix
@pytest.mark.parametrize("form", FORMS)
def test_what_is_made_is_the_owners_alone(tmp_path: Path, form: str) -> None:
    engine = connect(form.format(tmp_path / "new" / "sub" / "staging.db"))
    with any_mask(), engine.connect() as one, DatabaseLock(engine, "a lock"):
        one.exec_driver_sql("PRAGMA journal_mode=WAL")
        one.exec_driver_sql("CREATE TABLE t (a)")
        one.exec_driver_sql("INSERT INTO t VALUES (1)")
        assert len(list(tmp_path.rglob("*"))) == 6, "two folders, the database, its log and shared memory, a lock"
        assert open_to_others(tmp_path / "new") == []
    engine.dispose()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("folder", ["", "missing"])
def test_a_mistyped_path_is_not_made(tmp_path: Path, form: str, folder: str) -> None:
    path = tmp_path / folder / "stagign.db"
    engine = connect(form.format(path), create=False)
    for act in (engine.connect, DatabaseLock(engine, "a lock").acquire):
        with pytest.raises(SettingUnusable, match=r"there is no database file .*stagign"):
            act()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["csc-submit"], ["csc-submit", "--dry-run"], ["test-db"], ["test-schema"]])
def test_no_command_makes_one_in_passing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DB_CONNECTION_STRING", "IMPORT_DATABASE_URL"):
        monkeypatch.setenv(name, f"sqlite:///{tmp_path / 'mistyped' / 'x.db'}")
    settings = {"API_ENDPOINT": "https://127.0.0.1:1", "TOKEN_ENDPOINT": "https://127.0.0.1:1/token", "LA_CODE": "999"}
    for name, value in {
        **settings,
        **dict.fromkeys(("CLIENT_ID", "CLIENT_SECRET", "SCOPE", "SUPPLIER_KEY"), "x"),
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["--data-dir", str(tmp_path / "data"), *command]) == 10
    assert f"there is no database file {tmp_path / 'mistyped' / 'x.db'}" in "".join(capsys.readouterr())
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("name", ["x y.db", "ü %41?.db", "#x.db"])
def test_a_file_of_any_name_is_found(tmp_path: Path, name: str) -> None:
    if sys.platform == "win32" and "?" in name:
        pytest.skip("no name of a file there")
    url = sa.URL.create("sqlite", database=str(tmp_path / name)).render_as_string()
    assert file_of(sa.make_url(url)) == tmp_path / name
    made = connect(url)
    with made.begin() as one:
        one.exec_driver_sql("CREATE TABLE t (a)")
    there = connect(url, create=False)
    with there.begin() as one:
        one.exec_driver_sql("INSERT INTO t VALUES (1)")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_another_connection_does_not_let_go_of_a_lock(tmp_path: Path) -> None:
    """POSIX drops a process's locks on a file whenever it closes the file: to look whether it is there must not."""
    engine = connect(f"sqlite:///{tmp_path / 'staging.db'}?timeout=0.1")
    refused = []

    def write() -> None:
        with pytest.raises(sa.exc.OperationalError, match="locked"), engine.begin() as other:
            other.exec_driver_sql("CREATE TABLE u (a)")
        refused.append(True)

    with engine.connect() as one:
        one.exec_driver_sql("BEGIN EXCLUSIVE")
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()
    assert refused == [True]


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
def test_memory_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert file_of(sa.make_url(url)) is None
    with connect(url, create=False).connect() as one:
        assert one.exec_driver_sql("SELECT 1").scalar() == 1
    assert list(tmp_path.iterdir()) == []
