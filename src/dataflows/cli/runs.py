"""``runs``: what ran, how it ended, and what to do about it."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import RESUMES, Invocation, Json, epilog, invocation
from dataflows.errors import AlreadyRunning, ExitCode, WrongUsage
from dataflows.hints import pasteable

if TYPE_CHECKING:
    from dataflows.runs.journal import Item, Journal, RunRecord

RunId = Annotated[str, typer.Argument(metavar="ID", help="A run id or batch id, or a unique beginning of one.")]
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS)
_AGE = re.compile(r"(\d{1,9})([dhm])", re.ASCII)
_LONGEST = timedelta(days=100 * 365)
_FOLLOW_EVERY_SECONDS = 0.5
_ITEMS_SHOWN = 20
_FACTS = (
    *("run_id", "command", "state", "exit_code", "batch_id", "started_at", "ended_at"),
    *("total", "counts", "step", "continued_by", "log_file"),
)
_IN_JSON = {"state": "status"}


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="The history of runs; resume what was interrupted.", no_args_is_help=True)
    group.command("list", epilog=epilog("dataflows runs list --resumable", codes=_CODES))(list_runs)
    group.command(
        "show",
        epilog=epilog(
            "dataflows runs show 7f3a1c22 --follow", codes=(*_CODES, ExitCode.SOME_FAILED, ExitCode.SERVICE_DOWN)
        ),
    )(show)
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
    limit: Annotated[int, typer.Option("--limit", min=1, help="Show at most so many.")] = 20,
    as_json: Json = False,
) -> None:
    """List runs, newest first."""
    call = invocation(context).begin("runs list", as_json)
    journal = _journal(call)
    found = journal.runs(state="resumable" if resumable else None, limit=limit)
    if call.output.as_json:
        items = [_document(record) for record in found]
        call.output.document({"run_id": None, "status": "done", "exit_code": 0, "items": items, "error": None})
    elif found:
        rows = [
            (r.run_id[:8], r.command, r.state, _local(r.started_at), _lasted(r), _counts(r), r.error_code or "")
            for r in found
        ]
        call.output.table(("run", "command", "state", "started", "lasted", "items", "error"), rows)
    raise typer.Exit(call.output.ended(f"{len(found)} run{'s' * (len(found) != 1)}"))


def show(
    context: typer.Context,
    run_id: RunId,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run ends.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="List every item that failed.")] = False,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare with the Hospital Directory; exit code 3 if it differs."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show one run: how far it is or how it ended, and its items that failed."""
    call = invocation(context).begin("runs show", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    if follow:
        record = _followed(call, journal, record)
    failures = _failures(journal, record, everything=failed)
    beside = _beside(call, journal, record)
    findings = _checked(call, journal, record) if check else None
    code = ExitCode.SOME_FAILED if findings else ExitCode.OK
    if call.output.as_json:
        items = [{"key": i.key, "state": i.state, "code": i.code, "message": i.message} for i in failures]
        call.output.document({**_document(record), "items": items, **beside, **({"check": findings} if check else {})})
    else:
        _print(call, journal, record, failures)
    raise typer.Exit(call.output.ended("1 run shown", code))


def _followed(call: Invocation, journal: Journal, record: RunRecord) -> RunRecord:
    """Tell how far a run is, whenever that changes, until it ends."""
    shown = ""
    while record.state == "running":
        if _line(record) != shown:
            shown = _line(record)
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
        raise WrongUsage(f"--check is for runs of {hospitals_bulk.COMMAND}", hint="leave it out")
    return hospitals_bulk.check(call, journal, record)


def resume(context: typer.Context, run_id: RunId, as_json: Json = False) -> None:
    """Go on with a run that was interrupted."""
    call = invocation(context).begin("runs resume", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    journal.close()
    if record.state != "resumable":
        by = f", continued by run {record.continued_by[:8]}" if record.continued_by else ""
        raise WrongUsage(
            f"run {record.run_id[:8]} is {record.state}{by}: there is nothing to resume",
            hint=f"to run the command anew: dataflows {record.command}",
        )
    if record.command not in RESUMES:
        raise WrongUsage(f"runs of {record.command} cannot be resumed", hint="run the command again")
    raise typer.Exit(RESUMES[record.command](call, record.options))


def abandon(
    context: typer.Context,
    run_id: RunId,
    delete_active: Annotated[
        bool, typer.Option("--delete-active", help="Also delete hospitals that are live. Of hospitals-bulk only.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a run off the list of those to be resumed.

    What it did stays done. Only of hospitals-bulk, what is not active yet is removed from the Hospital Directory.
    """
    call = invocation(context).begin("runs abandon", as_json)
    journal = _journal(call)
    record = journal.find(run_id)
    if record.state == "running":
        raise AlreadyRunning(
            f"run {record.run_id[:8]} is running (process {record.pid})", hint="stop it first, or wait for its end"
        )
    from dataflows.cli import hospitals_bulk

    if record.command == hospitals_bulk.COMMAND and (delete_active or record.state in ("resumable", "abandoned")):
        raise typer.Exit(hospitals_bulk.abandon(call, journal, record, delete_active=delete_active))
    if record.state != "resumable":
        raise WrongUsage(f"run {record.run_id[:8]} is {record.state}: there is nothing to abandon", hint="")
    journal.set_state(record.run_id, "abandoned")
    if call.output.as_json:
        call.output.document(_document(journal.find(record.run_id)))
    raise typer.Exit(call.output.ended(f"run {record.run_id[:8]} abandoned"))


def prune(
    context: typer.Context,
    older_than: Annotated[str, typer.Option("--older-than", help="An age, such as 30d, 12h or 90m.")] = "90d",
    as_json: Json = False,
) -> None:
    """Forget old runs. Resumable runs and everything acknowledged by a receiver are kept."""
    call = invocation(context).begin("runs prune", as_json)
    age = _AGE.fullmatch(older_than)
    if age is None:
        raise WrongUsage(f"--older-than {older_than!r} is not a valid age", hint="write it as 30d, 12h or 90m")
    limit = timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[age[2]]: int(age[1])})
    if limit > _LONGEST:
        raise WrongUsage(f"--older-than {older_than} is over 100 years", hint="write it as 30d, 12h or 90m")
    from dataflows.cli import hospitals_bulk

    journal = _journal(call)
    gone = journal.prune(older_than=_age(journal, limit))
    hospitals_bulk.sweep(call, journal)
    if call.output.as_json:
        call.output.document({"run_id": None, "status": "done", "exit_code": 0, "pruned": gone, "error": None})
    raise typer.Exit(call.output.ended(f"{gone} run{'s' * (gone != 1)} forgotten"))


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


def _failures(journal: Journal, record: RunRecord, *, everything: bool) -> list[Item]:
    found = journal.items(record.run_id, state="failed", limit=1000 if everything else _ITEMS_SHOWN)
    while everything and len(found) % 1000 == 0 and found:
        more = journal.items(record.run_id, state="failed", after=found[-1].key)
        if not more:
            break
        found += more
    return found


def _print(call: Invocation, journal: Journal, record: RunRecord, failures: list[Item]) -> None:
    facts = [
        ("run", record.run_id),
        ("command", record.command),
        (
            "state",
            record.state if not record.continued_by else f"{record.state}, continued by {record.continued_by[:8]}",
        ),
        ("started", f"{_local(record.started_at)} by process {record.pid} on {record.host}"),
        ("lasted", _lasted(record)),
        ("items", _counts(record)),
        ("exit code", "" if record.exit_code is None else str(record.exit_code)),
        ("error", record.error or ""),
        ("hint", pasteable(record.hint or "")),
        ("log", record.log_file or ""),
    ]
    call.output.table(("", ""), [fact for fact in facts if fact[1]])
    if failures:
        rows = [(item.key, item.code or "", item.message or "") for item in failures]
        call.output.table(("failed item", "code", "message"), rows)
    total = journal.item_counts(record.run_id).get("failed", 0)
    if total > len(failures):
        call.output.note(f"and {total - len(failures)} more: dataflows runs show {record.run_id[:8]} --failed")


def _document(record: RunRecord) -> dict[str, object]:
    error = None
    if record.error_code:
        error = {"code": record.error_code, "message": record.error or "", "hint": pasteable(record.hint or "")}
    facts = {_IN_JSON.get(name, name): getattr(record, name) for name in _FACTS}
    return {**facts, "error": error}


def _line(record: RunRecord) -> str:
    of = f" of {record.total}" if record.total else ""
    return f"run {record.run_id[:8]} {record.command}: {_counts(record)}{of}; {record.step or 'working'}"


def _counts(record: RunRecord) -> str:
    from dataflows.cli.wording import counts_in_words

    return counts_in_words(record.counts)


def _local(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _lasted(record: RunRecord) -> str:
    from dataflows.cli.wording import took

    if record.ended_at is None:
        return ""
    length = datetime.fromisoformat(record.ended_at) - datetime.fromisoformat(record.started_at)
    return took(max(0.0, length.total_seconds()))
