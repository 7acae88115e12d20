"""The options that commands share, their variables, and what the call of a command knows of them."""

from __future__ import annotations

import os
import re
import signal
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataflows.cli.output import Output
from dataflows.errors import DataflowsError, ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.events import Event
    from dataflows.runs.logs import RunLog
    from dataflows.runs.runner import Job, Order, Outcome, Report
    from dataflows.settings import Settings


_PREFIX = "DATAFLOWS"


@dataclass(frozen=True)
class Variable:
    """The variable of one option."""

    name: str
    commands: tuple[str, ...]
    """The way to the command, such as ``("runs", "list")``."""
    option: str
    """The option as it is typed, such as ``--older-than``."""
    parameter: str
    meaning: str
    multiple: bool


def variables(group: Any, above: tuple[str, ...] = ()) -> Iterator[Variable]:
    """The variables of all options below a Typer group."""
    for name, command in group.commands.items():
        way = (*above, name)
        if hasattr(command, "commands"):
            yield from variables(command, way)
        for parameter in command.params:
            if parameter.param_type_name == "option":
                yield _variable(way, parameter)


def defaults(known: list[Variable], written: Mapping[str, str]) -> dict[str, Any]:
    """What the variables say, in the shape of a Typer ``default_map``; the environment beats the env file."""
    found: dict[str, Any] = {}
    file = {key.upper(): value for key, value in written.items()}
    for variable in known:
        value = os.environ.get(variable.name, "").strip() or file.get(variable.name)
        if not value:
            continue
        place = found
        for command in variable.commands:
            place = place.setdefault(command, {})
        place[variable.parameter] = value.split() if variable.multiple else value
    return found


def variable_name(commands: tuple[str, ...], option: str) -> str:
    """The name by rule."""
    return "_".join([_PREFIX, *commands, option.lstrip("-")]).replace("-", "_").upper()


def _variable(way: tuple[str, ...], parameter: Any) -> Variable:
    option = max(parameter.opts, key=len)
    return Variable(
        variable_name(way, option), way, option, parameter.name, parameter.help or "", bool(parameter.multiple)
    )


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, even after an error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done; nothing is sent or changed.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=32, help="How many requests to make at the same time.")
]

_HELP_WIDTH = 74
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def epilog(*examples: str, codes: Iterable[ExitCode] = tuple(ExitCode)) -> str:
    """The end of a help page: examples, and the exit codes that the command can end with."""
    # \b keeps Typer from joining the lines of a paragraph
    shown = "\n".join(f"  {example}" for example in examples)
    lines = "\n".join(_code_line(code) for code in codes)
    return f"\b\n{'Examples' if len(examples) > 1 else 'Example'}:\n{shown}\n\n\b\nExit codes:\n{lines}"


def _code_line(code: ExitCode) -> str:
    return textwrap.fill(
        code.meaning,
        _HELP_WIDTH,
        initial_indent=f"  {int(code):>3}  ",
        subsequent_indent=" " * 7,
        break_on_hyphens=False,
    )


