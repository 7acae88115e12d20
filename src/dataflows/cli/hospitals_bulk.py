"""``hospitals-bulk``: a CSV of hospitals into the Hospital Directory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataflows.cli.options import RESUMES, Invocation, Json, Workers, epilog, invocation

if TYPE_CHECKING:
    from dataflows.flows.hospitals.job import Options
    from dataflows.flows.hospitals.rows import FileContent
    from dataflows.flows.hospitals.table import Validation
    from dataflows.runs.journal import Journal, RunRecord
    from dataflows.runs.runner import Report

COMMAND = "hospitals-bulk"
_ROWS_SHOWN = 20
_NAME_WIDTH = 40


def register(app: typer.Typer) -> None:
    """Add the command, and what goes on with its runs."""
    RESUMES[COMMAND] = resume
    app.command(
        COMMAND,
        epilog=epilog("dataflows hospitals-bulk hospitals.csv --dry-run", "dataflows hospitals-bulk hospitals.csv"),
    )(hospitals_bulk)


def hospitals_bulk(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", readable=False, help="A CSV file with the columns name, address and phone."),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only check the file and report on it.")] = False,
    skip_invalid: Annotated[
        bool, typer.Option("--skip-invalid", help="Leave out rows that are invalid or refused (exit code 3).")
    ] = False,
    max_rows: Annotated[
        int | None, typer.Option("--max-rows", min=0, max=10_000, help="The most rows a file may have (0: 10,000).")
    ] = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=20, help="How many rows are activated together.")
    ] = 20,
    again: Annotated[
        bool, typer.Option("--again", help="Create the same rows a second time. Needs this machine's journal.")
    ] = False,
    replace_earlier: Annotated[
        bool, typer.Option("--replace", help="First remove what an unfinished run of this file created.")
    ] = False,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Create the hospitals listed in a CSV file in the Hospital Directory.

    Every row is created once, and a batch is activated only when it is complete. Running the command again with the
    same rows continues where an interrupted run stopped, and does nothing if every hospital is already there.
    """
    call = invocation(context).begin(COMMAND, as_json)
    settings = call.settings(max_concurrent_requests=workers, max_csv_size=max_rows)
    from dataflows.flows.hospitals import job, table

    path = file.expanduser().absolute()
    validation = table.validate(path, max_rows=settings.max_csv_size)
    options = job.Options(
        path=os.path.normcase(path),
        batch_size=batch_size,
        skip_invalid=skip_invalid,
        again=again,
        replace=replace_earlier,
        workers=settings.max_concurrent_requests,
    )
    unusable = validation.refused or not validation.rows or not (validation.is_valid or skip_invalid)
    if dry_run or unusable:
        raise typer.Exit(_report_on(call, path, validation, dry_run=dry_run, skip_invalid=skip_invalid))
    raise typer.Exit(run(call, options, job.content_of(settings, options, validation)))


def run(call: Invocation, options: Options, content: FileContent) -> int:
    """Run the job and print how it ended; returns the exit code."""
    from dataflows.flows.hospitals import job

    settings = call.loaded or call.settings()
    order = call.order(settings, job.target(content, again=options.again), job.options_to_json(options, content))
    return call.run(order, job.upload(settings, options, content), lambda report: _show(call, report))


def resume(call: Invocation, kept: Mapping[str, object]) -> int:
    """Go on with an earlier run, from the copy of its rows."""
    from dataflows.flows.hospitals import job

    call.begin(COMMAND)
    settings = call.loaded or call.settings()
    options, content = job.options_from_json(kept, settings)
    return run(call, replace(options, workers=settings.max_concurrent_requests), content)


def progress(call: Invocation, journal: Journal, record: RunRecord) -> dict[str, object] | None:
    """How far a run is, as seed 003 tells it."""
    from dataflows.flows.hospitals import report

    settings = call.loaded or call.settings()
    return report.progress(journal, settings.data_dir, record)


