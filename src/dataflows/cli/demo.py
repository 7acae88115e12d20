"""``demo``: every flow on made-up data, with nothing to configure and nothing left behind."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from textwrap import wrap
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Annotated

import typer

from dataflows.cli.options import Invocation, Json, environment, epilog, invocation, on_signals
from dataflows.errors import DataflowsError, ExitCode, Interrupted

if TYPE_CHECKING:
    from dataflows.demo import ResultLine, Stage
    from dataflows.events import Event
    from dataflows.runs.runner import Job, Order, Outcome

COMMAND = "demo"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.INTERRUPTED)
_COLUMNS = ("flow", "run", "items", "outcome", "seconds", "what to look at")
_WIDTH = 80  # of a terminal, so that a transcript can be pasted
_HINT = "please report the list of differences, with the folder that was kept"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(COMMAND, epilog=epilog("dataflows demo", "dataflows demo --keep", codes=_CODES))(demo)


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the temporary folder and say where it is.")] = False,
    as_json: Json = False,
) -> None:
    """Show the program at work on made-up data.

    Reads no settings, writes only to a temporary folder, and sends nothing outside this machine. Starts stand-ins for
    the remote services and runs all five flows, each again after data has changed and calls have been made to fail:
    csc-submit (children change, calls fail), hospitals-bulk (answers are lost, a run is interrupted and resumed),
    patient-import (objects have to wait, people register again), therapist-import (files a week later, one cut short)
    and cqc-fetch (files arrive whole, change, break off). Checks the figures of every run and the result at the end.
    """
    call = invocation(context).begin(COMMAND, as_json)
    try:
        # SIGTERM and Ctrl-Break end it as Ctrl-C does, so that it tidies up; a proxy stays out of the way to loopback
        with (
            on_signals(_interrupt, "SIGTERM", "SIGBREAK"),
            environment("no_proxy", "127.0.0.1"),
            _Folder(keep, call.output.note) as folder,
        ):
            code = _run(call, folder)
    except KeyboardInterrupt:
        raise Interrupted(
            "stopped before it finished", reason="interrupted", hint="run it again: dataflows demo"
        ) from None
    raise typer.Exit(code)


def _interrupt() -> None:
    raise KeyboardInterrupt


def _run(call: Invocation, folder: _Folder) -> int:
    from dataflows import demo as scenes
    from dataflows.settings import Settings

    call.loaded = Settings(data_dir=folder.path)  # where a bug would be logged
    call.output.note("all data is synthetic, and nothing leaves this machine")
    stage, lines = scenes.run(folder.path, partial(_run_job, call), call.output.note)
    folder.keep = folder.keep or bool(stage.findings.differences)
    return _report(call, stage, lines, folder)


def _report(call: Invocation, stage: Stage, lines: list[ResultLine], folder: _Folder) -> int:
    findings, output = stage.findings, call.output
    code = ExitCode.BUG if findings.differences else ExitCode.OK
    if output.as_json:
        output.document(_document(stage, lines, folder, code))
    else:
        output.table(_COLUMNS, [_row(line) for line in lines])
        for difference in findings.differences:
            output.say(f"DIFFERS  {difference}")
    if folder.keep:
        output.note(f"kept: {folder.path}")
        output.note(f'look at it with: dataflows --data-dir "{folder.path}" runs list')
    if findings.differences:
        output.note(f"hint: {_HINT}")
    found = f"{len(findings.differences)} differ" if findings.differences else "all as expected"
    return output.ended(f"{len(stage.runs)} runs, {findings.checked} checks, {found}", code)


def _row(line: ResultLine) -> list[object]:
    seconds = "" if line.seconds is None else f"{line.seconds:7.1f}"
    return [line.flow, line.run or "end", f"{line.items:5}", line.outcome, seconds, line.look_at]


def _document(stage: Stage, lines: list[ResultLine], folder: _Folder, code: ExitCode) -> dict[str, object]:
    differences = stage.findings.differences
    return {
        "run_id": None,
        "status": "failed" if differences else "done",
        "exit_code": int(code),
        "items": [asdict(line) for line in lines],
        "runs": [_described(outcome) for outcome in stage.runs],
        "checked": stage.findings.checked,
        "differences": differences,
        "folder": str(folder.path) if folder.keep else None,
        "error": _error(differences),
    }


def _described(outcome: Outcome) -> dict[str, object]:
    facts = {"run_id": outcome.run_id, "command": outcome.command, "exit_code": int(outcome.exit_code)}
    return {**facts, "seconds": round(outcome.seconds, 3), **outcome.report}


def _error(differences: list[str]) -> dict[str, str] | None:
    if not differences:
        return None
    return {
        "code": "demo_differs",
        "message": f"{len(differences)} figures or fields are not what they must be",
        "hint": _HINT,
    }


def _run_job(call: Invocation, order: Order, job: Job) -> Outcome:
    """Run a job as a command would, with a log of its own; on the screen only what went otherwise than planned."""
    assert call.loaded is not None, "the demo has its own settings"
    one = call.anew()
    one.output.command = order.command

    def listener(event: Event) -> None:
        log.log_event(event)
        if text := _line(event, everything=call.output.verbose):
            for line in wrap(text, _WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False):
                call.output.note(line)

    try:
        log = one.log_to_file(call.loaded)
        return one.outcome(replace(order, log_file=log.path), job, listener)
    finally:
        one.close()


def _line(event: Event, *, everything: bool) -> str:
    from dataflows.cli.progress import item_line
    from dataflows.events import Retrying, Waiting

    if isinstance(event, Retrying):
        return f"{event.why}: trying again {f'in {event.wait:.1f} s' if event.wait >= 0.05 else 'at once'}"
    if isinstance(event, Waiting):
        return f"waiting {event.seconds:.1f} s: {event.why}"
    return item_line(event) if everything else ""


class _Folder:
    """A temporary folder. It goes when the demo ends, unless it was asked for or holds what a report needs."""

    def __init__(self, keep: bool, say: Callable[[str], None]) -> None:
        self.keep = keep
        self._say = say

    def __enter__(self) -> _Folder:
        self.path = Path(tempfile.mkdtemp(prefix="dataflows-demo-"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.keep or not isinstance(error, (DataflowsError, KeyboardInterrupt, NoneType)):
            if error is not None:
                self._say(f"kept: {self.path}")
            return
        gc.collect()  # Windows removes no file that somebody still holds open, such as a database
        shutil.rmtree(self.path, ignore_errors=True)
        if self.path.exists():
            self._say(f"this folder is no longer needed, but could not be removed: {self.path}")
