"""``status``: how every job stands, on the terminal or for a monitor; 3 when something needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import Json, epilog, invocation
from dataflows.cli.spans import age
from dataflows.errors import ExitCode
from dataflows.hints import pasteable
from dataflows.runs.wording import summary

if TYPE_CHECKING:
    from dataflows.runs.nights import JobStatus
    from dataflows.settings import Settings

COMMAND = "status"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SOME_FAILED, ExitCode.SETTINGS)

Since = Annotated[str, typer.Option("--since", metavar="24h", help="How far to look back, such as 24h or 7d.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(COMMAND, epilog=epilog("dataflows status", "dataflows status --since 7d --json", codes=_CODES))(status)


def status(context: typer.Context, since: Since = "24h", as_json: Json = False) -> None:
    """Say how every job stands: what needs a person first, with what to do.

    Looks at the runs of the last day, and at the jobs that `schedule --install` registered: one of those that did not
    begin at its time is missing. Monitors (Zabbix, PRTG, Nagios) can go by the exit code.
    """
    call = invocation(context).begin(COMMAND, as_json)
    jobs = standing(call.settings(), age(since, "--since"))
    if call.output.as_json:
        call.output.document(document(jobs))
    else:
        for line in lines(jobs):
            call.output.say(line)
    raise typer.Exit(call.output.ended(summary(jobs), exit_code(jobs)))


def standing(settings: Settings, back: timedelta) -> list[JobStatus]:
    """Return how every job stands, by the journal of the data folder."""
    from dataflows.runs import nights
    from dataflows.runs.history import see_what_died
    from dataflows.runs.journal import Journal

    with closing(Journal.open(settings.data_dir)) as journal:
        see_what_died(journal, settings.data_dir)
        return nights.standing(journal, back)


def exit_code(jobs: Sequence[JobStatus]) -> ExitCode:
    """Return 3 when a job needs a person, else 0."""
    return ExitCode.SOME_FAILED if any(job.verdict.needs_a_person for job in jobs) else ExitCode.OK


def lines(jobs: Sequence[JobStatus]) -> list[str]:
    """Say how every job stands: a line for each, what happened and what to do below it."""
    said: list[str] = []
    for job in jobs:
        began = _local(job.run.started_at) if job.run is not None else " " * 12
        said.append(f"{job.verdict.value:<12}{job.name:<18}{began}  {_figures(job)}".rstrip())
        said += [f"{'':<12}{text}" for text in (job.why, *_what_to_do(job)) if text]
    return said


def document(jobs: Sequence[JobStatus]) -> dict[str, object]:
    """Return the JSON document."""
    items = [
        {
            "job": job.name,
            "command": job.command,
            "verdict": job.verdict.value,
            "needs_a_person": job.verdict.needs_a_person,
            "run_id": job.run and job.run.run_id,
            "started_at": job.run and job.run.started_at,
            "exit_code": job.run and job.run.exit_code,
            "counts": job.run and job.run.counts,
            "runs": job.runs,
            "new_errors": len(job.difference.new),
            "gone_errors": len(job.difference.gone),
            "why": job.why,
            "hint": pasteable(job.hint),
        }
        for job in jobs
    ]
    code = exit_code(jobs)
    return {"run_id": None, "status": summary(jobs), "exit_code": int(code), "items": items, "error": None}


def _figures(job: JobStatus) -> str:
    from dataflows.runs.wording import counts_in_words

    if job.run is None:
        return ""
    parts = [counts_in_words(job.run.counts)]
    parts += [f"{len(job.difference.new)} new"] if job.difference.new and job.difference.kept else []
    parts += [f"{job.runs} runs"] if job.runs > 1 else []
    return ", ".join(parts)


def _what_to_do(job: JobStatus) -> list[str]:
    if not job.verdict.needs_a_person:
        return []
    show = f"dataflows runs show {job.run.run_id[:8]}" if job.run is not None and job.run.exit_code else ""
    return [pasteable(job.hint), pasteable(show)]


def _local(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%d %b %H:%M")
