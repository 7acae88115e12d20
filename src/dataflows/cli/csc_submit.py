"""``csc-submit``: children's records from the staging table to the DfE CSC API."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dataflows.cli.options import RESUMES, DryRun, Invocation, Json, Workers, epilog, invocation
from dataflows.errors import WrongUsage

if TYPE_CHECKING:
    from dataflows.flows.csc.options import ByHand, Options

COMMAND = "csc-submit"


def register(app: typer.Typer) -> None:
    """Add the command, and what goes on with its runs."""
    RESUMES[COMMAND] = resume
    app.command(
        COMMAND,
        epilog=epilog("dataflows csc-submit --dry-run --out preview", "dataflows --env-file C:\\csc\\.env csc-submit"),
    )(csc_submit)


def csc_submit(
    context: typer.Context,
    mode: Annotated[
        Literal["auto", "full"] | None,
        typer.Option("--mode", help="auto: send only what changed, where that is safe. full: send whole records."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Send at most this many children.")] = None,
    child: Annotated[
        str | None, typer.Option("--child", help="Only this child, by la_child_id or else by person_id.")
    ] = None,
    resend: Annotated[
        bool, typer.Option("--resend", help="With --child: purge it and send it whole, whatever its status.")
    ] = False,
    purge: Annotated[
        bool, typer.Option("--purge", help="With --child: purge a child that is deleted or has no row.")
    ] = False,
    purge_orphans: Annotated[
        bool, typer.Option("--purge-orphans", help="Purge the children at the API that no longer have a row.")
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors/--no-retry-errors", help="Whether to include rows that failed before.")
    ] = True,
    dry_run: DryRun = False,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, help="With --dry-run: write the batches to this folder.")
    ] = None,
    show: Annotated[
        int | None, typer.Option("--show", help="Print what would be sent for the row with this id; terminal only.")
    ] = None,
    requeue: Annotated[
        bool, typer.Option("--requeue", help="Send every row whole, for example to a new receiver.")
    ] = False,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Take over a table that another machine, tool or key has sent.")
    ] = False,
    rehearsal: Annotated[
        bool, typer.Option("--rehearsal", help="Send to a test receiver; write nothing back.")
    ] = False,
    allow_mass_delete: Annotated[
        bool, typer.Option("--allow-mass-delete", help="Ignore CSC_MAX_DELETE_PERCENT for this run.")
    ] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Send pending children to the DfE CSC API.

    Only what has changed since the last acknowledged submission is sent, or the whole child where that is uncertain. A
    row that is reloaded meanwhile stays pending. Running the command again continues where an interrupted run stopped.
    """
    call = invocation(context).begin(COMMAND, as_json)
    _refuse_contradictions(dry_run=dry_run, out=out, requeue=requeue, takeover=takeover, rehearsal=rehearsal)
    by_hand = _by_hand(child, resend=resend, purge=purge, purge_orphans=purge_orphans)
    settings = call.settings(csc_workers=workers)
    from dataflows.flows.csc import job

    options = job.Options(
        full=mode == "full" or (mode is None and not settings.use_partial_payload),
        limit=limit,
        child=child,
        by_hand=by_hand,
        purge_orphans=purge_orphans,
        retry_errors=retry_errors,
        dry_run=dry_run,
        out=out,
        rehearsal=rehearsal,
        requeue=requeue,
        takeover=takeover,
        allow_mass_delete=allow_mass_delete,
        workers=settings.csc_workers,
    )
    if show is not None:
        raise typer.Exit(_show(call, options, show))
    raise typer.Exit(run(call, options))


def run(call: Invocation, options: Options) -> int:
    """Run the job and print how it ended; returns the exit code."""
    from dataflows.flows.csc import job
    from dataflows.settings.needs import require

    settings = call.loaded or call.settings()
    require(settings, COMMAND, dry_run=options.dry_run)
    target = job.target(settings) + (" (dry run)" if options.dry_run else "")
    order = call.order(settings, target, job.options_to_json(options), resumable=not options.dry_run)
    return call.run(order, job.submit(settings, options))


def resume(call: Invocation, kept: Mapping[str, object]) -> int:
    """Run the job again with the options of an earlier run; what is done is in the table and the journal."""
    from dataflows.flows.csc import job

    call.begin(COMMAND)
    return run(call, job.options_from_json(kept))


def _refuse_contradictions(*, dry_run: bool, out: Path | None, requeue: bool, takeover: bool, rehearsal: bool) -> None:
    if out is not None and not dry_run:
        raise WrongUsage(
            "--out can only be used with --dry-run",
            reason="out-without-dry-run",
            hint="add --dry-run, or leave out --out",
        )
    if takeover and (requeue or rehearsal):
        raise WrongUsage(
            "--takeover cannot be used with --requeue or --rehearsal",
            reason="csc-takeover-options",
            hint="--takeover: the table was sent to this receiver before; --requeue: the receiver is new",
        )
    if requeue and (dry_run or rehearsal):
        raise WrongUsage(
            "--requeue changes the table and cannot be used with --dry-run or --rehearsal",
            reason="requeue-dry-run",
            hint="check first with --dry-run alone; a rehearsal sends every row whole anyway",
        )


def _by_hand(child: str | None, *, resend: bool, purge: bool, purge_orphans: bool) -> ByHand | None:
    from dataflows.flows.csc.options import ByHand

    if resend and purge:
        raise WrongUsage(
            "--resend and --purge cannot be used together", reason="csc-child-options", hint="use one of them"
        )
    if child is None and (resend or purge):
        raise WrongUsage("--resend and --purge are for one child", reason="csc-child-options", hint="add --child ID")
    if child is not None and purge_orphans:
        raise WrongUsage(
            "--purge-orphans applies to the whole table",
            reason="csc-child-options",
            hint="for one child: --child ID --purge",
        )
    if resend:
        return ByHand.RESEND
    return ByHand.PURGE if purge else None


def _show(call: Invocation, options: Options, row_id: int) -> int:
    from dataflows.flows.csc import inspection

    if not call.output.on_terminal:
        raise WrongUsage(
            "--show prints a child's record, so it works on a terminal only",
            reason="show-needs-terminal",
            hint="run it in a console window",
        )
    settings = call.loaded or call.settings()
    for line in inspection.of_row(settings, options, row_id):
        call.output.say(line)
    return call.output.ended("1 row shown")
