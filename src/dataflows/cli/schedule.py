"""``schedule``: what Task Scheduler, systemd or cron needs to start a job by the clock; installs and removes it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dataflows.cli.options import Invocation, epilog, invocation
from dataflows.errors import ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.cli.timers import Timer
    from dataflows.runs.schedules import Recurrence
    from dataflows.settings import Settings

COMMAND = "schedule"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS, ExitCode.ACCESS_REFUSED)
_NO_JOBS = {COMMAND, "config", "demo", "init", "runs", "sandbox", "secrets", "serve", "status"}
_NAME = re.compile(r"[\w][\w .()-]{0,79}")
_ACCOUNT = re.compile(r"[^\x00-\x1f\x7f\"/:;|=,+*?<>]{1,256}")  # what Windows and POSIX allow in an account's name


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        COMMAND,
        epilog=epilog(
            r"dataflows --env-file C:\dataflows\.env schedule csc-submit --daily 02:00 --out csc-submit.xml",
            'dataflows schedule cqc-fetch --weekly "fri 09:00" --format cron -- --output /srv/cqc --changes',
            "dataflows schedule patient-import --every 1h --install",
            "dataflows schedule --list",
            codes=_CODES,
        ),
    )(schedule)


def schedule(
    context: typer.Context,
    job: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="The command to start, such as csc-submit.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Its options, after two dashes.")
    ] = None,
    *,
    daily: Annotated[
        str | None, typer.Option("--daily", metavar="HH:MM", help="Start it every day at this local time.")
    ] = None,
    weekly: Annotated[
        str | None, typer.Option("--weekly", metavar="'DAY HH:MM'", help="Start it once a week, such as 'fri 09:00'.")
    ] = None,
    every: Annotated[
        str | None, typer.Option("--every", metavar="1h", help="Start it at this interval, counted from midnight.")
    ] = None,
    stop_after: Annotated[
        int, typer.Option("--stop-after", min=1, max=23, help="Stop a run that takes longer than this many hours.")
    ] = 6,
    account: Annotated[
        str | None, typer.Option("--account", help="Run it as this account, such as LA\\svc-csc.")
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Its name in the scheduler (default: the job); needed for a second one."),
    ] = None,
    form: Annotated[
        Literal["task-scheduler", "systemd", "cron"] | None,
        typer.Option("--format", help="The scheduler to write for (default: this machine's)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", readable=False, help="Write to this file instead of stdout.")
    ] = None,
    install: Annotated[bool, typer.Option("--install", help="Register it with this machine's scheduler.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List what was installed with --install.")] = False,
    remove: Annotated[str | None, typer.Option("--remove", metavar="NAME", help="Remove an installed one.")] = None,
) -> None:
    """Print what a scheduler needs to start a job, with full paths, or install it.

    For Task Scheduler this is a task that runs whether or not anyone is logged on, and never twice at once; elsewhere
    it is a systemd service with its timer, or a cron line. Settings that only this console's environment has are
    included, but never a secret. Without --install nothing is changed: the last lines say how to install it.
    """
    call = invocation(context).begin(COMMAND)
    chosen = form or ("task-scheduler" if sys.platform == "win32" else "systemd")
    if listing or remove is not None:
        raise typer.Exit(_installed(call, chosen, remove))
    if job is None:
        raise WrongUsage(
            "schedule needs a job",
            reason="schedule-incomplete",
            hint="such as: dataflows schedule csc-submit --daily 02:00",
        )
    _refuse_half_paths(_check_job(context, job, options or []))
    timer = _timer(call, job, options or [], _recurrence(daily, weekly, every), stop_after, account, name)
    if install:
        from dataflows.cli import installing

        call.output.note(installing.scheduler(chosen).install(timer, _text(chosen, timer)))
        _expect(call.loaded or call.settings(), timer, job)
    else:
        _show(call, chosen, timer, out)
    raise typer.Exit(call.output.ended(f"{timer.name} {timer.recurrence}"))


def _installed(call: Invocation, chosen: str, remove: str | None) -> int:
    from dataflows.cli import installing

    scheduler = installing.scheduler(chosen)
    if remove is not None:
        scheduler.remove(remove)
        _expect_no_more(call.settings(), remove)
        return call.output.ended(f"{remove} was removed")
    names = scheduler.names()
    for name in names:
        call.output.say(name)
    return call.output.ended(f"{len(names)} installed" if names else "nothing is installed")


def _expect(settings: Settings, timer: Timer, job: str) -> None:
    """Note a job in the journal of its data folder: `status` and `report` say so when it does not run."""
    from dataflows.runs.journal import Journal
    from dataflows.runs.schedules import InstalledJobs

    with closing(Journal.open(settings.data_dir)) as journal:
        InstalledJobs(journal).add(timer.name, job, timer.recurrence)


def _expect_no_more(settings: Settings, name: str) -> None:
    from dataflows.runs.journal import Journal
    from dataflows.runs.schedules import InstalledJobs

    with closing(Journal.open(settings.data_dir)) as journal:
        InstalledJobs(journal).remove(name)


def _show(call: Invocation, chosen: str, timer: Timer, out: Path | None) -> None:
    if out is None:
        call.output.say(_text(chosen, timer))
    else:
        _write(out, chosen, _text(chosen, timer))
    for line in _next_steps(chosen, timer, out):
        call.output.note(line)


def _check_job(context: Any, job: str, options: list[str]) -> list[Path]:
    """Refuse what would fail every night: a job that is not there, options that it does not know.

    Returns the paths among the options.
    """
    group = context.find_root().command
    known = [name for name in group.list_commands(context) if name not in _NO_JOBS]
    if job not in known:
        raise WrongUsage(
            "this job cannot be scheduled", reason="schedule-incomplete", hint=f"one of {', '.join(known)}"
        )
    if any(character < " " for word in options for character in word):
        raise WrongUsage(
            "an option of the job contains a line break or another control character",
            reason="schedule-value",
            hint="remove it",
        )
    given = group.commands[job].make_context(job, list(options), parent=context.find_root()).params.values()
    single = [value for value in given if isinstance(value, Path)]
    return single + [
        path for value in given if isinstance(value, list | tuple) for path in value if isinstance(path, Path)
    ]


def _refuse_half_paths(paths: list[Path]) -> None:
    """A scheduler starts the job in another folder, where the same words would mean another file."""
    for path in paths:  # the task can be for another machine than this one
        if not PureWindowsPath(str(path)).is_absolute() and not path.is_absolute():
            raise WrongUsage(
                f"{path} is not a full path",
                reason="schedule-path",
                hint="start it with the drive or root, such as D:\\cqc",
            )


def _recurrence(daily: str | None, weekly: str | None, every: str | None) -> Recurrence:
    """Read the one of the three options that was given."""
    from dataflows.cli import timers

    readers: tuple[tuple[str, str | None, Callable[[str], Recurrence], str], ...] = (
        ("--daily", daily, timers.daily, "a time of day, such as 02:00 or 18:30"),
        ("--weekly", weekly, timers.weekly, "a day and a time, such as 'fri 09:00'"),
        ("--every", every, timers.every, f"one of {', '.join(timers.EVERY)}"),
    )
    given = [reader for reader in readers if reader[1] is not None]
    if len(given) != 1:
        raise WrongUsage(
            "schedule needs one of --daily, --weekly and --every",
            reason="schedule-incomplete",
            hint="such as --daily 02:00 or --weekly 'fri 09:00'",
        )
    option, text, read, meaning = given[0]
    try:
        return read(text or "")
    except ValueError:
        raise WrongUsage(
            f"the schedule's {option} must be {meaning}",
            reason="schedule-incomplete",
            hint="see: dataflows schedule --help",
        ) from None


def _timer(
    call: Invocation,
    job: str,
    options: list[str],
    recurrence: Recurrence,
    stop_after: int,
    account: str | None,
    name: str | None,
) -> Timer:
    from dataflows.cli.installing import carried_settings
    from dataflows.cli.timers import Timer

    _check_names(account, name)
    settings = call.settings()
    env_file = settings.env_file
    if env_file is None:
        call.output.warn(
            "no env file was found, so the job will look for one when it starts",
            "name it with --env-file",
            reason="schedule-no-env-file",
        )
    before = ["--env-file", str(env_file)] if env_file else []
    before += ["--data-dir", str(settings.data_dir)] if settings.origins["data_dir"] in ("flag", "environment") else []
    before += ["--job", name] if name else []
    program = _program()
    folder = env_file.parent if env_file else Path(program[0]).parent
    carried = carried_settings(settings, job, call.variables)
    today = date.today()  # noqa: DTZ011 - it is local time there
    return Timer(
        name or job, program, (*before, job, *options), folder, recurrence, stop_after, today, account, carried
    )


def _check_names(account: str | None, name: str | None) -> None:
    if account is not None and not _ACCOUNT.fullmatch(account):
        raise WrongUsage(
            "--account is not the name of an account",
            reason="schedule-value",
            hint="such as LA\\svc-csc, or svc-csc on Linux",
        )
    if name is not None and not _NAME.fullmatch(name):
        raise WrongUsage(
            "--name may contain letters, digits, blanks and . ( ) _ -",
            reason="schedule-value",
            hint="such as 'csc-submit LA 998'",
        )


def _program() -> tuple[str, ...]:
    """How this program is started: the exe, the installed command, or this Python with the module."""
    python = Path(sys.executable).absolute()
    if getattr(sys, "frozen", False):
        return (str(python.with_name("dataflows").with_suffix(python.suffix)),)
    installed = python.with_name("dataflows.exe" if sys.platform == "win32" else "dataflows")
    return (str(installed),) if installed.exists() else (str(python), "-m", "dataflows")


def _text(chosen: str, timer: Timer) -> str:
    from dataflows.cli import timers

    return {"task-scheduler": timers.task_scheduler, "systemd": timers.systemd, "cron": timers.cron}[chosen](timer)


def _write(path: Path, chosen: str, text: str) -> None:
    """Write the file for its owner alone: it tells where the data of the job is."""
    from dataflows.cli.installing import task_file
    from dataflows.store.files import write_whole

    data = task_file(text) if chosen == "task-scheduler" else f"{text}\n".encode()
    try:
        write_whole(path, data)
    except OSError as error:
        raise WrongUsage(
            f"{path} cannot be written ({error.strerror})",
            reason="schedule-out-unwritable",
            hint="choose another place for --out",
        ) from None


def _next_steps(chosen: str, timer: Timer, out: Path | None) -> list[str]:
    if chosen == "task-scheduler":
        from dataflows.cli.installing import task_commands

        first = [] if out else ["write it into a file with --out FILE: schtasks needs UTF-16"]
        file = str(out.absolute()) if out else "FILE"
        return [*first, "then, as administrator:", *(f"  {line}" for line in task_commands(timer, file))]
    if chosen == "systemd":
        from dataflows.cli.timers import unit_name

        return [
            "put the two parts where their first lines say, then: "
            f"systemctl daemon-reload && systemctl enable --now {unit_name(timer.name)}.timer"
        ]
    return ["add the line with: crontab -e"]
