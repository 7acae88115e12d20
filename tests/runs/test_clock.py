"""A clock that jumped ahead destroys nothing; one that is right is believed again by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataflows.events import Event, Warned
from dataflows.runs import clock as clocks
from dataflows.runs.clock import Clock, latest_start
from dataflows.runs.journal import Journal
from dataflows.runs.runner import Order, Outcome, Run, run_job
from tests.journals import Journals

NOW = datetime.now(UTC)


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setattr(clocks, "utc_now", lambda: moment)


def run_of(journal: Journal, began: datetime) -> str:
    run_id = journal.start("a-command", "a target", options={})
    with journal.transaction() as db:
        db.execute("UPDATE runs SET started_at = ? WHERE run_id = ?", (began.isoformat(), run_id))
    return run_id


def clock_at(journal: Journal, monkeypatch: pytest.MonkeyPatch, moment: datetime) -> Clock:
    """The clock of a run that begins then, settled at once."""
    at(monkeypatch, moment)
    clock = Clock(journal, run_of(journal, moment))
    clock.settle()
    return clock


def test_nothing_known_is_no_doubt(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock_at(journal, monkeypatch, NOW + timedelta(days=9999)).jumped is False


@pytest.mark.parametrize(("days", "jumped"), [(6.9, False), (7.1, True), (-400, False)])
def test_seven_days_after_the_newest_run(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, days: float, jumped: bool
) -> None:
    run_of(journal, NOW)
    assert clock_at(journal, monkeypatch, NOW + timedelta(days=days)).jumped is jumped


def test_the_runs_of_a_clock_that_jumped_do_not_speak_for_it(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(journal, NOW)
    later = NOW + timedelta(days=1500)
    assert [clock_at(journal, monkeypatch, later + timedelta(hours=n)).jumped for n in range(24)] == [True] * 24
    assert clock_at(journal, monkeypatch, NOW + timedelta(hours=1)).jumped is False


def test_a_machine_that_was_off_for_long_is_believed_after_a_week(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(journal, NOW)
    nights = [clock_at(journal, monkeypatch, NOW + timedelta(days=60 + n, minutes=n)).jumped for n in range(10)]
    assert nights == [True] * 7 + [False] * 3


def test_a_clock_that_jumps_again_is_not(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(journal, NOW)
    assert [clock_at(journal, monkeypatch, NOW + timedelta(days=days)).jumped for days in (100, 200, 300)] == [True] * 3


def test_a_far_side_decides_by_its_own_clock(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run_of(journal, NOW)
    clock = clock_at(journal, monkeypatch, NOW + timedelta(days=60))
    clock.is_told(NOW)
    assert clock.jumped is True
    clock.is_told(NOW + timedelta(days=60))
    assert clock.jumped is False


def test_doubts_outlive_the_process(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    first = journals.open()
    run_of(first, NOW)
    assert clock_at(first, monkeypatch, NOW + timedelta(days=60)).jumped is True
    first.close()
    assert latest_start(journals.open()) == NOW


def ran(folder: Path) -> tuple[Outcome, list[Event]]:
    def job(run: Run) -> Iterator[Event]:
        yield from ()

    events: list[Event] = []
    outcome = run_job(Order("a-command", "a target", {}, folder, runs_keep_days=30), job, events.append)
    return outcome, events


def test_a_run_with_a_clock_that_jumped_forgets_no_run_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        assert ran(tmp_path)[0].clock_jumped is False
    at(monkeypatch, NOW + timedelta(days=1500))
    monkeypatch.setattr("dataflows.runs.records.datetime", Later)
    for _ in range(2):
        outcome, events = ran(tmp_path)
        assert outcome.clock_jumped is True
        assert outcome.report["clock_jumped"] is True
        assert any(isinstance(event, Warned) and "clock" in str(event) for event in events)
    journal = Journal.open(tmp_path)
    assert len(journal.runs()) == 5
    journal.close()


class Later(datetime):
    """The clock of 1,500 days later."""

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return NOW + timedelta(days=1500)
