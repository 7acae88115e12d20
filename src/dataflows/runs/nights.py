"""What became of every job in the last hours: what ``status``, ``report`` and the console's first page show.

Which jobs should have run is known only of those that ``schedule --install`` registered. Their times are those of the
machine's own clock; the journal's are UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from dataflows.errors import ExitCode
from dataflows.runs.journal import RUNNING, Journal, RunRecord
from dataflows.runs.runner import WARNINGS
from dataflows.runs.schedules import InstalledJob, InstalledJobs

GRACE = timedelta(minutes=30)
"""A job that has not begun so long after its time is missing."""
_COMPARED = 20_000
_DIFFERENCES_KEPT, _PAIRS_KEPT = 50_000, 100
_LOOKED_BACK = timedelta(days=14)  # for what a job did the time before
_MOST_RUNS = 5000
_EARLY = timedelta(minutes=2)  # the scheduler and the journal read one clock, but not in one moment


class Verdict(StrEnum):
    """How a job stands; the first ones come first."""

    NEEDS_YOU = "needs you"
    MISSING = "missing"
    RUNNING = "running"
    AS_BEFORE = "as before"
    RECOVERED = "works again"
    WELL = "well"

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody has to look."""
        return self in (Verdict.NEEDS_YOU, Verdict.MISSING)


@dataclass(frozen=True)
class Difference:
    """How a run differs from the one before of the same target.

    ``new`` and ``gone`` are failed items, by key and code, that only this run or only the one before had; ``kept``
    counts those of both. ``warnings`` are those that the one before did not give, ``hint`` is the first one of theirs.
    """

    new: tuple[tuple[str, str], ...] = ()
    gone: tuple[tuple[str, str], ...] = ()
    kept: int = 0
    warnings: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True)
class JobStatus:
    """One job: how it stands, its latest run (None: it never ran), and what there is to say.

    ``runs`` counts those in the time looked at. A job that ended with the failed items and warnings of the time before
    is ``as before``: somebody was told.
    """

    name: str
    command: str
    verdict: Verdict
    run: RunRecord | None = None
    runs: int = 0
    difference: Difference = Difference()
    why: str = ""
    hint: str = ""


Compare = Callable[[RunRecord, RunRecord | None], Difference]


def standing(journal: Journal, back: timedelta, compare: Compare | None = None) -> list[JobStatus]:
    """Return how every job of a journal stands; ``back`` is how far to look for runs."""
    now = datetime.now(UTC)
    since = now - back
    return jobs_of(
        journal.runs(since=since - _LOOKED_BACK, limit=_MOST_RUNS),
        InstalledJobs(journal).all(),
        now=now,
        since=since,
        compare=compare or (lambda latest, before: difference(journal, latest, before)),
    )


def jobs_of(
    runs: Iterable[RunRecord], installed: Sequence[InstalledJob], *, now: datetime, since: datetime, compare: Compare
) -> list[JobStatus]:
    """Say how every job stands: what needs a person first, then by name.

    Args:
        runs: newest first; those that ended before ``since`` only tell what was there the time before.
        installed: the jobs that are expected.
        now, since: aware.
    """
    series = _series(runs)
    missing = [one for job in installed if (one := _missing(job, series, now, since)) is not None]
    absent = {one.name for one in missing}
    ran = [
        _standing(name, kept, since, compare)
        for (name, _), kept in series.items()
        if name not in absent and _is_in(kept[0], since)
    ]
    order = list(Verdict)
    return sorted([*missing, *ran], key=lambda one: (order.index(one.verdict), one.name))


def job_of(record: RunRecord) -> str:
    """Return the job that a run belongs to: what ``schedule --name`` called it, else its command."""
    return str(record.options.get("job") or record.command)


def started(record: RunRecord) -> datetime:
    """Return when a run began (aware, UTC)."""
    return datetime.fromisoformat(record.started_at)


_Series = Mapping[tuple[str, str], list[RunRecord]]


def _series(runs: Iterable[RunRecord]) -> _Series:
    """Runs by job and target, newest first. Dry runs, rehearsals and reports that were sent are nobody's night."""
    found: dict[tuple[str, str], list[RunRecord]] = {}
    for run in runs:
        aside = run.options.get("dry_run") or run.options.get("rehearsal")
        if not aside and not (run.command == "report" and run.exit_code == ExitCode.OK):
            found.setdefault((job_of(run), run.target), []).append(run)
    return found


