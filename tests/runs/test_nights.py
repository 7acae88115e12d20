"""How jobs stand: what ran, what did not, and what is news."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from dataflows.errors import ServiceDown
from dataflows.runs import nights
from dataflows.runs.journal import DONE, PARTIAL, RESUMABLE, Item, Journal
from dataflows.runs.nights import JobStatus, Verdict
from dataflows.runs.runner import WARNINGS
from dataflows.runs.schedules import InstalledJob, Recurrence

DAY = timedelta(days=1)


class Night:
    """A journal with runs, and the question how the jobs stand."""

    def __init__(self) -> None:
        self.journal = Journal.in_memory()
        self.now = datetime.now(UTC) + timedelta(seconds=1)

    def ran(
        self, command: str, code: int = 0, *failed: str, target: str = "t", warned: str = "", **options: Any
    ) -> str:
        run_id = self.journal.start(command, target, options=options)
        self.journal.record(run_id, [Item(key, "failed", code="refused") for key in failed])
        state = {0: DONE, 3: PARTIAL}.get(code, RESUMABLE)
        error = ServiceDown("the receiver is down", reason="test", hint="run again later") if code == 13 else None
        report = {WARNINGS: [{"message": warned, "hint": ""}]} if warned else {}
        self.journal.finish(run_id, state, code, {"done": 1, "failed": len(failed)}, error, report)
        return run_id

    def stand(self, *installed: InstalledJob) -> list[JobStatus]:
        return nights.jobs_of(
            self.journal.runs(),
            installed,
            now=self.now,
            since=self.now - DAY,
            compare=lambda latest, before: nights.difference(self.journal, latest, before),
        )

    def verdicts(self, *installed: InstalledJob) -> list[tuple[str, str]]:
        return [(one.name, one.verdict.value) for one in self.stand(*installed)]


@pytest.fixture
def night() -> Night:
    return Night()


def test_what_needs_a_person_comes_first(night: Night) -> None:
    night.ran("cqc-fetch")
    night.ran("csc-submit", 13)
    night.journal.start("hospitals-bulk", "t", options={})
    assert night.verdicts() == [("csc-submit", "needs you"), ("hospitals-bulk", "running"), ("cqc-fetch", "well")]
    first = night.stand()[0]
    assert (first.why, first.hint) == ("the receiver is down", "run again later")


def test_the_same_failures_as_the_time_before_are_no_news(night: Night) -> None:
    night.ran("csc-submit", 3, "1", "2")
    assert night.verdicts() == [("csc-submit", "needs you")]
    night.ran("csc-submit", 3, "1")
    assert night.verdicts() == [("csc-submit", "as before")]
    assert night.stand()[0].difference.gone == (("2", "refused"),)
    night.ran("csc-submit", 3, "1", "3")
    (one,) = night.stand()
    assert (one.verdict, one.difference.new, one.difference.kept) == (Verdict.NEEDS_YOU, (("3", "refused"),), 1)


def test_a_new_warning_is_news(night: Night) -> None:
    night.ran("csc-submit", 3, "1")
    night.ran("csc-submit", 3, "1", warned="40 of 100 children would be removed")
    (one,) = night.stand()
    assert (one.verdict, one.why) == (Verdict.NEEDS_YOU, "40 of 100 children would be removed")
    night.ran("csc-submit", 3, "1", warned="40 of 100 children would be removed")
    assert night.verdicts() == [("csc-submit", "as before")]


def test_a_job_that_works_again_says_so_once(night: Night) -> None:
    night.ran("patient-import", 13)
    night.ran("patient-import")
    assert night.verdicts() == [("patient-import", "works again")]
    night.ran("patient-import")
    assert night.verdicts() == [("patient-import", "well")]


@pytest.mark.parametrize("aside", [{"dry_run": True}, {"rehearsal": True}])
def test_rehearsals_and_reports_are_nobodys_night(night: Night, aside: dict[str, Any]) -> None:
    night.ran("csc-submit", 4, **aside)
    night.ran("report")
    assert night.verdicts() == []
    night.ran("report", 13)
    assert night.verdicts() == [("report", "needs you")]


def test_what_is_older_than_asked_for_is_left_out(night: Night) -> None:
    night.ran("csc-submit")
    night.now += timedelta(days=2)
    assert night.verdicts() == []


# --- jobs that should have run -----------------------------------------------------------------------------------


def installed(name: str, hours_ago: float, *, command: str = "", since: timedelta = 7 * DAY) -> InstalledJob:
    due = datetime.now().astimezone() - timedelta(hours=hours_ago)
    return InstalledJob(name, command or name, Recurrence(time(due.hour, due.minute)), datetime.now(UTC) - since)


def test_an_installed_job_that_did_not_begin_is_missing(night: Night) -> None:
    night.ran("cqc-fetch")
    jobs = installed("csc-submit", 3), installed("cqc-fetch", 3)
    night.now += timedelta(seconds=0)
    (missing, *_) = night.stand(*jobs)
    assert (missing.name, missing.verdict) == ("csc-submit", Verdict.MISSING)
    assert "it never ran" in missing.why
    assert night.verdicts(jobs[1]) == [("cqc-fetch", "well")]


def test_a_job_has_half_an_hour_to_begin_and_is_not_expected_before_it_was_installed(night: Night) -> None:
    assert night.verdicts(installed("csc-submit", 0.3, since=timedelta(hours=2))) == []
    assert night.verdicts(installed("csc-submit", 3, since=timedelta(hours=1))) == []
    assert night.verdicts(installed("csc-submit", 3, since=timedelta(hours=4))) == [("csc-submit", "missing")]


def test_a_job_that_is_still_at_work_since_the_time_before_is_not_missing(night: Night) -> None:
    night.journal.start("csc-submit", "t", options={})
    night.now += 2 * DAY
    assert night.verdicts(installed("csc-submit", 3, since=timedelta(hours=4))) == [("csc-submit", "running")]


def test_two_jobs_of_one_command_are_told_apart_by_their_names(night: Night) -> None:
    night.ran("csc-submit", job="LA 998")
    jobs = installed("LA 998", 3, command="csc-submit"), installed("LA 999", 3, command="csc-submit")
    assert night.verdicts(*jobs) == [("LA 999", "missing"), ("LA 998", "well")]


@pytest.mark.parametrize(
    ("recurrence", "due"),
    [
        (Recurrence(time(2, 0)), "2026-03-04 02:00"),
        (Recurrence(time(9, 0)), "2026-03-03 09:00"),
        (Recurrence(time(2, 0), weekday=2), "2026-03-04 02:00"),
        (Recurrence(time(9, 0), weekday=2), "2026-02-25 09:00"),
        (Recurrence(time(9, 0), weekday=4), "2026-02-27 09:00"),
        (Recurrence(every="15min"), "2026-03-04 08:45"),
        (Recurrence(every="6h"), "2026-03-04 06:00"),
    ],
)
def test_when_a_job_was_due_last(recurrence: Recurrence, due: str) -> None:
    wednesday = datetime(2026, 3, 4, 8, 59, tzinfo=UTC)
    assert f"{recurrence.last_due(wednesday):%Y-%m-%d %H:%M}" == due
