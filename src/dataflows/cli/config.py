"""``config``: the settings in force, where each comes from, and what each command still lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import typer

from dataflows.cli.options import Invocation, Json, epilog, invocation
from dataflows.errors import ExitCode, marked
from dataflows.hints import pasteable

if TYPE_CHECKING:
    from dataflows.settings.survey import Survey

COMMAND = "config"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        COMMAND,
        epilog=epilog("dataflows config", r"dataflows --env-file C:\dataflows\.env config", codes=_CODES),
    )(config)


def config(context: typer.Context, as_json: Json = False) -> None:
    """Show the settings in force, where each comes from, and what each command still needs.

    Secrets are shown as ***, and fetched from where they are kept, to see whether they are there. A missing setting is
    not an error here; one that is set but cannot be used is (exit code 10).
    """
    call = invocation(context).begin(COMMAND, as_json)
    found = surveyed(call)
    missing = _missing(found)
    code = ExitCode.SETTINGS if found.problems else ExitCode.OK
    if call.output.as_json:
        call.output.document(_document(found, missing, code))
    else:
        _show(call, found, missing)
    for problem in found.problems:
        call.output.note(f"error: {marked(problem.message, problem.reason)}")
        call.output.note(f"hint: {problem.hint}")
    lacks = (
        f"{sum(map(bool, missing.values()))} commands need settings" if any(missing.values()) else "nothing is missing"
    )
    raise typer.Exit(call.output.ended(f"{len(found.problems)} unusable, {lacks}", code))


def surveyed(call: Invocation) -> Survey:
    """All settings of this call, with its flags."""
    from dataflows.settings.survey import survey

    found = survey(call.env_file, call.data_dir, {"log_level": call.log_level}, call.variables)
    call.loaded, call.output.data_dir = found.settings, found.settings.data_dir
    for warning in found.settings.warnings:
        call.output.warn(warning, reason="env-file-advice")
    return found


def _missing(found: Survey) -> dict[str, list[str]]:
    from dataflows.settings.needs import NEEDS, lacking

    return {command: lacking(found.settings, command) for command in NEEDS}


def _show(call: Invocation, found: Survey, missing: Mapping[str, Sequence[str]]) -> None:
    from dataflows.settings.needs import UNLESS

    say = call.output.say
    say(f"env file   {found.settings.env_file or 'none'}")
    say(f"data       {found.settings.data_dir}")
    for flow, items in groupby(found.items, key=lambda item: item.flow):
        say(f"\n{flow}")
        for item in items:
            value = "" if item.value is None else f" = {item.value}"
            source = "not set" if item.value is None and item.source == "default" else item.source
            say(f"  {item.name}{value}  ({source})")
    say("\nwhat is missing")
    for command, names in missing.items():
        say(f"  {command}: {'nothing' if not names else ''}".rstrip())
        for name in names:
            say(f"    {name}{f' (unless {UNLESS[name]})' if name in UNLESS else ''}")
    say("  every other command: nothing")


def _document(found: Survey, missing: Mapping[str, Sequence[str]], code: ExitCode) -> dict[str, object]:
    items = [
        {"name": one.name, "value": one.value, "source": one.source, "flow": one.flow, "problem": one.problem or None}
        for one in found.items
    ]
    problems = [{"reason": one.reason, "message": one.message, "hint": pasteable(one.hint)} for one in found.problems]
    first = {"code": "setting_unusable", **problems[0]} if problems else None
    return {
        "run_id": None,
        "status": "failed" if problems else "done",
        "exit_code": int(code),
        "env_file": found.settings.env_file,
        "data_dir": found.settings.data_dir,
        "items": items,
        "missing": missing,
        "problems": problems,
        "error": first,
    }