def check(call: Invocation, journal: Journal, record: RunRecord) -> list[dict[str, object]]:
    """Compare the Directory with a run, and say what to do about every batch that differs."""
    from dataclasses import asdict

    from dataflows.flows.hospitals import earlier

    settings = call.loaded or call.settings()
    findings = earlier.check(settings, journal, record, call.listener)
    for one in findings:
        call.output.note(f"batch {one.batch_id}: {one.says}")
        call.output.note(f"hint: {one.advice(record.run_id[:8])}")
    if not findings:
        call.output.note("the Directory holds what it should")
    return [{**asdict(one), "advice": one.advice(record.run_id[:8])} for one in findings]


def abandon(call: Invocation, journal: Journal, record: RunRecord, *, delete_active: bool) -> int:
    """Remove from the Directory what a run created and did not activate; returns the exit code."""
    from dataflows.flows.hospitals import earlier

    settings = call.loaded or call.settings()
    done = earlier.abandon(settings, journal, record, call.listener, delete_active=delete_active)
    after = journal.find(record.run_id)
    if call.output.as_json:
        facts = {"run_id": record.run_id, "status": after.state, "exit_code": 0, "batch_id": record.batch_id}
        call.output.document({**facts, "deleted": done.deleted, "left_active": done.live, "error": None})
    if done.live:
        call.output.note(f"{len(done.live)} active batches were left unchanged")
        call.output.note(f"hint: to delete live hospitals: dataflows runs abandon {record.run_id[:8]} --delete-active")
    return call.output.ended(f"run {record.run_id[:8]} {after.state}, {done.deleted} records deleted")


def sweep(call: Invocation, journal: Journal) -> None:
    """Remove what was kept for runs that are pruned."""
    from dataflows.flows.hospitals import earlier

    earlier.sweep(journal, (call.loaded or call.settings()).data_dir)


def _report_on(call: Invocation, path: Path, validation: Validation, *, dry_run: bool, skip_invalid: bool) -> int:
    from dataflows.flows.hospitals import job

    settings = call.loaded or call.settings()
    order = call.order(settings, f"file {path}", {"path": str(path), "dry_run": dry_run}, resumable=False)
    return call.run(
        order,
        job.check_file(validation, skip_invalid=skip_invalid and not dry_run),
        lambda report: _show_validation(call, report),
    )


def _show(call: Invocation, report: Report) -> None:
    facts: dict[str, Any] = dict(report)
    rows = [
        (one["row"], one["hospital_id"], _short(one["name"]), one["status"])
        for one in facts["hospitals"]
        if one["status"] != "created_and_activated" or facts["total_hospitals"] <= _ROWS_SHOWN
    ]
    if rows:
        call.output.table(("row", "hospital", "name", "status"), rows[:_ROWS_SHOWN])
    if len(rows) > _ROWS_SHOWN:
        call.output.say(f"and {len(rows) - _ROWS_SHOWN} more, see --json")
    live, batches = sum(one["activated"] for one in facts["batches"]), len(facts["batches"])
    there = facts["already_there_hospitals"]
    parts = [f"{facts['created_hospitals']} of {facts['total_hospitals']} hospitals created"]
    parts += [f"{there} already there"] if there else []
    parts += [f"{live} of {batches} batch{'es' * (batches != 1)} active"] if batches else []
    call.output.say(", ".join(parts))
    if batches:
        call.output.say(f"batch {facts['batch_id']}{' and others' * (batches > 1)}")


def _show_validation(call: Invocation, report: Report) -> None:
    facts: dict[str, Any] = dict(report)
    info = facts["file_info"]
    call.output.say(
        f"{facts['valid_rows']} of {facts['total_rows']} rows are valid;"
        f" {info['encoding']}, delimiter {info['delimiter']!r}, {info['size_bytes']:,} bytes"
    )
    for one in facts["warnings"][:_ROWS_SHOWN]:
        call.output.say(f"warning  row {one['row'] or '-'}  {one['code']}  {one['message']}")


def _short(name: str | None) -> str:
    text = name or ""
    return text if len(text) <= _NAME_WIDTH else f"{text[: _NAME_WIDTH - 3]}..."
