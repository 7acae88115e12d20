"""What starts a job by the clock: the texts that Task Scheduler, systemd and cron want. A helper of ``schedule``."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, time
from pathlib import PurePath
from xml.sax.saxutils import escape

from dataflows.runs.schedules import DAYS, Recurrence

EVERY = ("5min", "10min", "15min", "20min", "30min", "1h", "2h", "3h", "4h", "6h", "8h", "12h")
"""What divides an hour or a day without a rest, which all three schedulers can say."""
_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_SERVICE_ACCOUNTS = {"system", "localsystem", "local service", "localservice", "network service", "networkservice"}


def daily(text: str) -> Recurrence:
    """Read ``02:00``.

    Raises:
        ValueError: it is not a time of day.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    return Recurrence(time(int(found[1]), int(found[2])))


def weekly(text: str) -> Recurrence:
    """Read ``fri 09:00``; the name of a day may be cut to three letters or more.

    Raises:
        ValueError: it is not a day and a time.
    """
    day, _, rest = text.strip().partition(" ")
    days = [number for number, name in enumerate(DAYS) if len(day) >= 3 and name.startswith(day.lower())]
    if len(days) != 1:
        raise ValueError(text)
    return Recurrence(daily(rest).at, days[0])


def every(text: str) -> Recurrence:
    """Read ``1h`` or ``15min``.

    Raises:
        ValueError: it is not one of ``EVERY``.
    """
    if text.strip().lower() not in EVERY:
        raise ValueError(text)
    return Recurrence(every=text.strip().lower())


@dataclass(frozen=True)
class Timer:
    """One job and when it starts. All paths are whole, because a service account starts in a folder of its own."""

    name: str
    """What the scheduler calls it; the job, unless the operator names it."""
    program: tuple[str, ...]
    """How this program is started."""
    arguments: tuple[str, ...]
    folder: PurePath
    recurrence: Recurrence
    stop_after: int
    """Hours until a run is ended that does not come to its end."""
    first: date
    account: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    """Settings that stand in no file, by name; no secrets."""

    @property
    def command(self) -> tuple[str, ...]:
        """Everything that is started."""
        return (*self.program, *self.arguments)

    @property
    def service_account(self) -> bool:
        """Whether the account is one of Windows' own, which has no password."""
        name = (self.account or "").rpartition("\\")[2]
        return name.lower() in _SERVICE_ACCOUNTS

    @property
    def managed_account(self) -> bool:
        """Whether it is a (group) managed service account, whose password only the domain knows."""
        return (self.account or "").endswith("$")


def task_scheduler(timer: Timer) -> str:
    """A task for ``schtasks /Create /XML`` (schema 1.2, Windows 7 and later), without an XML declaration.

    It runs whether somebody is logged on or not, never twice at a time, and is made up for when the machine was off.
    """
    lines = []
    if timer.account:
        lines.append(f"<UserId>{escape(timer.account)}</UserId>")
    if not timer.service_account:
        lines.append("<LogonType>Password</LogonType>")
    principal = "\n      ".join([*lines, "<RunLevel>LeastPrivilege</RunLevel>"])
    return f"""\
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>dataflows {escape(timer.name)}, {timer.recurrence}</Description>
  </RegistrationInfo>
  <Triggers>
    {_trigger(timer)}
  </Triggers>
  <Principals>
    <Principal id="Author">
      {principal}
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <AllowHardTerminate>true</AllowHardTerminate>
    <StartWhenAvailable>true</StartWhenAvailable>
    <Enabled>true</Enabled>
    <ExecutionTimeLimit>PT{timer.stop_after}H</ExecutionTimeLimit>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{escape(timer.program[0])}</Command>
      <Arguments>{escape(subprocess.list2cmdline(_arguments(timer)))}</Arguments>
      <WorkingDirectory>{escape(str(timer.folder))}</WorkingDirectory>
    </Exec>
  </Actions>
</Task>"""


