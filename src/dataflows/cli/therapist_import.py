"""``therapist-import``: the scraper's therapist files into the practice database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataflows.cli.options import RESUMES, DryRun, Invocation, Json, epilog, invocation
from dataflows.cli.passes import EVERY, Every, Watching, import_once, refuse_every, watch
from dataflows.errors import ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.flows.practice.therapists.job import Options
    from dataflows.runs.runner import Job, Report
    from dataflows.settings import Settings

COMMAND = "therapist-import"
_CODES = tuple(code for code in ExitCode if code is not ExitCode.BAD_INPUT)
_OTHERS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the command, and what goes on with its runs."""
    RESUMES[COMMAND] = resume
    app.command(
        COMMAND,
        epilog=epilog("dataflows therapist-import", "dataflows therapist-import --dry-run 20250708", codes=_CODES),
    )(therapist_import)


def therapist_import(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            readable=False,
            help="Files or folders (default: THERAPIST_IMPORT_DIR).",
            show_default=False,
        ),
    ] = None,
    watching: Watching = False,
    every: Every = EVERY,
    reprocess: Annotated[
        bool, typer.Option("--reprocess", help="Import files again even if they were imported before.")
    ] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Accept files that delete over 20% of an area at once.")
    ] = False,
    dry_run: DryRun = False,
    workers: Annotated[
        int, typer.Option("--workers", min=1, max=32, help="How many files to read at the same time.")
    ] = 2,
    as_json: Json = False,
) -> None:
    """Import the scraper's therapist files into the database.

    For each ZIP code the newest file counts; files stay where they are. A file is imported completely or not at all,
    and running the command again imports only what is new or has changed.
    """
    call = invocation(context).begin(COMMAND, as_json)
    refuse_every(call, watching=watching)
    if watching and (dry_run or reprocess):
        raise WrongUsage(
            "--watch cannot be used with --dry-run or --reprocess",
            reason="pass-options",
            hint="run it once on its own, without --watch",
        )
    from dataflows.flows.practice.therapists import job

    options = job.Options(_from_working_folder(paths or []), dry_run, reprocess, allow_mass_delete, workers)
    if watching:
        raise typer.Exit(watch(call, every, lambda fresh: run(fresh, options, watching=True)))
    raise typer.Exit(run(call, options))


def run(call: Invocation, options: Options, *, watching: bool = False) -> int:
    """Run one pass and print how it ended; returns the exit code."""
    from dataflows.flows.practice.therapists import job

    def show(settings: Settings, report: Report) -> None:
        _show(call, settings, options, report)

    def plan(settings: Settings) -> tuple[str, Mapping[str, object], Job]:
        job.check(settings, options)
        return job.target(settings), job.options_to_json(options), job.bring_in(settings, options)

    return import_once(call, COMMAND, plan, dry_run=options.dry_run, watching=watching, show=show)


def resume(call: Invocation, kept: Mapping[str, object]) -> int:
    """Run a pass with the options of an earlier one; what is done is in the database."""
    from dataflows.flows.practice.therapists import job

    call.begin(COMMAND)
    return run(call, job.options_from_json(kept))


def _from_working_folder(paths: list[Path]) -> tuple[Path, ...]:
    from dataflows.settings.envfile import working_folder

    for path in paths:
        if not path.expanduser().is_absolute() and working_folder() is None:
            raise WrongUsage(
                f"{path} is relative", reason="path-relative", hint="give the full path, such as C:\\scraper\\20250708"
            )
    return tuple(path.expanduser().absolute() for path in paths)


def _show(call: Invocation, settings: Settings, options: Options, report: Report) -> None:
    from dataflows.flows.practice.therapists import job

    output = call.output
    facts: dict[str, Any] = dict(report)
    for what in ("files", "therapists", "fields"):
        counts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in facts[what].items() if count)
        if counts:
            output.say(f"{what}: {counts}")
    if facts["mismatches"]:
        output.say(f"unchanged by their status, and changed: {facts['mismatches']}")
    if facts["files"]["other"] and output.on_terminal:
        for name in job.others(settings, options)[:_OTHERS_SHOWN]:
            output.say(f"left alone: {name}")
