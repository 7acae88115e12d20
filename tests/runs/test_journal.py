from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from dataflows.errors import BadInput, ServiceDown, SettingUnusable
from dataflows.runs.journal import Item, Journal
from dataflows.store import files as module
from dataflows.store.files import refuse_network_share


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "data")


def started(journal: Journal, target: str = "table", batch_id: str | None = None) -> str:
    return journal.start("csc-submit", target, options={"full": True}, batch_id=batch_id)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_journal_is_the_owners_alone(tmp_path: Path) -> None:
    Journal.open(tmp_path / "data")
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "data" / "journal.db").stat().st_mode) == 0o600


def test_a_damaged_journal_is_named(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is no database at all" * 100)
    with pytest.raises(BadInput, match="damaged"):
        Journal.open(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM no_such_table",
        "SELEKT 1",
        "INSERT INTO runs (run_id) VALUES ('x')",
        "INSERT INTO parts VALUES (?, ?)",
    ],
)
def test_a_statement_of_ours_that_is_wrong_is_a_bug_and_no_matter_of_the_folder(
    journal: Journal, statement: str
) -> None:
    with pytest.raises(sqlite3.Error), journal.transaction() as db:
        db.execute(statement)


def test_a_journal_that_is_damaged_later_is_named(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    for number in range(200):
        journal.record(started(journal), [Item(str(number), "done")])
    journal.close()
    with (tmp_path / "journal.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    with pytest.raises(BadInput, match="damaged"):
        Journal.open(tmp_path).runs()


def test_a_file_where_the_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(SettingUnusable, match="cannot be used"):
        Journal.open(tmp_path / "file" / "data")


def test_a_network_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_file_system", lambda _: "cifs")
    if sys.platform == "win32":
        tmp_path = Path(r"\\server\share\data")
    with pytest.raises(SettingUnusable, match="network share"):
        refuse_network_share(tmp_path)


def test_commits_are_flushed_to_the_disk(journal: Journal) -> None:
    with journal.reading() as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert isinstance(db, sqlite3.Connection)


def test_a_full_disk_is_no_bug_and_no_setting(journal: Journal) -> None:
    with journal.reading() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ServiceDown, match=r"the disk is full, the journal cannot be written: .*journal\.db") as caught:
        for _ in range(1000):
            started(journal, "x" * 1000)
    assert (caught.value.exit_code, caught.value.hint) == (13, "free some space, then run again")


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_a_disk_that_is_full_when_the_journal_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"dataflows.store.files.os.{name}", full)
    with pytest.raises(ServiceDown, match="the disk is full, the data folder cannot be written"):
        Journal.open(tmp_path / "new")


def test_an_error_is_kept_with_its_reason_and_one_of_an_older_version_without(tmp_path: Path) -> None:
    journal = Journal.open(tmp_path)
    run_id = journal.start("csc-submit", "t", options={})
    journal.finish(run_id, "failed", 10, {}, SettingUnusable("no LA_CODE", reason="setting-missing", hint="set it"))
    kept = {"code": "setting_unusable", "reason": "setting-missing", "message": "no LA_CODE", "hint": "set it"}
    found = journal.run(run_id)
    assert found is not None
    assert found.error_entry == kept
    journal.close()
    with sqlite3.connect(tmp_path / "journal.db") as db:  # as the version before it was
        db.executescript("ALTER TABLE runs DROP COLUMN reason; UPDATE parts SET version = 3 WHERE part = 'runs'")
    db.close()
    found = Journal.open(tmp_path).run(run_id)
    assert found is not None
    assert found.error_entry == kept | {"reason": ""}
