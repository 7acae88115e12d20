"""``runs``: what ran, how it ended, and what to do about it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataflows.cli.options import RESUMES, Invocation, Json, epilog, invocation
from dataflows.cli.run_views import (
    ITEMS_SHOWN,
    difference_document,
    difference_lines,
    failed_items,
    print_log,
    print_run,
    run_document,
    run_line,
    run_lines,
    write_failed,
)
from dataflows.cli.spans import age
from dataflows.errors import AlreadyRunning, ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.runs.journal import Journal, RunRecord

State = Literal["running", "done", "partial", "failed", "resumable", "abandoned"]
RunId = Annotated[
    str, typer.Argument(metavar="ID", help="A run id or batch id; its first characters will do if they are unique.")
]
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS)
_FOLLOW_EVERY_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Show earlier runs; resume interrupted ones.", no_args_is_help=True)
    group.command(
        "list",
        epilog=epilog(
            "dataflows runs list --resumable", "dataflows runs list --command csc-submit --since 7d", codes=_CODES
        ),
    )(list_runs)
    group.command(
        "show",
        epilog=epilog(
            "dataflows runs show 7f3a1c22 --follow",
            "dataflows runs show 7f3a1c22 --csv failed.csv",
        ),
    )(show)
    group.command("diff", epilog=epilog("dataflows runs diff 7f3a1c22", codes=_CODES))(diff)
    group.command("resume", epilog=epilog("dataflows runs resume 7f3a1c22"))(resume)
    group.command(
        "abandon",
        epilog=epilog(
            "dataflows runs abandon 7f3a1c22", codes=(*_CODES, ExitCode.ALREADY_RUNNING, ExitCode.SERVICE_DOWN)
        ),
    )(abandon)
    group.command("prune", epilog=epilog("dataflows runs prune --older-than 30d", codes=_CODES))(prune)
    app.add_typer(group, name="runs")


def list_runs(
    context: typer.Context,
    resumable: Annotated[bool, typer.Option("--resumable", help="Only runs that wait to be resumed.")] = False,
    command: Annotated[
        str | None, typer.Option("--command", metavar="NAME", help="Only runs of this command, such as csc-submit.")
    ] = None,
    state: Annotated[State | None, typer.Option("--state", help="Only runs in this state.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="7d", help="Only runs that began in the last 7d, 12h or 90min.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most this many.")] = 20,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    call = invocation(context).begin("runs list", as_json)
    _check_command(context, command)
    began = datetime.now(UTC) - age(since, "--since") if since else None
    journal = _journal(call)
    found = journal.runs(state="resumable" if resumable else state, command=command, since=began, limit=limit)
    if call.output.as_json:
        items = [run_document(record) for record in found]
        call.output.document({"run_id": None, "status": "done", "exit_code": 0, "items": items, "error": None})
    else:
        for line in run_lines(found, call.output.width):
            call.output.say(line)
    raise typer.Exit(call.output.ended(f"{len(found)} run{'s' * (len(found) != 1)}"))


def _check_command(context: typer.Context, command: str | None) -> None:
    known = context.find_root().command.list_commands(context)  # type: ignore[attr-defined]
    if command is not None and command not in known:
        raise WrongUsage(
            "--command is not a command of this program", reason="runs-no-command", hint=f"one of {', '.join(known)}"
        )


def show(
    context: typer.Context,
    run_id: RunId,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", help="Follow the run until it ends, and exit with its exit code.")
    ] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List every item that failed.")] = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", readable=False, help="Write the failed items into this file."),
    ] = None,
    log: Annotated[bool, typer.Option("--log", help="Print the log of the run.")] = False,
    exit_status: Annotated[bool, typer.Option("--exit-status", help="End with the exit code of the run.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with the Hospital Directory; exit code 3 if it differs."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one run: how far it is or how it ended and why, and its items that failed."""
    call = invocation(context).begin("runs show", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    if follow:
        record = _followed(call, journal, record)
    failures = failed_items(journal, record, everything=failed or csv is not None)
    findings = _checked(call, journal, record) if check else None
    if csv is not None:
        write_failed(csv, failures)
    if call.output.as_json:
        items = [{"key": i.key, "state": i.state, "code": i.code, "message": i.message} for i in failures]
        found = {"check": findings} if check else {}
        beside = {"report": journal.report(record.run_id), **_beside(call, journal, record)}
        call.output.document({**run_document(record), "items": items, **beside, **found})
    elif log:
        print_log(call.output, record)
    else:
        print_run(call.output, journal, record, failures if failed else failures[:ITEMS_SHOWN])
    code = ExitCode.SOME_FAILED if findings else _code(record, wanted=follow or exit_status)
    raise typer.Exit(call.output.ended("1 run shown", code))


def _code(record: RunRecord, *, wanted: bool) -> ExitCode:
    return ExitCode(record.exit_code or 0) if wanted else ExitCode.OK


def diff(context: typer.Context, run_id: RunId, as_json: Json = False) -> None:
    """Compare a run with the one before of the same target: new errors, those that are gone, the counts."""
    from dataflows.runs.nights import difference

    call = invocation(context).begin("runs diff", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    earlier = journal.runs(command=record.command, target=record.target, before=record.seq, limit=1)
    if not earlier:
        raise WrongUsage(
            f"run {record.run_id[:8]} is the first known run of its target",
            reason="runs-first",
            hint=f"to see it on its own: dataflows runs show {record.run_id[:8]}",
        )
    found = difference(journal, record, earlier[0])
    if call.output.as_json:
        call.output.document(difference_document(record, earlier[0], found))
    else:
        for line in difference_lines(record, earlier[0], found):
            call.output.say(line)
    raise typer.Exit(call.output.ended(f"{len(found.new)} new, {len(found.gone)} gone, {found.kept} as before"))


def _followed(call: Invocation, journal: Journal, record: RunRecord) -> RunRecord:
    """Tell how far a run is, whenever that changes, until it ends, or the run that goes on with it."""
    shown = ""
    while record.state == "running" or record.continued_by:
        if record.continued_by:
            record = journal.find(record.continued_by)
            continue
        if run_line(record) != shown:
            shown = run_line(record)
            call.output.note(shown)
        time.sleep(_FOLLOW_EVERY_SECONDS)
        _see_what_died(call, journal)
        record = journal.find(record.run_id)
    return record


def _beside(call: Invocation, journal: Journal, record: RunRecord) -> dict[str, object]:
    """What the flow of a run has to say beside what every run has."""
    from dataflows.cli import hospitals_bulk

    if record.command != hospitals_bulk.COMMAND or not call.output.as_json:
        return {}
    return {"progress": hospitals_bulk.progress(call, journal, record)}


def _checked(call: Invocation, journal: Journal, record: RunRecord) -> list[dict[str, object]]:
    from dataflows.cli import hospitals_bulk

    if record.command != hospitals_bulk.COMMAND:
        raise WrongUsage(
            f"--check is for runs of {hospitals_bulk.COMMAND}", reason="check-not-hospitals", hint="leave it out"
        )
    return hospitals_bulk.check(call, journal, record)


def resume(context: typer.Context, run_id: RunId, as_json: Json = False) -> None:
    """Continue a run that was interrupted."""
    call = invocation(context).begin("runs resume", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    journal.close()
    if record.state != "resumable":
        by = f", continued by run {record.continued_by[:8]}" if record.continued_by else ""
        raise WrongUsage(
            f"run {record.run_id[:8]} is {record.state}{by}: there is nothing to resume",
            reason="run-not-resumable",
            hint=f"to run the command again: dataflows {record.command}",
        )
    if record.command not in RESUMES:
        raise WrongUsage(
            f"runs of {record.command} cannot be resumed", reason="nothing-to-resume", hint="run the command again"
        )
    raise typer.Exit(RESUMES[record.command](call, record.options))


def abandon(
    context: typer.Context,
    run_id: RunId,
    delete_active: Annotated[
        bool, typer.Option("--delete-active", help="hospitals-bulk only: also delete hospitals that are live.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a run off the list of resumable runs.

    What it has done stays done, except for hospitals-bulk: hospitals that are not active yet are removed from the
    Hospital Directory.
    """
    call = invocation(context).begin("runs abandon", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    if record.state == "running":
        raise AlreadyRunning(
            f"run {record.run_id[:8]} is running (process {record.pid})",
            reason="run-at-work",
            hint="stop it first, or wait until it has finished",
        )
    from dataflows.cli import hospitals_bulk

    if record.command == hospitals_bulk.COMMAND and (delete_active or record.state in ("resumable", "abandoned")):
        raise typer.Exit(hospitals_bulk.abandon(call, journal, record, delete_active=delete_active))
    if record.state != "resumable":
        raise WrongUsage(
            f"run {record.run_id[:8]} is {record.state}: there is nothing to abandon",
            reason="run-not-resumable",
            hint="",
        )
    journal.set_state(record.run_id, "abandoned")
    if call.output.as_json:
        call.output.document(run_document(journal.find(record.run_id)))
    raise typer.Exit(call.output.ended(f"run {record.run_id[:8]} abandoned"))


def prune(
    context: typer.Context,
    older_than: Annotated[str, typer.Option("--older-than", help="An age, such as 30d, 12h or 90min.")] = "90d",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Forget old runs. Resumable runs and everything acknowledged by a receiver are kept."""
    call = invocation(context).begin("runs prune", as_json)
    limit = age(older_than, "--older-than")
    from dataflows.cli import hospitals_bulk

    journal = _journal(call)
    limit = _age(journal, limit)
    old = journal.prunable(older_than=limit)
    _ask(call, old, older_than, yes=yes)
    gone = journal.prune(older_than=limit)
    hospitals_bulk.sweep(call, journal)
    if call.output.as_json:
        call.output.document({"run_id": None, "status": "done", "exit_code": 0, "pruned": gone, "error": None})
    raise typer.Exit(call.output.ended(f"{gone} run{'s' * (gone != 1)} forgotten"))


def _ask(call: Invocation, old: int, older_than: str, *, yes: bool) -> None:
    """Say what would be forgotten; on a terminal nothing is without a yes."""
    if old == 0 or yes or call.output.as_json or not call.output.on_terminal:
        return
    call.output.note(f"{old} run{'s' * (old != 1)} ended more than {older_than} ago and would be forgotten")
    if not typer.confirm("Forget them?", err=True):
        raise typer.Exit(call.output.ended("nothing was forgotten"))


def _age(journal: Journal, asked: timedelta) -> timedelta:
    """How old is too old: counted from the newest run where the clock has jumped ahead since."""
    from dataflows.runs.clock import AHEAD, latest_start, utc_now

    newest = latest_start(journal)
    ahead = utc_now() - newest - AHEAD if newest is not None else timedelta()
    return asked + max(ahead, timedelta())


def _journal(call: Invocation) -> Journal:
    from dataflows.runs.journal import Journal

    journal = Journal.open(call.settings().data_dir)
    _see_what_died(call, journal)
    return journal


def _see_what_died(call: Invocation, journal: Journal) -> None:
    from dataflows.runs.history import see_what_died

    see_what_died(journal, (call.loaded or call.settings()).data_dir)
