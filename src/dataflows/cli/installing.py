"""Puts timers where the system keeps them, with what of the environment a job needs; lists and removes them."""

from __future__ import annotations

import codecs
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dataflows.cli.timers import unit_name
from dataflows.errors import AccessRefused, SettingUnusable, WrongUsage
from dataflows.settings import envfile
from dataflows.settings.secrets import is_reference
from dataflows.settings.table import (
    COMMON,
    CQC,
    CSC,
    HOSPITALS,
    HTTP,
    KAFKA,
    MAIL,
    PATIENTS,
    PRACTICE,
    THERAPISTS,
    families,
    table,
)
from dataflows.store.files import write_whole

if TYPE_CHECKING:
    from dataflows.cli.timers import Timer
    from dataflows.settings import Settings


_FOREIGN = (
    *("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("REQUESTS_CA_BUNDLE", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST"),
)
"""Variables of other programs that the flows obey."""
_JOBS = (CSC, CQC, HOSPITALS, PATIENTS, THERAPISTS)


def carried_settings(settings: Settings, job: str, variables: Collection[str]) -> dict[str, str]:
    """Return what the job needs and no file says, by name.

    Args:
        settings: as they are in force here.
        job: the command to be scheduled; only what concerns it is looked at.
        variables: the names that stand for options of commands.

    Raises:
        SettingUnusable: secrets are among it: they are never written into a task, a unit or a crontab.
    """
    written = {name.upper(): value for name, value in _written(settings).items()}
    carried: dict[str, str] = {}
    secrets: list[str] = []
    for name, value, secret in _in_the_environment(settings, job, variables):
        if written.get(name) == value:
            continue
        if secret and not is_reference(value):
            secrets.append(name)
        else:
            carried[name] = value
    if secrets:
        raise SettingUnusable(
            f"{', '.join(secrets)}: set only in this console's environment, so the job would start without",
            reason="schedule-secret",
            hint="put secrets into the env file and name it with --env-file, or keep them in the keyring",
        )
    return _one_line_each(carried)


def _written(settings: Settings) -> dict[str, str]:
    return envfile.read(settings.env_file) if settings.env_file else {}


