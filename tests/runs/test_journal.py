from __future__ import annotations

import errno
import os
import sqlite3
import stat
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from dataflows.errors import BadInput, ServiceDown, SettingUnusable, WrongUsage
from dataflows.runs import journal as journal_module
from dataflows.runs.journal import DONE, RESUMABLE, RUNNING, Item, Journal
from dataflows.store import files as module
from dataflows.store.files import refuse_network_share


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path / "data")


def started(journal: Journal, target: str = "table", batch_id: str | None = None) -> str:
    return journal.start("csc-submit", target, options={"full": True}, batch_id=batch_id)


def test_a_run_and_its_items_are_seen_by_another_process(journal: Journal, tmp_path: Path) -> None:
    run_id = started(journal)
    journal.record(run_id, [Item("17", "done"), Item("18", "failed", 2, "invalid", "sex: at most 1 character")])
    other = Journal.open(tmp_path / "data")
    assert other.find(run_id[:6]).state == RUNNING
    assert other.items(run_id, state="failed") == [Item("18", "failed", 2, "invalid", "sex: at most 1 character")]
    assert other.item_counts(run_id) == {"done": 1, "failed": 1}


def test_a_run_that_never_ended_becomes_resumable_when_the_next_one_starts(journal: Journal) -> None:
    first = started(journal)
    second = started(journal)
    assert journal.find(first).state == RESUMABLE
    journal.finish(second, DONE, 0, {"done": 1}, None)
    assert journal.find(first).continued_by == second
    assert journal.runs(state=RESUMABLE) == []


def test_a_run_of_another_target_takes_nothing_over(journal: Journal) -> None:
    first, other = started(journal, "one"), started(journal, "two")
    journal.set_state(first, RESUMABLE)
    journal.finish(other, DONE, 0, {}, None)
    assert [run.run_id for run in journal.runs(state=RESUMABLE)] == [first]


def test_a_refused_run_closes_nothing(journal: Journal) -> None:
    first = started(journal)
    second = started(journal)
    journal.finish(second, "failed", 10, {}, SettingUnusable("no LA_CODE"))
    assert journal.find(first).state == RESUMABLE


def test_a_batch_id_finds_its_latest_run(journal: Journal) -> None:
    started(journal, batch_id="550e8400-e29b")
    latest = started(journal, batch_id="550e8400-e29b")
    assert journal.find("550e84").run_id == latest


def test_every_batch_of_a_run_finds_it(journal: Journal) -> None:
    for _ in range(2):
        latest = started(journal)
        journal.name_batches(latest, ["550e8400-e29b", "660e8400-e29b"])
    assert [journal.find(beginning).run_id for beginning in ("550e", "660e")] == [latest] * 2
    assert journal.find(latest).batch_id == "550e8400-e29b"
    assert journal.batches(latest) == ["550e8400-e29b", "660e8400-e29b"]


def test_an_ambiguous_or_unknown_beginning_is_refused(journal: Journal) -> None:
    with pytest.raises(WrongUsage, match="no run begins"):
        journal.find("zzz")
    for _ in range(20):
        started(journal)
    beginnings = {run.run_id[0] for run in journal.runs()}
    ambiguous = next(b for b in beginnings if sum(r.run_id.startswith(b) for r in journal.runs()) > 1)
    with pytest.raises(WrongUsage, match="runs begin with"):
        journal.find(ambiguous)


def test_pruning_keeps_what_can_be_resumed(journal: Journal) -> None:
    old, waiting = started(journal, "a"), started(journal, "b")
    journal.record(old, [Item("1", "done")])
    journal.finish(old, DONE, 0, {}, None)
    journal.set_state(waiting, RESUMABLE)
    assert journal.prune(older_than=timedelta(days=-1)) == 1
    assert [run.run_id for run in journal.runs()] == [waiting]
    assert journal.items(old) == []


def test_order_does_not_come_from_the_clock(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    first = started(journal, "a")
    monkeypatch.setattr(journal_module, "now", lambda: "2001-01-01T00:00:00.000+00:00")
    second = started(journal, "b")
    assert [run.run_id for run in journal.runs()] == [second, first]


def test_a_transaction_that_fails_leaves_nothing(journal: Journal) -> None:
    run_id = started(journal)
    with pytest.raises(ZeroDivisionError), journal.transaction() as db:
        journal.record(run_id, [Item("1", "done")], db)
        raise ZeroDivisionError
    assert journal.items(run_id) == []


def test_steps_of_a_schema_run_once_and_a_newer_journal_is_refused(journal: Journal) -> None:
    journal.ensure("flow", ["CREATE TABLE one (x)"])
    journal.ensure("flow", ["CREATE TABLE one (x)", "CREATE TABLE two (x)"])
    with pytest.raises(SettingUnusable, match="newer version"):
        journal.ensure("flow", ["CREATE TABLE one (x)"])


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


def test_a_run_is_still_found_by_the_batch_it_was_first_known_by(journal: Journal) -> None:
    run_id = journal.start("hospitals-bulk", "file", options={}, batch_id="550e8400-e29b")
    journal.name_batches(run_id, ["660e8400-e29b", "770e8400-e29b"])
    journal.name_batches(run_id, ["880e8400-e29b"])
    for batch_id in ("550e8400-e29b", "660e8400-e29b", "770e8400-e29b", "880e8400-e29b"):
        found = journal.run_of_batch(batch_id)
        assert found is not None and (found.run_id, found.batch_id) == (run_id, "880e8400-e29b")
    assert journal.batches(run_id) == ["880e8400-e29b"]


def test_no_run_is_found_by_half_an_id(journal: Journal) -> None:
    run_id = journal.start("hospitals-bulk", "file", options={}, batch_id="550e8400-e29b")
    assert journal.run(run_id) is not None
    assert journal.run(run_id[:8]) is None
    assert journal.run_of_batch("550e8400") is None


def test_a_report_is_kept_with_its_run_and_goes_with_it(journal: Journal) -> None:
    run_id = journal.start("cqc-fetch", "folder", options={})
    assert journal.report(run_id) is None
    journal.finish(run_id, "done", 0, {}, None, {"status": "ok", "results": {"homecare": {"rows": 3}}})
    assert journal.report(run_id) == {"status": "ok", "results": {"homecare": {"rows": 3}}}
    assert journal.prune(older_than=timedelta(seconds=-5), command="hospitals-bulk") == 0
    assert journal.prune(older_than=timedelta(seconds=-5), command="cqc-fetch") == 1
    assert journal.report(run_id) is None


def test_a_very_large_report_is_not_kept(journal: Journal) -> None:
    run_id = journal.start("hospitals-bulk", "file", options={})
    journal.finish(run_id, "done", 0, {}, None, {"hospitals": ["x" * 300_000]})
    assert journal.report(run_id) is None


def test_a_full_disk_is_no_bug_and_no_setting(journal: Journal) -> None:
    with journal.reading() as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ServiceDown, match=r"the disk is full, the journal cannot be written: .*journal\.db") as caught:
        for _ in range(1000):
            started(journal, "x" * 1000)
    assert (caught.value.exit_code, caught.value.hint) == (13, "make room, then run again")


@pytest.mark.parametrize("name", ["mkdir", "open"])
def test_a_disk_that_is_full_when_the_journal_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"dataflows.store.files.os.{name}", full)
    with pytest.raises(ServiceDown, match="the disk is full, the data folder cannot be written"):
        Journal.open(tmp_path / "new")
