"""From a command to a run and back: the order, the log, the journal around it, and the words at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dataflows.cli.options import Invocation

if TYPE_CHECKING:
    from dataflows.runs.runner import Job
    from dataflows.settings import Settings


def carry_out(
    call: Invocation,
    settings: Settings,
    job: Job,
    *,
    target: str,
    options: Mapping[str, object],
    resumable: bool = True,
) -> int:
    """Run a job under the name of the current command, show it and sum it up; returns the exit code."""
    from dataflows.runs.runner import Order, run_job

    order = Order(
        command=call.output.command,
        target=target,
        options=options,
        data_dir=settings.data_dir,
        runs_keep_days=settings.runs_keep_days,
        log_file=call.log(settings).path,
        resumable=resumable,
    )
    return call.output.finish(run_job(order, job, call.listener))
