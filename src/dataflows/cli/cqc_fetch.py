"""``cqc-fetch``: the CSV exports of CQC, verified, into a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataflows.cli.options import RESUMES, DryRun, Invocation, Json, Workers, epilog, invocation
from dataflows.errors import ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.flows.cqc.job import Options
    from dataflows.runs.runner import Report

COMMAND = "cqc-fetch"
_CODES = tuple(code for code in ExitCode if code not in (ExitCode.ACCESS_REFUSED, ExitCode.BAD_INPUT))


def register(app: typer.Typer) -> None:
    """Add the command, and what goes on with its runs."""
    RESUMES[COMMAND] = resume
    app.command(
        COMMAND,
        epilog=epilog(
            "dataflows cqc-fetch --output C:\\cqc", "dataflows cqc-fetch --source homecare --changes", codes=_CODES
        ),
    )(cqc_fetch)


def cqc_fetch(
    context: typer.Context,
    sources: Annotated[
        list[str] | None, typer.Option("--source", help="Fetch only this source; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", readable=False, help="Folder for the files (default: DATA_DIR).")
    ] = None,
    changes: Annotated[
        bool, typer.Option("--changes", help="Also list what is new, gone or changed since the last good file.")
    ] = False,
    merged: Annotated[
        bool, typer.Option("--merged", help="Also write one file of all sources, one row per location.")
    ] = False,
    skip_unchanged: Annotated[
        bool, typer.Option("--skip-unchanged", help="Do not save a file that is the same as the last one.")
    ] = False,
    accept_shrink: Annotated[
        bool, typer.Option("--accept-shrink", help="Accept a file with under half the records of the last one.")
    ] = False,
    allow_ragged: Annotated[
        int,
        typer.Option("--allow-ragged", min=0, help="Accept up to this many records with too few or too many columns."),
    ] = 0,
    keep_days: Annotated[
        int | None,
        typer.Option(
            "--keep-days", min=0, max=36_500, help="Remove downloads older than this many days (0: keep all)."
        ),
    ] = None,
    dry_run: DryRun = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Download the CSV exports of the Care Quality Commission.

    A file gets its final name only when it is complete and valid, so a file with such a name can be relied on.
    Running the command again downloads again; nothing is ever overwritten.
    """
    call = invocation(context).begin(COMMAND, as_json)
    settings = call.settings(cqc_keep_days=keep_days)
    from dataflows.flows.cqc import job

    options = job.Options(
        output=settings.data_dir if output is None else _from_working_folder(output),
        sources=tuple(sources or ()),
        keep_days=settings.cqc_keep_days,
        changes=changes,
        merged=merged,
        skip_unchanged=skip_unchanged,
        accept_shrink=accept_shrink,
        allow_ragged=allow_ragged,
        dry_run=dry_run,
        workers=workers,
    )
    raise typer.Exit(run(call, options))


def _from_working_folder(output: Path) -> Path:
    from dataflows.settings.envfile import working_folder

    path = output.expanduser()
    if not path.is_absolute() and working_folder() is None:  # Task Scheduler starts in a folder of Windows
        raise WrongUsage(
            f"--output {output} is relative", reason="path-relative", hint="give the full path, such as C:\\cqc"
        )
    return path.absolute()


def run(call: Invocation, options: Options) -> int:
    """Run the job and print how it ended; returns the exit code."""
    from dataflows.flows.cqc import job
    from dataflows.flows.cqc.fetching import chosen

    settings = call.loaded or call.settings()
    chosen(settings, options.sources)  # a source that is unknown is wrong usage and no run
    target = job.target(options.output) + (" (dry run)" if options.dry_run else "")
    order = call.order(settings, target, job.options_to_json(options), resumable=not options.dry_run)
    return call.run(order, job.fetch(settings, options), lambda report: _show(call, report))


def resume(call: Invocation, kept: Mapping[str, object]) -> int:
    """Fetch again with the options of an earlier run; files that it had finished stay."""
    from dataflows.flows.cqc import job

    call.begin(COMMAND)
    return run(call, job.options_from_json(kept))


def _show(call: Invocation, report: Report) -> None:
    output = call.output
    facts: dict[str, Any] = dict(report)
    if "would_fetch" in facts:
        for plan in facts["would_fetch"]:
            output.say(f"would fetch {plan['source']}")
            output.say(f"  from {plan['from']}")
            output.say(f"  to   {plan['to']}")
        for name in facts["would_prune"]:
            output.say(f"would remove {name}")
        return
    results: dict[str, dict[str, Any]] = facts.get("results", {})  # none where the run broke off before the first
    rows = [
        (name, one["file"], f"{one['rows']:,}", f"{one['bytes']:,}", _remark(one))
        for name, one in results.items()
        if one["error"] is None
    ]
    if rows:
        output.say(f"saved to {facts['saved_to']}")
        output.table(("source", "file", "records", "bytes", ""), rows)
    for one in results.values():
        if one["changes"]:
            output.say("{file}: {new} new, {gone} gone, {changed} changed".format(**one["changes"]))
    if facts.get("merged"):
        output.say("{file}: {rows} records".format(**facts["merged"]))
    if facts.get("pruned"):
        output.say(f"removed {len(facts['pruned'])} old files")


def _remark(one: Mapping[str, Any]) -> str:
    return "smaller" if one["warning"] else "unchanged" if one["unchanged"] else ""