def _in_the_environment(settings: Settings, job: str, variables: Collection[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield name, value and whether it is a secret."""
    flows = _flows(job)
    environment = {name.upper(): value.strip() for name, value in os.environ.items() if value.strip()}
    for spec in table():
        if spec.flow in flows and spec.name in environment and spec.name != "DATA_DIR":
            value = getattr(settings, spec.name.lower())
            yield spec.name, str(value) if spec.kind == "path" else environment[spec.name], spec.secret
    prefix = f"DATAFLOWS_{job}_".replace("-", "_").upper()
    for name, value in environment.items():
        family = next((family for _, family in families() if family.entry(name)), None)
        if family is not None and family.flow in flows:
            yield name, value, family.secret
        elif name in _FOREIGN or (name in variables and name.startswith(prefix)):
            yield name, value, "@" in value and "PROXY" in name  # a proxy's address can hold a password


def _flows(job: str) -> frozenset[str]:
    """The flows whose settings a job may look at; a check may look at all."""
    if job not in _JOBS:
        return frozenset(spec.flow for spec in table()) | {family.flow for _, family in families()}
    imports = (PRACTICE, KAFKA) if job in (PATIENTS, THERAPISTS) else ()
    return frozenset({job, COMMON, HTTP, MAIL, *imports})


def _one_line_each(carried: dict[str, str]) -> dict[str, str]:
    for name, value in carried.items():
        if any(character < " " for character in value):
            raise SettingUnusable(
                f"{name} contains a line break or another control character",
                reason="schedule-value",
                hint="write it into the env file instead",
            )
    return carried


_SECONDS = 60
_FOLDER = "dataflows"
UNITS = Path("/etc/systemd/system")
_MARK = "# dataflows: "


class Scheduler(Protocol):
    """What starts jobs by the clock on this machine. Every method raises AccessRefused where rights are missing."""

    def install(self, timer: Timer, text: str) -> str:
        """Register a timer, in place of one of the same name; returns what was done, for the operator."""

    def names(self) -> list[str]:
        """Return the names of what was installed from here."""

    def remove(self, name: str) -> None:
        """Take one away.

        Raises:
            WrongUsage: there is none of this name.
        """


def scheduler(form: str) -> Scheduler:
    """Return the scheduler of a format.

    Raises:
        SettingUnusable: this machine has none of the kind.
    """
    kinds: dict[str, tuple[str, type[Scheduler]]] = {
        "task-scheduler": ("schtasks", TaskScheduler),
        "systemd": ("systemctl", Systemd),
        "cron": ("crontab", Crontab),
    }
    program, kind = kinds[form]
    if shutil.which(program) is None:
        raise SettingUnusable(
            f"this machine has no scheduler of this kind: {program} is missing",
            reason="scheduler-missing",
            hint="choose another scheduler with --format, or leave out --install",
        )
    return kind()


def task_commands(timer: Timer, file: str) -> list[str]:
    """Return the lines for an administrator's console that register a task from a file.

    Windows' own accounts have no password, and only the domain knows that of a managed one (docs/windows.md).
    """
    name = f"{_FOLDER}\\{timer.name}"
    if timer.managed_account:
        who = f"New-ScheduledTaskPrincipal -UserId '{timer.account}' -LogonType Password"
        return [
            f'schtasks /Create /TN "{name}" /XML "{file}" /RU SYSTEM',
            f"powershell -Command \"Set-ScheduledTask -TaskPath '\\{_FOLDER}\\' -TaskName '{timer.name}'"
            f' -Principal ({who})"',
        ]
    password = "" if timer.service_account else " /RP *"
    return [f'schtasks /Create /TN "{name}" /XML "{file}" /RU "{timer.account or "ACCOUNT"}"{password}']


def task_file(text: str) -> bytes:
    """A task as a file: ``schtasks`` takes UTF-16 LE with its mark, and refuses UTF-8 with or without one."""
    whole = f'<?xml version="1.0" encoding="UTF-16"?>\n{text}\n'.replace("\n", "\r\n")
    return codecs.BOM_UTF16_LE + whole.encode("utf-16-le")


class TaskScheduler:
    """Windows' own, by ``schtasks``, which asks for the password of the account on the console."""

    def install(self, timer: Timer, text: str) -> str:
        if timer.account is None:
            raise WrongUsage(
                "--install needs the account that the task runs as",
                reason="schedule-account",
                hint="such as --account LA\\svc-csc",
            )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "task.xml")
            write_whole(file, task_file(text))
            owner = ["/RU", "SYSTEM" if timer.managed_account else timer.account]
            password = [] if timer.managed_account or timer.service_account else ["/RP", "*"]
            command = ["schtasks", "/Create", "/F", "/TN", f"{_FOLDER}\\{timer.name}", "/XML", str(file)]
            _call([*command, *owner, *password], asks=bool(password))
        if timer.managed_account:
            return f"installed to run as SYSTEM; hand it over now: {task_commands(timer, '')[1]}"
        return f"Task Scheduler starts {_FOLDER}\\{timer.name} {timer.recurrence}"

    def names(self) -> list[str]:
        found = _call(["schtasks", "/Query", "/FO", "CSV", "/NH"])
        beginning = f'"\\{_FOLDER}\\'
        return sorted(
            {line[len(beginning) :].split('"')[0] for line in found.splitlines() if line.startswith(beginning)}
        )

    def remove(self, name: str) -> None:
        _refuse_unknown(name, self.names())
        _call(["schtasks", "/Delete", "/F", "/TN", f"{_FOLDER}\\{name}"])


class Systemd:
    """Services with timers of the whole machine."""

    def install(self, timer: Timer, text: str) -> str:
        unit = unit_name(timer.name)
        service, _, clock = text.partition("\n\n# /etc/systemd/system/")
        try:
            write_whole(UNITS / f"{unit}.service", f"{service}\n".encode())
            write_whole(UNITS / f"{unit}.timer", f"# {clock}\n".encode())
        except OSError as error:
            raise _no_right(f"the units in {UNITS} cannot be written ({error.strerror})") from None
        _call(["systemctl", "daemon-reload"])
        _call(["systemctl", "enable", "--now", f"{unit}.timer"])
        return f"systemd starts {unit} {timer.recurrence}"

    def names(self) -> list[str]:
        return sorted(path.stem.removeprefix("dataflows-") for path in UNITS.glob("dataflows-*.timer"))

    def remove(self, name: str) -> None:
        unit = unit_name(name)
        _refuse_unknown(unit.removeprefix("dataflows-"), self.names())
        _call(["systemctl", "disable", "--now", f"{unit}.timer"])
        try:
            for kind in ("timer", "service"):
                (UNITS / f"{unit}.{kind}").unlink(missing_ok=True)
        except OSError as error:
            raise _no_right(f"the units in {UNITS} cannot be written ({error.strerror})") from None
        _call(["systemctl", "daemon-reload"])


class Crontab:
    """The crontab of the account that calls; each line of ours has its mark in a line before it."""

    def install(self, timer: Timer, text: str) -> str:
        if timer.account is not None:
            raise WrongUsage(
                "a crontab belongs to one account",
                reason="schedule-account",
                hint="run this as that account, without --account",
            )
        self._write([*self._others(timer.name), f"{_MARK}{timer.name}", text])
        return f"cron starts {timer.name} {timer.recurrence}"

    def names(self) -> list[str]:
        return sorted(line.removeprefix(_MARK) for line in self._lines() if line.startswith(_MARK))

    def remove(self, name: str) -> None:
        _refuse_unknown(name, self.names())
        self._write(self._others(name))

    def _others(self, name: str) -> list[str]:
        """Every line but the mark of this name and the one that follows it."""
        lines = self._lines()
        ours = {number for number, line in enumerate(lines) if line == f"{_MARK}{name}"}
        return [line for number, line in enumerate(lines) if number not in ours and number - 1 not in ours]

    @staticmethod
    def _lines() -> list[str]:
        done = _run(["crontab", "-l"])
        if done.returncode != 0 and "no crontab" not in done.stderr:
            raise _no_right("the crontab of this account cannot be read")
        return done.stdout.splitlines() if done.returncode == 0 else []

    @staticmethod
    def _write(lines: Sequence[str]) -> None:
        done = _run(["crontab", "-"], "".join(f"{line}\n" for line in lines))
        if done.returncode != 0:
            raise _no_right("the crontab of this account cannot be written")


def _refuse_unknown(name: str, names: Sequence[str]) -> None:
    if name not in names:
        shown = f"installed are: {', '.join(names)}" if names else "nothing is installed"
        raise WrongUsage(f"nothing is installed under this name: {name}", reason="timer-unknown", hint=shown)


def _call(command: list[str], *, asks: bool = False) -> str:
    """Run a program of the machine and return what it printed.

    Raises:
        AccessRefused: it did not end well; nearly always a right is missing.
    """
    done = _run(command, asks=asks)
    if done.returncode != 0:
        raise _no_right(f"the scheduler refused: {command[0]} ended with {done.returncode}")
    return done.stdout or ""


def _run(command: list[str], text: str = "", *, asks: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program; ``asks``: it talks to the operator, so it keeps the console and has time."""
    if asks:
        return subprocess.run(command, check=False, text=True)  # noqa: S603
    english = {**os.environ, "LC_ALL": "C"}
    try:
        return subprocess.run(  # noqa: S603
            command, input=text, capture_output=True, text=True, errors="replace", timeout=_SECONDS, check=False,
            env=english,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _no_right(f"the scheduler does not answer: {command[0]} did not end within {_SECONDS} s") from None


def _no_right(message: str) -> AccessRefused:
    who = "an administrator's console" if sys.platform == "win32" else "sudo"
    return AccessRefused(
        message, reason="scheduler-refused", hint=f"run the same command with {who}; or print it without --install"
    )
