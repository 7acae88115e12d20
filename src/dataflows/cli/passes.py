"""What the import commands share: one pass, and ``--watch`` with many."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from dataflows.cli.options import Invocation
from dataflows.errors import DataflowsError, ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.runs.runner import Job, Report
    from dataflows.settings import Settings

Watching = Annotated[bool, typer.Option("--watch", help="Keep running until stopped, pass after pass.")]
Every = Annotated[str, typer.Option("--every", help="With --watch: how often to run, such as 15m, 1h or 1d.")]
EVERY = "1h"
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


Plan: TypeAlias = "Callable[[Settings], tuple[str, Mapping[str, object], Job]]"
"""Makes sure that a pass makes sense; its target, its options for the journal and its job."""


def import_once(
    call: Invocation,
    command: str,
    plan: Plan,
    *,
    dry_run: bool,
    watching: bool,
    show: Callable[[Settings, Report], None] | None = None,
) -> int:
    """Run one pass and print how it ended; returns the exit code. ``show`` prints the report for people."""
    settings = call.settings()

    def one_pass() -> int:
        target, options, job = plan(settings)
        order = call.order(settings, target + " (dry run)" * dry_run, options, resumable=not dry_run)
        return call.run(order, job, show and (lambda report: show(settings, report)))

    if dry_run:
        return one_pass()
    from dataflows.flows.practice.alarms import reported

    return reported(settings, command, one_pass, watching=watching)


def refuse_every(call: Invocation, *, watching: bool) -> None:
    """Raise WrongUsage for an ``--every`` that was typed without ``--watch``: one pass has no next one."""
    if not watching and any(word.partition("=")[0] == "--every" for word in call.arguments):
        raise WrongUsage("--every can only be used with --watch", reason="pass-options", hint="add --watch")


def seconds(text: str) -> float:
    """The length of time that ``--every`` names.

    Raises:
        WrongUsage: it names none.
    """
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None or not float(found[1]):
        raise WrongUsage(
            f"--every {text!r} is not a valid duration", reason="duration-format", hint="write it as 90s, 15m, 1h or 1d"
        )
    return float(found[1]) * _UNITS[found[2]]


def watch(call: Invocation, every: str, one: Callable[[Invocation], int]) -> int:
    """Run passes until stopped; returns the exit code. ``one`` runs one with a call of its own."""
    from dataflows.runs import background as watching

    span = seconds(every)

    def stopping() -> None:
        call.output.note("stopping")

    code = watching.watch(lambda: _guarded(call.anew(), one), span, stopping)
    if code is ExitCode.INTERRUPTED:
        call.output.ended("stopped", code)
    call.output.summed_up = True
    return int(code)


def _guarded(call: Invocation, one: Callable[[Invocation], int]) -> int:
    """One pass; whatever breaks it is told, as ``main`` would."""
    try:
        return one(call)
    except DataflowsError as error:
        return call.failed(error)
    except Exception as error:
        return call.output.crashed(call.crash_log(error))
    finally:
        call.close()