def _trigger(timer: Timer) -> str:
    """The order of the elements is the schema's (MS-TSCH 2.5.3.1): start, repetition, calendar."""
    when = timer.recurrence
    start = f"<StartBoundary>{timer.first.isoformat()}T{when.at.isoformat()}</StartBoundary>"
    if when.every:
        number, unit = when.step
        inner = (f"<Repetition>\n        <Interval>PT{number}{unit[0].upper()}</Interval>\n      </Repetition>",)
        return _element("TimeTrigger", start, *inner)
    if when.weekday is None:
        return _element(
            "CalendarTrigger", start, "<ScheduleByDay>\n        <DaysInterval>1</DaysInterval>\n      </ScheduleByDay>"
        )
    day = f"<DaysOfWeek>\n          <{DAYS[when.weekday].title()} />\n        </DaysOfWeek>"
    weeks = "<WeeksInterval>1</WeeksInterval>"
    return _element(
        "CalendarTrigger", start, f"<ScheduleByWeek>\n        {day}\n        {weeks}\n      </ScheduleByWeek>"
    )


def _element(name: str, *inner: str) -> str:
    return "\n".join([f"<{name}>", *(f"      {part}" for part in inner), f"    </{name}>"])


def _arguments(timer: Timer) -> list[str]:
    """With ``--set`` for what stands in no file: a task of Windows has no environment of its own."""
    chosen = [word for name, value in timer.environment.items() for word in ("--set", f"{name}={value}")]
    return [*timer.program[1:], *chosen, *timer.arguments]


def systemd(timer: Timer) -> str:
    """A service and its timer. systemd starts no second one while the first one runs."""
    user = f"User={_systemd_text(timer.account)}\n" if timer.account else ""
    environment = "".join(
        f"Environment={_systemd_word(f'{name}={value}', quoted=True, dollars=False)}\n"
        for name, value in timer.environment.items()
    )
    return f"""\
# /etc/systemd/system/{unit_name(timer.name)}.service
[Unit]
Description=dataflows {_systemd_text(timer.name)}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{user}{environment}WorkingDirectory={_systemd_text(str(timer.folder))}
ExecStart={" ".join(_systemd_word(word) for word in timer.command)}
TimeoutStartSec={timer.stop_after}h
TimeoutStopSec=60

# /etc/systemd/system/{unit_name(timer.name)}.timer
[Unit]
Description=dataflows {_systemd_text(timer.name)}, {timer.recurrence}

[Timer]
OnCalendar={_on_calendar(timer.recurrence)}
Persistent=true

[Install]
WantedBy=timers.target"""


def unit_name(name: str) -> str:
    """The name of a unit of systemd (letters, digits, dot, dash, underscore)."""
    return "dataflows-" + re.sub(r"[^A-Za-z0-9._-]", "-", name)


def _on_calendar(when: Recurrence) -> str:
    if not when.every:
        day = f"{DAYS[when.weekday][:3].title()} " if when.weekday is not None else ""
        return f"{day}*-*-* {when.at.isoformat()}"
    number, unit = when.step
    return f"*-*-* 00/{number}:00:00" if unit == "h" else f"*-*-* *:00/{number}:00"


def cron(timer: Timer) -> str:
    """A line for crontab; a percent sign would end the command there."""
    settings = ["env", *(f"{name}={value}" for name, value in timer.environment.items())] if timer.environment else []
    words = [*settings, "timeout", "--signal=TERM", "--kill-after=60", f"{timer.stop_after}h", *timer.command]
    return f"{_cron_times(timer.recurrence)} {shlex.join(words).replace('%', chr(92) + '%')}"


def _cron_times(when: Recurrence) -> str:
    if not when.every:
        day = (when.weekday + 1) % 7 if when.weekday is not None else "*"
        return f"{when.at.minute} {when.at.hour} * * {day}"
    number, unit = when.step
    return f"0 */{number} * * *" if unit == "h" else f"*/{number} * * * *"


def _systemd_text(text: str) -> str:
    return text.replace("%", "%%")


def _systemd_word(word: str, *, quoted: bool = False, dollars: bool = True) -> str:
    """A word of ExecStart or Environment: quoted where it has to be, what systemd would expand doubled.

    ``$`` is expanded in ExecStart only (systemd.exec, Environment: "the dollar sign has no special meaning").
    """
    doubled = _systemd_text(word.replace("\\", "\\\\").replace('"', '\\"'))
    doubled = doubled.replace("$", "$$") if dollars else doubled
    return f'"{doubled}"' if quoted or not _is_plain(word) else doubled


def _is_plain(word: Sequence[str]) -> bool:
    return bool(word) and not any(character in " \t\"';" for character in word)
