"""The app, and the one place where an error becomes an exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dataflows import __version__, hints
from dataflows.cli.arguments import options_first, repeated
from dataflows.cli.options import Invocation, epilog
from dataflows.cli.output import Output
from dataflows.errors import DataflowsError, ExitCode, Interrupted, SettingUnusable, WrongUsage
from dataflows.store.umask import closed_to_others

PROGRAM = "dataflows"
_COMMANDS = (
    *("cqc-fetch", "hospitals-bulk", "patient-import", "therapist-import", "csc-submit"),
    *("test-db", "test-endpoint", "test-schema", "status", "report", "runs", "person", "serve", "schedule"),
    *("init", "config", "secrets", "sandbox", "demo"),
)
"""In the order of ``--help``. Each is a module of its name beside this one, but for the three of ``diagnostics``."""


class _InOrder(typer.core.TyperGroup):
    """Lists the commands in our order (Typer's own puts groups such as ``runs`` last)."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_COMMANDS.index)


app = typer.Typer(
    name=PROGRAM,
    cls=_InOrder,
    help="Move care-sector data between files, databases and official APIs, without losing or duplicating a record.",
    epilog=epilog("dataflows csc-submit --dry-run", "dataflows csc-submit --help"),
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _name in dict.fromkeys("diagnostics" if name.startswith("test-") else name for name in _COMMANDS):
    import_module(f"dataflows.cli.{_name.replace('-', '_')}").register(app)


@app.callback(invoke_without_command=True)
def before_command(
    context: typer.Context,
    *,
    env_file: Annotated[
        Path | None,
        typer.Option(
            envvar="DATAFLOWS_ENV_FILE", readable=False, help="Read this env file instead of looking for one."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(readable=False, help="Folder for the journal, locks and logs (DATA_DIR).")
    ] = None,
    chosen: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change a setting for this command only; may be repeated."),
    ] = None,
    job: Annotated[str | None, typer.Option("--job", hidden=True)] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(help="How much to write to the log file (LOG_LEVEL)."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only errors and the last line.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every item.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="No colours (also: NO_COLOR).")] = False,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    """Take in the options of the program."""
    call: Invocation = context.obj
    output = call.output
    output.quiet, output.verbose = quiet, verbose
    output.color = not (no_color or os.environ.get("NO_COLOR"))
    call.set_for_this_call(chosen or ())
    if version:
        output.say(f"{PROGRAM} {__version__}")
        raise typer.Exit(ExitCode.OK)
    if context.invoked_subcommand is None:
        output.note(context.get_help())
        raise typer.Exit(ExitCode.USAGE)
    output.command = context.invoked_subcommand
    call.env_file, call.data_dir, call.log_level = _set(env_file), _set(data_dir), log_level
    call.job = job
    hints.given(*repeated(context, ("env_file", "data_dir"), chosen or ()))
    if not {"--help", "-h"} & set(call.arguments):
        context.default_map = _defaults(context, call)


def main(argv: Sequence[str] | None = None, caller: hints.Caller | None = None) -> int:
    """Run the program and return its exit code. ``caller``: how it was called, where not as ``dataflows``."""
    _speak_utf8()
    arguments = list(sys.argv[1:] if argv is None else argv)
    call = Invocation(Output(as_json="--json" in arguments), arguments)
    caller = replace(caller or hints.Caller(), program=hints.program(), commands=_COMMANDS)
    with closed_to_others(), hints.called(caller):
        try:
            return _answer(call)
        finally:
            call.close()


def options_before(arguments: Sequence[str]) -> int:
    """How many of the arguments stand before the command, for a program in front of this one."""
    flags = {name: one.is_flag for one in _command().params for name in one.opts if "completion" not in name}
    count = 0
    while count < len(arguments):
        name, equals, _ = arguments[count].partition("=")
        if name not in flags:
            break
        count += 1 if equals or flags[name] else 2
    return count


def say(text: str) -> int:
    """Print a text on stdout, for a program in front of this one. Returns 0."""
    _speak_utf8()
    Output().say(text)
    return ExitCode.OK


def report_failure(error: DataflowsError, arguments: Sequence[str]) -> int:
    """Print an error as ``main`` would, for a program in front of this one. Returns its exit code."""
    _speak_utf8()
    return Output(as_json="--json" in arguments).failed(error)


def _answer(call: Invocation) -> int:
    try:
        call.arguments = options_first(_command(), call.arguments)
        return _run(call)
    except (DataflowsError, typer.TyperException, typer.Abort, KeyboardInterrupt) as error:
        return call.failed(_ours(error, call))
    except SystemExit as stop:  # shell completion
        return stop.code if isinstance(stop.code, int) else int(bool(stop.code))
    except Exception as error:
        return call.output.crashed(call.crash_log(error))


def _run(call: Invocation) -> int:
    code = _command()(args=call.arguments, prog_name=PROGRAM, standalone_mode=False, obj=call)
    if code == ExitCode.INTERRUPTED and not call.output.summed_up:
        raise KeyboardInterrupt  # Typer had turned it into Exit(130)
    return int(code or 0)


@cache
def _command() -> Any:
    """What Typer makes of all the signatures above; once in a process, as it takes longer than many a call."""
    return typer.main.get_command(app)


def _ours(error: BaseException, call: Invocation) -> DataflowsError:
    if isinstance(error, DataflowsError):
        return error
    if isinstance(error, typer.TyperException):
        return _explained(error, call)
    return Interrupted(
        "interrupted", reason="interrupted", hint="to see what can be continued: dataflows runs list --resumable"
    )


def _explained(error: typer.TyperException, call: Invocation) -> DataflowsError:
    """A usage error in our two lines. What a variable says wrongly is a setting and no usage error."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    context: Any = getattr(error, "ctx", None)
    parameter: Any = getattr(error, "param", None)
    path = context.command_path if context is not None else PROGRAM
    if parameter is not None and context.get_parameter_source(parameter.name).name == "DEFAULT_MAP":
        from dataflows.cli.options import variable_name

        commands = tuple(path.split()[1:])
        name = variable_name(commands, max(parameter.opts, key=len))
        return SettingUnusable(
            f"{name}: {message}", reason="option-variable", hint=f"correct or remove the variable; see: {path} --help"
        )
    if context is not None and message.startswith(("Usage:", "Missing command")):
        names = ", ".join(context.command.commands)
        return WrongUsage(
            f"{path} needs a command", reason="command-missing", hint=f"one of {names}; see: {path} --help"
        )
    if message.startswith("Got unexpected extra argument"):  # it may be a child's identifier
        return WrongUsage(
            f"{path} was given an argument that it does not take", reason="argument-unknown", hint=f"see: {path} --help"
        )
    return WrongUsage(message, reason="usage", hint=f"see: {path} --help")


def _set(path: Path | None) -> Path | None:
    """A path of blanks, such as from a variable that was not filled in, is not set."""
    return path if path is not None and str(path).strip() else None


def _defaults(context: typer.Context, call: Invocation) -> dict[str, Any]:
    from dataflows.cli.options import defaults, variables
    from dataflows.settings import envfile

    known = list(variables(context.command))
    call.variables = frozenset(variable.name for variable in known)
    # the demo has settings of its own: whatever is wrong with the operator's file is no matter of it; init writes one
    path = None if context.invoked_subcommand in ("demo", "init") else envfile.find(call.env_file)
    return defaults(known, envfile.read(path) if path else {})


def _speak_utf8() -> None:
    """UTF-8 whatever the console says: the pipe of a frozen exe is cp1252. A program without a console gets a void."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
