"""``patient-import``: patient registrations from the bucket into the practice database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import RESUMES, DryRun, Invocation, Json, epilog, invocation
from dataflows.cli.passes import EVERY, Every, Watching, import_once, refuse_every, watch
from dataflows.errors import WrongUsage

if TYPE_CHECKING:
    from dataflows.flows.practice.patients.job import Options
    from dataflows.runs.runner import Job
    from dataflows.settings import Settings

COMMAND = "patient-import"


def register(app: typer.Typer) -> None:
    """Add the command, and what goes on with its runs."""
    RESUMES[COMMAND] = resume
    app.command(
        COMMAND,
        epilog=epilog("dataflows patient-import", "dataflows patient-import --watch --every 30m"),
    )(patient_import)


def patient_import(
    context: typer.Context,
    watching: Watching = False,
    every: Every = EVERY,
    pattern: Annotated[
        str | None,
        typer.Option("--pattern", help="Regular expression for the names of registrations, if not the usual one."),
    ] = None,
    retry: Annotated[
        str | None, typer.Option("--retry", help="Retry this failed object, given by its hash or its name.")
    ] = None,
    retry_dead: Annotated[bool, typer.Option("--retry-dead", help="Retry every object that was given up on.")] = False,
    from_copies: Annotated[
        Path | None,
        typer.Option("--from-copies", readable=False, help="After a restore: import the local copies in this folder."),
    ] = None,
    show: Annotated[
        str | None, typer.Option("--show", help="Print the object name that a hash stands for; on a terminal only.")
    ] = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Move patient registrations from the bucket into the database.

    An object is deleted only once its bytes are on disk and its registration is committed. If the run is interrupted
    for any reason, running the command again continues where it stopped; nothing is imported twice.
    """
    call = invocation(context).begin(COMMAND, as_json)
    refuse_every(call, watching=watching)
    _refuse_contradictions(
        watching=watching, retry=retry is not None or retry_dead, copies=from_copies is not None, dry_run=dry_run
    )
    from dataflows.flows.practice.patients import job

    options = job.Options(dry_run, pattern, retry, retry_dead, from_copies)
    if show is not None:
        raise typer.Exit(_show(call, show, from_copies))
    if watching:
        raise typer.Exit(watch(call, every, lambda fresh: run(fresh, options, watching=True)))
    raise typer.Exit(run(call, options))


def run(call: Invocation, options: Options, *, watching: bool = False) -> int:
    """Run one pass and print how it ended; returns the exit code."""
    from dataflows.flows.practice.patients import job

    def plan(settings: Settings) -> tuple[str, Mapping[str, object], Job]:
        job.check(settings, options)
        return job.target(settings), job.options_to_json(options), job.bring_in(settings, options)

    return import_once(call, COMMAND, plan, dry_run=options.dry_run, watching=watching)


def resume(call: Invocation, kept: Mapping[str, object]) -> int:
    """Run a pass with the options of an earlier one; what is done is in the database."""
    from dataflows.flows.practice.patients import job

    call.begin(COMMAND)
    return run(call, job.options_from_json(kept))


def _refuse_contradictions(*, watching: bool, retry: bool, copies: bool, dry_run: bool) -> None:
    if watching and (retry or copies or dry_run):
        raise WrongUsage(
            "--watch cannot be used with --dry-run, --retry, --retry-dead or --from-copies",
            reason="pass-options",
            hint="run it once on its own; the watching process can keep running",
        )
    if retry and (copies or dry_run):
        raise WrongUsage(
            "--retry and --retry-dead cannot be used with --dry-run or --from-copies",
            reason="pass-options",
            hint="leave one of them out",
        )


def _show(call: Invocation, wanted: str, folder: Path | None) -> int:
    if not call.output.on_terminal:
        raise WrongUsage(
            "--show prints a person's name, so it works on a terminal only",
            reason="show-needs-terminal",
            hint="run it in a console window",
        )
    from dataflows.flows.practice.patients import inspection

    found = inspection.behind(call.settings(), wanted, folder)
    for name in found:
        call.output.say(name)
    return call.output.ended(f"{len(found)} object{'s' * (len(found) != 1)} shown")
