from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataflows.errors import AccessRefused, AlreadyRunning, ExitCode, ServiceDown
from dataflows.events import Done, Event, Failed, Pending, Skipped
from dataflows.runs.journal import Journal
from dataflows.runs.lock import only_one
from dataflows.runs.runner import Job, Order, Outcome, Run, run_job


def order(folder: Path) -> Order:
    return Order("csc-submit", "table", {"full": False}, folder)


def play(folder: Path, *events: Event, error: Exception | None = None) -> Outcome:
    def job(run: Run) -> Iterator[Event]:
        run.report["rows"] = len(events)
        yield from events
        if error is not None:
            raise error

    return run_job(order(folder), job, lambda _: None)


FAILURE = Failed("2", "invalid", "sex: at most 1 character")


@pytest.mark.parametrize(
    ("events", "error", "code", "state"),
    [
        ((), None, 0, "done"),
        ((Done("1"), Skipped("2")), None, 0, "done"),
        ((Done("1"), FAILURE), None, 3, "partial"),
        ((Skipped("1"), FAILURE), None, 3, "partial"),
        ((Done("1"), Pending("2", "mass_delete")), None, 3, "partial"),
        ((FAILURE,), None, 4, "failed"),
        ((Done("1"),), AccessRefused("401", reason="test"), 12, "failed"),
        ((Done("1"), FAILURE), ServiceDown("503", reason="test"), 13, "resumable"),
        ((), ZeroDivisionError("secret"), 1, "resumable"),
    ],
)
def test_exit_code_and_state_follow_from_what_happened(
    tmp_path: Path, events: tuple[Event, ...], error: Exception | None, code: int, state: str
) -> None:
    outcome = play(tmp_path, *events, error=error)
    assert (outcome.exit_code, outcome.state) == (code, state)
    record = Journal.open(tmp_path).find(outcome.run_id or "")
    assert (record.exit_code, record.state, record.counts) == (code, state, outcome.counts)


def test_an_error_says_itself_whether_its_run_can_go_on(tmp_path: Path) -> None:
    error = AccessRefused("401, after some rows were sent", reason="test")
    error.resumable = True
    outcome = play(tmp_path, Done("1"), error=error)
    assert (outcome.exit_code, outcome.state) == (12, "resumable")


def test_a_bug_is_told_without_what_it_says(tmp_path: Path) -> None:
    outcome = play(tmp_path, error=ZeroDivisionError("Anna Synthetic"))
    assert outcome.error is not None
    assert "ZeroDivisionError" in outcome.error.message
    assert "Anna" not in outcome.error.message + outcome.error.hint


def test_the_report_survives_an_early_end(tmp_path: Path) -> None:
    assert play(tmp_path, Done("1"), error=ServiceDown("503", reason="test")).report == {"rows": 1}


def test_a_second_run_of_the_same_target_is_refused(tmp_path: Path) -> None:
    with only_one(tmp_path, "csc-submit", "table"), pytest.raises(AlreadyRunning):
        play(tmp_path)


def interrupting(number: int, times: int) -> Job:
    def job(run: Run) -> Iterator[Event]:
        for _ in range(times):
            signal.raise_signal(number)  # on Windows os.kill would end the process
        yield Done("1")
        assert run.stop.is_set()

    return job


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_resumable(tmp_path: Path, number: int) -> None:
    before = signal.getsignal(number)
    outcome = run_job(order(tmp_path), interrupting(number, 1), lambda _: None)
    assert (outcome.exit_code, outcome.state) == (ExitCode.INTERRUPTED, "resumable")
    assert outcome.counts["done"] == 1
    assert signal.getsignal(number) == before


def test_a_second_signal_ends_it_at_once_still_resumable(tmp_path: Path) -> None:
    outcome = run_job(order(tmp_path), interrupting(signal.SIGINT, 2), lambda _: None)
    assert (outcome.exit_code, outcome.state, outcome.counts["done"]) == (ExitCode.INTERRUPTED, "resumable", 0)
