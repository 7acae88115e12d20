"""``schedule``: what Task Scheduler, systemd or cron needs to start a job every day."""

from __future__ import annotations

import codecs
import re
import sys
from datetime import date, time
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dataflows.cli.options import Invocation, epilog, invocation
from dataflows.errors import ExitCode, WrongUsage

if TYPE_CHECKING:
    from dataflows.cli.timers import Timer

COMMAND = "schedule"
_CODES = (ExitCode.OK, ExitCode.BUG, ExitCode.USAGE, ExitCode.SETTINGS)
_NO_JOBS = {COMMAND, "demo", "runs", "sandbox", "serve"}
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        COMMAND,
        epilog=epilog(
            r"dataflows --env-file C:\dataflows\.env schedule csc-submit --daily 02:00 --out csc-submit.xml",
            r"dataflows schedule cqc-fetch --daily 06:30 --format cron -- --output /srv/cqc --changes",
            codes=_CODES,
        ),
    )(schedule)


def schedule(
    context: typer.Context,
    job: Annotated[str, typer.Argument(metavar="JOB", help="The command to start, such as csc-submit.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="[-- OPTIONS]", help="Its options, after two dashes.")
    ] = None,
    *,
    daily: Annotated[str, typer.Option("--daily", metavar="HH:MM", help="Start it at this time of the machine.")],
    stop_after: Annotated[
        int, typer.Option("--stop-after", min=1, max=23, help="End a run that takes longer, in hours.")
    ] = 6,
    account: Annotated[
        str | None, typer.Option("--account", help="Run it as this account, such as LA\\svc-csc.")
    ] = None,
    form: Annotated[
        Literal["task-scheduler", "systemd", "cron"] | None,
        typer.Option("--format", help="For which scheduler (default: the one of this machine)."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write into this file instead of stdout.")] = None,
) -> None:
    """Print what starts a job every day, with whole paths.

    Task Scheduler gets a task that runs whether somebody is logged on or not and never twice at a time; elsewhere it
    is a systemd service with its timer, or a cron line. Nothing is installed: the last lines say how to do it.
    """
    call = invocation(context).begin(COMMAND)
    chosen = form or ("task-scheduler" if sys.platform == "win32" else "systemd")
    _refuse_half_paths(_check_job(context, job, options or []))
    timer = _timer(call, (job, *(options or ())), _time(daily), stop_after, account)
    if out is None:
        call.output.say(_text(chosen, timer))
    else:
        _write(out, chosen, _text(chosen, timer))
    for line in _next_steps(chosen, timer, out):
        call.output.note(line)
    raise typer.Exit(call.output.ended(f"{job} daily at {timer.at:%H:%M}"))


def _check_job(context: Any, job: str, options: list[str]) -> list[Path]:
    """Refuse what would fail every night: a job that is not there, options that it does not know.

    Returns the paths among the options.
    """
    group = context.find_root().command
    known = [name for name in group.list_commands(context) if name not in _NO_JOBS]
    if job not in known:
        raise WrongUsage("there is no such job to schedule", hint=f"one of {', '.join(known)}")
    given = group.commands[job].make_context(job, list(options), parent=context.find_root()).params.values()
    single = [value for value in given if isinstance(value, Path)]
    return single + [
        path for value in given if isinstance(value, list | tuple) for path in value if isinstance(path, Path)
    ]


def _refuse_half_paths(paths: list[Path]) -> None:
    """A scheduler starts the job in another folder, where the same words would mean another file."""
    for path in paths:  # the task can be for another machine than this one
        if not PureWindowsPath(str(path)).is_absolute() and not path.is_absolute():
            raise WrongUsage(f"{path} is no whole path", hint="write it from its drive or its root, such as D:\\cqc")


def _time(text: str) -> time:
    found = _TIME.fullmatch(text)
    if found is None:
        raise WrongUsage("--daily is no time of day", hint="such as 02:00 or 18:30")
    return time(int(found[1]), int(found[2]))


def _timer(call: Invocation, job: tuple[str, ...], at: time, stop_after: int, account: str | None) -> Timer:
    from dataflows.cli.timers import Timer
    from dataflows.settings import envfile

    env_file = envfile.find(call.env_file)
    if env_file is None:
        call.output.warn(
            "no env file was found, so the job will look for one when it starts",
            "name it: dataflows --env-file PATH schedule ...",
        )
    before = ["--env-file", str(env_file)] if env_file else []
    before += ["--data-dir", str(call.data_dir.absolute())] if call.data_dir else []
    command = (*_program(), *before, *job)
    folder = env_file.parent if env_file else Path(command[0]).parent
    return Timer(job[0], command, folder, at, stop_after, date.today(), account)  # noqa: DTZ011 - it is local time there


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
    from dataflows.store.files import write_whole

    if chosen == "task-scheduler":  # schtasks takes UTF-16 LE with its mark, and refuses UTF-8 with or without one
        whole = f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'.replace("\n", "\r\n")
        data = codecs.BOM_UTF16_LE + whole.encode("utf-16-le")
    else:
        data = f"{text}\n".encode()
    try:
        write_whole(path, data)
    except OSError as error:
        raise WrongUsage(
            f"{path} cannot be written ({error.strerror})", hint="choose another place for --out"
        ) from None


def _next_steps(chosen: str, timer: Timer, out: Path | None) -> list[str]:
    if chosen == "task-scheduler":
        file = out.absolute() if out else "FILE"
        first = [] if out else ["write it into a file with --out FILE: schtasks wants UTF-16"]
        account = timer.account or "ACCOUNT"
        return [
            *first,
            f'then, as administrator: schtasks /Create /TN "dataflows {timer.job}" /XML "{file}" /RU {account} /RP *',
        ]
    if chosen == "systemd":
        return [
            "put the two parts where their first lines say, then: "
            f"systemctl daemon-reload && systemctl enable --now dataflows-{timer.job}.timer"
        ]
    return ["add the line with: crontab -e"]
