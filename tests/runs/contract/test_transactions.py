"""Transactions and versions: all or nothing, one after the other, and tables that earlier versions made."""

from __future__ import annotations

import subprocess
import sys
from threading import Barrier, Thread

import pytest

from dataflows.errors import SettingUnusable
from dataflows.flows.hospitals.ledger import BatchStore
from dataflows.runs.journal import Item, Journal
from dataflows.runs.trouble import Trouble, TroubleNews
from tests.journals import InFile, Journals

PROGRAM = """
import sys
from pathlib import Path
from dataflows.runs.journal import Item, Journal
journal = Journal.open(Path(sys.argv[1]))
for number in range(50):
    journal.record("shared", [Item(f"{sys.argv[2]} {number:02}", "done")])
"""


def started(journal: Journal) -> str:
    return journal.start("csc-submit", "table", options={})


def test_a_transaction_that_fails_leaves_nothing(journal: Journal) -> None:
    run_id = started(journal)
    with pytest.raises(ZeroDivisionError), journal.transaction():
        journal.record(run_id, [Item("1", "done")])
        raise ZeroDivisionError
    assert journal.items(run_id) == []


def test_steps_of_a_schema_run_once_and_a_newer_journal_is_refused(journal: Journal) -> None:
    journal.ensure("flow", ["CREATE TABLE one (x)"])
    journal.ensure("flow", ["CREATE TABLE one (x)", "CREATE TABLE two (x)"])
    with pytest.raises(SettingUnusable, match="newer version"):
        journal.ensure("flow", ["CREATE TABLE one (x)"])


def test_several_stores_change_together_or_not_at_all(journal: Journal) -> None:
    run_id, trouble = started(journal), Trouble(journal, "csc-submit")
    with pytest.raises(ZeroDivisionError), journal.transaction():
        journal.record(run_id, [Item("1", "done")])
        trouble.note(12, lambda _: True)
        raise ZeroDivisionError
    assert journal.items(run_id) == []
    told: list[int] = []

    def tell(news: TroubleNews) -> bool:
        told.append(news.passes)
        return True

    trouble.note(12, tell)
    assert told == [1], "that it was told before is not known"


def test_what_is_written_in_a_transaction_is_seen_in_it_and_by_others_at_its_end(
    journal: Journal, journals: Journals
) -> None:
    other = journals.open()
    run_id = started(journal)
    with journal.transaction():
        with journal.transaction():
            journal.record(run_id, [Item("1", "done")])
        assert len(journal.items(run_id)) == 1
        assert other.items(run_id) == []
    assert len(other.items(run_id)) == 1


def test_after_a_transaction_that_failed_the_next_one_is_its_own(journal: Journal) -> None:
    run_id = started(journal)
    with pytest.raises(ZeroDivisionError), journal.transaction(), journal.transaction():
        raise ZeroDivisionError
    journal.record(run_id, [Item("1", "done")])
    assert journal.item_counts(run_id) == {"done": 1}


def test_threads_wait_for_each_other(journal: Journal) -> None:
    run_id = started(journal)
    together = Barrier(4)

    def count() -> None:
        together.wait()
        for _ in range(25):
            with journal.transaction():
                seen = journal.items(run_id)
                attempts = seen[0].attempts if seen else 0
                journal.record(run_id, [Item("1", "done", attempts + 1)])

    threads = [Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert journal.items(run_id)[0].attempts == 100


def test_processes_wait_for_each_other(journal: Journal, journals: Journals) -> None:
    if not isinstance(journals, InFile):
        pytest.skip("a journal in memory is its process's alone")
    processes = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(journals.folder), name]) for name in ("one", "two")
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert journal.item_counts("shared") == {"done": 100}


def test_the_first_to_come_makes_the_tables_once(journals: Journals) -> None:
    sessions = [journals.open(), journals.open()]
    together, failed = Barrier(2), list[Exception]()

    def ensure(journal: Journal) -> None:
        together.wait()
        try:
            BatchStore(journal, journals.folder)
        except Exception as error:  # what a thread raises is nobody's
            failed.append(error)

    threads = [Thread(target=ensure, args=(one,)) for one in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_step_that_fails_leaves_the_tables_as_they_were(journal: Journal) -> None:
    journal.ensure("flow", ["CREATE TABLE one (x)"])
    with pytest.raises(Exception, match="no_such"):
        journal.ensure("flow", ["CREATE TABLE one (x)", "CREATE TABLE two (x); INSERT INTO no_such VALUES (1)"])
    journal.ensure("flow", ["CREATE TABLE one (x)", "CREATE TABLE two (x)"])


def test_what_was_committed_is_there_for_the_next_process(journals: Journals) -> None:
    first = journals.open()
    run_id = started(first)
    first.record(run_id, [Item("1", "done")])
    first.close()
    assert journals.open().items(run_id) == [Item("1", "done")]