def _is_in(run: RunRecord, since: datetime) -> bool:
    return run.ended_at is None or datetime.fromisoformat(run.ended_at) >= since


def _missing(job: InstalledJob, series: _Series, now: datetime, since: datetime) -> JobStatus | None:
    """Say that a job did not begin at its last time; None where it did, or need not have yet."""
    due = job.recurrence.last_due(now.astimezone() - GRACE)
    if due < since or due < job.installed:
        return None
    runs = [run for (name, _), kept in series.items() if name == job.name for run in kept]
    if any(run.state == RUNNING or started(run) >= due - _EARLY for run in runs):
        return None
    latest = max(runs, key=started, default=None)
    last = f"its last run started {started(latest).astimezone():%Y-%m-%d %H:%M}" if latest else "it never ran"
    why = f"it is installed to run {job.recurrence}, but did not start at {due:%Y-%m-%d %H:%M}; {last}"
    return JobStatus(job.name, job.command, Verdict.MISSING, latest, why=why, hint="check the machine's scheduler")


def _standing(name: str, kept: Sequence[RunRecord], since: datetime, compare: Compare) -> JobStatus:
    latest, before = kept[0], kept[1] if len(kept) > 1 else None
    inside = sum(_is_in(run, since) for run in kept)
    if latest.state == RUNNING:
        return JobStatus(name, latest.command, Verdict.RUNNING, latest, inside, why=latest.step)
    difference = compare(latest, before)
    verdict, why = _verdict(latest, before, difference), latest.error or "; ".join(difference.warnings[:3])
    return JobStatus(name, latest.command, verdict, latest, inside, difference, why, latest.hint or difference.hint)


def _verdict(latest: RunRecord, before: RunRecord | None, difference: Difference) -> Verdict:
    if latest.exit_code == ExitCode.OK:
        return Verdict.RECOVERED if before is not None and before.exit_code else Verdict.WELL
    told = before is not None and before.exit_code == latest.exit_code == ExitCode.SOME_FAILED
    return Verdict.AS_BEFORE if told and not difference.new and not difference.warnings else Verdict.NEEDS_YOU


def difference(journal: Journal, latest: RunRecord, before: RunRecord | None) -> Difference:
    """Compare the failed items and warnings of two runs; without a run before, everything is new."""
    now_failed, then_failed = _failed(journal, latest), _failed(journal, before) if before else set()
    said = warnings_of(journal, before) if before else []
    news = [one for one in warnings_of(journal, latest) if one not in said]
    return Difference(
        tuple(sorted(now_failed - then_failed, key=_by_number)),
        tuple(sorted(then_failed - now_failed, key=_by_number)),
        len(now_failed & then_failed),
        tuple(one["message"] for one in news),
        next((one["hint"] for one in news if one.get("hint")), ""),
    )


def _by_number(failed: tuple[str, str]) -> tuple[int, str, str]:
    """Order keys as the journal does: numbers as numbers."""
    key, code = failed
    return len(key), key, code


def warnings_of(journal: Journal, run: RunRecord) -> list[dict[str, str]]:
    """Return what a run warned of, each with message and hint, as its report keeps them."""
    found = (journal.report(run.run_id) or {}).get(WARNINGS)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _failed(journal: Journal, run: RunRecord) -> set[tuple[str, str]]:
    """Return the failed items of a run by key and code; of a great many, the first ones."""
    found: set[tuple[str, str]] = set()
    after = ""
    while page := journal.items(run.run_id, state="failed", after=after):
        found |= {(item.key, item.code or "") for item in page}
        after = page[-1].key
        if len(found) >= _COMPARED:
            break
    return found


class Comparisons:
    """Runs that were compared: what ended does not change, and a page that loads itself again asks again and again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._found: dict[tuple[str, str], Difference] = {}

    def __call__(self, latest: RunRecord, before: RunRecord | None) -> Difference:
        """Return how an ended run differs from the one before."""
        key = (latest.run_id, before.run_id if before else "")
        found = self._found.get(key)
        if found is None:
            kept = list(self._found.values())
            if sum(len(one.new) + len(one.gone) for one in kept) > _DIFFERENCES_KEPT or len(kept) >= _PAIRS_KEPT:
                self._found = {}
            found = self._found[key] = difference(self._journal, latest, before)
        return found
