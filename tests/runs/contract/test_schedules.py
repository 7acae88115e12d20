"""The jobs that a machine's scheduler was given."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from dataflows.runs.journal import Journal
from dataflows.runs.schedules import InstalledJobs, Recurrence
from tests.journals import Journals


def test_installed_jobs_are_kept_by_name_until_they_are_removed(journal: Journal) -> None:
    jobs = InstalledJobs(journal)
    jobs.add("csc-submit", "csc-submit", Recurrence(time(2, 0)))
    jobs.add("csc-submit", "csc-submit", Recurrence(time(3, 30), weekday=4))
    jobs.add("LA 998", "csc-submit", Recurrence(every="15min"))
    assert [(one.name, one.command, str(one.recurrence)) for one in jobs.all()] == [
        ("LA 998", "csc-submit", "every 15min"),
        ("csc-submit", "csc-submit", "every Friday at 03:30"),
    ]
    jobs.remove("LA 998")
    jobs.remove("never installed")
    assert [one.name for one in jobs.all()] == ["csc-submit"]


def test_they_are_read_back_as_they_were_with_their_moment(journals: Journals) -> None:
    first = journals.open()
    InstalledJobs(first).add("report", "report", Recurrence(time(7, 30)))
    first.close()
    (job,) = InstalledJobs(journals.open()).all()
    assert job.recurrence == Recurrence(time(7, 30))
    assert abs(datetime.now(UTC) - job.installed) < timedelta(minutes=5)
