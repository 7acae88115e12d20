"""Runs and their items: what ``RunStore`` and ``RunHistory`` promise."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dataflows.errors import SettingUnusable, WrongUsage
from dataflows.runs import records
from dataflows.runs.history import Latest, RunHistory
from dataflows.runs.journal import DONE, PARTIAL, RESUMABLE, RUNNING, Item, Journal
from tests.journals import Journals


def started(journal: Journal, target: str = "table", batch_id: str | None = None) -> str:
    return journal.start("csc-submit", target, options={"full": True}, batch_id=batch_id)


def test_a_run_and_its_items_are_seen_by_another_process(journal: Journal, journals: Journals) -> None:
    run_id = started(journal)
    journal.record(run_id, [Item("17", "done"), Item("18", "failed", 2, "invalid", "sex: at most 1 character")])
    other = journals.open()
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
    journal.finish(second, "failed", 10, {}, SettingUnusable("no LA_CODE", reason="test"))
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
    with pytest.raises(WrongUsage, match="no run or batch id starts"):
        journal.find("zzz")
    for _ in range(20):
        started(journal)
    beginnings = {run.run_id[0] for run in journal.runs()}
    ambiguous = next(b for b in beginnings if sum(r.run_id.startswith(b) for r in journal.runs()) > 1)
    with pytest.raises(WrongUsage, match="run or batch ids start with"):
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
    monkeypatch.setattr(records, "now", lambda: "2001-01-01T00:00:00.000+00:00")
    second = started(journal, "b")
    assert [run.run_id for run in journal.runs()] == [second, first]


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


def test_an_item_has_one_outcome_the_latest(journal: Journal) -> None:
    run_id = started(journal)
    for state in ("sending", "done"):
        journal.record(run_id, [Item("17", state), Item("18", "failed")])
    assert journal.items(run_id) == [Item("17", "done"), Item("18", "failed")]


def test_items_come_in_the_order_of_their_keys_in_pages(journal: Journal) -> None:
    run_id = started(journal)
    journal.record(run_id, [Item(key, "failed" if key == "b" else "done") for key in "dbca"])
    journal.record(started(journal), [Item("e", "done")])
    assert [one.key for one in journal.items(run_id, limit=2)] == ["a", "b"]
    assert [one.key for one in journal.items(run_id, limit=9, after="b")] == ["c", "d"]
    assert [one.key for one in journal.items(run_id, state="failed")] == ["b"]


def test_a_run_is_read_back_as_it_was_written(journal: Journal) -> None:
    run_id = started(journal, batch_id="550e8400")
    journal.progress(run_id, {"done": 7}, total=9, step="sending")
    under_way = journal.run(run_id)
    assert under_way is not None
    assert (under_way.options, under_way.counts, under_way.total, under_way.step) == (
        {"full": True},
        {"done": 7},
        9,
        "sending",
    )
    assert (under_way.state, under_way.ended_at, under_way.exit_code) == (RUNNING, None, None)
    journal.finish(run_id, "failed", 10, {"done": 8}, SettingUnusable("no LA_CODE", reason="test", hint="set it"))
    ended = journal.find(run_id)
    assert (ended.state, ended.exit_code, ended.counts, ended.step) == ("failed", 10, {"done": 8}, "")
    assert (ended.error, ended.hint) == ("no LA_CODE", "set it")
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.started_at


def test_runs_are_listed_newest_first_in_pages(journal: Journal) -> None:
    ids = [journal.start(command, "x", options={}) for command in ("a", "b", "a", "a")]
    assert [one.run_id for one in journal.runs(command="a", limit=2)] == [ids[3], ids[2]]
    assert [one.run_id for one in journal.runs(command="a", limit=2, skip=2)] == [ids[0]]
    assert [one.run_id for one in journal.runs(state=RUNNING)] == [ids[3], ids[1]]


def test_a_state_may_be_set_for_all_that_wait_with_it(journal: Journal) -> None:
    waiting, mine, other = started(journal), started(journal), started(journal, "other")
    journal.set_state(other, RESUMABLE)
    journal.set_state(mine, "abandoned")
    assert [journal.find(one).state for one in (waiting, mine, other)] == [RESUMABLE, "abandoned", RESUMABLE]
    journal.set_state(mine, "abandoned", of_target=True)
    assert [journal.find(one).state for one in (waiting, mine, other)] == ["abandoned", "abandoned", RESUMABLE]


def test_a_run_goes_on_with_an_unfinished_one_of_another_target_only(journal: Journal) -> None:
    done, earlier = started(journal, "one"), started(journal, "two")
    journal.finish(done, DONE, 0, {}, None)
    own, mine = started(journal, "three"), started(journal, "three")
    for one in (done, earlier, own):
        journal.continue_by(mine, one)
    found = [journal.find(one) for one in (done, earlier, own)]
    assert [(one.state, one.continued_by) for one in found] == [(DONE, None), (PARTIAL, mine), (RESUMABLE, None)]


def test_a_text_is_found_in_the_reports_of_a_command_and_target(journal: Journal) -> None:
    run_id = started(journal)
    journal.finish(run_id, DONE, 0, {}, None, {"files": ["cqc_a.csv"]})
    assert journal.reports_mention("csc-submit", "table", "cqc_a.csv")
    for command, target, text in (
        ("x", "table", "cqc_a"),
        ("csc-submit", "x", "cqc_a"),
        ("csc-submit", "table", "cqc_b"),
    ):
        assert not journal.reports_mention(command, target, text)


def test_figures_by_command_and_state(journal: Journal) -> None:
    for state, exit_code, done in (("done", 0, 5), ("done", 0, 2), ("partial", 3, 1)):
        run_id = started(journal, f"{state}{done}")
        journal.finish(run_id, state, exit_code, {"done": done, "failed": 1}, None)
    started(journal)
    history = RunHistory(journal)
    found = {(one.state, one.runs): one.items for one in history.figures()}
    assert found[("done", 2)] == {"done": 7, "failed": 2, "skipped": 0, "pending": 0}
    assert {key: items["done"] for key, items in found.items()} == {
        ("done", 2): 7,
        ("partial", 1): 1,
        ("running", 1): 0,
    }
    (latest,) = history.latest()
    assert isinstance(latest, Latest)
    assert (latest.command, latest.exit_code) == ("csc-submit", 3)


def test_attempts_are_the_latest_ones_without_what_needed_none(journal: Journal) -> None:
    for states in (["failed"], ["done", "skipped"], ["skipped"]):
        run_id = started(journal)
        journal.record(run_id, [Item(str(number), state) for number, state in enumerate(states)])
    assert RunHistory(journal).attempts("csc-submit", 5) == ["done", "failed"]
    assert RunHistory(journal).attempts("csc-submit", 1) == ["done"]