class Invocation:
    """One call of the program: the options before the command, and what the command opened with them."""

    def __init__(self, output: Output, arguments: list[str]) -> None:
        self.output = output
        self.arguments = arguments
        self.env_file: Path | None = None
        self.data_dir: Path | None = None
        self.log_level: str | None = None
        self.job: str | None = None
        """What the scheduler calls the job that this is a run of, where that is not its command."""
        self.variables: frozenset[str] = frozenset()
        """The variables that stand for command options."""
        self.loaded: Settings | None = None
        """The settings, once a command has read them."""
        self._log: RunLog | None = None
        self._open = ExitStack()

    def anew(self) -> Invocation:
        """The same call for another run of its own: with an output that has said nothing yet, and no log."""
        fresh = Invocation(self.output.anew(), self.arguments)
        fresh.env_file, fresh.data_dir = self.env_file, self.data_dir
        fresh.log_level, fresh.variables, fresh.job = self.log_level, self.variables, self.job
        return fresh

    def set_for_this_call(self, settings: Iterable[str]) -> None:
        """Take ``NAME=VALUE`` as if the environment said so, until this call ends.

        Raises:
            WrongUsage: it is not of that form.
        """
        for setting in settings:
            name, equals, value = setting.partition("=")
            if not equals or not _NAME.fullmatch(name):
                raise WrongUsage(
                    "--set needs NAME=VALUE",
                    reason="set-format",
                    hint="such as --set LA_CODE=998; .env.example lists the names",
                )
            self._open.enter_context(environment(name, value))

    def begin(self, command: str, as_json: bool = False) -> Invocation:
        """Say which command this is: its name leads the last line and names the log."""
        from dataflows.runs.logs import off_the_screen

        self._open.enter_context(off_the_screen())
        self.output.command = command
        self.output.as_json = self.output.as_json or as_json
        return self

    def settings(self, **overrides: object) -> Settings:
        """Read the settings; keyword arguments are flags by lower-case setting name (None: not given).

        Raises:
            SettingUnusable: a setting or the env file cannot be used.
        """
        from dataflows.settings import load

        flags = {"log_level": self.log_level, **overrides}
        self.loaded = load(self.env_file, self.data_dir, flags, options=self.variables)
        self.output.data_dir = self.loaded.data_dir
        for warning in self.loaded.warnings:
            self.output.warn(warning, reason="env-file-advice")
        return self.loaded

    def order(self, settings: Settings, target: str, options: Mapping[str, object], *, resumable: bool = True) -> Order:
        """What ``run_job`` is asked to run: this command on ``target``. Opens the log of the run.

        ``options`` are kept for ``runs resume``; ``resumable`` is whether it can go on after an interruption.
        """
        from dataflows.runs.runner import Order

        log = self.log_to_file(settings)
        return Order(
            self.output.command,
            target,
            {**options, "job": self.job} if self.job else options,
            settings.data_dir,
            runs_keep_days=settings.runs_keep_days,
            log_file=log.path,
            resumable=resumable,
        )

    def log_to_file(self, settings: Settings) -> RunLog:
        """Open the log of this call."""
        from dataflows.runs.logs import RunLog

        self._log = RunLog(
            settings.data_dir, self.output.command, level=settings.log_level, keep_days=settings.log_keep_days
        ).attach()
        return self._log

    def run(self, order: Order, job: Job, show: Callable[[Report], None] | None = None) -> int:
        """Run the job, print how it ended, and return the exit code. ``show`` prints the report for people."""
        return self.output.finish(self.outcome(order, job, self.listener), show=show)

    def outcome(self, order: Order, job: Job, listener: Callable[[Event], None]) -> Outcome:
        """Run the job, write its beginning and its end to the log, and return how it ended."""
        from dataflows.runs.runner import run_job

        assert self._log is not None, "order() comes first"
        self._log.log_start(order.command)
        if order.options.get("dry_run"):
            self.output.note("dry run: nothing is sent, and nothing is changed")
        outcome = run_job(order, job, listener)
        self._log.log_end(outcome)
        return outcome

    def listener(self, event: Event) -> None:
        """Show an event and write it to the log: what ``run_job`` wants."""
        if self._log is not None:
            self._log.log_event(event)
        self.output.listener(event)

    def failed(self, error: DataflowsError) -> int:
        """Say what kept the command from running, also in the log if there is one; returns the exit code."""
        if self._log is not None:
            with suppress(DataflowsError):  # the log itself can be what cannot be written
                self._log.log_error(error)
        return self.output.failed(error)

    def crash_log(self, error: BaseException) -> Path | None:
        """Write the traceback of a bug to the log of the run, or to one of its own."""
        from dataflows.runs.logs import RunLog

        try:
            self._log = self._log or RunLog(self._folder(), self.output.command or "dataflows").attach()
        except Exception:  # a bug is being reported: this must not raise another one
            return None
        return self._log.crash(error)

    def close(self) -> None:
        """End the progress display and close the log."""
        self.output.close()
        if self._log is not None:
            self._log.detach()
        self._open.close()

    def _folder(self) -> Path:
        if self.loaded is not None:
            return self.loaded.data_dir
        try:
            return self.settings().data_dir
        except Exception:  # a bug is being reported: this must not raise another one
            import tempfile

            return Path(tempfile.gettempdir()) / "dataflows"


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set a variable for the length of the block."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before


@contextmanager
def on_signals(handler: Callable[[], None], *names: str) -> Iterator[None]:
    """Call ``handler`` at each of these signals (those that this system has) for the length of the block."""
    numbers = [signal.Signals[name] for name in names if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: handler()) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


RESUMES: dict[str, Callable[[Invocation, Mapping[str, object]], int]] = {}
"""What goes on with an interrupted run of a command, by the command, which enters it here."""


def invocation(context: typer.Context) -> Invocation:
    """The call of the program that a command belongs to."""
    found = context.find_root().obj
    if not isinstance(found, Invocation):
        raise TypeError("commands run inside dataflows.cli.main.main")
    return found
