"""What is known of fetches into a folder."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dataflows.flows.cqc.history import Fetch, History
from dataflows.runs.journal import Item, Journal
from tests.journals import Journals

FILE = "cqc_homecare_20260101_020304Z.csv"


def fetch(source: str = "homecare", file: str = FILE, *, good: bool = True) -> Fetch:
    return Fetch(source, "https://x/a.csv", file, 10, 2, "ab", '"e"', None, 0.5, 2, good, '["a"]')


@pytest.fixture
def history(journal: Journal) -> History:
    return History(journal, "/files")


def test_the_last_good_fetch_is_read_back_as_it_was(journals: Journals) -> None:
    first = journals.open()
    History(first, "/files").add("run", fetch())
    first.close()
    again = History(journals.open(), "/files")
    assert again.last_good("homecare") == fetch()
    assert again.last_good("other") is None


def test_order_is_that_of_the_journal_and_folders_are_apart(history: History, journal: Journal) -> None:
    for source, file, good in (("a", "1", True), ("b", "2", True), ("a", "3", True), ("a", "4", False)):
        history.add("run", fetch(source, file, good=good))
    History(journal, "/elsewhere").add("run", fetch("a", "5"))
    assert history.good_files(["a", "b", "c"]) == {"3", "2"}
    assert history.sources() == {"a", "b"}


def test_a_fetch_and_its_item_are_recorded_together(
    history: History, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    history.add("run", fetch())
    assert journal.items("run") == [Item("homecare", "done", 2)]
    monkeypatch.setattr(journal, "record", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        history.add("run", fetch("other"))
    assert history.sources() == {"homecare"}


def test_the_last_good_one_is_never_forgotten(history: History) -> None:
    files = [f"cqc_x_2026010{day}_020304Z.csv" for day in range(1, 7)]
    for (source, good), file in zip((("a", 1), ("a", 0), ("b", 1), ("b", 1), ("c", 1), ("c", 1)), files, strict=True):
        history.add("run", fetch(source, file, good=bool(good)))
    history.forget(["a", "b"], older_than=timedelta(days=1))
    assert all(history.names("cqc-fetch", file) for file in files)
    history.forget(["a", "b"], older_than=timedelta(days=-1))
    assert [history.names("cqc-fetch", file) for file in files] == [True, False, False, True, True, True]


def test_a_file_is_known_by_a_fetch_or_by_a_report(history: History, journal: Journal) -> None:
    assert not history.names("cqc-fetch", FILE)
    run_id = journal.start("cqc-fetch", "/files", options={})
    journal.finish(run_id, "done", 0, {}, None, {"file": FILE})
    assert history.names("cqc-fetch", FILE)
    assert not history.names("other", FILE)
    history.add(run_id, fetch(file="cqc_other_20260101_020304Z.csv"))
    assert history.names("other", "cqc_other_20260101_020304Z.csv")
